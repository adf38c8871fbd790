"""Parameters that every class shares, and what is assumed of a device whose datasheet is silent."""

from __future__ import annotations

import re

from hardware_specs.records import DeviceSpec
from simulator.devices.registry import Parameter
from simulator.kernels.power import (
    POWER_CHANNELS,
    POWER_LANES,
    POWER_LIMIT,
    POWER_MATH,
    POWER_MEMORY,
    POWER_ROOT,
)

_TDP_OF_A_TERABYTE_W = 310.0
_TDP_EXPONENT = 0.56
"""Power limit over memory bandwidth, TDP = 310 W (B / 1 TB/s)^0.56: a least-squares line through the logarithms of the
162 shipped devices whose datasheet gives both, which scatter by a factor of 1.6 (the dense peak adds nothing to it)."""
_TDP_SHARE_OF_LPDDR = 0.5
"""Parts with phone memory are built for less. Assumed: Jetson Orin, Strix Halo, GB10 and Z1 lie at 0.35 to 0.95."""
_HOST_SHARE = 0.1
"""Share of the rated power that the host of a GPU draws which lies in the same package: a core that polls, and what
feeds it. Assumed, with powers of a Strix Halo package in sight (prompts and decoding alike 95 W of 120)."""
_IDLE_SHARE = {"cpu": 0.35, "gpu": 0.14, "tpu": 0.25, "fpga": 0.30, "asic": 0.30}


def is_sram_resident(spec: DeviceSpec) -> bool:
    """Whether the main memory is the SRAM of the chip itself (Groq, Cerebras, Graphcore)."""
    return "SRAM" in spec.memory.kind


def tdp_w(spec: DeviceSpec) -> float:
    """Sustained power limit [W]; without a datasheet figure that of parts with its memory bandwidth."""
    if spec.power.tdp:
        return spec.power.tdp.value
    terabytes = 0.2 if is_sram_resident(spec) else spec.memory.bandwidth.value / 1e12
    share = _TDP_SHARE_OF_LPDDR if "LPDDR" in spec.memory.kind else 1.0
    return float(share * _TDP_OF_A_TERABYTE_W * terabytes**_TDP_EXPONENT)


def idle_w(spec: DeviceSpec) -> float:
    """Draw with a loaded model at rest [W]; without a figure a share of TDP by class."""
    return spec.power.idle.value if spec.power.idle else _IDLE_SHARE[spec.device_class] * tdp_w(spec)


def half_precision_peak(spec: DeviceSpec) -> float:
    """Dense 16-bit peak [FLOP/s] (fp32's where that is higher), or the best other peak scaled to 16 bit."""
    peaks = spec.compute.peaks
    if "fp16" in peaks and "fp32" in peaks and "bf16" not in peaks:
        return max(peaks["fp16"].value, peaks["fp32"].value)
    for dtype, scale in (("bf16", 1.0), ("fp16", 1.0), ("fp32", 1.0), ("int8", 0.5), ("fp8", 0.5), ("int4", 0.25)):
        if dtype in peaks:
            return peaks[dtype].value * scale
    return max(fact.value for fact in peaks.values())


def vector_peak(spec: DeviceSpec) -> float:
    """fp32 rate of the vector units [FLOP/s]; without a figure a sixteenth of the 16-bit peak."""
    fp32 = spec.compute.peaks.get("fp32")
    return fp32.value if fp32 else half_precision_peak(spec) / 16.0


def static_w(spec: DeviceSpec) -> float:
    """Power of a busy device that does not depend on what it does: idle plus clocks and leakage [W].

    An H200 draws 0.275 of its rated power so (``simulator.kernels.power``): 0.16 of what lies between idle and rated.
    Where GPU and host share package and memory the host's draw is in it.
    """
    host = _HOST_SHARE if spec.device_class == "gpu" and "LPDDR" in spec.memory.kind else 0.0
    return _clocked_w(spec) + host * tdp_w(spec)


def _clocked_w(spec: DeviceSpec) -> float:
    return idle_w(spec) + 0.16 * (tdp_w(spec) - idle_w(spec))


