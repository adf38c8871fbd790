"""Why this many and no fewer: latencies along the rate of requests with their bounds, and what they cost there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.capacity import CapacityCard, Load, LoadPanel
from reports.figure import Figure
from reports.numbers import number, quantity
from reports.palette import SERIES, role
from reports.parts import Key
from reports.serving_svg import small
from reports.study import Measure
from reports.study_scales import quiet, set_metric
from reports.svg import colour, drawing
from reports.templating import render
from reports.text import short
from reports.whatif_axis import round_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN: Final = (5.0, 3.4)
_BOX: Final = (0.14, 0.145, 0.81, 0.83)
_DASHES: Final = (0, (4, 3))
_BEYOND: Final = 4.0
"""So many times a bound are drawn; what is longer goes out of the picture."""
_TICKS: Final = 6


class Panel(NamedTuple):
    """One drawing and its curves."""

    title: str
    svg: Markup
    keys: list[Key]
    note: str


def applies(card: CapacityCard) -> bool:
    """Whether anything is known along the rate."""
    return any(known_in(each) for each in card.panels)


def draw(card: CapacityCard) -> Markup:
    """A panel for each bound and each cost."""
    shown = [panel_of(card, each, f"load-{place}") for place, each in enumerate(card.panels) if known_in(each)]
    return render("capacity_load.html", panels=shown)


def panel_of(card: CapacityCard, each: LoadPanel, key: str) -> Panel:
    """A picture over a linear axis of the rate."""
    keys = [Key(curve.name, role("series", SERIES[place % len(SERIES)])) for place, curve in enumerate(each.curves)]
    measure = Measure(each.title, each.title, each.dimension, "lower")
    most = most_per_s(card, each)
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        set_metric(axes, axis_up(each), measure)
        axes.set(xlim=(0.0, most), xlabel="Requests a second")
        ticks = rates_along(most)
        axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
        quiet(axes)
        if math.isfinite(card.low_per_s) and math.isfinite(card.high_per_s):
            axes.axvspan(card.low_per_s, card.high_per_s, color=colour("muted"), alpha=0.13, linewidth=0.0, zorder=1)
        axes.axvline(card.rate_per_s, color=colour("ink"), linewidth=1.1, zorder=2)
        if math.isfinite(each.bound):
            axes.axhline(each.bound, color=colour("ink"), linewidth=1.0, linestyle=_DASHES, zorder=2)
        hints: dict[str, Sequence[str]] = {}
        for place in reversed(range(len(each.curves))):
            hints[f"load-{place}"] = _draw(axes, each, each.curves[place], keys[place].colour, f"load-{place}")
        svg = small(figure, key, _spoken(card, each), hints)
    return Panel(each.title, svg, keys if len(keys) > 1 else [], _note(card, each))


def most_per_s(card: CapacityCard, each: LoadPanel) -> float:
    """Where the axis of the rate ends: beyond every rate of a panel, and beyond the interval of the answer."""
    ends = [end for end in (card.rate_per_s, card.high_per_s) if math.isfinite(end)]
    return 1.04 * max([*(at for curve in each.curves for at in curve.at_per_s), *ends])


def known_in(each: LoadPanel) -> list[float]:
    """Values with a place on a logarithmic axis."""
    return [value for curve in each.curves for value in curve.values if math.isfinite(value) and value > 0.0]


def axis_up(each: LoadPanel) -> Axis:
    """An axis that holds all values, or all up to a few times the bound."""
    values = known_in(each)
    if math.isfinite(each.bound):
        values = [*(min(value, _BEYOND * each.bound) for value in values), each.bound]
    return axis_of(values)


def rates_along(most: float) -> list[float]:
    """Round rates up to ``most``."""
    step = round_step(most, _TICKS)
    return [step * i for i in range(math.floor(most / step) + 1)]


def _draw(axes: Axes, each: LoadPanel, curve: Load, shade: str, gid: str) -> list[str]:
    """A curve, broken where it has no value, and dots that say their numbers."""
    known = [(at, value) for at, value in zip(curve.at_per_s, curve.values, strict=True) if math.isfinite(value)]
    first = gid.endswith("-0")
    axes.plot(
        curve.at_per_s, curve.values, color=colour(shade), linewidth=1.9 if first else 1.2,
        zorder=4 if first else 3,
    )  # fmt: skip
    axes.scatter(
        [at for at, _ in known], [value for _, value in known], s=15.0 if first else 10.0, c=colour(shade),
        linewidths=0.4, edgecolors=colour("paper"), zorder=5, gid=gid,
    )  # fmt: skip
    return [
        f"{short(curve.name)}, {number(at)} requests/s: {quantity(value, each.dimension)}"
        f"{', above the bound' if value > each.bound else ''}"
        for at, value in known
    ]


def _note(card: CapacityCard, each: LoadPanel) -> str:
    said = f"Dashed: at most {quantity(each.bound, each.dimension)}. " if math.isfinite(each.bound) else ""
    return f"{said}Upright: the {answer_in_words(card)}."


def answer_in_words(card: CapacityCard) -> str:
    """Which rate the answer is about: "rate to be served, 40.0/s"."""
    which = "rate to be served" if card.asked else "highest rate that holds"
    return f"{which}, {number(card.rate_per_s)}/s"


def _spoken(card: CapacityCard, each: LoadPanel) -> str:
    """What the first curve is at the rate of the answer."""
    curve = each.curves[0]
    near = min(range(len(curve.at_per_s)), key=lambda k: abs(curve.at_per_s[k] - card.rate_per_s))
    at, value = curve.at_per_s[near], curve.values[near]
    known = quantity(value, each.dimension) if math.isfinite(value) else "not known"
    title, name = short(each.title), short(curve.name)
    return f"{title} over requests a second: {name} {known} at {number(at)} requests a second"


FIGURE: Final = Figure(
    "load",
    "Along the load",
    10,
    "What requests take and cost as more of them come a second. The first curve is that of the answer: it must pass "
    "below the dashed line, its bound, where the upright line crosses it. Requests and their order are the same at all "
    "rates, only the gaps differ. A shaded band is the 80\u00a0% interval of the highest rate. Upright axes are "
    "logarithmic; what takes more than four times its bound is out of the picture.",
    applies,
    draw,
)
