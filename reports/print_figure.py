"""Figures for print: matplotlib, one file each, as SVG, PDF or PNG. A new one is a file in ``reports/print_figures``.

Pages draw their own figures, which follow the colours of the page; these stand alone, in the light colours of the page,
which are read from its style sheet.
"""

from __future__ import annotations

import io
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, Final, Literal

from reports.axis import Axis, round_text, round_values
from reports.page_data import Form, Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Kind = Literal["svg", "pdf", "png"]
DPI: Final = 300
WIDTH_IN: Final = 6.9
"""Width of a text column of a page of paper [in]."""
_FEW: Final = 3
"""Fewer ticks than these are too few."""
_SHORT_UNITS: Final = ("s", "j", "bytes", "flops")
_VARIABLE: Final = re.compile(r"--([a-z0-9_-]+): (#[0-9a-f]{6})")


@dataclass(frozen=True)
class PrintFigure:
    """One figure for print.

    ``forms`` are the forms of pages whose subject it shows, ``applies`` says whether the subject holds enough for it,
    ``draw`` draws it on an empty drawing and is called only then.
    """

    name: str
    title: str
    forms: tuple[Form, ...]
    applies: Callable[[Any], bool]
    draw: Callable[[Any, Drawing], None]


@cache
def print_figures() -> tuple[PrintFigure, ...]:
    """Every figure of ``reports.print_figures``, by name."""
    package = import_module("reports.print_figures")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(import_module(f"reports.print_figures.{name}").FIGURE for name in names)


def figures_for(form: Form, subject: Subject) -> list[PrintFigure]:
    """The figures that can be drawn of ``subject``."""
    return [figure for figure in print_figures() if form in figure.forms and figure.applies(subject)]


def printed(figure: PrintFigure, subject: Subject, kind: Kind) -> bytes:
    """``figure`` of ``subject`` as the bytes of a file; the same subject gives the same bytes."""
    with _settings() as drawing:
        figure.draw(subject, drawing)
        buffer = io.BytesIO()
        metadata: dict[str, dict[str, Any]] = {
            "svg": {"Date": None, "Creator": "silicost"}, "png": {"Software": "silicost"},
            "pdf": {"CreationDate": None, "Creator": "silicost", "Producer": None},
        }  # fmt: skip
        drawing.savefig(buffer, format=kind, dpi=DPI, bbox_inches="tight", metadata=metadata[kind])
    return buffer.getvalue()


def ink(name: str) -> str:
    """The light colour of a role or an ink, as "#0072b2"."""
    return _colours()[name]


def logarithmic(axes: Axes, which: Literal["x", "y"], axis: Axis, title: str, dimension: str = "") -> None:
    """Make one axis logarithmic, with round values (matplotlib's own need math text) and its title.

    Short units of the size of a value stand at it, long ones in the title.
    """
    values = round_values(axis)
    if len(values) < _FEW and axis.high - axis.low < 1.0:
        values = _even(axis)
    short_unit = dimension in _SHORT_UNITS
    ticks = [round_text(value, dimension if short_unit else "") for value in values]
    label = title if short_unit or dimension in ("", "number", "count") else f"{title} [{dimension}]"
    ends = (10.0**axis.low, 10.0**axis.high)
    if which == "x":
        axes.set(xscale="log", xlim=ends, xlabel=label)
        axes.set_xticks(values, ticks)
    else:
        axes.set(yscale="log", ylim=ends, ylabel=label)
        axes.set_yticks(values, ticks)
    axes.minorticks_off()


def _even(axis: Axis) -> list[float]:
    """Round values of equal steps, for axes of less than a decade."""
    from matplotlib.ticker import MaxNLocator

    ends = (10.0**axis.low, 10.0**axis.high)
    ticks = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)
    return [float(tick) for tick in ticks if ends[0] <= tick <= ends[1]]


@cache
def _colours() -> dict[str, str]:
    sheet = resources.files("reports").joinpath("templates/page.css").read_text(encoding="utf-8")
    return dict(reversed(_VARIABLE.findall(sheet)))


@contextmanager
def _settings() -> Iterator[Drawing]:
    """An empty drawing under settings of its own: text stays text, a dollar sign in a name is no formula."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "silicost", "pdf.fonttype": 42, "text.parse_math": False,
        "font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
        "legend.frameon": False, "axes.titlesize": 9.5, "axes.titlelocation": "left", "lines.linewidth": 1.4,
        "axes.axisbelow": True, "grid.linewidth": 0.5, "grid.color": ink("line"),
    }  # fmt: skip
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        # Names may hold characters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
