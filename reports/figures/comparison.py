"""Latency, energy and cost of all results, each with its intervals, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of, ticks_of
from reports.figure import Figure
from reports.headline import device_class, ranked
from reports.numbers import Cell, cell_of, metric_of, unit_of
from reports.palette import role
from reports.rests import anchor_of
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result

SHOWN: Final = (
    "output_tokens_per_s", "tpot_s", "ttft_s", "j_per_output_token", "usd_per_million_output_tokens", "step_time_s",
    "usd_per_step", "makespan_s",
)  # fmt: skip


class Line(NamedTuple):
    """One result in a panel; places are in percent of the track, None where there is no value."""

    label: str
    colour: str
    fits: bool
    cell: Cell
    at: float | None
    wide: tuple[float, float] | None
    likely: tuple[float, float] | None
    rests: str


class Panel(NamedTuple):
    """One metric of all results that have it. ``unit`` is set where the ticks carry none."""

    name: str
    title: str
    unit: str
    better: str
    lines: list[Line]
    ticks: list[Tick]


def applies(results: Sequence[Result]) -> bool:
    """Whether two results share a metric worth comparing."""
    return bool(_panels(results))


def draw(results: Sequence[Result]) -> Markup:
    """Small multiples, one per metric, the same order of results in each."""
    return render("comparison.html", panels=_panels(results))


def _panels(results: Sequence[Result]) -> list[Panel]:
    labels = labels_of(results)
    panels = []
    for name in SHOWN:
        group = [place for place in ranked(results) if name in results[place].metrics]
        values = [cell_of(results[place], name).value for place in group]
        if sum(value is not None and value > 0.0 for value in values) < 2:
            continue
        metric = metric_of(name)
        axis = _axis([results[place] for place in group], name)
        lines = [_line(labels[place], results[place], name, axis, anchor_of(place, name)) for place in group]
        scaled = metric.dimension in ("s", "j")
        unit = "" if scaled else unit_of(1.0, metric.dimension)[1]
        panels.append(
            Panel(name, metric.title, unit, metric.better, lines, ticks_of(axis, metric.dimension if scaled else ""))
        )
    return panels


def _axis(group: Sequence[Result], name: str) -> Axis:
    """An axis that holds every value and every interval."""
    values = [cell_of(result, name).value or 0.0 for result in group]
    bands = [result.intervals[name] for result in group if name in result.intervals]
    return axis_of(values + [end for band in bands for end in (band.p2_5, band.p97_5)])


def _line(label: str, result: Result, name: str, axis: Axis, rests: str) -> Line:
    cell, band = cell_of(result, name), result.intervals.get(name)
    at = axis.at(cell.value) if cell.value is not None and cell.value > 0.0 else None
    wide, likely = None, None
    if at is not None and band is not None and cell.low:
        wide = (axis.at(band.p2_5), axis.at(band.p97_5))
        likely = (axis.at(band.p10), axis.at(band.p90))
    return Line(label, role("class", device_class(result)), result.fits, cell, at, wide, likely, rests)


FIGURE = Figure(
    "comparison",
    "Speed, energy and cost",
    10,
    "A dot is the median, hollow where the design does not fit its memory; the thick line is its 80\u00a0% "
    "interval, the thin line its 95\u00a0% interval; axes are logarithmic, so equal distances are equal ratios.",
    applies,
    draw,
)
