"""The rate of matrix products over their rows m, from decode to prefill: measured, by the law, and the roof."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from reports.axis import Axis, axis_of
from reports.calibration import MachineCard, ProductPanel, RateCurve
from reports.calibration_figures.entries import error_text
from reports.calibration_figures.roofline import MARKERS
from reports.figure import Figure
from reports.log_axes import frame
from reports.numbers import quantity, whole
from reports.palette import DTYPES, role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 6
_SIZE_IN: Final = (4.6, 3.5)
_BOX: Final = (0.15, 0.14, 0.79, 0.84)


class Panel(NamedTuple):
    """Products with the same weights."""

    title: str
    svg: Markup
    note: str


def applies(card: MachineCard) -> bool:
    """Whether products of different rows were measured."""
    return any(curve.points for panel in card.products for curve in panel.curves)


def draw(card: MachineCard) -> Markup:
    """Panels on the same axes, small weights first."""
    panels = [panel for panel in card.products if any(curve.points for curve in panel.curves)]
    shown = panels[:MOST_PANELS]
    curves = [curve for panel in shown for curve in panel.curves]
    runtimes = list(dict.fromkeys(curve.runtime for curve in curves))
    marks = {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(runtimes)}
    across = axis_of([point.m for curve in curves for point in curve.points])
    up = axis_of([value for curve in curves for value in (*(p.rate for p in curve.points), *curve.law)])
    dtypes = sorted({curve.dtype for curve in curves}, key=lambda each: DTYPES.index(each) if each in DTYPES else 99)
    return render(
        "products.html",
        panels=[_drawn(panel, across, up, marks, f"products-{place}") for place, panel in enumerate(shown)],
        legend_keys=legend_of(dtypes, "dtype"),
        runtimes=[(name, "●◆■▲▼✚"[place % len(MARKERS)]) for place, name in enumerate(runtimes)],
        hidden=len(panels) - len(shown),
    )


def _drawn(panel: ProductPanel, across: Axis, up: Axis, marks: dict[str, str], key: str) -> Panel:
    title = f"n {whole(panel.n)}, k {whole(panel.k)}"
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        frame(axes, across, up, ("", "flops"), ("rows m", "rate [FLOP/s]"))
        hints = {}
        for place, curve in enumerate(panel.curves):
            first = all(other.dtype != curve.dtype for other in panel.curves[:place])
            _draw_curve(axes, curve, marks[curve.runtime], f"rates-{place}", first)
            hints[f"rates-{place}"] = [
                f"{curve.dtype}, m {whole(point.m)}: {quantity(point.rate, 'flops')} "
                f"[{quantity(point.low, 'flops')}, {quantity(point.high, 'flops')}]"
                for point in curve.points
            ]
        points = sum(len(curve.points) for curve in panel.curves)
        label = f"Rate of products with {title} over rows: {points} measured calls and the law"
        return Panel(title, inline(figure, key, label, hints), _note(panel))


def _draw_curve(axes: Axes, curve: RateCurve, marker: str, gid: str, first: bool) -> None:
    """Roof, law and calls; ``first`` of its dtype: other runtimes share the roof, and their law is dotted."""
    shade = colour(role("dtype", curve.dtype))
    if first:
        axes.plot(curve.rows, curve.roof, color=shade, linewidth=0.9, alpha=0.45, linestyle=(0, (4, 3)), zorder=2)
    axes.plot(curve.rows, curve.law, color=shade, linewidth=1.5, alpha=0.9, zorder=3,
              linestyle="-" if first else (0, (1, 1.4)))  # fmt: skip
    at = [point.m for point in curve.points]
    axes.vlines(at, [p.low for p in curve.points], [p.high for p in curve.points], colors=shade, linewidth=1.1,
                alpha=0.6, zorder=4)  # fmt: skip
    axes.scatter(at, [point.rate for point in curve.points], s=22.0, c=shade, marker=marker, linewidths=0.5,
                 edgecolors=colour("paper"), zorder=5, gid=gid)  # fmt: skip


def _note(panel: ProductPanel) -> str:
    """How far the law is from the measured calls, by dtype."""
    several = len({curve.runtime for curve in panel.curves}) > 1
    parts = []
    for curve in panel.curves:
        law = dict(zip(curve.rows, curve.law, strict=True))
        off = [abs(math.log(law[p.m] / p.rate)) for p in curve.points if law.get(p.m, 0.0) > 0.0]
        if off:
            of = f" of {curve.runtime}" if several else ""
            parts.append(f"{error_text(math.expm1(sum(off) / len(off)))} in {curve.dtype}{of}")
    return f"The law is off by {', '.join(parts)} on average." if parts else ""


FIGURE: Final = Figure(
    "products",
    "Products over rows",
    60,
    "A product of m rows with weights [n, k]: few rows as in decode, many as in prefill. Dots are measured, with the "
    "95\u00a0% interval of the median; the line is the law with the fitted parameters; the dashed one the roof: the "
    "peak, or the bandwidth at which memory can bring the weights. All panels share their axes.",
    applies,
    draw,
)
