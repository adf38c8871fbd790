"""Predicted beside measured, for print: one panel per kind and dimension, both axes logarithmic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reports.axis import axis_of
from reports.palette import class_rank, role
from reports.print_figure import PrintFigure, class_marker, grid_of, ink, legend_below, logarithmic
from reports.scorecard import KINDS, Cloud, Scorecard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


def _clouds(card: Scorecard) -> list[tuple[str, Cloud]]:
    return [(kind.kind, cloud) for kind in card.kinds for cloud in kind.clouds if _here(cloud).any()]


def _here(cloud: Cloud) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Rows with a place on logarithmic axes."""
    known = np.isfinite(cloud.observed) & np.isfinite(cloud.predicted)
    return np.asarray(known & (cloud.observed > 0.0) & (cloud.predicted > 0.0))


def applies(card: Scorecard) -> bool:
    """Whether some row was predicted."""
    return bool(_clouds(card))


def draw(card: Scorecard, drawing: Drawing) -> None:
    """Dots by device class; the line is where both are equal, the band a factor of two to either side."""
    clouds = _clouds(card)
    classes: set[str] = set()
    for axes, (kind, cloud) in zip(grid_of(drawing, len(clouds), 3.0, 0.5), clouds, strict=True):
        classes |= _panel(axes, kind, cloud)
    _legend(drawing, classes)


def _panel(axes: Axes, kind: str, cloud: Cloud) -> set[str]:
    here = _here(cloud)
    seen, said = cloud.observed[here], cloud.predicted[here]
    low, high = min(seen.min(), said.min()) / 1.5, max(seen.max(), said.max()) * 1.5
    ends = np.array([low, high])
    axes.fill_between(ends, ends / 2.0, ends * 2.0, color=ink("line"), alpha=0.6, linewidth=0.0)
    axes.plot(ends, ends, color=ink("muted"), linewidth=0.8)
    names = cloud.device_class[here]
    for name in sorted(set(names)):
        own = names == name
        axes.scatter(seen[own], said[own], s=9.0, alpha=0.65, linewidths=0.0, color=ink(role("class", name)),
                     marker=class_marker(name))  # fmt: skip
    title = f"{KINDS.get(kind, kind)}: {len(seen):,} rows"
    axis = axis_of([low, high])
    logarithmic(axes, "x", axis, "measured", cloud.dimension)
    logarithmic(axes, "y", axis, "predicted", cloud.dimension)
    axes.set(title=title)
    return set(names)


def _legend(drawing: Drawing, classes: set[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ordered = sorted(classes, key=class_rank)
    keys: list[Any] = [
        Line2D([], [], marker=class_marker(name), linestyle="", color=ink(role("class", name)), label=name or "unknown")
        for name in ordered
    ]
    keys.append(Line2D([], [], color=ink("muted"), linewidth=0.8, label="equal"))
    keys.append(Patch(color=ink("line"), alpha=0.6, linewidth=0.0, label="within 2 ×"))
    legend_below(drawing, keys)


FIGURE = PrintFigure("predicted", "Predicted beside measured", ("scorecard",), applies, draw)
