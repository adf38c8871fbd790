"""A collective library from measured collectives (nccl-tests, rccl-tests, torch.distributed) of one kind of device.

The values of an existing library (NCCL) are the start; those that the rows show are fitted (``collectives``), and hold
on this device; all others stay. How far off the fit is comes from fits that left each message size out in turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from hardware_specs.files import write_text
from hardware_specs.records import DeviceSpec
from hardware_specs.systems import links_of, system_for
from simulator.calibration.collectives import CollectiveSample, Free, collective_log_ratios, fit_collectives
from simulator.calibration.foreign.collective_rows import nodes_of
from simulator.calibration.link_fit import MOST_FOLDS, LeftOut, fit_table, toml_text
from simulator.calibration.samples import Measurement
from simulator.calibration.split import folds_of
from simulator.kernels.collectives import Library
from simulator.network.communicator import Communicator
from simulator.network.topology import Network
from workloads.collectives.catalogue import load_library
from workloads.collectives.record import VALUES
from workloads.operators import COLLECTIVES, OpKind

_US: Final = 1e-6
_SMALL: Final = 65536.0
"""Largest message whose time is start-up, mostly [B]."""
_LARGE: Final = float(1 << 24)
"""Smallest message whose time is its bytes, mostly [B]."""
_RING: Final = (OpKind.ALL_REDUCE, OpKind.ALL_GATHER, OpKind.REDUCE_SCATTER)
_FEWEST_BETWEEN: Final = 3
_LEAST_EFFECT: Final = 1e-3
"""Change of the log predictions of all rows below which another value explains them as well."""
_HALVINGS: Final = 10


class _Rows(NamedTuple):
    """Which rows show a value: kinds, and the range of messages of which so many sizes must be there."""

    kinds: tuple[OpKind, ...]
    least: float
    most: float
    sizes: int = 1


class _Candidate(NamedTuple):
    """A value that may be fitted, its range, the rows that show it, and where."""

    name: str
    low: float
    high: float
    rows: _Rows
    holds: Callable[[Communicator], bool]


def _inside(group: Communicator) -> bool:
    return group.outer.size <= 1.0


def _between(group: Communicator) -> bool:
    return group.outer.size > 1.0


def _reduces(group: Communicator) -> bool:
    return group.inner.in_network > 0.0 and group.inner.size > 2.0


def _anywhere(group: Communicator) -> bool:
    return True


_PAIRS: Final = (OpKind.ALL_TO_ALL, OpKind.SEND_RECV)
_MIDDLE: Final = _Rows(_RING, _SMALL, _LARGE, _FEWEST_BETWEEN)
_CANDIDATES: Final[tuple[_Candidate, ...]] = (
    _Candidate("setup", 0.5 * _US, 100 * _US, _Rows((*_RING, *_PAIRS), 1.0, _SMALL), _anywhere),
    _Candidate("simple_efficiency", 0.02, 1.3, _Rows(_RING, _LARGE, np.inf), _inside),
    _Candidate("ll128_efficiency", 0.02, 1.0, _MIDDLE, _inside),
    _Candidate("simple_start", 0.1 * _US, 100 * _US, _MIDDLE, _inside),
    _Candidate("network_simple_efficiency", 0.02, 1.3, _Rows(_RING, _LARGE, np.inf), _between),
    _Candidate("network_ll128_efficiency", 0.02, 1.0, _MIDDLE, _between),
    _Candidate("in_switch_efficiency", 0.02, 1.0, _Rows((OpKind.ALL_REDUCE,), _LARGE, np.inf), _reduces),
    _Candidate("pair_efficiency", 0.02, 1.3, _Rows((OpKind.ALL_TO_ALL,), _LARGE, np.inf), _inside),
    _Candidate("pair_start", 0.05 * _US, 100 * _US, _Rows(_PAIRS, 1.0, _SMALL), _anywhere),
    _Candidate("send_efficiency", 0.02, 1.3, _Rows((OpKind.SEND_RECV,), _LARGE, np.inf), _inside),
)  # fmt: skip
"""Values that files of nccl-tests can show. ``setup`` and ``pair_start`` add up in sends and all-to-all; without rings,
only ``pair_start`` is fitted."""


@dataclass(frozen=True)
class LibraryFit:
    """Values by name that hold on ``device``, what the fit was made from, and its errors on sizes that it left out."""

    base: str
    device: str
    values: dict[str, float]
    rows: int
    groups: tuple[tuple[int, int], ...]
    sources: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def error(self) -> tuple[float, float]:
        """Median and largest relative error on message sizes left out; NaN where none was."""
        off = [abs(np.expm1(each.log_ratio)) for each in self.left_out]
        return (float(np.median(off)), float(max(off))) if off else (float("nan"), float("nan"))


def library_samples(measurements: Sequence[Measurement], device: DeviceSpec, base: str) -> list[CollectiveSample]:
    """Measured collectives by group of devices, in the usual system of ``device``.

    Raises:
        InputError: a group that the system cannot hold, or no collective among the rows.
        UnknownName: no library ``base``.
    """
    rows: dict[tuple[int, int], list[Measurement]] = defaultdict(list)
    for each in measurements:
        if each.operator.kind in COLLECTIVES and each.operator.group > 1 and each.operator.message_bytes > 0.0:
            rows[each.operator.group, nodes_of(each)].append(each)
    if not rows:
        raise InputError("no collective among the samples; a collective library cannot be fitted")
    found = []
    for (count, nodes), those in sorted(rows.items()):
        group = _communicator(device, count, nodes, base)
        found.append(
            CollectiveSample(
                group,
                (device.id,),
                np.array([int(each.operator.kind) for each in those], np.int64),
                np.array([each.operator.message_bytes for each in those]),
                np.array([each.time_s for each in those]),
            )
        )
    return found


def _communicator(device: DeviceSpec, count: int, nodes: int, base: str) -> Communicator:
    """``count`` devices, spread evenly over ``nodes``."""
    if count % nodes:
        raise InputError(f"{count} ranks on {nodes} nodes: must be the same number on each")
    system = system_for(device, count)
    system = msgspec.structs.replace(system, nodes=nodes) if nodes > system.nodes else system
    group = system.groups[0]
    stride = max(1, group.count * nodes // count) if nodes > 1 else 1
    network = Network(system, links_of(system), device, group, range(group.count * system.nodes))
    return network.communicator(count, stride, base)


def free_values(samples: Sequence[CollectiveSample], device: str) -> list[Free]:
    """The values that ``samples`` show, at ``device``."""
    names = []
    for candidate in _CANDIDATES:
        kinds = [int(kind) for kind in candidate.rows.kinds]
        sizes = {
            size
            for sample in samples
            if candidate.holds(sample.group)
            for kind, size in zip(sample.kinds.tolist(), sample.message_bytes.tolist(), strict=True)
            if kind in kinds and candidate.rows.least <= size <= candidate.rows.most
        }
        if len(sizes) >= candidate.rows.sizes:
            names.append(candidate.name)
    rings = any(int(kind) in sample.kinds for sample in samples for kind in _RING)
    if not rings and "pair_start" in names:
        names.remove("setup")
    return [Free(each.name, each.low, each.high, device) for each in _CANDIDATES if each.name in names]


def fit_library(measurements: Sequence[Measurement], device: DeviceSpec, base: str = "nccl") -> LibraryFit:
    """Fit the values of the library ``base`` that the rows show.

    Raises:
        InputError: no collective, groups that the device's system cannot hold or that are joined by different links,
            or rows that show no value.
        UnknownName: no library ``base``.
    """
    samples = library_samples(measurements, device, base)
    free = free_values(samples, device.id)
    if not free:
        raise InputError(
            f"messages from {min(s.message_bytes.min() for s in samples):g} to "
            f"{max(s.message_bytes.max() for s in samples):g} bytes show no value of a library; measure from 8 bytes "
            "to 1 GiB (-b 8 -e 1G -f 2)"
        )
    start = samples[0].group.library
    if any(sample.group.library != start for sample in samples):
        raise InputError("some of these groups are joined by the network alone, others not; fit their files separately")
    found = _fitted(samples, start, free)
    return LibraryFit(
        base,
        device.id,
        {name: value for (_, name), value in found.items()},
        sum(len(sample.measured_s) for sample in samples),
        tuple(sorted({(int(s.group.size), int(s.group.outer.size)) for s in samples})),
        tuple(sorted({each.source or each.probe for each in measurements})),
        _left_out(samples, start, free),
    )


def _fitted(samples: Sequence[CollectiveSample], base: Library, free: Sequence[Free]) -> dict[tuple[str, str], float]:
    """Values that rows determine. Of one that they only bound (a protocol that is never the cheapest), the nearest to
    that of ``base`` that explains the rows as well; one that explains them as it is is left out."""
    found = fit_collectives(samples, base, free, {})
    for each in free:
        there = (each.place, each.name)
        value, before = found[there], getattr(base, each.name)
        if _effect(samples, base, found, {there: 0.9 * value}) + _effect(samples, base, found, {there: 1.1 * value}):
            continue
        if not _effect(samples, base, found, {there: before}):
            del found[there]
            continue
        for _ in range(_HALVINGS):
            middle = 0.5 * (value + before)
            value, before = (value, middle) if _effect(samples, base, found, {there: middle}) else (middle, before)
        found[there] = value
    return found


def _effect(
    samples: Sequence[CollectiveSample],
    base: Library,
    found: dict[tuple[str, str], float],
    other: dict[tuple[str, str], float],
) -> bool:
    """Whether predictions change with ``other`` values."""
    change = collective_log_ratios(samples, base, {**found, **other}) - collective_log_ratios(samples, base, found)
    return float(np.abs(change).max()) > _LEAST_EFFECT


def _left_out(samples: Sequence[CollectiveSample], base: Library, free: Sequence[Free]) -> tuple[LeftOut, ...]:
    """Every message size by a fit to the others."""
    sizes = sorted({size for sample in samples for size in sample.message_bytes.tolist()})
    fold_of = dict(zip(sizes, folds_of([f"{size:g}" for size in sizes], MOST_FOLDS).tolist(), strict=True))
    found: dict[float, list[float]] = defaultdict(list)
    for fold in sorted(set(fold_of.values())):
        kept = [_of(sample, fold_of, fold, False) for sample in samples]
        out = [_of(sample, fold_of, fold, True) for sample in samples]
        kept, out = ([each for each in part if len(each.measured_s)] for part in (kept, out))
        if not kept or not out:
            continue
        values = fit_collectives(kept, base, free, {})
        ratios = collective_log_ratios(out, base, values)
        for size, ratio in zip(np.concatenate([each.message_bytes for each in out]), ratios, strict=True):
            found[float(size)].append(float(ratio))
    return tuple(LeftOut(size, float(np.median(ratios))) for size, ratios in sorted(found.items()))


def _of(sample: CollectiveSample, fold_of: dict[float, int], fold: int, out: bool) -> CollectiveSample:
    """The rows whose message size is in ``fold``, or is not."""
    here = np.array([(fold_of[size] == fold) == out for size in sample.message_bytes.tolist()], bool)
    return sample._replace(
        kinds=sample.kinds[here], message_bytes=sample.message_bytes[here], measured_s=sample.measured_s[here]
    )


_UNITS: Final = {"s": (1e6, " us"), "bytes": (1.0, " B"), "bytes_per_s": (1e-9, " GB/s"), "number": (1.0, "")}


def library_text(fit: LibraryFit, *, id: str, name: str, date: str) -> str:
    """The TOML file of a library that ``workloads.collectives.catalogue`` reads: as ``fit.base``, but on the device.

    Raises:
        InputError: the id is that of the library that it is like, which it would then hide.
        UnknownName: no library ``fit.base``.
    """
    if id == fit.base:
        raise InputError(f"id {id!r}: must differ from {fit.base!r}, which the new library is like")
    like = load_library(fit.base)
    median, worst = fit.error
    groups = ", ".join(f"{count} devices" + (f" on {nodes} nodes" if nodes > 1 else "") for count, nodes in fit.groups)
    lines = [f"# {name}, measured on {fit.device}", f"name = {toml_text(name)}", f"like = {toml_text(fit.base)}"]
    if like.flat_ring:
        lines.append("flat_ring = true")
    if like.network_ports:
        lines.append(f"network_ports = {like.network_ports}")
    if like.counts_one_rank:
        lines.append("counts_one_rank = true")
    notes = (
        f"Measured among {groups}. Message sizes that fits left out are off by {100.0 * median:.0f}% in the median and "
        f"{100.0 * worst:.0f}% at most. All other values are those of {fit.base}."
    )
    lines += [f"notes = {toml_text(notes)}", "", "[values]", "", f"[on.{toml_text(fit.device)}]"]
    for value_name, value in fit.values.items():
        scale, unit = _UNITS[VALUES[value_name].dimension]
        text = f"{value * scale:.4g}{unit}" if unit else float(f"{value:.4g}")
        lines.append(f"{value_name} = {{ value = {toml_text(text)}, calibrated = {toml_text(id)} }}")
    rule = f"soft-L1 log ratios from the values of {fit.base}; each message size left out in turn"
    return "\n".join([*lines, "", *fit_table(id, fit.sources, rule, date, fit.rows, (fit.device,)), ""])


def write_library(folder: Path, id: str, text: str) -> Path:
    """Write ``text`` as the collective library ``id`` of the data directory ``folder``.

    Raises:
        InputError: the place cannot be written.
    """
    path = folder / "collectives" / f"{id}.toml"
    write_text(path, text)
    return path
