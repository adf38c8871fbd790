"""Latencies of a served run, for print: the share of requests that are answered within a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from reports.axis import axis_of
from reports.palette import SERIES, role
from reports.print_figure import DASHES, PrintFigure, grid_of, ink, legend_below, logarithmic, not_drawn
from reports.serving import Distribution, ServedCard
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_CURVES: Final = len(SERIES)
"""Names that have a look of their own; curves of others are not drawn."""


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
    looks = _looks(shown)
    for axes, each in zip(grid_of(drawing, len(shown), 2.3, 0.3), shown, strict=True):
        _panel(axes, each, looks)
    keys = [Line2D([], [], label=short(name, 30) or "all", **look) for name, look in looks.items()]
    keys = keys if len(keys) > 1 else []
    if any(each.ends for each in shown):
        keys.append(Line2D([], [], color=ink("muted"), linewidth=2.5, alpha=0.6, label="80 % interval"))
    if any(each.marks for each in shown):
        keys.append(Line2D([], [], marker="x", linestyle="", color=ink("ink"), label="objective"))
    legend_below(drawing, keys, notes=[not_drawn(len(_names(shown)) - len(looks), "tenant")])


def _names(shown: Sequence[Distribution]) -> list[str]:
    """Names of curves with a positive latency, each once for the whole figure."""
    return list(dict.fromkeys(curve.name for each in shown for curve in each.curves if (curve.at_s > 0.0).any()))


def _looks(shown: Sequence[Distribution]) -> dict[str, dict[str, Any]]:
    """Colour and dash of each name, the same in every panel and in the legend."""
    styles = zip(SERIES, DASHES, strict=True)
    looks = ({"color": ink(role("series", series)), "linestyle": dash} for series, dash in styles)
    return dict(zip(_names(shown), looks, strict=False))


def _panel(axes: Axes, each: Distribution, looks: Mapping[str, dict[str, Any]]) -> None:
    for curve in each.curves:
        here = curve.at_s > 0.0
        if curve.name not in looks or not here.any():
            continue
        axes.step(curve.at_s[here], 100.0 * curve.share[here], where="post", **looks[curve.name])
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
