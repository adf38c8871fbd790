"""Machines as folders of /proc and /sys files, a GPU library that behaves as pynvml does, samples that a law made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hardware_specs.calibrations import Calibrations
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import Cache, Compute, DeviceSpec, Memory
from hardware_specs.units import format_quantity
from simulator.calibration.machine_fit import fit_machine, neutral, with_records
from simulator.calibration.probes.registry import Case, Machine
from simulator.calibration.samples import Measurement
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

WriteTree = Callable[[Mapping[str, str]], Path]
CPUS = "sys/devices/system/cpu"


@pytest.fixture
def write_tree(tmp_path: Path) -> WriteTree:
    """Writes files below a root, more at each call."""

    def write(files: Mapping[str, str]) -> Path:
        for place, text in files.items():
            path = tmp_path / "root" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path / "root"

    return write


def blocks(count: int, lines: Mapping[str, str], of_cpu: Callable[[int], Mapping[str, object]]) -> str:
    """/proc/cpuinfo of ``count`` CPUs."""
    return "\n\n".join(
        "\n".join(
            f"{name}\t: {value}" for name, value in ({"processor": cpu} | dict(lines) | dict(of_cpu(cpu))).items()
        )
        for cpu in range(count)
    )


def cache(cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> dict[str, str]:
    place = f"{CPUS}/cpu{cpu}/cache/index{index}"
    return {
        f"{place}/level": str(level),
        f"{place}/type": kind,
        f"{place}/size": size,
        f"{place}/shared_cpu_list": shared,
    }


@pytest.fixture
def xeon(write_tree: WriteTree) -> Path:
    """Two sockets of 4 cores with 2 threads each (a small Sapphire Rapids), bare metal."""
    flags = "fpu lm avx2 fma f16c avx512f avx512_vnni avx512_bf16 avx512_fp16 avx_vnni amx_tile amx_int8 amx_bf16"
    lines = {
        "vendor_id": "GenuineIntel", "cpu family": "6", "model": "143",
        "model name": "Intel(R) Xeon(R) Platinum 8480+", "stepping": "8", "microcode": "0x2b000603",
        "cpu MHz": "2000.000", "flags": flags,
    }  # fmt: skip
    files = {
        "proc/cpuinfo": blocks(16, lines, lambda cpu: {"physical id": cpu % 8 // 4, "core id": cpu % 4}),
        "proc/sys/kernel/arch": "x86_64",
        "proc/sys/kernel/osrelease": "6.8.0-45-generic",
        "proc/self/status": "Name:\tpython\nCpus_allowed:\tffff\nCpus_allowed_list:\t0-15",
        "proc/meminfo": "MemTotal:  1056000000 kB\nMemFree: 9 kB\nMemAvailable: 1000000000 kB\nHugePages_Total: 0",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"',
        f"{CPUS}/online": "0-15",
        f"{CPUS}/smt/active": "1",
        f"{CPUS}/intel_pstate/no_turbo": "0",
        "sys/devices/system/node/node0/cpulist": "0-3,8-11",
        "sys/devices/system/node/node1/cpulist": "4-7,12-15",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "sys/class/dmi/id/sys_vendor": "Dell Inc.",
        "proc/self/cgroup": "0::/user.slice",
    }
    for cpu in range(16):
        core, socket = cpu % 8, cpu % 8 // 4
        package = "0-3,8-11" if socket == 0 else "4-7,12-15"
        files |= {
            f"{CPUS}/cpu{cpu}/topology/core_cpus_list": f"{core},{core + 8}",
            f"{CPUS}/cpu{cpu}/topology/physical_package_id": str(socket),
            f"{CPUS}/cpu{cpu}/cpufreq/scaling_governor": "performance",
            f"{CPUS}/cpu{cpu}/cpufreq/scaling_driver": "intel_pstate",
            f"{CPUS}/cpu{cpu}/cpufreq/energy_performance_preference": "performance",
            f"{CPUS}/cpu{cpu}/cpufreq/scaling_min_freq": "800000",
            f"{CPUS}/cpu{cpu}/cpufreq/scaling_max_freq": "3800000",
            f"{CPUS}/cpu{cpu}/cpufreq/base_frequency": "2000000",
            f"{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq": str(3000000 + 100000 * (cpu % 2)),
        }
        files |= cache(cpu, 0, 1, "Data", "48K", f"{core},{core + 8}")
        files |= cache(cpu, 1, 1, "Instruction", "32K", f"{core},{core + 8}")
        files |= cache(cpu, 2, 2, "Unified", "2048K", f"{core},{core + 8}")
        files |= cache(cpu, 3, 3, "Unified", "107520K", package)
    return write_tree(files)


@pytest.fixture
def epyc_vm(write_tree: WriteTree) -> Path:
    """A guest with 2 CPUs that says little of itself; control groups of both versions, without limits."""
    lines = {
        "vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17", "model name": "AMD EPYC", "stepping": "1",
        "microcode": "0x1000065", "cpu MHz": "2596.150",
        "flags": "fma f16c hypervisor avx2 avx512f avx512_bf16 avx512_vnni",
    }  # fmt: skip
    groups = ("cpu", "cpuacct", "memory")
    mounts = [f"32 31 0:29 / /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}" for name in groups]
    mounts.append("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw")
    files = {
        "proc/cpuinfo": blocks(2, lines, lambda cpu: {"physical id": 0, "core id": cpu}),
        "proc/sys/kernel/arch": "x86_64",
        "proc/self/status": "Cpus_allowed_list:\t0-1",
        "proc/self/mountinfo": "\n".join(["31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755", *mounts]),
        "proc/self/cgroup": "4:memory:/jobs/one\n2:cpuacct:/\n1:cpu:/\n0::/",
        "proc/meminfo": "MemTotal:       24684084 kB\nMemAvailable:   24195328 kB",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/unified/cgroup.controllers": "hugetlb",
        f"{CPUS}/online": "0-1",
        f"{CPUS}/smt/active": "0",
        "sys/devices/system/node/node0/cpulist": "0-1",
        ".dockerenv": "",
    }
    for cpu in range(2):
        files |= {f"{CPUS}/cpu{cpu}/topology/core_cpus_list": str(cpu)}
        files |= {f"{CPUS}/cpu{cpu}/topology/physical_package_id": "0"}
        files |= cache(cpu, 0, 1, "Data", "32K", str(cpu))
        files |= cache(cpu, 1, 1, "Instruction", "32K", str(cpu))
        files |= cache(cpu, 2, 2, "Unified", "1024K", str(cpu))
        files |= cache(cpu, 3, 3, "Unified", "32768K", "0-1")
    return write_tree(files)


@pytest.fixture
def arm_server(write_tree: WriteTree) -> Path:
    """Four cores of a Neoverse V2; no clocks, no socket numbers."""
    lines = {
        "BogoMIPS": "2000.00", "Features": "fp asimd fphp asimdhp asimddp sve sve2 i8mm bf16 svei8mm svebf16",
        "CPU implementer": "0x41", "CPU architecture": "8", "CPU variant": "0x0", "CPU part": "0xd4f",
        "CPU revision": "1",
    }  # fmt: skip
    files = {
        "proc/cpuinfo": blocks(4, lines, lambda cpu: {}),
        "proc/sys/kernel/arch": "aarch64",
        f"{CPUS}/online": "0-3",
    }
    for cpu in range(4):
        files |= {f"{CPUS}/cpu{cpu}/topology/thread_siblings_list": str(cpu)}
        files |= {f"{CPUS}/cpu{cpu}/topology/physical_package_id": "-1"}
        files |= cache(cpu, 0, 1, "Data", "64K", str(cpu)) | cache(cpu, 2, 2, "Unified", "2M", str(cpu))
    return write_tree(files)


class NvmlError(Exception):
    """As pynvml's."""


