"""Where a calibration says little, and what was not measured: what a user must know before a decision rests on it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from hardware_specs.calibrations import Calibrations
from reports.calibration import CacheMark, Dispatch, Entry, Scaling, Shortfall, StreamPoint
from reports.calibration_figures.entries import error_text
from reports.calibration_figures.parameters import row_of
from reports.numbers import number, quantity, share, whole
from silicost.calibration_machine import is_call
from silicost.calibration_points import kind_word
from simulator.calibration.machine_fit import FEWEST, Part, parts_of
from simulator.calibration.samples import Measurement
from workloads.operators import COLLECTIVES, OpKind

UNSETTLED: Final = 0.1
"""Width of the 95% interval of a median, relative to it, from which on a sample counts as disturbed."""
_POOR: Final = 0.4
"""Mean error on shapes left out from which on an entry is named among what falls short."""
_LITTLE: Final = 0.85
"""Part of the priors' error from which on an entry is hardly better than they are."""
_FEW_SHAPES: Final = 4
_MOST_NAMED: Final = 3
_MANY_TIMES: Final = 10.0
"""Width from which on it is told as a multiple, not in percent."""
_NOT_FITTED: Final = frozenset({OpKind.STREAM_COPY, OpKind.TRANSFER, *COLLECTIVES})
"""Kinds that bandwidths and links come from, not entries."""


def absent_of(
    measurements: Sequence[Measurement], cores: int, streams: Sequence[StreamPoint], scalings: Sequence[Scaling],
    dispatches: Sequence[Dispatch], missing: Mapping[str, str], environment: Mapping[str, str],
) -> tuple[Shortfall, ...]:  # fmt: skip
    """What was not measured, and why: as probes said, else that no sample is of it."""
    calls = [each for each in measurements if is_call(each, cores)]
    families = {each.operator.family for each in calls if each.operator.kind != OpKind.STREAM_COPY}
    there = {
        "memory hierarchy": bool(streams),
        "matrix products": "gemm" in families,
        "attention, prefill": "attention_prefill" in families,
        "attention, decode": "attention_decode" in families,
        "vector operators": "vector" in families,
        "thread scaling": bool(scalings) or cores == 1 or not any(each.threads for each in measurements),
        "dispatch": bool(dispatches),
        "power": any(math.isfinite(each.power_w) for each in measurements),
    }
    whys = {
        "memory hierarchy": "no sample is a stream; bandwidths come from vector operators and weights of products",
        "power": environment.get("power.missing", "nothing read the power during any call"),
        "thread scaling": "no call ran on several numbers of threads",
    }
    found = [Shortfall(name, whys.get(name, "no sample is of it")) for name, here in there.items() if not here]
    return (*found, *(Shortfall(probe, reason) for probe, reason in missing.items()))


def shortfalls_of(
    found: Calibrations, entries: Sequence[Entry], measurements: Sequence[Measurement], cores: int,
    caches: Sequence[CacheMark], streams: Sequence[StreamPoint],
) -> list[Shortfall]:  # fmt: skip
    """Where a calibration says little, the most important first."""
    return [
        *_without_entry(found, measurements, cores),
        *_poor(entries),
        *_disturbed(measurements),
        *_undetermined(entries),
        *_untold_caches(caches, streams),
    ]


def _without_entry(found: Calibrations, measurements: Sequence[Measurement], cores: int) -> list[Shortfall]:
    """Measured kinds that no entry of their own is for."""
    parts = [part for part in parts_of(measurements, cores) if part.kinds[0] not in _NOT_FITTED]
    whole_parts = {(part.runtime, kind, part.dtype) for part in parts for kind in part.kinds}
    own = {
        (runtime, name, dtype)
        for entry in found.calibrations
        if entry.held_out_error_shape is not None
        for runtime in entry.runtimes
        for name in entry.operators
        for dtype in entry.dtypes
    }
    as_good = [part for part in parts if (part.runtime, part.kinds[0].name.lower(), part.dtype) not in own]
    shortfalls = []
    if as_good:
        names = _listed([_part_word(part) for part in as_good])
        why = (
            f"{names}: no fit was closer to shapes that it left out than the priors of the class are; predictions come "
            "from an entry for all vector operators, or from the priors"
        )
        shortfalls.append(Shortfall("no entry of their own", why))
    few: dict[tuple[str, OpKind, str], int] = defaultdict(int)
    for each in measurements:
        kind = (each.runtime, each.operator.kind, each.operator.dtype)
        if each.runtime and is_call(each, cores) and kind not in whole_parts and kind[1] not in _NOT_FITTED:
            few[kind] += 1
    if few:
        names = _listed([f"{kind_word(kind)} in {dtype} ({count})" for (_, kind, dtype), count in few.items()])
        shortfalls.append(Shortfall("too few samples", f"{names}: an entry takes {FEWEST}"))
    return shortfalls


