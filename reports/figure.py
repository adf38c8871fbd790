"""What a figure is, and the finding of all of them: a new figure is one file in ``reports/figures``, for results, in
``reports/score_figures``, for scorecards, or in ``reports/calibration_figures``, for calibrations."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar

from markupsafe import Markup

from reports.calibration import MachineCard
from reports.scorecard import Scorecard
from simulator.result import Result

Results = Sequence[Result]
Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Figure(Generic[Subject]):
    """One figure of a page about a subject: results, a scorecard, or a calibration.

    ``name`` is its anchor, ``order`` its place on the page, ``reading`` one sentence that says how to read it.
    ``applies`` says whether the subject holds what it shows; ``draw`` returns HTML or SVG and is called only then.
    It returns ``Markup``: whatever else it returned would be shown as text. ``draw_static`` is for pages without
    scripts; None where ``draw`` is good without them.
    """

    name: str
    title: str
    order: int
    reading: str
    applies: Callable[[Subject], bool]
    draw: Callable[[Subject], Markup]
    draw_static: Callable[[Subject], Markup] | None = None


def drawn(
    figures: Sequence[Figure[Subject]], subject: Subject, static: bool = False
) -> list[tuple[Figure[Subject], Markup]]:
    """Those of ``figures`` that apply to ``subject``, each with what it draws.

    Args:
        static: whether the page will have no scripts.
    """
    return [
        (figure, (figure.draw_static if static and figure.draw_static else figure.draw)(subject))
        for figure in figures
        if figure.applies(subject)
    ]


def all_figures() -> tuple[Figure[Results], ...]:
    """Every figure of ``reports.figures``, in the order of the page."""
    return _figures_in("reports.figures")


def score_figures() -> tuple[Figure[Scorecard], ...]:
    """Every figure of ``reports.score_figures``, in the order of the page."""
    return _figures_in("reports.score_figures")


def calibration_figures() -> tuple[Figure[MachineCard], ...]:
    """Every figure of ``reports.calibration_figures``, in the order of the page."""
    return _figures_in("reports.calibration_figures")


@cache
def _figures_in(package: str) -> tuple[Figure[Any], ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(import_module(package).__path__))
    found = [import_module(f"{package}.{name}").FIGURE for name in names]
    return tuple(sorted(found, key=lambda figure: (figure.order, figure.name)))