class FakeNvml:
    """A library with GPUs: each a dict of answers by function; what is not there is not supported.

    An answer may be a list, whose items come one after the other, the last for ever.
    """

    NVMLError = NvmlError

    def __init__(self, *gpus: dict[str, Any], fails: str = "", **system: Any) -> None:
        self.gpus, self.fails, self.system = gpus, fails, system

    def nvmlInit(self) -> None:  # noqa: N802
        if self.fails:
            raise NvmlError(self.fails)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        return self.gpus[index]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        short = name.removeprefix("nvmlDeviceGet")

        def answer(device: dict[str, Any] | None = None, *arguments: Any) -> Any:
            found = self.system.get(name) if device is None else device.get(short)
            if found is None:
                raise NvmlError("Not Supported")
            if isinstance(found, list):
                return found.pop(0) if len(found) > 1 else found[0]
            return found[arguments[0]] if arguments else found

        return answer


@pytest.fixture
def nvml_of() -> type[FakeNvml]:
    return FakeNvml


@pytest.fixture
def h100() -> dict[str, Any]:
    """Answers of an H100 under its power limit."""
    return {
        "Name": b"NVIDIA H100 80GB HBM3", "UUID": "GPU-1111-aaaa", "MemoryInfo": SimpleNamespace(total=85520809984),
        "EnforcedPowerLimit": 700000, "PowerManagementDefaultLimit": 700000, "MaxClockInfo": {1: 1980, 2: 2619},
        "ClockInfo": {1: 1755, 2: 2619}, "PersistenceMode": 1, "MigMode": (0, 0), "EccMode": (1, 1),
        "MaxPcieLinkGeneration": 5, "CurrPcieLinkWidth": 16, "CurrentClocksEventReasons": 0x04,
        "CudaComputeCapability": (9, 0), "TotalEnergyConsumption": 5_000_000, "PowerUsage": 350_000,
    }  # fmt: skip


