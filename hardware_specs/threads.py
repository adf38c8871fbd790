"""A CPU of which software uses some cores only: fewer lanes at a higher clock, and what so few can draw from memory.

Of n cores of N in use, with f the clock and B the bandwidth of the datasheet::

    clock(n)     = boost - (boost - base) / 2 * (n - 1) / (N - 1)       one core at boost, all half way down to base
    peaks        = peaks of the datasheet * n / N * clock(n) / clock(N)
    bandwidth    = min(B, n * what one core draws)

The clock is assumed: vendors publish its ends. A core draws what its line buffers and prefetchers keep in flight
(Little's law: bytes in flight over latency), ``CORE_BYTES_PER_S``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec

CORE_BYTES_PER_S: Final = 45e9
"""What one core of today's client parts draws from memory, assumed: 64 lines of 64 bytes in flight at 91 ns. Server
cores draw less, Apple's alone more; decode rates of two cores of a Ryzen 7950X and of four of an M2 Max agree."""


def usual_clock_gain(spec: DeviceSpec, threads: int = 0) -> float:
    """Clock of so many busy cores (0: all) over the base clock, at which peaks are stated; 1 where it is not known."""
    base, boost = spec.compute.clock_base, spec.compute.clock_boost
    if base is None or boost is None or boost.value <= base.value:
        return 1.0
    cores = spec.compute.units.value if spec.compute.units else 1.0
    used = min(float(threads), cores) if threads else cores
    down = (used - 1.0) / (cores - 1.0) if cores > 1.0 else 0.0
    return (boost.value - 0.5 * (boost.value - base.value) * down) / base.value


def with_threads(spec: DeviceSpec, threads: int) -> DeviceSpec:
    """``spec`` with ``threads`` of its cores in use; itself where it has no more, or does not count them."""
    cores = spec.compute.units
    if cores is None or not 0 < threads < cores.value:
        return spec
    share = threads / cores.value * usual_clock_gain(spec, threads) / usual_clock_gain(spec)
    why = f"{threads} of {cores.text} cores in use"
    compute = msgspec.structs.replace(
        spec.compute,
        units=_assumed(cores, float(threads), why),
        peaks={name: _assumed(fact, fact.value * share, why) for name, fact in spec.compute.peaks.items()},
    )
    drawn = min(spec.memory.bandwidth.value, threads * CORE_BYTES_PER_S)
    memory = msgspec.structs.replace(spec.memory, bandwidth=_assumed(spec.memory.bandwidth, drawn, why))
    return msgspec.structs.replace(spec, compute=compute, memory=memory)


def _assumed(whole: Fact, value: float, why: str) -> Fact:
    text = f"{value / whole.value:.4g} of {whole.text}"
    return msgspec.structs.replace(whole, value=value, text=text, mark=Mark.ASSUMED, origin=f"{why}; {whole.origin}")
