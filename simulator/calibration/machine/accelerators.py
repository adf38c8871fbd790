"""GPUs: what they are and how they are set, as NVML says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from simulator.calibration.machine.nvml import MEMORY_CLOCK, SM_CLOCK, Nvml, reasons

_MHZ, _MW = 1e6, 1e-3


class Accelerator(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU; None or "": the GPU or its driver does not say.

    Args:
        driver, cuda: versions of the driver and of CUDA that it supports.
        power_limit_w, power_default_w: limit that is enforced, and the one it came with [W].
        max_clock_hz, clock_hz: of the streaming multiprocessors, at most and at the time of reading [Hz].
        max_memory_clock_hz, memory_clock_hz: of the memory [Hz].
        mig, ecc, persistence: whether the mode is on.
        pcie_generation, pcie_lanes: the best that GPU and slot can do together, and the lanes in use.
        throttled: what held its clocks down at the time of reading.
    """

    name: str = ""
    driver: str = ""
    cuda: str = ""
    compute_capability: str = ""
    memory_bytes: int | None = None
    power_limit_w: float | None = None
    power_default_w: float | None = None
    max_clock_hz: float | None = None
    clock_hz: float | None = None
    max_memory_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    persistence: bool | None = None
    mig: bool | None = None
    ecc: bool | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None
    throttled: str = ""


def read_accelerators(nvml: Nvml, environ: Mapping[str, str]) -> tuple[Accelerator, ...]:
    """The GPUs that CUDA programs may use."""
    return tuple(_accelerator(nvml, device) for device in nvml.devices(environ))


def _accelerator(nvml: Nvml, device: Any) -> Accelerator:
    def scaled(name: str, scale: float, *arguments: Any) -> float | None:
        answer = nvml.ask(name, device, *arguments)
        return None if answer is None else answer * scale

    def is_on(name: str) -> bool | None:
        answer = nvml.ask(name, device)
        now = answer[0] if isinstance(answer, (list, tuple)) else answer
        return None if now is None else bool(now)

    cuda = nvml.ask("nvmlSystemGetCudaDriverVersion_v2")
    capability = nvml.ask("nvmlDeviceGetCudaComputeCapability", device)
    memory = nvml.ask("nvmlDeviceGetMemoryInfo", device)
    limit = scaled("nvmlDeviceGetEnforcedPowerLimit", _MW)
    return Accelerator(
        name=nvml.ask("nvmlDeviceGetName", device) or "",
        driver=nvml.ask("nvmlSystemGetDriverVersion") or "",
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        compute_capability=".".join(map(str, capability)) if capability else "",
        memory_bytes=None if memory is None else int(memory.total),
        power_limit_w=scaled("nvmlDeviceGetPowerManagementLimit", _MW) if limit is None else limit,
        power_default_w=scaled("nvmlDeviceGetPowerManagementDefaultLimit", _MW),
        max_clock_hz=scaled("nvmlDeviceGetMaxClockInfo", _MHZ, SM_CLOCK),
        clock_hz=scaled("nvmlDeviceGetClockInfo", _MHZ, SM_CLOCK),
        max_memory_clock_hz=scaled("nvmlDeviceGetMaxClockInfo", _MHZ, MEMORY_CLOCK),
        memory_clock_hz=scaled("nvmlDeviceGetClockInfo", _MHZ, MEMORY_CLOCK),
        persistence=is_on("nvmlDeviceGetPersistenceMode"),
        mig=is_on("nvmlDeviceGetMigMode"),
        ecc=is_on("nvmlDeviceGetEccMode"),
        pcie_generation=nvml.ask("nvmlDeviceGetMaxPcieLinkGeneration", device),
        pcie_lanes=nvml.ask("nvmlDeviceGetCurrPcieLinkWidth", device),
        throttled=reasons(nvml.throttled(device) or 0),
    )