def _part_word(part: Part) -> str:
    return f"{kind_word(part.kinds[0])} in {part.dtype} ({part.runtime})"


def _poor(entries: Sequence[Entry]) -> list[Shortfall]:
    """Entries that are far off on shapes left out, hardly better than priors, or that rest on few shapes."""
    known = [entry for entry in entries if math.isfinite(entry.mean)]
    far = sorted((entry for entry in known if entry.mean >= _POOR), key=lambda entry: -entry.mean)
    little = [entry for entry in known if entry.mean >= _LITTLE * entry.unseen]
    few = [entry for entry in known if 0 < entry.shapes < _FEW_SHAPES]
    shortfalls = []
    if far:
        names = _listed([f"{_entry_word(entry)} ({error_text(entry.mean)})" for entry in far])
        shortfalls.append(Shortfall("far off on new shapes", f"{names}: mean error on shapes that fits left out"))
    if little:
        names = _listed([_entry_word(entry) for entry in little])
        shortfalls.append(Shortfall("hardly better than priors", f"{names}: measuring gained less than a sixth"))
    if few:
        names = _listed([_entry_word(entry) for entry in few])
        shortfalls.append(Shortfall("few shapes", f"{names}: fewer than {_FEW_SHAPES} were measured"))
    return shortfalls


def _entry_word(entry: Entry) -> str:
    return f"{entry.label} in {entry.dtype}"


def width_of(each: Measurement) -> float:
    """Width of the 95% interval of a sample's median, relative to it."""
    return (each.high_s - each.low_s) / each.time_s


def _disturbed(measurements: Sequence[Measurement]) -> list[Shortfall]:
    """Samples whose median stayed uncertain."""
    wide = sorted((each for each in measurements if width_of(each) > UNSETTLED), key=lambda each: -width_of(each))
    if not wide:
        return []
    each = wide[0]
    what = f"{kind_word(each.operator.kind)} of {quantity(each.time_s, 's')} in {each.operator.dtype}"
    width = width_of(each)
    most = error_text(width) if width < _MANY_TIMES else f"{number(width)}\u00a0×"
    why = (
        f"of {whole(len(wide))} of {whole(len(measurements))} samples the 95\u00a0% interval is wider than "
        f"{share(UNSETTLED)} of the median (at most {most}, {what}): something else had the "
        "processor, or the call itself varies"
    )
    return [Shortfall("disturbed samples", why)]


def _undetermined(entries: Sequence[Entry]) -> list[Shortfall]:
    """Parameters whose interval covers most of their range."""
    rows = [(entry, row_of(parameter)) for entry in entries for parameter in entry.parameters]
    known = [row for _, row in rows if row.interval]
    undetermined = sum(row.open for row in known)
    if not undetermined:
        return []
    why = (
        f"{undetermined} of {len(known)} have 95\u00a0% intervals over most of their range: do not read them as "
        "properties of the machine"
    )
    return [Shortfall("parameters that samples do not determine", why)]


def _untold_caches(caches: Sequence[CacheMark], streams: Sequence[StreamPoint]) -> list[Shortfall]:
    if len(caches) > 1 or not streams:
        return []
    return [Shortfall("cache levels", "the sizes of single caches are not known, so that only one level is marked")]


def _listed(names: Sequence[str]) -> str:
    named = ", ".join(names[: 2 * _MOST_NAMED])
    return named if len(names) <= 2 * _MOST_NAMED else f"{named} and {len(names) - 2 * _MOST_NAMED} more"
