"""What a figure is, and the finding of all of them: a new figure is one file in ``reports/figures``."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from markupsafe import Markup

from simulator.result import Result

Results = Sequence[Result]


@dataclass(frozen=True)
class Figure:
    """One figure of a page.

    ``name`` is its anchor, ``order`` its place on the page, ``reading`` one sentence that says how to read it.
    ``applies`` says whether the results hold what it shows; ``draw`` returns HTML or SVG and is called only then.
    It returns ``Markup``: whatever else it returned would be shown as text.
    """

    name: str
    title: str
    order: int
    reading: str
    applies: Callable[[Results], bool]
    draw: Callable[[Results], Markup]


@cache
def all_figures() -> tuple[Figure, ...]:
    """Every figure of ``reports.figures``, in the order of the page."""
    from reports import figures

    names = sorted(module.name for module in pkgutil.iter_modules(figures.__path__))
    found = [import_module(f"{figures.__name__}.{name}").FIGURE for name in names]
    return tuple(sorted(found, key=lambda figure: (figure.order, figure.name)))
