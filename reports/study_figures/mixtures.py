"""A mixture beside what its devices would do alone: a line for each, a mark where the better one changes."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import axis_of
from reports.figure import Figure
from reports.numbers import number
from reports.palette import SERIES, role
from reports.study import Contest, Curve, Measure, Mixture, StudyCard
from reports.study_scales import is_log, quiet, set_levels, set_metric
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

MOST_BLOCKS: Final = 6
_SIZE_IN: Final = (4.6, 2.9)
_BOX: Final = (0.165, 0.18, 0.805, 0.73)


class Key(NamedTuple):
    """A line of the legend."""

    name: str
    colour: str


class Row(NamedTuple):
    """A crossing in words."""

    metric: str
    other: str
    at: str
    between: str
    becomes: str


class Panel(NamedTuple):
    """A metric along the axis."""

    title: str
    verdict: str
    against: tuple[tuple[str, str], ...]
    svg: Markup | None


class Block(NamedTuple):
    """A mixture at one value of each other axis."""

    name: str
    panels: list[Panel]
    rows: list[Row]


def applies(card: StudyCard) -> bool:
    """Whether it is a study of a mixture."""
    return bool(card.mixtures)


def draw(card: StudyCard) -> Markup:
    """A block for each value of the other axes, with a panel for each metric."""
    blocks = [_block(card, mixture, place) for place, mixture in enumerate(card.mixtures[:MOST_BLOCKS])]
    curves = card.mixtures[0].contests[0].curves
    drawn = {curve.name for each in card.mixtures for contest in each.contests for curve in contest.curves
             if any(value > 0.0 for value in curve.values)}  # fmt: skip
    keys = [Key(curve.name, _role(place)) for place, curve in enumerate(curves) if curve.name in drawn]
    return render("study_mixtures.html", blocks=blocks, keys=keys, hidden=len(card.mixtures) - len(blocks))


def _block(card: StudyCard, mixture: Mixture, block: int) -> Block:
    panels, rows = [], []
    for place, contest in enumerate(mixture.contests):
        measure = card.metrics[contest.measure]
        svg = _drawn(mixture, contest, measure, f"mixture-{block}-{place}") if _drawable(contest) else None
        panels.append(Panel(measure.title, contest.verdict, contest.against, svg))
        rows += [
            Row(measure.title, each.other, number(each.at), f"{each.low:,.6g} and {each.high:,.6g}",
                "begins to pay" if each.pays else "ceases to pay")
            for each in contest.crossings
        ]  # fmt: skip
    fixed = ", ".join(f"{name} {value}" for name, value in mixture.others)
    return Block(f"along {mixture.axis.name}{f', {fixed}' if fixed else ''}", panels, rows)


def _drawable(contest: Contest) -> bool:
    return any(value > 0.0 for curve in contest.curves for value in curve.values)


def _role(place: int) -> str:
    return role("series", SERIES[place] if place < len(SERIES) else "other")


def _drawn(mixture: Mixture, contest: Contest, measure: Measure, key: str) -> Markup:
    axis = mixture.axis
    known = [value for curve in contest.curves for value in curve.values if value > 0.0]
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        up = axis_of(known)
        set_levels(axes, axis)
        scale = set_metric(axes, up, measure)
        quiet(axes)
        axes.set_xlabel(short(axis.name, 60))
        if scale.unit:
            axes.set_title(short(scale.unit, 24), loc="left", fontsize=9.0, color=colour("muted"), pad=3.0)
        hints = {}
        for place, curve in enumerate(contest.curves):
            at, values = _points(axis.places, curve)
            shade, gid = colour(_role(place)), f"line{place}"
            # Of lines that lie on each other the lower one is wider, so that it is seen.
            wide = 2.4 if place == 0 else min(1.4 + 1.4 * (len(contest.curves) - 1 - place), 5.6)
            axes.plot(at, values, color=shade, linewidth=wide, zorder=4 if place == 0 else 3)
            axes.scatter(at, values, s=16.0, c=shade, linewidths=0.5, edgecolors=colour("paper"), zorder=5, gid=gid)
            hints[gid] = [
                f"{curve.name}, {axis.name} {x:,.6g}: {measure.text(y)}" for x, y in zip(at, values, strict=True)
            ]
        for crossing in contest.crossings:
            if is_log(axis) or crossing.at <= max(axis.places):
                axes.axvline(crossing.at, color=colour("muted"), linewidth=1.0, linestyle=(0, (3, 2)), zorder=2)
        return inline(figure, key, f"{measure.title} along {axis.name}: {contest.verdict}", hints)


def _points(places: tuple[float, ...], curve: Curve) -> tuple[list[float], list[float]]:
    kept = [(x, y) for x, y in zip(places, curve.values, strict=True) if math.isfinite(y) and y > 0.0]
    return [x for x, _ in kept], [y for _, y in kept]


FIGURE: Final = Figure(
    "mixture",
    "Where the mixture pays",
    5,
    "Each way to do the work along the axis; the first of the legend is the mixture, whose line lies on top; a "
    "dashed one stands where it and another change places. A line ends where its devices cannot hold the work or break "
    "a bound.",
    applies,
    draw,
)
