"""Whether intervals hold what they promise: nominal against observed coverage, and the same of single quantiles.

The uncertainty of an observed share is Wilson's 95% interval of a proportion (Wilson, "Probable inference, the law of
succession, and statistical inference", JASA 22(158), 1927, doi:10.1080/01621459.1927.10502953), for independent rows.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.axis import Tick
from reports.figure import Figure
from reports.numbers import share
from reports.palette import role
from reports.parts import legend_of
from reports.score_figures.errors import ratios_of
from reports.scorecard import KINDS, Floats, KindScores, Scorecard
from reports.svg import colour, drawing, inline
from reports.templating import render

LEVELS: Final = (0.025, 0.1, 0.5, 0.9, 0.975)
"""Quantiles that a prediction with its intervals states."""
PROMISED: Final = (0.8, 0.95)
_TICKS: Final = (0, 20, 40, 60, 80, 95)
_Z95: Final = 1.959963984540054
_SIZE_IN: Final = (4.6, 4.0)
_BOX: Final = (0.14, 0.13, 0.835, 0.85)
_MARKERS: Final = {"gpu": "o", "tpu": "D", "cpu": "s", "fpga": "^", "asic": "v"}


class Held(NamedTuple):
    """The share of measurements that an interval holds, and the ends of its own 95% interval, as places in percent of
    the track."""

    at: float
    low: float
    high: float


class Line(NamedTuple):
    """One class: what its 80% and 95% intervals hold, the shares of measurements below the five quantiles."""

    name: str
    colour: str
    rows: int
    held_80: Held
    held_95: Held
    value: str
    below: tuple[float, ...]


class Panel(NamedTuple):
    """One kind of measurement."""

    title: str
    lines: list[Line]
    svg: Markup


def lines_of(kind: KindScores) -> list[Line]:
    """The classes of a kind that have rows with intervals."""
    lines = []
    for name in ratios_of(kind):
        parts = [(cloud, np.flatnonzero(cloud.device_class == name)) for cloud in kind.clouds]
        columns = [
            np.concatenate([getattr(cloud, column)[rows] for cloud, rows in parts])
            for column in ("observed", "low_95", "low_80", "predicted", "high_80", "high_95")
        ]
        known = np.isfinite(columns[1]) & np.isfinite(columns[5])
        if known.any():
            lines.append(_line(name, [column[known] for column in columns]))
    return lines


def _line(name: str, columns: list[Floats]) -> Line:
    observed, low_95, low_80, predicted, high_80, high_95 = columns
    below = tuple(float((observed <= end).mean()) for end in (low_95, low_80, predicted, high_80, high_95))
    inside = [
        int(((low <= observed) & (observed <= high)).sum()) for low, high in ((low_80, high_80), (low_95, high_95))
    ]
    shares = [count / len(observed) for count in inside]
    held = [_held(count, len(observed)) for count in inside]
    return Line(
        name or "unknown", role("class", name), len(observed), held[0], held[1],
        f"{share(shares[0])} · {share(shares[1])}", below,
    )  # fmt: skip


def _held(inside: int, rows: int) -> Held:
    low, high = wilson(inside, rows)
    return Held(place_of(inside / rows), place_of(low), place_of(high))


def place_of(part: float) -> float:
    """Where a share lies on the track, in percent; its ends leave room for half a dot."""
    return 3.0 + 94.0 * part


def wilson(inside: int, rows: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion of ``inside`` among ``rows``."""
    part, spread = inside / rows, _Z95**2 / rows
    middle = (part + spread / 2.0) / (1.0 + spread)
    half = math.sqrt(part * (1.0 - part) * spread + spread**2 / 4.0) / (1.0 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def applies(card: Scorecard) -> bool:
    """Whether any row has an interval."""
    return any(lines_of(kind) for kind in card.kinds)


def draw(card: Scorecard) -> Markup:
    """Coverage of every class beside the shares below each quantile."""
    found = [(KINDS.get(kind.kind, kind.kind), lines_of(kind)) for kind in card.kinds]
    panels = [
        Panel(kind, lines, _draw_quantiles(kind, lines, f"coverage-{place}"))
        for place, (kind, lines) in enumerate(found)
        if lines
    ]
    names = [line.name for panel in panels for line in panel.lines]
    return render(
        "coverage.html",
        panels=panels,
        promised=[place_of(part) for part in PROMISED],
        ticks=[Tick(place_of(percent / 100.0), f"{percent}") for percent in _TICKS],
        legend_keys=legend_of(names, "class"),
    )


def _draw_quantiles(kind: str, lines: list[Line], key: str) -> Markup:
    """Nominal against observed share below each quantile; sure intervals bend the line into the shape of an S."""
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        axes.set(
            xlim=(0.0, 100.0), ylim=(-2.0, 102.0), xlabel="promised share below [%]", ylabel="observed share below [%]"
        )
        axes.set_xticks([100.0 * level for level in LEVELS], ["2.5", "10", "50", "90", "97.5"])
        axes.set_yticks(range(0, 101, 20))
        axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
        axes.set_axisbelow(True)
        axes.plot([0.0, 100.0], [0.0, 100.0], color=colour("ink"), linewidth=1.1, zorder=2)
        hints = {}
        for place, line in enumerate(lines):
            shade = colour(line.colour)
            at, seen = [100.0 * level for level in LEVELS], [100.0 * below for below in line.below]
            axes.plot(at, seen, color=shade, linewidth=1.3, zorder=3, alpha=0.8)
            axes.scatter(at, seen, s=26.0, c=shade, marker=_MARKERS.get(line.name, "P"), linewidths=0.6, zorder=4,
                         edgecolors=colour("paper"), gid=f"quantiles-{place}", clip_on=False)  # fmt: skip
            hints[f"quantiles-{place}"] = [
                f"{line.name}: {y:.0f} % of {line.rows:,} measurements lie below the {x:g} % quantile"
                for x, y in zip(at, seen, strict=True)
            ]
        spoken = "; ".join(f"{line.name} {line.value}" for line in lines)
        label = f"Calibration of {kind}: held by 80 % and 95 % intervals: {spoken}"
        return inline(figure, key, label, hints)


FIGURE: Final = Figure(
    "coverage",
    "Do intervals hold what they promise",
    30,
    "Of good 80\u00a0% intervals 80\u00a0% hold the measurement (filled dots, left upright line), of 95\u00a0% "
    "intervals 95\u00a0% (hollow dots, right line); lines through dots are what the number of rows leaves open. In "
    "the pictures below, each dot is the share of measurements below a predicted quantile: on the diagonal all is "
    "well, a line above it means predictions too large, a steep middle means intervals wider than needed, a flat one "
    "too narrow.",
    applies,
    draw,
)
