"""The box of the objectives in a drawing of two metrics: what bounds allow is shaded, each bound a dashed line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from reports.study import Measure
from reports.svg import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES: Final = (0, (4, 3))


class Limit(Protocol):
    """A bound: at most (``most``) or at least ``value`` of ``measure``."""

    @property
    def measure(self) -> Measure:
        """The metric."""

    @property
    def most(self) -> bool:
        """Whether it is an upper bound."""

    @property
    def value(self) -> float:
        """Where it lies, in the SI unit of the metric."""


def draw_box(axes: Axes, across: Limit | None, up: Limit | None) -> None:
    """Shade what the bounds of both axes allow; ``axes`` has its ends already."""
    if across is None and up is None:
        return
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    if across is not None:
        left, right = (left, min(across.value, right)) if across.most else (max(across.value, left), right)
    if up is not None:
        low, high = (low, min(up.value, high)) if up.most else (max(up.value, low), high)
    if left < right and low < high:
        axes.fill_between([left, right], low, high, color=colour("class-gpu"), alpha=0.09, linewidth=0.0, zorder=1)
    if across is not None:
        axes.axvline(across.value, color=colour("ink"), linewidth=1.0, linestyle=_DASHES, zorder=2)
    if up is not None:
        axes.axhline(up.value, color=colour("ink"), linewidth=1.0, linestyle=_DASHES, zorder=2)
