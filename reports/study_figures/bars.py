"""Each metric along each axis of names: the median over all values of the other axes, and 10 to 90% of them."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of
from reports.figure import Figure
from reports.numbers import whole
from reports.study import Factor, Measure, Spread, StudyCard, better_first
from reports.study_figures.lines import drawable, hint_of
from reports.study_scales import scale_of
from reports.templating import render

MOST_LEVELS: Final = 24
MOST_METRICS: Final = 6
_LETTER: Final = 4.6
"""Width of a letter of a tick, in percent of the track."""


class Line(NamedTuple):
    """A level: places of 10%, median and 90% in percent of the track."""

    level: str
    low: float
    median: float
    high: float
    value: str
    note: str
    hint: str


class Panel(NamedTuple):
    """A metric along an axis."""

    title: str
    lines: list[Line]
    ticks: list[Tick]


class Block(NamedTuple):
    """An axis."""

    name: str
    none: str
    left_out: int
    panels: list[Panel]


def panel_of(factor: Factor, measure: Measure, spreads: tuple[Spread, ...]) -> Panel:
    """The levels with a feasible point, the best median first."""
    known = [k for k, each in enumerate(spreads) if math.isfinite(each.median) and each.low > 0.0]
    axis = axis_of([end for k in known for end in (spreads[k].low, spreads[k].high)])
    order = [known[k] for k in better_first(measure, [spreads[k].median for k in known])][:MOST_LEVELS]
    lines = [_line(factor, factor.levels[k], measure, spreads[k], axis) for k in order]
    return Panel(measure.title, lines, ticks_on(axis, measure))


def ticks_on(axis: Axis, measure: Measure) -> list[Tick]:
    """Round values that do not run into each other, nor over the ends of the track."""
    scale = scale_of(axis, measure)
    ticks: list[Tick] = []
    free = -_LETTER
    for value, text in zip(scale.values, scale.texts, strict=True):
        half = 0.5 * _LETTER * len(text)
        at = axis.at(value)
        if at - half >= free and at + half <= 100.0 + 3.0 * _LETTER:
            ticks.append(Tick(at, text))
            free = at + half + _LETTER
    return ticks


def _line(factor: Factor, level: str, measure: Measure, spread: Spread, axis: Axis) -> Line:
    low, median, high = axis.at(spread.low), axis.at(spread.median), axis.at(spread.high)
    note = "" if spread.feasible == spread.asked else f"{whole(spread.feasible)} of {whole(spread.asked)}"
    return Line(level, low, median, high, measure.text(spread.median), note, hint_of(factor, level, measure, spread))


def named(card: StudyCard) -> list[int]:
    """Places of the factors of names with a metric that can be drawn along them."""
    return [
        place
        for place, factor in enumerate(card.factors)
        if not factor.places and any(map(drawable, card.spreads[place]))
    ]


def applies(card: StudyCard) -> bool:
    """Whether there is an axis of names."""
    return bool(named(card))


def draw(card: StudyCard) -> Markup:
    """A block for each axis of names, with a panel of rows for each metric."""
    return render("study_bars.html", blocks=[_block(card, place) for place in named(card)], sample=card.sample)


def _block(card: StudyCard, place: int) -> Block:
    factor = card.factors[place]
    panels = [
        panel_of(factor, measure, spreads)
        for measure, spreads in list(zip(card.metrics, card.spreads[place], strict=True))[:MOST_METRICS]
        if drawable(spreads)
    ]
    none = [level for level, each in zip(factor.levels, card.spreads[place][0], strict=True) if not each.feasible]
    some = len(factor.levels) - len(none)
    words = ", ".join(none[:8]) + (f" and {len(none) - 8} others" if len(none) > 8 else "")
    return Block(factor.name, words, max(some - MOST_LEVELS, 0), panels)


FIGURE: Final = Figure(
    "names",
    "Along each axis of names",
    60,
    "The dot is the median over all values of the other axes, the bar 10 to 90\u00a0% of them, the best first. Where "
    "not all points are feasible their number stands beside it: such rows are of other points than those without.",
    applies,
    draw,
)
