"""How the ratio of prediction to measurement is distributed, by kind and device class, as box plots."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.axis import Axis, Tick, axis_of
from reports.figure import Figure
from reports.numbers import number
from reports.palette import CLASSES, role
from reports.scorecard import KINDS, Floats, KindScores, Scorecard
from reports.templating import render

_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_TICKS: Final = (0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0)
_WIDEST: Final = 100.0
"""Ratios beyond it in either direction are drawn at the end of the axis."""


class Box(NamedTuple):
    """One class: places in percent of the track, and the numbers in words."""

    name: str
    colour: str
    rows: int
    whisker: tuple[float, float]
    box: tuple[float, float]
    median: float
    value: str
    hint: str


class Panel(NamedTuple):
    """One kind of measurement."""

    title: str
    boxes: list[Box]
    ticks: list[Tick]
    even: float


def ratios_of(kind: KindScores) -> dict[str, Floats]:
    """Predicted / measured of all rows of a kind by device class, in the order of legends; shape [rows] each."""
    classes = {name: None for cloud in kind.clouds for name in cloud.device_class.tolist()}
    ordered = sorted(classes, key=lambda name: (CLASSES.index(name) if name in CLASSES else len(CLASSES), name))
    return {
        name: np.concatenate([(cloud.predicted / cloud.observed)[cloud.device_class == name] for cloud in kind.clouds])
        for name in ordered
    }


def panels_of(card: Scorecard) -> list[Panel]:
    """One panel per kind with predicted rows; all share one axis."""
    ratios = [(KINDS.get(kind.kind, kind.kind), ratios_of(kind)) for kind in card.kinds]
    ratios = [(kind, by_class) for kind, by_class in ratios if by_class]
    ends = [q for _, by_class in ratios for values in by_class.values() for q in np.quantile(values, _QUANTILES)]
    far = min(max([2.0, *(max(end, 1.0 / end) for end in ends)]), _WIDEST)
    axis = axis_of([1.0 / far, far])
    ticks = [Tick(axis.at(value), f"{value:g}\u00a0×") for value in _shown(axis)]
    return [
        Panel(kind, [_box(name, values, axis) for name, values in by_class.items()], ticks, axis.at(1.0))
        for kind, by_class in ratios
    ]


def _shown(axis: Axis) -> list[float]:
    """Ticks on the axis; of many those that stand far enough apart."""
    there = [value for value in _TICKS if 10.0**axis.low <= value <= 10.0**axis.high]
    crowded = {0.25, 4.0} if axis.high - axis.low > 1.7 else set()
    return [value for value in there if value not in (crowded | {0.5, 2.0} if axis.high - axis.low > 2.6 else crowded)]


def _box(name: str, ratios: Floats, axis: Axis) -> Box:
    ends = np.quantile(ratios, _QUANTILES).tolist()
    places = [axis.at(end) for end in ends]
    low, lower, middle, upper, high = map(number, ends)
    hint = (
        f"{len(ratios):,} rows: median {middle}, half of them from {lower} to {upper}, nine tenths from {low} to "
        f"{high} times the measurement"
    )
    return Box(
        name or "unknown", role("class", name), len(ratios), (places[0], places[4]), (places[1], places[3]), places[2],
        f"{middle}\u00a0× [{lower}, {upper}]", hint,
    )  # fmt: skip


def applies(card: Scorecard) -> bool:
    """Whether anything was predicted."""
    return bool(panels_of(card))


def draw(card: Scorecard) -> Markup:
    """Rows of boxes, one panel per kind."""
    return render("errors.html", panels=panels_of(card))


FIGURE: Final = Figure(
    "errors",
    "How far off, by device class",
    20,
    "Prediction divided by measurement: the dot is the median, half of all rows lie in the thick line, nine tenths in "
    "the thin one; left of 1\u00a0× predictions are too small. The axis is logarithmic and the same everywhere. The "
    "numbers are the median and, in brackets, the middle half.",
    applies,
    draw,
)
