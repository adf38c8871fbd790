"""How much faster calls become with more threads."""

from __future__ import annotations

from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of
from reports.calibration import MachineCard, Scaling
from reports.figure import Figure
from reports.numbers import number, share
from reports.palette import family_rank, role
from reports.templating import render


class Dot(NamedTuple):
    """A measured number of threads: its place in percent of the track."""

    at: float
    threads: int
    last: bool


class Line(NamedTuple):
    """One call."""

    what: str
    colour: str
    dots: list[Dot]
    value: str
    hint: str


def lines_of(card: MachineCard) -> tuple[list[Line], list[Tick]]:
    """One line per call, families together, the best first; ticks at ideal speed-ups."""
    scalings = [each for each in card.scalings if len(each.threads) > 1]
    ideals = sorted({each / scaling.threads[0] for scaling in scalings for each in scaling.threads})
    axis = axis_of([*ideals, *(value for scaling in scalings for value in scaling.speedups), 1.0])
    ordered = sorted(scalings, key=lambda each: (family_rank(each.family), -each.speedups[-1], each.what))
    return (
        [_line(each, axis) for each in ordered],
        [Tick(axis.at(value), f"{value:g}\u00a0×") for value in ideals],
    )


def _line(scaling: Scaling, axis: Axis) -> Line:
    ideal = scaling.threads[-1] / scaling.threads[0]
    dots = [
        Dot(axis.at(speedup), threads, threads == scaling.threads[-1])
        for threads, speedup in zip(scaling.threads, scaling.speedups, strict=True)
    ]
    best = scaling.speedups[-1]
    hint = ", ".join(
        f"{number(speedup)}× on {threads}" for threads, speedup in zip(scaling.threads, scaling.speedups, strict=True)
    )
    value = f"{number(best)}\u00a0× on {scaling.threads[-1]} ({share(best / ideal)})"
    return Line(scaling.what, role("family", scaling.family), dots, value, hint)


def applies(card: MachineCard) -> bool:
    """Whether any call ran on more than one number of threads."""
    return any(len(each.threads) > 1 for each in card.scalings)


def draw(card: MachineCard) -> Markup:
    """Rows of dots on one axis."""
    lines, ticks = lines_of(card)
    return render("scaling.html", lines=lines, ticks=ticks)


FIGURE: Final = Figure(
    "scaling",
    "Thread scaling",
    70,
    "How many times as fast a call is as on the fewest threads: one dot per number of threads, the filled one is the "
    "most. Upright lines are what as many threads could reach; in brackets the part of it that was reached.",
    applies,
    draw,
)
