"""The software that does the work: versions, BLAS libraries and their kernels, and the settings that bear on time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from hardware_specs.version import package_version
from simulator.calibration.machine.system_files import SystemFiles

LIBRARIES: Final = (
    "numpy", "scipy", "numba", "llvmlite", "torch", "triton", "mkl", "intel-openmp", "intel-extension-for-pytorch",
    "flash-attn", "transformer-engine", "vllm", "nvidia-cublas", "nvidia-cublas-cu12", "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu13",
)  # fmt: skip
"""Packages whose version bears on times."""
VARIABLES: Final = (
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT",
    "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "ATEN_CPU_CAPABILITY",
    "NVIDIA_TF32_OVERRIDE", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF",
    "MALLOC_ARENA_MAX", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_CONF",
    "GLIBC_TUNABLES", "PYTHONMALLOC", "LD_PRELOAD",
)  # fmt: skip
"""Environment variables that set threads, pinning, instruction sets, GPUs and memory allocation."""
_ALLOCATORS: Final = ("jemalloc", "tcmalloc", "mimalloc")
_TORCH_BUILD: Final = {
    "mkl": r"Math Kernel Library Version ([\d.]+)",
    "onednn": r"MKL-DNN v([\d.]+)",
    "openmp": r"OpenMP (\d+)",
    "cpu_capability": r"CPU capability usage: (\S+)",
    "blas": r"BLAS_INFO=(\w+)",
}


class Blas(msgspec.Struct, frozen=True):
    """A BLAS library in this process.

    Args:
        owner: the package that brought it ("numpy"); "" for one of the system.
        architecture: whose kernels it runs ("SkylakeX"); "" where only threadpoolctl could say.
        threads: how many it uses; None where only threadpoolctl could say.
    """

    owner: str
    library: str
    version: str
    threading: str = ""
    architecture: str = ""
    threads: int | None = None


class Software(msgspec.Struct, frozen=True, kw_only=True):
    """Versions and settings.

    Args:
        libraries: version of each installed package of ``LIBRARIES``.
        blas_missing: why kernels and threads of BLAS libraries are not known.
        torch: how torch was built and is set; empty where it was not loaded.
        variables: those of ``VARIABLES`` that are set; of paths the last part.
        malloc: what allocates memory ("glibc 2.36", "jemalloc").
    """

    python: str = ""
    silicost: str = ""
    libraries: dict[str, str] = {}
    blas: tuple[Blas, ...] = ()
    blas_missing: str = ""
    torch: dict[str, str] = {}
    variables: dict[str, str] = {}
    malloc: str = ""


def read_software(
    files: SystemFiles, libc: str, environ: Mapping[str, str] | None = None, torch: bool = False
) -> Software:
    """The software of this process.

    Args:
        libc: C library and version.
        environ: environment variables; None: those of this process.
        torch: load torch to ask it, if it is installed; otherwise it is asked only if it is loaded already.
    """
    environ = os.environ if environ is None else environ
    mapped = files.text("proc/self/maps")
    blas, missing = _blas()
    return Software(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        silicost=package_version(),
        libraries={name: version for name in LIBRARIES if (version := _version(name))},
        blas=blas,
        blas_missing=missing,
        torch=_torch(torch),
        variables={name: _without_folders(environ[name]) for name in VARIABLES if name in environ},
        malloc=next((name for name in _ALLOCATORS if f"lib{name}" in mapped), libc),
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _without_folders(text: str) -> str:
    """``text`` with the last part of each path alone."""
    return re.sub(r"[^\s:,=]*/", "", text)


def _blas() -> tuple[tuple[Blas, ...], str]:
    """The BLAS libraries that are loaded, or the one that numpy was built with and why no more is known."""
    import numpy as np

    try:
        import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return _built_with(np.show_config(mode="dicts")), "not known; threadpoolctl is not installed"
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    found = [
        Blas(
            _owner(pool["filepath"]), pool["internal_api"], pool["version"] or "", pool.get("threading_layer") or "",
            pool.get("architecture") or "", pool["num_threads"],
        )
        for pool in pools
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: (each.owner, each.library, each.version))), ""


def _owner(path: str) -> str:
    """The package below whose folder, or folder of libraries, a file lies."""
    parts = PurePath(path).parts
    places = [place for place, name in enumerate(parts[:-2]) if name == "site-packages"]
    return parts[places[-1] + 1].removesuffix(".libs") if places else ""


def _built_with(built: Any) -> tuple[Blas, ...]:
    """The BLAS library in a description of numpy's build."""
    blas = built.get("Build Dependencies", {}).get("blas", {})
    name = str(blas.get("name", ""))
    if not name or not blas.get("found", True):
        return ()
    return (Blas("numpy", "openblas" if "openblas" in name else name, str(blas.get("version", ""))),)


def _torch(load: bool) -> dict[str, str]:
    """How torch was built and is set."""
    if "torch" not in sys.modules and not load:
        return {}
    try:
        import torch
    except ImportError:
        return {}
    shown = torch.__config__.show()
    built = {name: match[1] for name, pattern in _TORCH_BUILD.items() if (match := re.search(pattern, shown))}
    cudnn: Any = torch.backends.cudnn
    found = {
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": cudnn.version() if torch.version.cuda else None,
        "commit": torch.version.git_version,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    return built | {name: str(value) for name, value in found.items() if value is not None}