CORES = 2
RUNTIME = "torch-cpu-2.13"
DAY = "2026-11-25"
TRUTH = {
    "gemm_share": 0.8, "depth_half": 40.0, "stream_share": 0.7, "gemm_pack_share": 0.6, "gemm_strip_penalty": 0.5,
    "gemm_vector_rows": 2.0, "gemm_overlap": 1.5, "gemm_floor_s": 6e-6, "attention_share": 0.4,
    "prefill_row_half": 30.0, "prefill_softmax_share": 0.2, "prefill_floor_s": 9e-6, "decode_math_share": 0.06,
    "kv_share": 0.8, "decode_overlap": 1.5, "decode_floor_s": 5e-6, "vector_share": 0.03, "vector_stream_share": 0.6,
    "vector_cache_part": 0.4, "vector_overlap": 2.0, "vector_floor_s": 3e-6,
}  # fmt: skip
"""Parameters of a CPU that is no real one, by the names of the CPU law; others are as the class has them."""


def fact(value: float, dimension: str) -> Fact:
    text = format_quantity(value, dimension)
    return Fact(value, dimension, text, Mark.ASSUMED, "a test")


@pytest.fixture(scope="session")
def small_cpu() -> DeviceSpec:
    """Two cores: 200 GFLOP/s in fp32, 40 GB/s, 32 MB of cache at 150 GB/s."""
    peaks = {"fp32": fact(200e9, "flops"), "bf16": fact(400e9, "flops")}
    memory = Memory("DRAM", fact(24e9, "bytes"), fact(40e9, "bytes_per_s"))
    cache = Cache("last-level cache", fact(32e6, "bytes"), fact(150e9, "bytes_per_s"))
    compute = Compute(peaks, units=fact(float(CORES), "number"), unit_name="core")
    return DeviceSpec("small-cpu", "cpu", "AMD", "Small CPU", RUNTIME, compute, memory, cache=cache, year=2026)


