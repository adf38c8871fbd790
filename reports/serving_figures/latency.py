"""How long requests take: the distribution of each latency with its bounds, and a table of quantiles."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.axis import Axis, axis_of, round_text
from reports.figure import Figure
from reports.live import Live
from reports.live_figures.latencies import Band, Bound, live_latencies
from reports.live_figures.latencies import Curve as LiveCurve
from reports.numbers import quantity, share
from reports.palette import SERIES, role
from reports.parts import Key
from reports.serving import Distribution, ServedCard
from reports.serving_svg import small
from reports.svg import colour, drawing
from reports.templating import render
from reports.text import short
from reports.whatif_axis import fine_values

_SIZE_IN: Final = (4.6, 3.0)
_BOX: Final = (0.115, 0.13, 0.855, 0.84)
_TICKS: Final = 6


class Panel(NamedTuple):
    """One latency and its curves."""

    title: str
    svg: Markup
    keys: list[Key]
    note: str
    live: Live | None = None


def axis_over(each: Distribution) -> Axis:
    """An axis of time that holds curves, bounds and intervals."""
    values = [value for curve in each.curves for value in curve.at_s.tolist()]
    values += [mark.bound_s for mark in each.marks]
    values += [end for one in each.ends for end in (one.low_s, one.high_s)]
    return axis_of(values)


def panel_of(each: Distribution, key: str) -> Panel:
    """A picture of the shares of requests over a logarithmic axis of time."""
    keys, across = _keys(each), axis_over(each)
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        ends = 10.0**across.low, 10.0**across.high
        axes.set(xscale="log", xlim=ends, ylim=(0.0, 1.05))
        ticks = ticks_of(across)
        axes.set_xticks(ticks, [round_text(tick, "s") for tick in ticks])
        axes.set_yticks((0.0, 0.25, 0.5, 0.75, 0.9, 1.0), ("0 %", "25 %", "50 %", "75 %", "90 %", "100 %"))
        axes.minorticks_off()
        axes.tick_params(length=3)
        axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
        axes.set_axisbelow(True)
        for curve, one in zip(each.curves, keys, strict=True):
            at = np.concatenate([[ends[0]], curve.at_s, [ends[1]]])
            up = np.concatenate([[0.0], curve.share, curve.share[-1:]])
            axes.plot(at, up, drawstyle="steps-post", color=colour(one.colour), linewidth=1.7, zorder=3)
        hints = {"bounds": [f"{mark_text(each, place)}" for place in range(len(each.marks))]}
        for mark in each.marks:
            axes.axvline(mark.bound_s, color=colour("ink"), linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
        if each.marks:
            bounds, shares = [mark.bound_s for mark in each.marks], [mark.share for mark in each.marks]
            axes.scatter(bounds, shares, s=34.0, c=colour("paper"), linewidths=1.5, edgecolors=colour("ink"), zorder=5,
                         gid="bounds")  # fmt: skip
        known = [one for one in each.ends if 0.0 < one.low_s <= one.high_s]
        axes.hlines([one.share for one in known], [one.low_s for one in known], [one.high_s for one in known],
                    color=colour(keys[0].colour), linewidth=5.0, alpha=0.3, zorder=2)  # fmt: skip
        label = f"Distribution of {each.title}: {_spoken(each)}"
        return Panel(each.title, small(figure, key, label, hints), keys if len(keys) > 1 else [], _note(each))


def _keys(each: Distribution) -> list[Key]:
    return [Key(curve.name, role("series", SERIES[i % len(SERIES)])) for i, curve in enumerate(each.curves)]


def _live(each: Distribution, key: str) -> Live:
    """The same, live."""
    axis = axis_over(each)
    curves = [
        LiveCurve(curve.name, own.colour, curve.at_s, curve.share)
        for curve, own in zip(each.curves, _keys(each), strict=True)
    ]
    bands = [Band(one.name, one.share, one.low_s, one.high_s) for one in each.ends if 0.0 < one.low_s <= one.high_s]
    bounds = [Bound(mark_text(each, place), mark.bound_s, mark.share) for place, mark in enumerate(each.marks)]
    return live_latencies(key, curves, bands, bounds, (10.0**axis.low, 10.0**axis.high))


def ticks_of(axis: Axis) -> list[float]:
    """About four to six round values; 1, 2 and 5 of each decade where a few decades are shown."""
    if 0.9 <= axis.high - axis.low < 2.0:
        exponents = range(math.floor(axis.low), math.ceil(axis.high) + 1)
        values = [step * 10.0**e for e in exponents for step in (1.0, 2.0, 5.0)]
        values = [value for value in values if axis.low <= math.log10(value) <= axis.high]
    else:
        values = fine_values(axis)
    return values[:: max(1, -(-len(values) // _TICKS))]


def mark_text(each: Distribution, place: int) -> str:
    """A bound in words."""
    mark = each.marks[place]
    whose = f"{short(mark.whose, 40)}: " if mark.whose else ""
    return f"{whose}{100.0 * mark.share:g} % within {quantity(mark.bound_s, 's')}"


def _note(each: Distribution) -> str:
    if not each.marks:
        return ""
    return f"Dashed: {'; '.join(mark_text(each, place) for place in range(len(each.marks)))}."


def _spoken(each: Distribution) -> str:
    """The middle and the end of the first curve."""
    curve = each.curves[0]
    middle = int(np.searchsorted(curve.share, 0.5 * curve.share[-1]))
    said = f"half within {quantity(float(curve.at_s[middle]), 's')}, all that were answered within "
    return f"{said}{quantity(float(curve.at_s[-1]), 's')}, {share(float(curve.share[-1]))} of all requests"


def applies(card: ServedCard) -> bool:
    """Whether any request was answered."""
    return any(len(curve.at_s) for each in card.distributions for curve in each.curves)


def draw(card: ServedCard) -> Markup:
    """A live panel for each latency, and the table."""
    return _page(card, live=True)


def draw_static(card: ServedCard) -> Markup:
    """The same as still pictures."""
    return _page(card, live=False)


def _page(card: ServedCard, live: bool) -> Markup:
    drawn = []
    for place, each in enumerate(card.distributions):
        if each.curves:
            panel = panel_of(each, f"latency-{place}")
            drawn.append(panel._replace(live=_live(each, f"latency-live-{place}")) if live else panel)
    columns = [value.title for value in card.latencies[0].values] if card.latencies else []
    rows = [row for row in card.latencies if any(math.isfinite(value.value) for value in row.values)]
    return render(
        "serving_latency.html", panels=drawn, rows=rows, columns=columns, live=live,
        missing=[(row.title, row.values[0].cell.reason) for row in card.latencies if row not in rows and row.values],
    )  # fmt: skip


FIGURE: Final = Figure(
    "latency",
    "How long requests take",
    10,
    "The share of all requests that have their first token (TTFT), a mean gap between tokens (TPOT) or their whole "
    "answer (E2E) within a time; a curve that ends below 100\u00a0% leaves out those that were not answered. A dashed "
    "line is a bound of the SLO: the curve must pass above its ring. Broad bars are 80\u00a0% intervals of p50, p90, "
    "p95 and p99. Time is logarithmic.",
    applies,
    draw,
    draw_static,
)
