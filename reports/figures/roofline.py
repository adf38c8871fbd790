"""Rooflines with the operators on them: one small panel per result and device, all on the same axes.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from hardware_specs.units import human_unit
from reports.figure import Figure
from reports.live import Live
from reports.live_figures.roofline import Dot as LiveDot
from reports.live_figures.roofline import Line, live_roofline
from reports.numbers import quantity, share
from reports.palette import role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import labels_of, short
from simulator.result import OperatorCost, Result, Roof

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 12
_MARKERS: Final = ("o", "D", "s", "^", "v", "P")
_SIZE_IN: Final = (4.6, 3.5)
_BOX: Final = (0.155, 0.135, 0.815, 0.85)
_LARGEST_DOT: Final = 420.0
_LABEL_SHARE: Final = 0.038


class Dot(NamedTuple):
    """One operator: intensity [FLOP/B], attained rate [FLOP/s], part of the result's time, marker, what it is."""

    intensity: float
    rate: float
    weight: float
    marker: str
    family: str
    hint: str
    name: str
    phase: str
    bound: str
    time_s: float


class Panel(NamedTuple):
    """One device of one result. ``left_out`` is the part of its time in operators without matrix FLOPs."""

    label: str
    roofs: list[Roof]
    dots: list[Dot]
    dtypes: frozenset[str]
    left_out: float


class Limits(NamedTuple):
    """Axes that all panels share: intensity [FLOP/B] and rate [FLOP/s]."""

    left: float
    right: float
    bottom: float
    top: float


def panels_of(results: Sequence[Result]) -> list[Panel]:
    """One panel per device with roofs and placed operators, in the order of results."""
    panels = []
    for label, result in zip(labels_of(results), results, strict=True):
        devices = dict.fromkeys(roof.device for roof in result.roofs)
        for device in devices:
            roofs = [r for r in dict.fromkeys(result.roofs) if r.device == device and 0.0 < r.value < math.inf]
            placed = [
                (operator, phase.name, _MARKERS[place % len(_MARKERS)])
                for place, phase in enumerate(result.phases)
                for operator in phase.operators
                if operator.device == device
            ]
            if len({roof.kind for roof in roofs} & {"peak", "memory"}) == 2:
                panel = _panel(label if len(devices) == 1 else f"{label}: {short(device)}", roofs, placed)
                panels += [panel] if panel.dots else []
    return panels


def _panel(label: str, roofs: list[Roof], placed: Sequence[tuple[OperatorCost, str, str]]) -> Panel:
    total = math.fsum(operator.time_s for operator, _, _ in placed) or 1.0
    dots, seen = [], 0.0
    for operator, phase, marker in placed:
        measures = (operator.flops, operator.moved_bytes, operator.time_s)
        if not all(0.0 < measure < math.inf for measure in measures):
            continue
        intensity, rate = operator.flops / operator.moved_bytes, operator.flops / operator.time_s
        weight = operator.time_s / total
        seen += weight
        hint = (
            f"{short(operator.name, 80)} ({short(phase, 40)}): {quantity(rate, 'flops')} at {quantity(intensity, '')} "
            f"FLOP/B, {share(weight)} of the time, {operator.bound}-bound"
        )
        dots.append(
            Dot(intensity, rate, weight, marker, operator.family, hint, operator.name, phase, operator.bound,
                operator.time_s)
        )  # fmt: skip
    dtypes = frozenset(operator.dtype for operator, _, _ in placed if operator.flops > 0.0)
    return Panel(label, roofs, dots, dtypes, max(1.0 - seen, 0.0))


def limits_of(panels: Sequence[Panel]) -> Limits:
    """Axes that hold every dot, every ridge point and every peak."""
    rates = [dot.rate for panel in panels for dot in panel.dots]
    intensities = [dot.intensity for panel in panels for dot in panel.dots]
    for panel in panels:
        peaks = [roof.value for roof in panel.roofs if roof.kind == "peak"]
        intensities += [max(peaks) / roof.value for roof in panel.roofs if roof.kind == "memory"]
        rates += peaks
    return Limits(min(intensities) / 2.5, max(intensities) * 4.0, min(rates) / 2.5, max(rates) * 3.0)


