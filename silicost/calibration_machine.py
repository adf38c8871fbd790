"""What samples say of a machine by themselves: roofs, streams and caches, thread scaling, dispatch, the environment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from reports.calibration import CacheMark, Copy, Dispatch, Group, Roof, Scaling, StreamPoint
from silicost.calibration_points import kind_word, what_of
from simulator.calibration.machine.environment import Environment
from simulator.calibration.machine.environment_rows import environment_rows
from simulator.calibration.samples import Measurement
from workloads.operators import COLLECTIVES, OpKind

_DISPATCH_WORDS: Final = frozenset({"dispatch", "eager", "latency"})
_DISPATCH_WAYS: Final = ("eager", "latency", "graph", "queued")
_DISPATCH_PROBES: Final = ("torch.launch", "dispatch")
_REGISTERS: Final = "registers"
_SCALING: Final = "scaling"
_IN_CACHE: Final = 0.9
"""Arrays of at most this part of a cache lie in it."""
_FROM_MEMORY: Final = 0.8
"""Arrays of this part of the largest ones, or more, come from memory as those do."""
_GROUPS: Final = (
    ("machine", ("date", "system", "hypervisor", "container", "CPU", "instruction sets", "caches", "memory", "GPU")),
    ("allowance", ("usable",)),
    ("software", ("Python", "silicost", "libraries", "BLAS", "torch")),
    ("settings", ("clocks", "variables", "allocator", "settings")),
)
"""Groups of the environment, and the first words of the names of their rows."""


def is_dispatch(each: Measurement) -> bool:
    """Whether a measurement is of what it takes to start a call."""
    return bool(_DISPATCH_WORDS & set(each.variant.split())) or each.probe.startswith(_DISPATCH_PROBES)


def is_call(each: Measurement, cores: int) -> bool:
    """Whether a measurement is of a call on the whole device that stands under its roofs."""
    return each.threads in (0, cores) and not is_dispatch(each) and each.variant != _REGISTERS and not is_copy(each)


def is_copy(each: Measurement) -> bool:
    """Whether a measurement is of a message: between memories, a drive, devices."""
    return each.operator.message_bytes > 0.0


def roofs_of(
    spec: DeviceSpec | None, measurements: Sequence[Measurement], streams: Sequence[StreamPoint],
    caches: Sequence[CacheMark], cores: int,
) -> tuple[Roof, ...]:  # fmt: skip
    """Peaks and bandwidths of the calibrated device, then what probes saw in registers and in single caches."""
    if spec is None:
        return ()
    roofs = [Roof(dtype, "peak", fact.value, dtype) for dtype, fact in spec.compute.peaks.items()]
    roofs.append(Roof(spec.memory.kind, "memory", spec.memory.bandwidth.value))
    if spec.cache is not None and spec.cache.bandwidth is not None:
        roofs.append(Roof("cache" if len(caches) > 1 else spec.cache.kind, "cache", spec.cache.bandwidth.value))
    whole = [point for point in streams if point.threads in (0, cores)]
    below = 0.0
    for mark in sorted(caches, key=lambda mark: mark.all_bytes):
        own = [point.rate for point in whole if below < point.set_bytes <= _IN_CACHE * mark.all_bytes]
        roofs += [Roof(mark.label, "cache", max(own), fitted=False)] if own else []
        below = mark.all_bytes
    registers: dict[str, float] = defaultdict(float)
    for each in measurements:
        o = each.operator
        if each.variant == _REGISTERS and each.threads in (0, cores):
            registers[o.dtype] = max(registers[o.dtype], o.vector_flops / each.time_s)
    roofs += [Roof("multiply-adds in registers", "vector", rate, dtype, False) for dtype, rate in registers.items()]
    return tuple(roofs)


def streams_of(measurements: Sequence[Measurement]) -> tuple[StreamPoint, ...]:
    """Bandwidths of streams by what they do, threads and bytes of their arrays."""
    points = []
    for each in measurements:
        o = each.operator
        if _is_stream(each) and o.moved_bytes > 0.0 and each.variant != _SCALING:
            name = " ".join(word for word in each.variant.split() if word != "graph") or o.name
            rates = [o.moved_bytes / seconds for seconds in (each.time_s, each.high_s, each.low_s)]
            points.append(StreamPoint(name, each.threads, _set_bytes(each), *rates))
    return tuple(sorted(points, key=lambda point: (point.stream, point.threads, point.set_bytes)))


def caches_of(spec: DeviceSpec | None, environment: Environment | None, target: str) -> tuple[CacheMark, ...]:
    """Data caches that the measured cores reach, the first level first; of a GPU the one of its spec."""
    if environment is not None and target != "gpu":
        found = [cache for cache in environment.processor.caches if cache.kind != "instruction" and cache.usable]
        if found:
            return tuple(
                CacheMark(f"L{cache.level}", float(cache.bytes), float(cache.bytes * cache.usable))
                for cache in sorted(found, key=lambda cache: cache.level)
            )
    if spec is None or spec.cache is None:
        return ()
    return (CacheMark(spec.cache.kind, spec.cache.capacity.value, spec.cache.capacity.value),)


def scalings_of(measurements: Sequence[Measurement]) -> tuple[Scaling, ...]:
    """Calls that ran on several numbers of threads: how many times as fast as on the fewest."""
    most = max((_set_bytes(each) for each in measurements if _is_stream(each)), default=0.0)
    groups: dict[tuple[object, ...], dict[int, float]] = defaultdict(dict)
    names: dict[tuple[object, ...], tuple[str, str]] = {}
    for each in measurements:
        if each.threads < 1 or is_copy(each) or (_is_stream(each) and _set_bytes(each) < _FROM_MEMORY * most):
            continue
        key, what, work = _scaled(each)
        names[key] = (what, each.operator.family)
        groups[key][each.threads] = max(groups[key].get(each.threads, 0.0), work / each.time_s)
    found = []
    for key, rates in groups.items():
        threads = tuple(sorted(rates))
        if len(threads) > 1:
            speedups = tuple(rates[each] / rates[threads[0]] for each in threads)
            found.append(Scaling(*names[key], threads, speedups))
    return tuple(found)


def _scaled(each: Measurement) -> tuple[tuple[object, ...], str, float]:
    """What a call is apart from its threads, in words, and its work: bytes, FLOPs, or the call itself."""
    o, of = each.operator, f", {each.runtime}" if each.runtime else ""
    if _is_stream(each):
        name = each.variant if each.variant != _SCALING else "stream"
        return ("stream", each.runtime, name), f"{name or o.name} from memory{of}", o.moved_bytes
    if each.variant == _REGISTERS:
        return (_REGISTERS, o.dtype), f"multiply-adds in registers, {o.dtype}", o.vector_flops
    sizes = (o.kind, o.dtype, o.m, o.n, o.k, o.batch, o.heads, o.kv_heads)
    return (each.probe, each.runtime, o.name, each.variant, *sizes), f"{what_of(each)}{of}", 1.0


def _is_stream(each: Measurement) -> bool:
    return each.operator.kind == OpKind.STREAM_COPY


def _set_bytes(each: Measurement) -> float:
    return each.operator.moved_bytes / max(each.operator.batch, 1.0)


def dispatches_of(measurements: Sequence[Measurement]) -> tuple[Dispatch, ...]:
    """What it takes to start calls."""
    found = []
    for each in measurements:
        if is_dispatch(each):
            o, word = each.operator, each.operator.name.split(".")[-1]
            sizes = f", {o.m:g} × {o.n:g}" if o.m * o.n > 1.0 else ""
            ways = [part for part in each.variant.split() if part in _DISPATCH_WAYS]
            more = [part for part in each.variant.split() if part not in (*ways, "dispatch", word)]
            what = " ".join([word if word != "launch" else kind_word(o.kind), *more])
            way = " ".join(ways) or each.runtime or each.probe
            found.append(Dispatch(f"{what}{sizes}", way, o.dtype, each.time_s, each.low_s, each.high_s))
    return tuple(found)


def copies_of(measurements: Sequence[Measurement]) -> tuple[Copy, ...]:
    """Messages of any size: copies, transfers, collectives."""
    found = []
    for each in measurements:
        if is_copy(each):
            o = each.operator
            group = f" over {o.group}" if o.kind in COLLECTIVES else ""
            name = o.name if o.kind == OpKind.TRANSFER else kind_word(o.kind)
            what = f"{name.replace('.', ' ')}{group}"
            found.append(Copy(what, each.variant, o.message_bytes, each.time_s, each.low_s, each.high_s))
    return tuple(sorted(found))


def environment_of(texts: Mapping[str, str]) -> Environment | None:
    """The environment that a calibration was made in; None where its texts cannot be read as one."""
    try:
        return Environment.from_texts(texts) if texts else None
    except InputError:
        return None


def groups_of(texts: Mapping[str, str], environment: Environment | None) -> tuple[Group, ...]:
    """The environment as groups of rows; texts that belong to none of its facts follow as they are."""
    rows = environment_rows(environment) if environment is not None else ()
    known = set(environment.as_texts()) if environment is not None else set()
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name, _ in _GROUPS}
    for name, value in rows:
        group = next((group for group, words in _GROUPS if name.startswith(words) and name != "settings"), "machine")
        if name.startswith("settings"):
            group = "settings"
        groups[group].append((name, value))
    others = [(name, value) for name, value in texts.items() if name not in known]
    return tuple(Group(name, tuple(found)) for name, found in [*groups.items(), ("run", others)] if found)
