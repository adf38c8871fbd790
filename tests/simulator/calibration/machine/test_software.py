from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator.calibration.machine import software
from simulator.calibration.machine.software import Blas, read_software
from simulator.calibration.machine.system_files import SystemFiles

WriteTree = Callable[[Mapping[str, str]], Path]


def test_threadpoolctl_says_which_kernels_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [
        {"user_api": "blas", "internal_api": "openblas", "num_threads": 2, "version": "0.3.31",
         "filepath": "/v/lib/python3.11/site-packages/numpy.libs/libopenblas.so", "threading_layer": "pthreads",
         "architecture": "SkylakeX"},
        {"user_api": "blas", "internal_api": "mkl", "num_threads": 4, "version": "2024.2", "threading_layer": "intel",
         "filepath": "/opt/intel/lib/libmkl_rt.so"},
        {"user_api": "openmp", "internal_api": "openmp", "num_threads": 2, "filepath": "/x/libgomp.so"},
    ]  # fmt: skip
    monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(threadpool_info=lambda: pools))
    found = read_software(SystemFiles(tmp_path), "", {})
    assert found.blas == (
        Blas("", "mkl", "2024.2", "intel", "", 4), Blas("numpy", "openblas", "0.3.31", "pthreads", "SkylakeX", 2),
    )  # fmt: skip
    assert found.blas_missing == ""


def test_without_threadpoolctl_numpy_says_what_it_was_built_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    found = read_software(SystemFiles(tmp_path), "", {})
    assert found.blas_missing == "not known; threadpoolctl is not installed"
    assert [(blas.owner, blas.architecture, blas.threads) for blas in found.blas] == [("numpy", "", None)]
    assert found.blas[0].version


@pytest.mark.parametrize(
    ("name", "expected"), [("scipy-openblas", "openblas"), ("mkl-sdl", "mkl-sdl"), ("accelerate", "accelerate")]
)
def test_builds_of_numpy(name: str, expected: str) -> None:
    built = {"Build Dependencies": {"blas": {"name": name, "found": True, "version": "1.2"}}}
    assert software._built_with(built) == (Blas("numpy", expected, "1.2"),)
    assert software._built_with({}) == ()
    assert software._built_with({"Build Dependencies": {"blas": {"name": name, "found": False}}}) == ()


def test_variables_keep_no_folders(tmp_path: Path) -> None:
    environ = {
        "LD_PRELOAD": "/usr/lib/libtcmalloc.so.4:/home/me/libx.so", "OMP_PLACES": "{0:4}:2", "PATH": "/bin",
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=2", "KMP_AFFINITY": "granularity=fine,compact,1,0",
    }  # fmt: skip
    assert read_software(SystemFiles(tmp_path), "", environ).variables == {
        "LD_PRELOAD": "libtcmalloc.so.4:libx.so", "OMP_PLACES": "{0:4}:2",
        "GLIBC_TUNABLES": "glibc.malloc.arena_max=2", "KMP_AFFINITY": "granularity=fine,compact,1,0",
    }  # fmt: skip


def test_allocators(write_tree: WriteTree) -> None:
    files = SystemFiles(write_tree({"proc/self/maps": "7f00-7f01 r-xp 0 0 1 /usr/lib/libc.so.6"}))
    assert read_software(files, "glibc 2.36", {}).malloc == "glibc 2.36"
    write_tree({"proc/self/maps": "7f00-7f01 r-xp 0 0 1 /usr/lib/libjemalloc.so.2"})
    assert read_software(files, "glibc 2.36", {}).malloc == "jemalloc"


def test_torch_is_not_loaded_to_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert read_software(SystemFiles(tmp_path), "", {}).torch == {}
    assert "torch" not in sys.modules
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_software(SystemFiles(tmp_path), "", {}, torch=True).torch == {}


def test_torch_says_how_it_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = (
        "PyTorch built with:\n  - GCC 13.3\n"
        "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605\n"
        "  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71)\n  - OpenMP 201511 (a.k.a. OpenMP 4.5)\n"
        "  - CPU capability usage: AVX512\n  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release"
    )
    torch = SimpleNamespace(
        __config__=SimpleNamespace(show=lambda: shown),
        version=SimpleNamespace(cuda="12.8", hip=None, git_version="cf30"),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91002)),
        get_num_threads=lambda: 2, get_num_interop_threads=lambda: 1, get_float32_matmul_precision=lambda: "highest",
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert read_software(SystemFiles(tmp_path), "", {}).torch == {
        "mkl": "2024.2", "onednn": "3.12.0", "openmp": "201511", "cpu_capability": "AVX512", "blas": "mkl",
        "cuda": "12.8", "cudnn": "91002", "commit": "cf30", "threads": "2", "interop_threads": "1",
        "float32_matmul_precision": "highest",
    }  # fmt: skip
