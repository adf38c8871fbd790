"""What NVML says of GPUs, and what it does not say."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.calibration.machine.accelerators import Accelerator, read_accelerators
from simulator.calibration.machine.nvml import Nvml, reasons


def test_a_gpu_that_says_everything(nvml_of: Any, h100: dict[str, Any]) -> None:
    module = nvml_of(h100, nvmlSystemGetDriverVersion=b"550.54.15", nvmlSystemGetCudaDriverVersion_v2=12040)
    assert read_accelerators(Nvml(module), {}) == (
        Accelerator(
            name="NVIDIA H100 80GB HBM3", driver="550.54.15", cuda="12.4", compute_capability="9.0",
            memory_bytes=85520809984, power_limit_w=700.0, power_default_w=700.0, max_clock_hz=1.98e9, clock_hz=1.755e9,
            max_memory_clock_hz=2.619e9, memory_clock_hz=2.619e9, persistence=True, mig=False, ecc=True,
            pcie_generation=5, pcie_lanes=16, throttled="software power cap",
        ),
    )  # fmt: skip


def test_what_a_gpu_does_not_say_is_not_known(nvml_of: Any) -> None:
    assert read_accelerators(Nvml(nvml_of({"Name": "GeForce GTX 1070"})), {}) == (Accelerator(name="GeForce GTX 1070"),)


def test_old_names_of_functions_and_limits_serve(nvml_of: Any) -> None:
    gpu = {"Name": "old", "CurrentClocksThrottleReasons": 0x40, "PowerManagementLimit": 150000}
    (found,) = read_accelerators(Nvml(nvml_of(gpu)), {})
    assert (found.throttled, found.power_limit_w) == ("hardware thermal slowdown", 150.0)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, "abc"),
        ("", ""),
        ("2,0", "ca"),
        ("GPU-b", "b"),
        ("GPU-c,0", "ca"),
        ("1,7,0", "b"),
        ("-1", ""),
        ("0, 2", "ac"),
    ],
)
def test_gpus_that_cuda_may_use(nvml_of: Any, visible: str | None, names: str) -> None:
    module = nvml_of(*({"Name": name, "UUID": f"GPU-{name}-1"} for name in "abc"))
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert "".join(gpu.name for gpu in read_accelerators(Nvml(module), environ)) == names


def test_why_there_is_no_gpu(nvml_of: Any, h100: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert Nvml(nvml_of()).missing == "no NVIDIA GPU"
    failing = Nvml(nvml_of(h100, fails="Driver Not Loaded"))
    assert failing.missing == "no NVIDIA driver that answers (Driver Not Loaded)"
    assert read_accelerators(failing, {}) == ()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert Nvml().missing == "nvidia-ml-py is not installed"


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0, ""),
        (0x1, ""),
        (0x2, ""),
        (0x4, "software power cap"),
        (0x24, "software power cap, software thermal slowdown"),
    ],
)
def test_reasons(bits: int, words: str) -> None:
    assert reasons(bits) == words