def applies(results: Sequence[Result]) -> bool:
    """Whether some device has both roofs and operators to stand under them."""
    return bool(panels_of(results))


def draw(results: Sequence[Result]) -> Markup:
    """A grid of live panels with legends of families and phases."""
    return _page(results, live=True)


def draw_static(results: Sequence[Result]) -> Markup:
    """The same as still pictures."""
    return _page(results, live=False)


def _page(results: Sequence[Result], live: bool) -> Markup:
    panels = panels_of(results)
    shown = panels[:MOST_PANELS]
    limits = limits_of(shown)
    drawn = [
        (panel, _draw_panel(panel, limits, f"roofline-{i}"),
         _live_panel(panel, limits, f"roofline-live-{i}") if live else None)
        for i, panel in enumerate(shown)
    ]  # fmt: skip
    phases = {phase.name: place for result in results for place, phase in enumerate(result.phases)}
    return render(
        "roofline.html",
        panels=drawn,
        live=live,
        legend_keys=legend_of((dot.family for panel in shown for dot in panel.dots), "family"),
        phases=[(name, "●◆■▲▼✚"[place % len(_MARKERS)]) for name, place in phases.items()],
        hidden=len(panels) - len(shown),
    )


def _draw_panel(panel: Panel, limits: Limits, key: str) -> Markup:
    from matplotlib.ticker import NullFormatter

    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        axes.set(xscale="log", yscale="log", xlim=limits[:2], ylim=limits[2:])
        axes.set_xlabel("arithmetic intensity [FLOP/B]")
        axes.set_ylabel("attained [FLOP/s]")
        axes.yaxis.set_major_formatter(lambda value, _: _decade(value))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        # Axes of less than a decade may have no major tick at all.
        narrow = limits[1] < 10.0 * limits[0]
        axes.xaxis.set_minor_formatter((lambda value, _: f"{value:g}") if narrow else NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(which="minor", length=0)
        axes.tick_params(which="major", length=3)
        axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
        _draw_roofs(axes, panel, limits)
        dots = sorted(panel.dots, key=lambda dot: -dot.weight)
        for marker in dict.fromkeys(dot.marker for dot in dots):
            same = [dot for dot in dots if dot.marker == marker]
            axes.scatter(
                [dot.intensity for dot in same], [dot.rate for dot in same], marker=marker, linewidths=0.9, zorder=3,
                s=[18.0 + _LARGEST_DOT * dot.weight for dot in same], alpha=0.85, edgecolors=colour("paper"),
                c=[colour(role("family", dot.family)) for dot in same], gid=f"dots-{marker}",
            )  # fmt: skip
        hints = {f"dots-{dot.marker}": [d.hint for d in dots if d.marker == dot.marker] for dot in dots}
        label = f"Roofline of {panel.label} with {len(dots)} operators; the largest: {dots[0].hint}"
        return inline(figure, key, label, hints)


def _decade(value: float) -> str:
    """A power of ten with its prefix alone, "100 T": the axis says FLOP/s."""
    scale, unit = human_unit(value, "flops")
    return f"{value / scale:g} {unit.removesuffix('FLOP/s')}".rstrip()


class Roofs(NamedTuple):
    """The roofs of a panel: bandwidths, names of formats by peak, the peaks in use and the highest of them."""

    slopes: list[Roof]
    peaks: dict[float, list[str]]
    used: list[float]
    top: float

    @property
    def drawn(self) -> list[float]:
        """Peaks in use, and those above them, which say what another number format could do; lower ones bound
        nothing."""
        shown = {*self.used, *(value for value in self.peaks if value >= self.top)}
        return sorted(shown, key=lambda value: (value not in self.used, -value))


def roofs_of(panel: Panel) -> Roofs:
    """The roofs of a panel by kind."""
    slopes = [roof for roof in panel.roofs if roof.kind != "peak"]
    peaks: dict[float, list[str]] = {}
    for roof in sorted((roof for roof in panel.roofs if roof.kind == "peak"), key=lambda roof: -roof.value):
        peaks.setdefault(roof.value, []).append(roof.label.removesuffix(" peak"))
    used = [value for value, names in peaks.items() if panel.dtypes & set(names)]
    return Roofs(slopes, peaks, used, max(used or peaks))


def _live_panel(panel: Panel, limits: Limits, key: str) -> Live:
    roofs = roofs_of(panel)
    widest = max(roof.value for roof in roofs.slopes)
    lines = [
        Line(roof.label, roof.value, "bytes_per_s", (limits.left, roofs.top / roof.value),
             (limits.left * roof.value, roofs.top), roof.kind == "memory")
        for roof in roofs.slopes
    ]  # fmt: skip
    lines += [
        Line(", ".join(roofs.peaks[value]), value, "flops", (value / widest, limits.right), (value, value),
             value in roofs.used)
        for value in roofs.drawn
    ]  # fmt: skip
    dots = [
        LiveDot(dot.name, dot.phase, dot.family, dot.bound, dot.intensity, dot.rate, dot.time_s, dot.weight, dot.marker)
        for dot in panel.dots
    ]
    return live_roofline(key, lines, dots, limits)


def _draw_roofs(axes: Axes, panel: Panel, limits: Limits) -> None:
    """Bandwidths as slopes up to the highest peak in use, peaks as levels from the memory's slope on."""
    slopes, peaks, used, top = roofs_of(panel)
    widest = max(roof.value for roof in slopes)
    for slope in slopes:
        strong = slope.kind == "memory"
        axes.plot(
            [limits.left, top / slope.value], [limits.left * slope.value, top], zorder=2,
            color=colour("ink" if strong else "muted"), linewidth=1.4 if strong else 1.0,
            linestyle="-" if strong else (0, (4, 3)),
        )  # fmt: skip
        _write_on_slope(axes, slope, limits, top)
    gap = _LABEL_SHARE * math.log10(limits.top / limits.bottom)
    written: list[float] = []
    for value in roofs_of(panel).drawn:
        strong = value in used
        axes.plot(
            [value / widest, limits.right], [value, value], color=colour("ink" if strong else "line"),
            linewidth=1.4 if strong else 1.0, zorder=2 if strong else 1,
        )  # fmt: skip
        if all(abs(math.log10(value / other)) > gap for other in written):
            written.append(value)
            axes.text(
                limits.right, value * 1.06, f"{short(', '.join(peaks[value]), 28)}  {quantity(value, 'flops')}",
                ha="right", va="bottom", fontsize=8.5, color=colour("ink" if strong else "muted"), zorder=4,
            )  # fmt: skip


def _write_on_slope(axes: Axes, slope: Roof, limits: Limits, top: float) -> None:
    """The bandwidth along its line: the cache's above it where it begins, the memory's below it where it ends, away
    from the operators of decode; where the line is too short for that it begins with the line."""
    width, height = _SIZE_IN[0] * _BOX[2], _SIZE_IN[1] * _BOX[3]
    decades = math.log10(limits.right / limits.left), math.log10(limits.top / limits.bottom)
    angle = math.degrees(math.atan2(height / decades[1], width / decades[0]))
    memory = slope.kind == "memory"
    start, end = max(limits.left * 1.35, limits.bottom * 1.6 / slope.value), top / slope.value
    at_end = memory and math.log10(end / start) > 0.45 * decades[0]
    x = end * 0.8 if at_end else start
    text = f"{short(slope.label, 14)}  {quantity(slope.value, 'bytes_per_s')}"
    axes.text(
        x, x * slope.value * (0.86 if memory else 1.08), text,
        rotation=angle, rotation_mode="anchor", ha="right" if at_end else "left", va="top" if memory else "bottom",
        fontsize=8.5, color=colour("ink" if memory else "muted"), zorder=4,
    )  # fmt: skip


FIGURE = Figure(
    "roofline",
    "Operators under the roofs",
    40,
    "A dot is an operator, its area the share of time it takes; the closer it lies to a roof, the less that hardware "
    "could be faster at it. All panels share their axes.",
    applies,
    draw,
    draw_static,
)
