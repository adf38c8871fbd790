"""Each metric along each axis of numbers: the median over all values of the other axes, and 10 to 90% of them."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import axis_of
from reports.figure import Figure
from reports.numbers import whole
from reports.palette import role
from reports.study import Factor, Measure, Spread, StudyCard
from reports.study_scales import band_text, quiet, set_levels, set_metric
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

MOST_FACTORS: Final = 6
MOST_METRICS: Final = 6
_FEW: Final = 40
"""Up to so many levels each has a dot."""
_SIZE_IN: Final = (4.6, 2.75)
_BOX: Final = (0.165, 0.19, 0.805, 0.74)


class Panel(NamedTuple):
    """A metric along an axis."""

    title: str
    svg: Markup


class Block(NamedTuple):
    """An axis."""

    name: str
    note: str
    panels: list[Panel]


def drawable(spreads: tuple[Spread, ...]) -> bool:
    """Whether a metric has a place on a logarithmic axis at two levels or more."""
    return sum(math.isfinite(each.median) and each.low > 0.0 for each in spreads) > 1


def numeric(card: StudyCard) -> list[int]:
    """Places of the factors of numbers with a metric that can be drawn along them."""
    return [
        place for place, factor in enumerate(card.factors) if factor.places and any(map(drawable, card.spreads[place]))
    ]


def applies(card: StudyCard) -> bool:
    """Whether there is an axis of numbers; medians over a mixture and its alternatives would say nothing."""
    return not card.mixtures and bool(numeric(card))


def draw(card: StudyCard) -> Markup:
    """A block for each axis of numbers, with a panel for each metric."""
    places = numeric(card)
    blocks = [_block(card, place) for place in places[:MOST_FACTORS]]
    hidden = [card.factors[place].name for place in places[MOST_FACTORS:]]
    hidden += [measure.title for measure in card.metrics[MOST_METRICS:]]
    return render("study_lines.html", blocks=blocks, hidden=hidden, sample=card.sample)


def _block(card: StudyCard, place: int) -> Block:
    factor = card.factors[place]
    panels = [
        Panel(measure.title, _drawn(factor, measure, spreads, f"line-{place}-{number}"))
        for number, (measure, spreads) in enumerate(zip(card.metrics, card.spreads[place], strict=True))
        if number < MOST_METRICS and drawable(spreads)
    ]
    none = [level for level, each in zip(factor.levels, card.spreads[place][0], strict=True) if not each.feasible]
    if factor.binned:
        note = f"{len(factor.levels)} ranges with equally many points."
    elif none:
        note = f"No feasible point at {', '.join(none[:8])}{' and others' if len(none) > 8 else ''}."
    else:
        note = ""
    return Block(factor.name, note, panels)


def _drawn(factor: Factor, measure: Measure, spreads: tuple[Spread, ...], key: str) -> Markup:
    known = [
        (at, level, each)
        for at, level, each in sorted(zip(factor.places, factor.levels, spreads, strict=True))
        if math.isfinite(each.median) and each.low > 0.0
    ]
    shade = colour(role("series", "1"))
    at = [place for place, _, _ in known]
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        up = axis_of([end for _, _, each in known for end in (each.low, each.high)])
        set_levels(axes, factor)
        scale = set_metric(axes, up, measure)
        quiet(axes)
        axes.set_xlabel(short(factor.name, 60))
        if scale.unit:
            axes.set_title(short(scale.unit, 24), loc="left", fontsize=9.0, color=colour("muted"), pad=3.0)
        axes.fill_between(at, [each.low for _, _, each in known], [each.high for _, _, each in known], color=shade,
                          alpha=0.17, linewidth=0.0, zorder=2)  # fmt: skip
        axes.plot(at, [each.median for _, _, each in known], color=shade, linewidth=1.6, zorder=3)
        hints = {}
        if len(known) <= _FEW:
            axes.scatter(at, [each.median for _, _, each in known], s=20.0, c=shade, linewidths=0.5,
                         edgecolors=colour("paper"), zorder=4, gid="levels")  # fmt: skip
            hints["levels"] = [hint_of(factor, level, measure, each) for _, level, each in known]
        first, last = known[0], known[-1]
        label = (f"{measure.title} along {factor.name}: median {measure.text(first[2].median)} at {first[1]}, "
                 f"{measure.text(last[2].median)} at {last[1]}")  # fmt: skip
        return inline(figure, key, label, hints)


def hint_of(factor: Factor, level: str, measure: Measure, spread: Spread) -> str:
    """A level in words."""
    return (
        f"{short(factor.name, 40)} {short(level, 40)}: {band_text(measure, (spread.low, spread.median, spread.high))}, "
        f"{whole(spread.feasible)} of {whole(spread.asked)} points feasible"
    )


FIGURE: Final = Figure(
    "numbers",
    "Along each axis of numbers",
    50,
    "The median of each metric over all values of the other axes, and in the band 10 to 90\u00a0% of them, feasible "
    "points alone. Where fewer points are feasible at one end, those that are left there are others than elsewhere: "
    "the table of the first axis compares like with like.",
    applies,
    draw,
)
