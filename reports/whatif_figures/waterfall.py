"""Waterfalls: from one value to another, step by step."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Tick, round_text
from reports.figure import Figure
from reports.numbers import quantity, unit_of
from reports.templating import render
from reports.whatif import Step, Waterfall, WhatIf
from reports.whatif_axis import round_step

MOST_STEPS: Final = 18
_ROOM: Final = 0.06
_MOST_TICKS: Final = 6
_FROM_ZERO: Final = 0.6
"""The axis begins at zero unless all levels lie above so much of the highest."""


class Line(NamedTuple):
    """A level or a step: where its bar begins and how wide it is, in percent; ``kind`` "level", "good" or "bad"."""

    what: str
    left: float
    width: float
    kind: str
    value: str
    hint: str


class Panel(NamedTuple):
    """One waterfall."""

    title: str
    lines: list[Line]
    ticks: list[Tick]
    cut: bool


def panel_of(fall: Waterfall) -> Panel:
    """A waterfall, ready for the template; many small steps become one."""
    steps = _joined(fall.steps)
    levels = [fall.first[1]]
    for step in steps:
        levels.append(levels[-1] + step.amount)
    low, high = min(*levels, fall.last[1]), max(*levels, fall.last[1])
    cut = low > _FROM_ZERO * high
    start = low - _ROOM * (high - low) if cut else min(low, 0.0)
    start = start if high > start else start - 1.0
    width = (high - start) * (1.0 + _ROOM)

    def at(value: float) -> float:
        return 100.0 * (value - start) / width

    lines = [Line(fall.first[0], 0.0, at(fall.first[1]), "level", quantity(fall.first[1], fall.dimension), "")]
    for step, before, after in zip(steps, levels, levels[1:], strict=False):
        better = (step.amount < 0.0) == (fall.better != "higher")
        amount = quantity(abs(step.amount), fall.dimension)
        value = f"{'+' if step.amount > 0.0 else '−'}{amount}" if step.amount else "0"
        kind = "good" if better else "bad"
        lines.append(Line(step.what, at(min(before, after)), abs(at(after) - at(before)), kind, value, step.hint))
    lines.append(Line(fall.last[0], 0.0, at(fall.last[1]), "level", quantity(fall.last[1], fall.dimension), ""))
    return Panel(fall.title, lines, _ticks(start, start + width, fall.dimension), cut)


def _joined(steps: tuple[Step, ...]) -> list[Step]:
    """The steps in their order, the smallest beyond ``MOST_STEPS`` as one."""
    if len(steps) <= MOST_STEPS:
        return list(steps)
    kept = set(sorted(range(len(steps)), key=lambda i: (-abs(steps[i].amount), i))[: MOST_STEPS - 1])
    rest = [step.amount for i, step in enumerate(steps) if i not in kept]
    return [*(steps[i] for i in sorted(kept)), Step(f"{len(rest)} smaller ones", "", math.fsum(rest))]


def _ticks(low: float, high: float, dimension: str) -> list[Tick]:
    """Up to six round values of a linear axis."""
    scale, _ = unit_of(max(abs(low), abs(high)), dimension)
    step = scale * round_step((high - low) / scale, _MOST_TICKS)
    values = [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [Tick(100.0 * (value - low) / (high - low), round_text(value, dimension)) for value in values]


def applies(shown: WhatIf) -> bool:
    """Whether there is a difference to explain."""
    return any(fall.steps for fall in shown.waterfalls)


def draw(shown: WhatIf) -> Markup:
    """A panel per account."""
    return render("whatif_waterfall.html", panels=[panel_of(each) for each in shown.waterfalls if each.steps])


FIGURE: Final = Figure(
    "waterfall",
    "Where the difference comes from",
    40,
    "The first bar is the metric in the first scenario, the last one in the second; each bar between them moves it by "
    "one cause, and together they make up the difference exactly. Green is for the better. What a fact is changed from "
    "and to stands in its tooltip.",
    applies,
    draw,
)