_FMA_J = {16: 27e-12, 12: 14.5e-12, 8: 12e-12, 7: 10.3e-12, 6: 9.3e-12, 5: 7.2e-12, 4: 7.2e-12, 3: 6.0e-12}
"""Energy of one fp32 FLOP of long products on vector units by process node [J]. 16 and 12 nm: what P4, P100 and T4, at
their limit there, draw above idle over what they sustain (calibrations of their products). 7 and 5 nm: 16 nm less 62%,
and 30% less again (TSMC on N7 against N16, and N5 against N7); 8, 6 and 3 nm: assumed in line with these."""
_HBM3_BYTE_J = POWER_MEMORY * 700.0 / 4.8e12
"""Energy of a byte of HBM3 and HBM3e, of moving it through the chip too [J]: what ``POWER_MEMORY`` says of an H200."""
_NODE = re.compile(r"(\d+) ?(nm|N\b)")


def power_memory(spec: DeviceSpec) -> float:
    """Share of the rated power that moving bytes at the full bandwidth adds.

    A byte of HBM3 costs what it costs on H200, so that parts of the same rated power and less bandwidth draw less.
    Memory of phones costs less for each byte, and none of it in the package, which is rated for its compute. Assumed:
    half of the share.
    """
    if "LPDDR" in spec.memory.kind:
        return 0.5 * (POWER_CHANNELS if spec.device_class == "cpu" else POWER_MEMORY)
    if spec.device_class == "cpu":
        return POWER_CHANNELS
    if spec.memory.kind.startswith("HBM3"):
        return min(POWER_MEMORY, _HBM3_BYTE_J * spec.memory.bandwidth.value / tdp_w(spec))
    return POWER_MEMORY


def power_math(spec: DeviceSpec) -> float:
    """Share of the rated power that math at the full peak would add if there were no limit."""
    return POWER_LANES if spec.device_class == "cpu" else POWER_MATH


def power_root(spec: DeviceSpec) -> float:
    """Power of the share of math that it draws by: lanes of a CPU that wait draw little."""
    return 1.0 if spec.device_class == "cpu" else POWER_ROOT


def fma_sustained(spec: DeviceSpec) -> float:
    """Share of the fp32 peak of vector units that the power limit lets long products sustain; 1 where unknown."""
    found = _NODE.search(spec.process_node)
    joules = _FMA_J.get(int(found[1])) if found else None
    if joules is None or not spec.power.tdp:
        return 1.0
    return min(1.0, (tdp_w(spec) - _clocked_w(spec)) / (joules * vector_peak(spec)))


def units(spec: DeviceSpec) -> float:
    """Schedulable units; 1 where unknown."""
    return spec.compute.units.value if spec.compute.units else 1.0


def cache_bytes(spec: DeviceSpec) -> float:
    """Last-level on-chip memory [B]; 0 where unknown or where the main memory is the on-chip memory."""
    return spec.cache.capacity.value if spec.cache else 0.0


def cache_bandwidth(spec: DeviceSpec) -> float:
    """Bandwidth of the on-chip memory [B/s]; without a figure three times the main memory's."""
    if spec.cache and spec.cache.bandwidth:
        return spec.cache.bandwidth.value
    return 3.0 * spec.memory.bandwidth.value


COMMON = (
    Parameter("units", "number", units, "schedulable compute units"),
    Parameter("vector_peak", "flops", vector_peak, "fp32 rate of the vector units"),
    Parameter("cache_bytes", "bytes", cache_bytes, "last-level on-chip memory"),
    Parameter("cache_bandwidth", "bytes_per_s", cache_bandwidth, "bandwidth of the on-chip memory"),
    Parameter("static_w", "w", static_w, "power while busy that does not depend on the work"),
    Parameter("cap_w", "w", tdp_w, "power limit"),
    Parameter("rated_w", "w", tdp_w, "sustained power that the part is built for"),
    Parameter("power_math", "number", power_math, "share of that which math at the full peak would add"),
    Parameter("power_memory", "number", power_memory, "share that bytes at the full bandwidth add"),
    Parameter("power_limit", "number", lambda _: POWER_LIMIT, "share that a device at its limit draws on average"),
    Parameter("power_root", "number", power_root, "power of the share of math that it draws by"),
)
"""Priors that do not depend on the class's physics."""


def free(
    name: str, dimension: str, value: float, low: float, high: float, families: tuple[str, ...], meaning: str
) -> Parameter:
    """A prior that is one number for the whole class, and which fits of ``families`` may move from low to high."""
    return Parameter(name, dimension, lambda _: value, meaning, low, high, families)


def constant(name: str, dimension: str, value: float, meaning: str) -> Parameter:
    """A prior that is one number for the whole class."""
    return Parameter(name, dimension, lambda _: value, meaning)
