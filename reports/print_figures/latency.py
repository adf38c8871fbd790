"""Latencies of a served run, for print: the share of requests that are answered within a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from reports.axis import axis_of
from reports.palette import SERIES, role
from reports.print_figure import WIDTH_IN, PrintFigure, ink, logarithmic
from reports.serving import Distribution, ServedCard
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_CURVES: Final = len(SERIES)


def _shown(card: ServedCard) -> list[Distribution]:
    """Distributions with a curve that has a positive latency."""
    return [each for each in card.distributions if any((curve.at_s > 0.0).any() for curve in each.curves)]


def applies(card: ServedCard) -> bool:
    """Whether a kind of latency has a curve."""
    return bool(_shown(card))


def draw(card: ServedCard, drawing: Drawing) -> None:
    """A panel for each kind of latency, on a logarithmic axis of time."""
    shown = _shown(card)
    across = min(len(shown), 2)
    down = math.ceil(len(shown) / across)
    drawing.set_size_inches(WIDTH_IN, 2.4 * down)
    grid = drawing.subplots(down, across, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place < len(shown):
            _panel(axes, shown[place])
        else:
            axes.set_visible(False)


def _panel(axes: Axes, each: Distribution) -> None:
    for place, curve in enumerate(each.curves[:MOST_CURVES]):
        here = curve.at_s > 0.0
        axes.step(curve.at_s[here], 100.0 * curve.share[here], where="post", label=short(curve.name, 30) or "_",
                  color=ink(role("series", SERIES[place])))  # fmt: skip
    for mark in each.marks:
        axes.plot([mark.bound_s], [100.0 * mark.share], marker="x", color=ink("ink"), linestyle="", zorder=4)
    for ends in each.ends:
        if ends.low_s > 0.0 and math.isfinite(ends.high_s):
            axes.hlines(100.0 * ends.share, ends.low_s, ends.high_s, color=ink("muted"), linewidth=2.5, alpha=0.6)
    ends_s = [end for ends in each.ends for end in (ends.low_s, ends.high_s)]
    seen = [value for curve in each.curves for value in curve.at_s.tolist()]
    logarithmic(
        axes, "x", axis_of([*seen, *ends_s, *(mark.bound_s for mark in each.marks)]), short(each.title, 40), "s"
    )
    axes.set(ylim=(0.0, 101.0), ylabel="requests within [%]")
    axes.grid(True)
    if len(each.curves) > 1:
        axes.legend(fontsize=7)


FIGURE = PrintFigure("latency", "Latencies of the requests", ("served",), applies, draw)
