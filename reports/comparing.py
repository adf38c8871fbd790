"""Two or more results, served runs, studies or scorecards beside each other, the first being the measure of the others.

The chance that one is better than the first comes from their 80% intervals alone: logarithms of both are taken as
normal, each with the spread of the side that faces the other, and their errors as independent. Errors that both share
(one device, one law) cancel in truth, so that a chance near one half is then further from it: ``silicost chance``
knows which are shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError
from reports.capacity import CapacityCard
from reports.compared import Compared, Comparison, Difference, MetricRow
from reports.headline import metrics_of
from reports.numbers import cell_of, metric_of, quantity, whole
from reports.page_data import Page
from reports.recommendation import Recommendation
from reports.scorecard import KINDS, Scorecard
from reports.serving import Measured, ServedCard
from reports.study import StudyCard, measure_of
from reports.text import labels_of, lowered, short
from simulator.result import Result

Z_80: Final = NormalDist().inv_cdf(0.9)
"""Half of an 80% interval in standard deviations."""
MOST: Final = 20
"""So many have room beside each other on a page."""
MOST_INPUTS: Final = 40
"""Input numbers that differ and are listed; beyond, they are counted."""
_BETTER_HIGH: Final = ("per_s", "goodput", "attainment", "hit_rate", "completed")
_SCORED: Final = {"mape": "lower", "median_ape": "lower", "bias": "", "coverage_80": "", "coverage_95": "", "n": ""}


_FIGURES: Final = {
    "mape": "MAPE", "median_ape": "median APE", "coverage_80": "within the 80 % interval",
    "coverage_95": "within the 95 % interval", "n": "rows",
}  # fmt: skip


class Value(NamedTuple):
    """A number of an entry, with what is known of it: ends of its 80% and of its 95% interval (``lowest``)."""

    title: str
    dimension: str
    better: str
    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""
    lowest: float = math.nan
    highest: float = math.nan


class Entry(NamedTuple):
    """One of those that are compared.

    Args:
        values: its numbers by name; ``facts``: its configuration in words.
        inputs: numbers that it rests on, in words; they say something beside others of the same ``devices`` only.
        kind: of question; metrics of one name mean different things for different kinds.
        same_as: what is equal where the questions are; "" where that is not known.
        fits: whether it can run at all; what cannot is the best at nothing.
    """

    name: str
    values: Mapping[str, Value]
    facts: Mapping[str, str]
    laws_hash: str
    silicost_version: str
    same_as: str = ""
    devices: str = ""
    kind: str = ""
    inputs: Mapping[str, str] = {}
    fits: bool = True


def entries_of(named: Iterable[tuple[str, Page]]) -> list[Entry]:
    """What pages show, ready to be compared; a page of several results gives one entry for each.

    Raises:
        InputError: a calibration or a what-if, which have commands of their own.
    """
    found: list[Entry] = []
    for name, page in named:
        subject = page.subject
        if isinstance(subject, tuple):
            found += [entry_of_result(result.name, result) for result in named_after(name, subject)]
        elif isinstance(subject, ServedCard):
            found.append(_of_served(name, subject))
        elif isinstance(subject, StudyCard):
            found.append(_of_study(name, subject))
        elif isinstance(subject, Scorecard):
            found.append(_of_scores(name, subject))
        elif isinstance(subject, Recommendation):
            found += _of_recommendation(name, subject)
        elif isinstance(subject, CapacityCard):
            found.append(_of_capacity(name, subject))
        else:
            other = {"calibration": "silicost calibrate compare"}.get(page.form, "its own page")
            raise InputError(f"{name}: is a {page.form}, which has no metrics to compare here; see {other}")
    seen: dict[str, int] = {}
    named_apart = []
    for entry in found:
        seen[entry.name] = seen.get(entry.name, 0) + 1
        times = seen[entry.name]
        named_apart.append(entry if times == 1 else entry._replace(name=f"{entry.name} ({times})"))
    return named_apart


def named_after(name: str, results: Sequence[Result]) -> tuple[Result, ...]:
    """The results of a run, which are called as it is: one by its name, several with their own labels behind it."""
    labels = [name] if len(results) == 1 else [f"{name}: {label}" for label in labels_of(results)]
    return tuple(msgspec.structs.replace(result, name=label) for label, result in zip(labels, results, strict=True))


def compare(entries: Sequence[Entry], title: str = "", lead: str = "") -> Comparison:
    """``entries`` beside each other.

    Raises:
        InputError: fewer than two or more than ``MOST``, or no metric that two of them have.
    """
    if not 2 <= len(entries) <= MOST:
        raise InputError(f"{len(entries)} to compare: must be from 2 to {MOST}")
    names = dict.fromkeys(name for entry in entries for name in entry.values)
    shared = [name for name in names if sum(name in entry.values for entry in entries) > 1]
    if not shared:
        raise InputError(f"{entries[0].name} and {entries[1].name}: have no metric in common, which leaves none")
    rows = tuple(_row(name, entries) for name in shared)
    differences, alike, more = _facts(entries)
    notes = _notes(entries, len(names) - len(shared), more)
    return Comparison(
        title or f"{entries[0].name} beside {_several([entry.name for entry in entries[1:]])}",
        lead, tuple(entry.name for entry in entries), rows, tuple(differences), tuple(alike), notes,
        " ".join(dict.fromkeys(entry.laws_hash for entry in entries)),
        " ".join(dict.fromkeys(entry.silicost_version for entry in entries)),
    )  # fmt: skip


def entry_of_result(name: str, result: Result) -> Entry:
    """A simulated scenario; inputs behind it count as its configuration."""
    values = {}
    for metric in metrics_of([result]):
        about, cell, band = metric_of(metric), cell_of(result, metric), result.intervals.get(metric)
        low, high, *widest = (band.p10, band.p90, band.p2_5, band.p97_5) if band else (math.nan,) * 4
        value = math.nan if cell.value is None else cell.value
        # A fraction of a device's own peak compares a device with itself: it has no best.
        better = "" if about.dimension == "fraction" else about.better
        values[metric] = Value(about.title, about.dimension, better, value, low, high, cell.reason, *widest)
    values["memory_bytes"] = Value("Memory of the fullest device", "bytes", "lower", result.memory.total)
    facts = {key.replace("_", " "): text for key, text in result.asked.items()}
    facts["fits"] = "yes" if result.fits else "no"
    facts |= {f"bound of {phase}": bound for phase, bound in result.bound.items()}
    devices = " + ".join(sorted({pool.device for pool in result.pools}))
    inputs = {row.path or row.what: row.value for row in result.provenance}
    return Entry(
        name, values, facts, result.laws_hash, result.silicost_version, result.scenario_hash, devices, result.kind,
        inputs, result.fits,
    )  # fmt: skip


def _of_served(name: str, card: ServedCard) -> Entry:
    measured = [each for own in card.cards for each in (own.first, *own.others)]
    measured += [each for row in card.latencies for each in row.values]
    values = {each.name: _value(each) for each in measured}
    for row in card.latencies:
        values |= {each.name: _value(each)._replace(title=f"{row.title} {each.title}") for each in row.values}
    facts = {"traffic": card.what}
    facts |= {f"pool {row.name} {what}": text for row in card.pools for what, text in
              (("machines", row.machines), ("runs", row.runs), ("limit", row.limit))}  # fmt: skip
    facts |= {key: text for group in card.prediction for key, text in group.rows}
    return Entry(name, values, facts, card.laws_hash, card.silicost_version, kind="served run")


def _value(each: Measured) -> Value:
    reason = "" if math.isfinite(each.value) else each.reason
    return Value(each.title, each.dimension, _better(each), each.value, each.low, each.high, reason)


def _better(each: Measured) -> str:
    """Which way is good of a number of a served run; "" where none is."""
    if any(word in each.name for word in _BETTER_HIGH):
        return "higher"
    return "lower" if each.dimension in ("s", "j", "usd", "g") and each.name != "duration_s" else ""


def _of_study(name: str, card: StudyCard) -> Entry:
    values = {"feasible": Value("Feasible points", "count", "", float(card.feasible))}
    facts = {key: text for group in card.asked for key, text in group.rows}
    for measure, best in zip(card.metrics, card.best, strict=True):
        known = (best.value, best.low, best.high) if best else (math.nan, math.nan, math.nan)
        why = "" if best else "no feasible point has a value"
        title = f"Best {lowered(measure.title)}"
        values[measure.name] = Value(title, measure.dimension, measure.better, *known, why)
        if best:
            facts |= {f"best {lowered(measure.title)}: {key}": text for key, text in best.configuration}
    return Entry(name, values, facts, card.laws_hash, card.silicost_version, kind="study")


def _of_scores(name: str, card: Scorecard) -> Entry:
    values = {}
    for kind in card.kinds:
        for figure, better in _SCORED.items():
            found = kind.scores[0].figures.get(figure)
            title = f"{KINDS.get(kind.kind, kind.kind).capitalize()}: {_FIGURES.get(figure, figure)}"
            dimension = "fraction" if "ape" in figure or "coverage" in figure else "count" if figure == "n" else ""
            value = math.nan if found is None else float(found)
            values[f"{kind.kind}.{figure}"] = Value(title, dimension, better, value)
    facts = {"tables": ", ".join(f"{table.name} ({table.rows})" for table in card.tables)}
    return Entry(name, values, facts, card.laws_hash, card.silicost_version, kind="scorecard")


def _of_recommendation(name: str, card: Recommendation) -> list[Entry]:
    """The first of each ranking, as it was priced."""
    found = []
    for answer in card.answers:
        values, facts = {}, {"question": answer.asked}
        for first in answer.options[:1]:
            for metric, value in first.metrics:
                about, why = measure_of(metric, metric_of(metric).better), "" if math.isfinite(value) else "not known"
                values[metric] = Value(about.title, about.dimension, about.better, value, reason=why)
            ranks = answer.measure
            own = Value(ranks.title, ranks.dimension, ranks.better, first.value, first.low, first.high)
            values[ranks.name] = own
            facts |= {"device": first.name, "plan": first.plan, "price": first.price}
        called = f"{name}: {answer.name}" if len(card.answers) > 1 else name
        found.append(Entry(called, values, facts, card.laws_hash, card.silicost_version, kind="recommendation"))
    return found


def _of_capacity(name: str, card: CapacityCard) -> Entry:
    values = {each.name: _value(each) for own in card.cards for each in (own.first, *own.others)}
    facts = {"traffic": card.what} | {key: text for group in card.facts for key, text in group.rows}
    return Entry(name, values, facts, card.laws_hash, card.silicost_version, kind="capacity")


def _row(name: str, entries: Sequence[Entry]) -> MetricRow:
    about = next(entry.values[name] for entry in entries if name in entry.values)
    first = entries[0].values.get(name)
    cells = tuple(_cell(entry.values.get(name), first, place, entry, entries[0]) for place, entry in enumerate(entries))
    known = [
        (cell.value, place) for place, cell in enumerate(cells) if math.isfinite(cell.value) and entries[place].fits
    ]
    best = -1
    if about.better and len({value for value, _ in known}) > 1:
        top = (max if about.better == "higher" else min)(value for value, _ in known)
        winners = [place for value, place in known if value == top]
        best = winners[0] if len(winners) == 1 else -1
    return MetricRow(name, about.title, about.dimension, about.better, cells, best)


def _cell(own: Value | None, first: Value | None, place: int, entry: Entry, base: Entry) -> Compared:
    if own is None:
        return Compared(math.nan, reason="not a metric of this kind of result")
    if place == 0 or first is None:
        return Compared(
            own.value, own.low, own.high, reason=own.reason, lowest=own.lowest, highest=own.highest
        )  # fmt: skip
    ratio = own.value / first.value if first.value else math.nan
    bands = [end for each in (own, first) for end in (each.low, each.high)]
    overlaps = ""
    if all(map(math.isfinite, bands)):
        overlaps = "yes" if own.low <= first.high and first.low <= own.high else "no"
    same = bool(entry.same_as) and entry.same_as == base.same_as
    return Compared(
        own.value, own.low, own.high, ratio if math.isfinite(ratio) else math.nan, overlaps,
        math.nan if same else chance_of(own, first), own.reason, own.lowest, own.highest,
    )  # fmt: skip


def written(value: float, dimension: str) -> str:
    """A value with its unit; what is counted is whole."""
    if dimension not in ("count", "sequences") or not math.isfinite(value):
        return quantity(value, dimension)
    return whole(value) if dimension == "count" else f"{whole(value)} {dimension}"


def chance_of(own: Value, first: Value) -> float:
    """The chance that ``own`` is better than ``first``; NaN where no way is better, or one has no interval.

    >>> a, b = Value("", "s", "lower", 1.0, 0.9, 1.1), Value("", "s", "lower", 2.0, 1.8, 2.2)
    >>> chance_of(a, b) > 0.99, chance_of(b, a) < 0.01
    (True, True)
    """
    numbers = (own.value, own.low, own.high, first.value, first.low, first.high)
    if not own.better or not all(math.isfinite(each) and each > 0.0 for each in numbers):
        return math.nan
    gap = math.log(own.value / first.value)
    upper, lower = (own, first) if gap < 0.0 else (first, own)
    sides = (math.log(upper.high / upper.value) / Z_80, math.log(lower.value / lower.low) / Z_80)
    spread = math.hypot(*sides)
    if spread <= 0.0:
        return math.nan
    higher = NormalDist().cdf(gap / spread)
    return higher if own.better == "higher" else 1.0 - higher


def _facts(entries: Sequence[Entry]) -> tuple[list[Difference], list[tuple[str, str]], int]:
    """Facts that differ and those that all share; of input numbers, how many more differ than are listed."""
    differences, alike = [], []
    for name in dict.fromkeys(name for entry in entries for name in entry.facts):
        values = tuple(entry.facts.get(name, "") for entry in entries)
        if len(set(values)) == 1:
            alike.append((name, values[0]))
        else:
            differences.append(Difference(name, values))
    if len({entry.devices for entry in entries}) > 1:
        return differences, alike, 0
    inputs = [
        Difference(name, values)
        for name in entries[0].inputs
        if len(set(values := tuple(entry.inputs.get(name, "") for entry in entries))) > 1 and all(values)
    ]
    return differences + inputs[:MOST_INPUTS], alike, max(len(inputs) - MOST_INPUTS, 0)


def _notes(entries: Sequence[Entry], own: int, more: int) -> tuple[str, ...]:
    """What the reader should know: ``own`` metrics that one alone has, ``more`` inputs that are not listed."""
    notes = []
    if len({entry.laws_hash for entry in entries if entry.laws_hash}) > 1:
        notes.append("They were made by different versions of the laws: run the older ones again before you conclude.")
    kinds = list(dict.fromkeys(entry.kind for entry in entries))
    if len(kinds) > 1:
        named = ", ".join(kind or "other" for kind in kinds)
        notes.append(f"They answer questions of different kinds ({named}): mind what a metric means for each.")
    if own:
        notes.append(f"Left out because only one of them has them: {own} {'metric' if own == 1 else 'metrics'}.")
    if more:
        notes.append(f"{more} more input numbers differ.")
    if any(entry.same_as and entry.same_as == entries[0].same_as for entry in entries[1:]):
        notes.append("Some are the same scenario as the first and differ in nothing.")
    return tuple(notes)


def _several(names: Sequence[str]) -> str:
    return short(names[0]) if len(names) == 1 else f"{len(names)} others"