@pytest.fixture(scope="session")
def small_machine() -> Machine:
    """The same as probes see it."""
    return Machine("cpu", CORES, 32e6, 9e8, ("fp32",))


MeasureAs = Callable[..., list[Measurement]]


@pytest.fixture(scope="session")
def measure_as(small_cpu: DeviceSpec) -> MeasureAs:
    """``measure_as(operators, values, noise=0.03, seed=1)``: what a CPU would measure that the law describes exactly.

    Args of the function:
        operators: what is called.
        values: parameters of the law; others are the priors of the class.
        noise: standard deviation of the log of a time.
        seed: of the noise.
        probe, runtime, variant, threads: see ``Measurement``.
    """

    def make(
        operators: Iterable[Operator], values: Mapping[str, float] = TRUTH, *, noise: float = 0.03, seed: int = 1,
        probe: str = "torch.products", runtime: str = RUNTIME, variant: str = "", threads: int = 0,
    ) -> list[Measurement]:  # fmt: skip
        listed = list(operators)
        true_s = true_seconds(small_cpu, listed, values, runtime)
        at = f"{DAY}T12:00:00+00:00"
        times = true_s * np.exp(np.random.default_rng(seed).normal(0.0, noise, len(listed)))
        return [
            Measurement(probe, operator, t, 0.98 * t, 1.02 * t, 9, runtime, variant, threads, at=at)
            for operator, t in zip(listed, times.tolist(), strict=True)
        ]

    return make


def true_seconds(
    spec: DeviceSpec, operators: Sequence[Operator], values: Mapping[str, float], runtime: str = RUNTIME
) -> npt.NDArray[np.float64]:
    """Seconds of each operator by the law with ``values``, without noise."""
    model = compile_device(spec, neutral(load_runtime(runtime)), calibrated=False)
    seconds: npt.NDArray[np.float64] = with_records(model, values).cost(columns_of(operators))[TIME]
    return seconds


@pytest.fixture(scope="session")
def seconds_by() -> Callable[..., npt.NDArray[np.float64]]:
    return true_seconds


@pytest.fixture(scope="session")
def truth() -> dict[str, float]:
    return dict(TRUTH)


@pytest.fixture(scope="session")
def operators_of(small_machine: Machine) -> Callable[[str], list[Operator]]:
    """What probes of torch call, by the kind of operator: "products", "decode", "norm" ..., and "more products" ..."""
    from simulator.calibration.probes import torch_attention, torch_products, torch_vector

    designs: dict[str, Callable[[Machine], Iterable[Case]]] = {
        "products": torch_products.cases, "more products": torch_products.more,
        "prefill": torch_attention.prefill_cases, "more prefill": torch_attention._more_prefills,
        "decode": torch_attention.decode_cases, "more decode": torch_attention._more_decodes,
    }  # fmt: skip

    def make(what: str) -> list[Operator]:
        if what in designs:
            return [case.operator for case in designs[what](small_machine)]
        return [case.operator for case in torch_vector.cases(small_machine) if case.operator.name == what]

    return make


FITTED = ("products", "prefill", "decode", "norm", "activation")


@pytest.fixture(scope="session")
def fitted_samples(measure_as: MeasureAs, operators_of: Callable[[str], list[Operator]]) -> list[Measurement]:
    """Samples of a run of probes on the CPU that the law describes, with 3% noise."""
    return [each for seed, what in enumerate(FITTED) for each in measure_as(operators_of(what), seed=seed)]


@pytest.fixture(scope="session")
def fitted_machine(small_cpu: DeviceSpec, fitted_samples: list[Measurement]) -> Calibrations:
    """Its calibration."""
    about = {
        "date": DAY,
        "processor.model": 'Small "CPU"',
        "remark.0": "noisy\nneighbours",
        "software.libraries.x": "1",
    }
    return fit_machine(small_cpu, fitted_samples, about, DAY)
