"""What is read of machines whose files are known, and that it survives as texts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.calibration.machine.environment import Environment, read_environment
from simulator.calibration.machine.environment_rows import environment_rows
from simulator.calibration.machine.nvml import Nvml
from simulator.calibration.machine.platform_facts import PlatformFacts, known_to_python
from simulator.calibration.machine.processor import Cache, Processor

WriteTree = Callable[[Mapping[str, str]], Path]
TODAY = datetime.date(2026, 11, 25)


def test_a_xeon_of_two_sockets(xeon: Path) -> None:
    found = read_environment(xeon, environ={}, today=TODAY)
    cpu = found.processor
    assert (found.date, found.os, found.kernel) == ("2026-11-25", "Ubuntu 24.04.1 LTS", "6.8.0-45-generic")
    assert (cpu.model, cpu.vendor, cpu.architecture) == ("Intel(R) Xeon(R) Platinum 8480+", "GenuineIntel", "x86_64")
    assert (cpu.family, cpu.model_number, cpu.stepping, cpu.microcode) == (6, 143, "8", "0x2b000603")
    assert (cpu.sockets, cpu.physical_cores, cpu.logical_cores, cpu.smt, cpu.numa_nodes) == (2, 8, 16, True, 2)
    assert {"amx_bf16", "amx_int8", "amx_tile", "avx512_fp16", "avx_vnni", "f16c"} <= set(cpu.isa)
    assert "lm" not in cpu.isa and "neon" not in cpu.isa
    assert cpu.caches == (
        Cache(1, "data", 48 * 1024, 1, 8, 8), Cache(1, "instruction", 32 * 1024, 1, 8, 8),
        Cache(2, "unified", 2**21, 1, 8, 8), Cache(3, "unified", 105 * 2**20, 4, 2, 2),
    )  # fmt: skip
    assert found.cache_bytes == 2 * 105 * 2**20
    assert (found.hypervisor, found.container) == ("none", "")
    assert (found.cores, found.threads) == (8.0, 8)


def test_clocks_and_pages_of_a_xeon(xeon: Path) -> None:
    found = read_environment(xeon, environ={})
    clocks, memory = found.clocks, found.memory
    assert (clocks.governor, clocks.driver, clocks.preference) == ("performance", "intel_pstate", "performance")
    assert (clocks.min_hz, clocks.base_hz, clocks.max_hz) == (0.8e9, 2.0e9, 3.8e9)
    assert clocks.current_hz == pytest.approx(3.05e9)
    assert clocks.boost is True
    assert (memory.huge_pages, memory.defrag) == ("madvise", "madvise")
    assert (memory.total_bytes, found.free_bytes) == (1056000000 * 1024, 1000000000 * 1024)


def test_a_guest_that_says_little(epyc_vm: Path) -> None:
    found = read_environment(epyc_vm, environ={})
    assert (found.processor.model, found.hypervisor, found.container) == ("AMD EPYC", "unnamed", "docker")
    assert (found.processor.sockets, found.processor.physical_cores, found.processor.smt) == (1, 2, False)
    assert found.processor.isa == ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16")
    assert found.clocks.governor == "" and found.clocks.boost is None and found.clocks.max_hz is None
    assert found.clocks.current_hz == pytest.approx(2.59615e9)
    assert (found.cache_bytes, found.cores) == (32 * 2**20, 2.0)
    assert found.allowance.quota_cores is None and found.allowance.memory_limit_bytes is None


def test_an_arm_server(arm_server: Path) -> None:
    found = read_environment(arm_server, environ={})
    cpu = found.processor
    assert (cpu.model, cpu.vendor, cpu.architecture) == ("Neoverse-V2", "ARM", "aarch64")
    assert (cpu.family, cpu.model_number, cpu.stepping) == (8, 0xD4F, "r0p1")
    assert cpu.isa == ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16")
    assert (cpu.sockets, cpu.physical_cores, cpu.smt) == (None, 4, False)
    assert found.hypervisor == ""
    assert found.cache_bytes == 4 * 2**21


def test_cores_of_two_kinds_share_only_common_instructions(write_tree: WriteTree) -> None:
    common = "CPU implementer\t: 0x41\nCPU architecture: 8\nFeatures\t: asimd"
    root = write_tree({
        "proc/cpuinfo": f"processor\t: 0\n{common} asimddp\nCPU part\t: 0xd05\n\n"
                        f"processor\t: 1\n{common} asimddp sve\nCPU part\t: 0xd0b\n\nModel\t: A board\nSerial\t: 1000",
    })  # fmt: skip
    cpu = read_environment(root, environ={}).processor
    assert (cpu.model, cpu.isa, cpu.logical_cores) == ("Cortex-A55 + Cortex-A76", ("asimd", "asimddp"), 2)


def test_instructions_are_no_data() -> None:
    kinds = ("data", "instruction")
    caches = tuple(Cache(1, kind, 2**15, 1, 4, 2) for kind in kinds)
    assert Environment(processor=Processor(caches=caches)).cache_bytes == 2 * 2**15


def test_a_single_core(write_tree: WriteTree) -> None:
    root = write_tree({
        "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\n"
                        "flags\t\t: avx2 hypervisor",
        "sys/class/dmi/id/sys_vendor": "Google", "sys/class/dmi/id/product_name": "Google Compute Engine",
        "proc/self/status": "Cpus_allowed_list:\t0",
    })  # fmt: skip
    found = read_environment(root, environ={})
    assert (found.cores, found.threads, found.processor.smt, found.processor.physical_cores) == (1.0, 1, False, 1)
    assert found.hypervisor == "Google Google Compute Engine"


def test_nothing_is_invented_where_nothing_can_be_read(tmp_path: Path) -> None:
    found = read_environment(tmp_path, environ={}, today=TODAY)
    empty = msgspec.structs.replace(Environment(), date="2026-11-25", software=found.software)
    assert found == empty
    assert (found.cores, found.threads, found.cache_bytes, found.free_bytes) == (1.0, 1, 0, 0)
    assert found.software.malloc == ""


def test_without_proc_the_facts_of_python_stand_in(tmp_path: Path) -> None:
    facts = PlatformFacts(
        os="macOS 15.1", kernel="24.1.0", architecture="arm64", processor="arm", logical_cores=12, physical_cores=12,
        memory_bytes=2**35, available_bytes=2**34, max_clock_hz=3.5e9, microarchitecture="apple-m2",
        features=("dotprod", "bf16", "i8mm", "neon", "fp-armv8"),
    )  # fmt: skip
    found = read_environment(tmp_path, environ={}, facts=facts)
    assert (found.os, found.kernel, found.processor.architecture) == ("macOS 15.1", "24.1.0", "arm64")
    assert found.processor.isa == ("neon", "asimddp", "i8mm", "bf16")
    assert (found.cores, found.free_bytes, found.clocks.max_hz) == (12.0, 2**34, 3.5e9)
    assert found.processor.microarchitecture == "apple-m2"


def test_this_machine_can_be_read() -> None:
    found = read_environment(today=TODAY)
    assert found.processor.architecture == known_to_python().architecture != ""
    assert found.threads >= 1 and found.free_bytes >= 0
    assert found.software.libraries["numpy"] and found.software.blas
    assert Environment.from_texts(found.as_texts()) == found
    assert found.accelerators or found.accelerators_missing


@pytest.mark.parametrize("machine", ["xeon", "epyc_vm", "arm_server"])
def test_texts_lose_nothing(machine: str, request: pytest.FixtureRequest, nvml_of: Any, h100: dict[str, Any]) -> None:
    nvml = Nvml(nvml_of(h100, {"Name": "NVIDIA A2"}, nvmlSystemGetDriverVersion="550.54"))
    environ = {"OMP_NUM_THREADS": "", "LD_PRELOAD": "/opt/lib/libjemalloc.so.2", "HOME": "/home/someone"}
    found = read_environment(request.getfixturevalue(machine), environ=environ, nvml=nvml)
    texts = found.as_texts()
    assert all(isinstance(text, str) for text in texts.values())
    assert Environment.from_texts(texts | {"memory_kind": "DDR5"}) == found
    assert len(found.accelerators) == 2
    assert found.software.variables == {"OMP_NUM_THREADS": "", "LD_PRELOAD": "libjemalloc.so.2"}


def test_texts_of_nothing_are_none() -> None:
    assert Environment().as_texts() == {}
    assert Environment.from_texts({}) == Environment()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("processor.sockets", "two"),
        ("clocks.boost", "yes"),
        ("processor.caches", '[{"level": 1}]'),
        ("memory.total_bytes", ""),
    ],
)
def test_texts_that_are_no_fact_are_refused(name: str, text: str) -> None:
    with pytest.raises(InputError, match=rf"^mine.parquet: {name}: "):
        Environment.from_texts({name: text}, "mine.parquet")


def test_rows_say_what_is_known(xeon: Path, nvml_of: Any, h100: dict[str, Any]) -> None:
    rows = dict(environment_rows(read_environment(xeon, environ={"OMP_NUM_THREADS": "4"}, nvml=Nvml(nvml_of(h100)))))
    assert rows["CPU cores"] == "2 sockets, 8 cores, 16 threads, 2 NUMA nodes, SMT on"
    assert rows["caches"].endswith("L3 unified 2 x 105 MiB per 4 cores")
    assert rows["variables"] == "OMP_NUM_THREADS=4"
    assert rows["GPU 0"] == "NVIDIA H100 80GB HBM3, 79.65 GiB, PCIe 5 x16"
    assert "held down by software power cap" in rows["settings of GPU 0"]
    assert "container" not in rows


def test_rows_of_nothing() -> None:
    assert environment_rows(Environment()) == ()
