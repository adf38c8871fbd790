"""From the folder of a study to its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from reports.study import Best, Bound, Gain, Heat, Measure, Reason, Shares, StudyCard, measure_of
from reports.study_page import write_study
from silicost import __version__
from silicost.studies.cells import scenario_of
from silicost.studies.crossovers import mixtures_of
from silicost.studies.page_cloud import cloud_of
from silicost.studies.page_effects import heat_of, ratios_of, shares_of, spreads_of
from silicost.studies.page_points import MOST_DRAWN, MOST_KEPT, Axes, Kept, axes_of, best_of, read_rows, value_of
from silicost.studies.page_words import SEARCHED, answer_of, asked_of, mixture_answer, provenance_of
from silicost.studies.study import Study, better_of
from silicost.studies.summary import Row, Summary
from simulator.explore import reading
from simulator.simulate import simulate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def write_study_page(path: Path, asked: Study, stored: reading.Study, found: Summary, command: str = "") -> None:
    """Write the page of a study, whole or not at all.

    Args:
        found: the summary of ``stored``.
        command: what the user typed.

    Raises:
        InputError: a part cannot be read, or the place cannot be written.
    """
    write_study(path, card_of(asked, stored, found, command))


def card_of(asked: Study, stored: reading.Study, found: Summary, command: str = "") -> StudyCard:
    """Everything that the page of a study shows.

    Raises:
        InputError: a part is missing or damaged.
    """
    names = tuple(dict.fromkeys((*found.metrics, *(each.metric for each in found.objectives))))
    metrics = tuple(measure_of(name, better_of(name)) for name in names)
    many = found.feasible > MOST_DRAWN or found.rows > MOST_KEPT
    two = [each.metric for each in found.objectives[:2]] if many else []
    kept = read_rows(stored, [*found.axes, *names], two)
    feasible = kept.frame["feasible"].to_numpy(bool)
    values = [kept.frame[name].to_numpy(float) for name in names]
    axes = axes_of(asked, kept)
    sampled = asked.sample.kind != "grid" or asked.search is not None
    shares = tuple(shares_of(axes.codes, each, feasible, sampled) for each in values)
    units = {info.name: info.unit for info in stored.manifest.columns}
    best = tuple(_with_interval(asked, found.best.get(name), name, units) for name in names)
    gains = _gains(asked, axes, kept, metrics, units)
    facts = stored.manifest.definition.facts
    mixtures = mixtures_of(asked, kept.frame, metrics) if kept.is_whole else ()
    reasons = tuple(Reason(code, count, found.details[code]) for code, count in found.reasons.most_common())
    return StudyCard(
        title=asked.title, question=asked.question,
        answer=mixture_answer(metrics, mixtures) or answer_of(metrics, best, gains, axes.factors, reasons),
        rows=found.rows, feasible=found.feasible, metrics=metrics, best=best, factors=axes.factors, gains=gains,
        shares=shares,
        spreads=tuple(
            tuple(spreads_of(codes, len(factor.levels), each, feasible) for each in values)
            for factor, codes in zip(axes.factors, axes.codes, strict=True)
        ),
        heat=_heat(axes, shares, values[0], feasible) if values else None,
        cloud=cloud_of(found, kept, axes, names, shares, units),
        reasons=reasons, mixtures=mixtures, asked=asked_of(asked), provenance=provenance_of(stored, command),
        bounds=tuple(
            Bound(measure_of(each.metric, better_of(each.metric)), each.op == "<=", each.bound)
            for each in asked.constraints
        ),
        sample=kept.sample or (SEARCHED if asked.search else ""),
        silicost_version=__version__, laws_hash=str(facts.get("laws", "")),
    )  # fmt: skip


def _with_interval(asked: Study, row: Row | None, metric: str, units: Mapping[str, str]) -> Best | None:
    """A best point with its 80% interval, which simulating it alone says; None without a point."""
    if row is None:
        return None
    best = best_of(row, metric, asked.space.names, units)
    if asked.mixed is not None:
        return best
    question = {name: value_of(row[name], units.get(name, "")) for name in asked.space.names}
    try:
        interval = simulate(scenario_of({**asked.fixed, **question})).intervals.get(metric)
    except InputError:
        return best
    return best if interval is None else best._replace(low=interval.p10, high=interval.p90)


def _gains(
    asked: Study, axes: Axes, kept: Kept, metrics: Sequence[Measure], units: Mapping[str, str]
) -> tuple[Gain, ...]:
    """What the first factor does; () where there is none, or its levels are ranges."""
    if not axes.factors or axes.factors[0].binned or not metrics:
        return ()
    factor, codes = axes.factors[0], axes.codes[0]
    feasible = kept.frame["feasible"].to_numpy(bool)
    values = [kept.frame[measure.name].to_numpy(float) for measure in metrics]
    ratios = ratios_of(codes, len(factor.levels), axes.exact[1:], values, feasible)
    if not any(each.pairs for row in ratios[1:] for each in row):
        return ()
    sign = -1.0 if metrics[0].better == "higher" else 1.0
    costs = np.where(feasible & np.isfinite(values[0]), sign * values[0], np.inf)
    order = np.lexsort((np.arange(len(costs)), costs, codes))
    starts = np.searchsorted(codes[order], np.arange(len(factor.levels)))
    gains = []
    for level, start in enumerate(starts.tolist()):
        row = int(order[start])
        best = None
        if math.isfinite(costs[row]):
            best = best_of(kept.frame.iloc[row].to_dict(), metrics[0].name, asked.space.names, units)
        gains.append(Gain(factor.levels[level], best, ratios[level]))
    return tuple(gains)


def _heat(axes: Axes, shares: Sequence[Shares], values: Floats, feasible: Bools) -> Heat | None:
    """The first metric over the two factors that matter most; numbers go across."""
    if len(axes.factors) < 2 or not math.isfinite(shares[0].of[0]):
        return None
    one, other = sorted(range(len(axes.factors)), key=lambda k: (-shares[0].of[k], k))[:2]

    def across(place: int) -> tuple[bool, int]:
        return bool(axes.factors[place].places), -len(axes.factors[place].levels)

    rows, columns = (one, other) if across(other) >= across(one) else (other, one)
    return heat_of((rows, columns), axes.codes, axes.levels, values, feasible)
