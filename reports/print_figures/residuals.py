"""Predicted over measured time of the calls of a calibration, for print: a panel for each operator family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reports.axis import Axis, axis_of
from reports.calibration import MachineCard, Point
from reports.calibration_figures.residuals import (
    FAR,
    applies,
    axis_up,
    band_of,
    dtype_rank,
    how_far_off,
    kept_inside,
    priced,
    ratios_along,
)
from reports.log_axes import MOST_DOTS, draw_cells, parts_of
from reports.palette import DTYPES, family_rank, in_words, role
from reports.print_figure import MARKERS, PrintFigure, grid_of, ink, legend_below, letters_in, logarithmic, not_drawn
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

MOST_PANELS: Final = 8
_BAND: Final = 0.18


def draw(card: MachineCard, drawing: Drawing) -> None:
    """Dots by number format, hollow where no entry prices them; above 1× a prediction is too long."""
    points = priced(card)
    families = sorted({point.family for point in points}, key=family_rank)
    up, counted = axis_up(points), len(points) > MOST_DOTS
    grid = grid_of(drawing, min(len(families), MOST_PANELS), 2.3, 0.7)
    across = len({round(float(axes.get_position().x0), 3) for axes in grid})
    for axes, family in zip(grid, families, strict=False):
        own = [point for point in points if point.family == family]
        _panel(axes, own, up, counted)
        title = short(
            f"{in_words('family', family)}: {len(own):,} call{'s' * (len(own) != 1)}", letters_in(drawing, 0.8 / across)
        )
        axes.set_title(f"{title}\n", loc="left")
        axes.annotate(how_far_off(own), (0.0, 1.0), (0.0, 3.0), xycoords="axes fraction", va="bottom",
                      textcoords="offset points", fontsize="small", color=ink("muted"))  # fmt: skip
    legend_below(drawing, _keys(points, counted), notes=_notes(points, up, len(families), counted))


def dtype_marker(dtype: str) -> str:
    """The marker of a number format; one of its own for what is none."""
    return MARKERS[DTYPES.index(dtype) % len(MARKERS)] if dtype in DTYPES else "X"


def _panel(axes: Axes, points: Sequence[Point], up: Axis, counted: bool) -> None:
    across, ratios = axis_of([point.time_s for point in points]), ratios_along(up)
    logarithmic(axes, "x", across, "measured", "s")
    logarithmic(axes, "y", up, "predicted / measured")
    axes.set_yticks(list(ratios), list(ratios.values()))
    axes.grid(True)
    axes.axhline(1.0, color=ink("ink"), linewidth=1.0, zorder=2)
    for factor in (1.0 / FAR, FAR):
        axes.axhline(factor, color=ink("muted"), linewidth=0.7, linestyle=(0, (4, 3)), zorder=2)
    dtypes = sorted({point.dtype for point in points}, key=dtype_rank)
    if counted:
        x, y = parts_of(across, [p.time_s for p in points]), parts_of(up, [p.ratio for p in points])
        groups = [dtypes.index(point.dtype) for point in points]
        draw_cells(axes, x, y, groups, [ink(role("dtype", dtype)) for dtype in dtypes])
    for dtype in dtypes:
        shade, own = ink(role("dtype", dtype)), [point for point in points if point.dtype == dtype]
        at, low, high = band_of(own)
        if len(at):
            axes.fill_between(at, low, high, color=shade, alpha=_BAND, linewidth=0.0, zorder=1.5)
        for fitted in () if counted else (True, False):
            same = [point for point in own if bool(point.priced_by) == fitted]
            if not same:
                continue
            axes.scatter([point.time_s for point in same], kept_inside(up, same), s=9.0, marker=dtype_marker(dtype),
                         facecolors=shade if fitted else "white", edgecolors=shade, linewidths=0.6, alpha=0.75,
                         zorder=3)  # fmt: skip


def _keys(points: Sequence[Point], counted: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    dtypes = sorted({point.dtype for point in points}, key=dtype_rank)
    keys: list[Any] = [
        Line2D([], [], marker="s" if counted else dtype_marker(dtype), linestyle="", color=ink(role("dtype", dtype)),
               markersize=4.5, label=dtype or "unknown")
        for dtype in dtypes
    ]  # fmt: skip
    if not counted and not all(point.priced_by for point in points):
        keys.append(Line2D([], [], marker="o", linestyle="", color=ink("muted"), markerfacecolor="white",
                           markersize=4.5, label="priced by priors alone"))  # fmt: skip
    if any(len(band_of([point])[0]) for point in points):
        keys.append(Patch(color=ink("muted"), alpha=0.3, linewidth=0.0, label="80 % interval"))
    keys.append(Line2D([], [], color=ink("muted"), linewidth=0.7, linestyle=(0, (4, 3)), label="twice, half"))
    return keys


def _notes(points: Sequence[Point], up: Axis, families: int, counted: bool) -> list[str]:
    """What is drawn elsewhere than it lies, or not at all."""
    far = sum(not 10.0**up.low <= point.ratio <= 10.0**up.high for point in points)
    notes = [not_drawn(families - MOST_PANELS, "panel")]
    if far:
        notes.append(f"{far:,} further off than {10.0**up.high:.2g}× {'lie' if far > 1 else 'lies'} at the edge.")
    if counted:
        notes.append(f"{len(points):,} calls are counted in cells: the darker, the more.")
    return notes


FIGURE = PrintFigure("residuals", "Predicted over measured", ("calibration",), applies, draw)
