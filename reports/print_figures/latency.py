"""Latencies of a served run, for print: the share of requests that are answered within a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from reports.axis import axis_of
from reports.palette import SERIES, role
from reports.print_figure import DASHES, PrintFigure, grid_of, ink, legend_below, logarithmic
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
    from matplotlib.lines import Line2D

    shown = _shown(card)
    for axes, each in zip(grid_of(drawing, len(shown), 2.3, 0.3), shown, strict=True):
        _panel(axes, each)
    names = dict.fromkeys(curve.name for each in shown for curve in each.curves[:MOST_CURVES])
    keys = [Line2D([], [], label=short(name, 30) or "all", **_look(place)) for place, name in enumerate(names)]
    keys = keys if len(keys) > 1 else []
    if any(each.ends for each in shown):
        keys.append(Line2D([], [], color=ink("muted"), linewidth=2.5, alpha=0.6, label="80 % interval"))
    if any(each.marks for each in shown):
        keys.append(Line2D([], [], marker="x", linestyle="", color=ink("ink"), label="objective"))
    legend_below(drawing, keys)


def _look(place: int) -> dict[str, Any]:
    return {"color": ink(role("series", SERIES[place])), "linestyle": DASHES[place]}


def _panel(axes: Axes, each: Distribution) -> None:
    for place, curve in enumerate(each.curves[:MOST_CURVES]):
        here = curve.at_s > 0.0
        axes.step(curve.at_s[here], 100.0 * curve.share[here], where="post", **_look(place))
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


FIGURE = PrintFigure("latency", "Latencies of the requests", ("served",), applies, draw)
