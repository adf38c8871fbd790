"""Where the time goes: one bar per result and phase, cut by operator family, over a strip of what bounds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import quantity
from reports.palette import BOUNDS
from reports.parts import Part, bound_seconds, by_family, family_seconds, legend_of, parts_of
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result


class Bar(NamedTuple):
    """One bar: the whole result or one of its phases."""

    name: str
    time: str
    bound: str
    families: list[Part]
    bounds: list[Part]


def bars_of(result: Result) -> list[Bar]:
    """The bar of the whole result, then one per phase."""
    bars = []
    total = math.fsum(value for value in result.breakdown.values() if math.isfinite(value))
    if total > 0.0:
        whole = parts_of(by_family(result.breakdown), "family", "s")
        bars.append(Bar("whole", quantity(total, "s"), "", whole, []))
    for phase in result.phases:
        families = parts_of(family_seconds(phase.operators), "family", "s")
        if families:
            bounds = parts_of(bound_seconds(phase.operators), "bound", "s")
            bound = result.bound.get(phase.name) or max(bounds, key=lambda part: part.width).name
            bars.append(Bar(phase.name, quantity(phase.time_s, "s"), bound, families, bounds))
    return bars


def applies(results: Sequence[Result]) -> bool:
    """Whether some result has time to break down."""
    return any(bars_of(result) for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """Bars of every result, with two legends."""
    families = [family for result in results for family in result.breakdown]
    operators = [operator for result in results for phase in result.phases for operator in phase.operators]
    families += [operator.family for operator in operators]
    bounds = {operator.bound for operator in operators}
    rows = [(label, bars_of(result)) for label, result in zip(labels_of(results), results, strict=True)]
    return render(
        "time_breakdown.html",
        rows=[row for row in rows if row[1]],
        families=legend_of(families, "family"),
        bounds=legend_of([b for b in (*BOUNDS, *sorted(bounds - set(BOUNDS))) if b in bounds], "bound"),
    )


FIGURE = Figure(
    "time",
    "Where the time goes",
    20,
    "Each bar is 100\u00a0% of the time at its right, cut by operator family; the thin strip below a phase says what "
    "bounds its operators.",
    applies,
    draw,
)
