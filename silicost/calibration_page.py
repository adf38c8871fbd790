"""From a calibration and its samples to the page that shows both."""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hardware_specs.calibrations import Calibrations
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec
from reports.calibration import Entry, Headline, MachineCard, Shortfall
from reports.calibration_figures.entries import error_text
from reports.calibration_page import write_calibration
from reports.numbers import binary_size, quantity, share, whole
from reports.palette import family_rank, in_words
from silicost import __version__
from silicost.calibration_machine import (
    caches_of,
    copies_of,
    dispatches_of,
    environment_of,
    groups_of,
    is_call,
    roofs_of,
    scalings_of,
    streams_of,
)
from silicost.calibration_points import (
    cores_of,
    entries_of,
    points_of,
    priced_parts,
    prices_of,
    products_of,
)
from silicost.calibration_shortfalls import UNSETTLED, absent_of, shortfalls_of, width_of
from simulator.calibration.samples import Measurement
from simulator.identity import laws_hash


def write_calibration_page(
    path: Path, found: Calibrations, measurements: Sequence[Measurement], missing: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write the page of a calibration, whole or not at all.

    Args:
        measurements: what it was fitted to, and any others of the same machine.
        missing: why probes could not run, by probe.
        remarks: what makes the figures doubtful.

    Raises:
        InputError: the place cannot be written, or an entry names a parameter that the law does not have.
    """
    write_calibration(path, card_of(found, measurements, missing, remarks))


def card_of(
    found: Calibrations, measurements: Sequence[Measurement], missing: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> MachineCard:  # fmt: skip
    """Everything that the page of a calibration shows.

    Raises:
        InputError: an entry names a parameter that the law does not have.
    """
    spec, cores = found.device, cores_of(found.device)
    environment = environment_of(found.environment)
    priced, unpriced = priced_parts(found, measurements)
    prices = prices_of(priced)
    entries = entries_of(found)
    streams = streams_of(measurements)
    caches = caches_of(spec, environment, found.environment.get("target", ""))
    scalings, dispatches = scalings_of(measurements), dispatches_of(measurements)
    date = date_of(found, measurements)
    shortfalls = [Shortfall("while measuring", text) for text in dict.fromkeys((*remarks, *remarks_in(found)))]
    shortfalls += [Shortfall(runtime, f"not priced here: {why}") for runtime, why in unpriced.items()]
    return MachineCard(
        title=f"Calibration of {spec.name if spec else found.id}",
        device=found.id,
        date=date,
        lead=_lead(spec, cores, date),
        cards=(_peaks(spec, cores, dtypes_of(measurements, cores)), _errors(entries), _samples(found, measurements)),
        absent=absent_of(measurements, cores, streams, scalings, dispatches, missing or {}, found.environment),
        roofs=roofs_of(spec, measurements, streams, caches, cores),
        points=points_of([each for each in measurements if is_call(each, cores)], prices),
        streams=streams,
        caches=caches,
        entries=entries,
        products=products_of(priced),
        scalings=scalings,
        dispatches=dispatches,
        copies=copies_of(measurements),
        power_limit_w=spec.power.tdp.value if spec and spec.power.tdp else math.nan,
        idle_w=idle_w_of(found),
        environment=groups_of(found.environment, environment),
        shortfalls=(*shortfalls, *shortfalls_of(found, entries, measurements, cores, caches, streams)),
        laws_hash=laws_hash(),
        silicost_version=__version__,
    )


def remarks_in(found: Calibrations) -> list[str]:
    """What made the figures doubtful, as the environment of a calibration keeps it."""
    return [text for name, text in found.environment.items() if name.startswith("remark.")]


def idle_w_of(found: Calibrations) -> float:
    """Power of the device at rest [W]; NaN where it was not read."""
    try:
        return float(found.environment.get("power.idle_w", "nan"))
    except ValueError:
        return math.nan


def date_of(found: Calibrations, measurements: Sequence[Measurement]) -> str:
    """When it was measured, ISO: as the environment, the fits or the samples say; "" where none does."""
    dates = [entry.fit.date for entry in found.calibrations if entry.fit.date]
    moments = sorted(each.at for each in measurements if each.at)
    return found.environment.get("date", "") or max(dates, default="") or (moments[-1][:10] if moments else "")


def dtypes_of(measurements: Sequence[Measurement], cores: int) -> list[str]:
    """Number formats of calls on the whole device, sorted."""
    return sorted({each.operator.dtype for each in measurements if is_call(each, cores)})


def _lead(spec: DeviceSpec | None, cores: int, date: str) -> str:
    when = f"Measured on {date}" if date else "Measured"
    if spec is None:
        return f"{when}. It brings no device of its own: predictions stand only in other pages."
    on = f" on {cores} {spec.compute.unit_name or 'unit'}{'s' if cores != 1 else ''}" if cores else ""
    return f"{when}{on}."


def _peaks(spec: DeviceSpec | None, cores: int, measured: Sequence[str]) -> Headline:
    """The card of peaks and bandwidths: of the dtypes that were measured, where any was."""
    if spec is None or not spec.compute.peaks:
        return Headline("Peaks and bandwidths", "highest rate", "none", "no device was calibrated", ())
    ordered = sorted(spec.compute.peaks.items(), key=lambda item: -item[1].value)
    best, *others = [(dtype, fact) for dtype, fact in ordered if dtype in measured] or ordered
    lines = [(f"{dtype} products{_by(fact)}", quantity(fact.value, "flops")) for dtype, fact in others]
    memory = spec.memory.bandwidth
    lines.append((f"{spec.memory.kind} bandwidth{_by(memory)}", quantity(memory.value, "bytes_per_s")))
    if spec.cache is not None:
        cache = spec.cache.bandwidth
        if cache is not None:
            lines.append((f"{spec.cache.kind} bandwidth{_by(cache)}", quantity(cache.value, "bytes_per_s")))
        lines.append((f"{spec.cache.kind} size", binary_size(spec.cache.capacity.value)))
    lines.append((f"{spec.memory.kind} size", quantity(spec.memory.capacity.value, "bytes")))
    where = f"{spec.name}, {cores} {spec.compute.unit_name or 'unit'}{'s' if cores != 1 else ''}"
    name = f"{best[0]} products{_by(best[1])}"
    return Headline("Peaks and bandwidths", name, quantity(best[1].value, "flops"), where, tuple(lines))


def _by(fact: Fact) -> str:
    """A word where a number was not measured here."""
    return "" if fact.mark is Mark.CALIBRATED else f" ({fact.mark.value})"


def _errors(entries: Sequence[Entry]) -> Headline:
    """The card of errors on shapes left out: the middle entry by samples, and each family by dtype."""
    known = [entry for entry in entries if math.isfinite(entry.median) and math.isfinite(entry.mean)]
    title, name = "Error on shapes left out", "median error, weighted by samples"
    if not known:
        return Headline(title, name, "none", "no entry was fitted with shapes left out", ())
    families: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in known:
        families[entry.family][entry.dtype].append(entry)
    lines = [
        (in_words("family", family), ", ".join(f"{_range(own)} {dtype}" for dtype, own in families[family].items()))
        for family in sorted(families, key=family_rank)
    ]
    rows = sum(entry.samples for entry in known)
    worst = max(known, key=lambda entry: entry.mean)
    lines.append(("largest mean error", f"{error_text(worst.mean)} {worst.label}, {worst.dtype}"))
    return Headline(title, name, error_text(_middle(known)), f"{len(known)} entries on {whole(rows)} samples",
                    tuple(lines))  # fmt: skip


def _range(entries: Sequence[Entry]) -> str:
    low, high = error_text(min(map(_median, entries))), error_text(max(map(_median, entries)))
    return low if low == high else f"{low.removesuffix('%').rstrip()} – {high}"


def _median(entry: Entry) -> float:
    return entry.median


def _middle(entries: Sequence[Entry]) -> float:
    """Weighted median of the entries' median errors: half of the samples belong to entries of at most this error."""
    ordered = sorted(entries, key=_median)
    counts = np.cumsum([max(entry.samples, 1) for entry in ordered])
    return ordered[int(np.searchsorted(counts, counts[-1] / 2.0))].median


def _samples(found: Calibrations, measurements: Sequence[Measurement]) -> Headline:
    """The card of the samples."""
    runtimes = sorted({each.runtime for each in measurements if each.runtime})
    dtypes = dtypes_of(measurements, cores_of(found.device))
    widths = [width_of(each) for each in measurements]
    lines = [
        ("number formats", ", ".join(dtypes) or "none"),
        ("runtimes", ", ".join(runtimes) or "none"),
        ("entries fitted", str(len(found.calibrations))),
    ]
    if widths:
        lines.append(("usual 95\u00a0% interval of a median", f"{share(float(np.median(widths)))} wide"))
        lines.append((f"intervals wider than {share(UNSETTLED)}", whole(sum(width > UNSETTLED for width in widths))))
    probes = len({each.probe for each in measurements})
    took = _took(measurements)
    sub = f"{probes} probe{'s' if probes != 1 else ''}" + (f" in {took}" if took else "")
    return Headline("Samples", "measured calls", whole(len(measurements)), sub, tuple(lines))


def _took(measurements: Sequence[Measurement]) -> str:
    """Time from the first to the last sample; "" where that is not known."""
    try:
        moments = [datetime.datetime.fromisoformat(each.at) for each in measurements if each.at]
        seconds = (max(moments) - min(moments)).total_seconds() if moments else 0.0
    except (ValueError, TypeError):
        return ""
    if seconds <= 0.0:
        return ""
    return f"{seconds:.0f} s" if seconds < 120.0 else f"{seconds / 60.0:.0f} min"
