"""The machine that was measured as a device: what the operating system says, and the best that probes reached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.records import Cache, Compute, DeviceSpec, Memory
from hardware_specs.units import format_quantity
from simulator.calibration.samples import Measurement
from workloads.operators import OpKind

_SOURCE: Final = "the operating system of the machine"
_PRODUCTS: Final = (OpKind.GEMM, OpKind.BATCHED_GEMM)
_OUTSIDE: Final = 3.0
"""Streams of more than so many times the last-level cache come from memory."""
_INSIDE: Final = (0.06, 0.6)
"""Parts of the last-level cache that streams fill which come from it: less may come from caches above."""


class Hardware(NamedTuple):
    """What the operating system says of a machine.

    ``cores`` are those that may be used; ``cache_bytes`` is the last-level cache (0: unknown) called ``cache_kind``.
    """

    id: str
    name: str
    vendor: str
    cores: int
    memory_bytes: float
    cache_bytes: float
    cache_kind: str = "last-level cache"
    memory_kind: str = "DRAM"


def cpu_device(hardware: Hardware, measurements: Sequence[Measurement], runtime: str, date: str) -> DeviceSpec:
    """The device of a CPU.

    Args:
        measurements: of any probes; peaks come from products, bandwidths from streams.
        runtime: id of the runtime that the device is used with by default.
        date: of the measurements, ISO.

    Raises:
        InputError: no product or no stream was measured, or no product on all cores.
    """
    own = [each for each in measurements if each.threads in (0, hardware.cores)]
    peaks = _peaks(own)
    memory, cache = _bandwidths(own, hardware.cache_bytes)
    elsewhere = {each.threads for each in measurements if each.operator.kind in _PRODUCTS} - {0, hardware.cores}
    if not peaks and elsewhere:
        raise InputError(
            f"{hardware.id}: its products ran on {max(elsewhere)} threads, not on all {hardware.cores} cores; unset "
            "OMP_NUM_THREADS, or install threadpoolctl"
        )
    if not peaks or memory <= 0.0:
        raise InputError(
            f"{hardware.id}: the samples hold no {'matrix product' if not peaks else 'stream from memory'}; "
            "measure for longer (--budget)"
        )
    fits = {
        what: Fit(f"{hardware.id}-{what}", (), rule, date, (hardware.id,), len(own))
        for what, rule in (
            ("peaks", "highest rate of any product, or multiply-adds in registers, that probes measured"),
            ("bandwidths", "highest rate of any stream that probes measured at this level"),
        )
    }
    return DeviceSpec(
        id=hardware.id,
        device_class="cpu",
        vendor=hardware.vendor or "unknown",
        name=hardware.name,
        default_runtime=runtime,
        compute=Compute(
            {dtype: _fitted(rate, "flops", fits["peaks"]) for dtype, rate in peaks.items()},
            units=_told(float(hardware.cores), "number", date),
            unit_name="core",
        ),
        memory=Memory(
            hardware.memory_kind,
            _told(hardware.memory_bytes, "bytes", date),
            _fitted(memory, "bytes_per_s", fits["bandwidths"]),
        ),
        cache=Cache(
            hardware.cache_kind,
            _told(hardware.cache_bytes, "bytes", date),
            _fitted(max(cache, memory), "bytes_per_s", fits["bandwidths"]),
        )
        if hardware.cache_bytes > 0.0
        else None,
        year=int(date[:4]),
        notes="Measured by silicost calibrate cpu.",
    )


def _peaks(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Highest rate of products, or of multiply-adds in registers, by dtype [FLOP/s]."""
    found: dict[str, float] = defaultdict(float)
    for each in measurements:
        o = each.operator
        if o.kind in _PRODUCTS or (each.variant == "registers" and o.dtype in found):
            found[o.dtype] = max(found[o.dtype], (o.flops or o.vector_flops) / each.time_s)
    return dict(found)


def _bandwidths(measurements: Sequence[Measurement], cache_bytes: float) -> tuple[float, float]:
    """Highest rates of streams from memory and from the last-level cache [B/s]; 0 where none was measured.

    Without streams from memory, the weights of products of one row say what they reached.
    """
    memory, cache, weights = 0.0, 0.0, 0.0
    for each in measurements:
        o = each.operator
        if o.kind == OpKind.STREAM_COPY:
            # Short streams pass over their arrays several times in a call.
            filled, rate = o.moved_bytes / o.batch / max(cache_bytes, 1.0), o.moved_bytes / each.time_s
            if filled > _OUTSIDE:
                memory = max(memory, rate)
            elif _INSIDE[0] <= filled <= _INSIDE[1]:
                cache = max(cache, rate)
        elif o.kind in _PRODUCTS and o.m == 1.0:
            weights = max(weights, o.weight_bytes / each.time_s)
    return memory or weights, cache


def _fitted(value: float, dimension: str, fit: Fit) -> Fact:
    text = format_quantity(value, dimension)
    return Fact(value, dimension, text, Mark.CALIBRATED, fit.rule, fit.date, fit)


def _told(value: float, dimension: str, date: str) -> Fact:
    return Fact(value, dimension, format_quantity(value, dimension), Mark.SOURCED, _SOURCE, date)
