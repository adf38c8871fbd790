"""Figures for print: matplotlib, one file each, as SVG, PDF or PNG. A new one is a file in ``reports/print_figures``.

Pages draw their own figures, which follow the colours of the page; these stand alone, in the light colours of the page,
which are read from its style sheet.
"""

from __future__ import annotations

import io
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, Literal

from reports.axis import Axis, round_text, round_values
from reports.numbers import symbol
from reports.page_data import Form, Subject
from reports.palette import CLASSES
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Kind = Literal["svg", "pdf", "png"]
DPI: Final = 300
WIDTH_IN: Final = 6.9
"""Width of the text of a page of paper [in]; a column of two is 3.3."""
WIDTHS_IN: Final = (2.5, 20.0)
"""Widths that a figure can have [in]."""
_NARROW_IN: Final = 4.5
"""Below this the letters are those of a column."""
_PANEL_IN: Final = 3.0
"""Panels side by side are no narrower [in]."""
_LETTER: Final = 0.57
"""Width of a letter as a part of its height."""
_KEY_IN: Final = 0.4
"""What a key of a legend takes beside its words [in]."""
NOTE_PT: Final = 7.0
"""Letters of notes in a picture; smaller ones cannot be read in print."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
"""Of series and classes, in their order, so that colours are not all that tells them apart."""
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
"""The same for lines."""
_FEW: Final = 3
"""Fewer ticks than these are too few."""
_SHORT_UNITS: Final = ("s", "j", "bytes", "flops", "fraction")
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


def printed(figure: PrintFigure, subject: Subject, kind: Kind, width_in: float = WIDTH_IN) -> bytes:
    """``figure`` of ``subject``, exactly ``width_in`` wide [in], as the bytes of a file; the same subject gives the
    same bytes."""
    with _settings(width_in) as drawing:
        figure.draw(subject, drawing)
        return _file_of(drawing, kind)


def _file_of(drawing: Drawing, kind: Kind) -> bytes:
    buffer = io.BytesIO()
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": "silicost"}, "png": {"Software": "silicost"},
        "pdf": {"CreationDate": None, "Creator": "silicost", "Producer": None},
    }  # fmt: skip
    drawing.savefig(buffer, format=kind, dpi=DPI, metadata=metadata[kind])
    return buffer.getvalue()


def ink(name: str) -> str:
    """The light colour of a role or an ink, as "#0072b2"."""
    return _colours()[name]


def class_marker(name: str) -> str:
    """The marker of a device class; one of its own for what is none."""
    return MARKERS[CLASSES.index(name) % len(MARKERS)] if name in CLASSES else "X"


def set_height(drawing: Drawing, height_in: float) -> None:
    """Make a drawing so high [in]; its width is the reader's."""
    drawing.set_size_inches(drawing.get_figwidth(), height_in)


def grid_of(drawing: Drawing, panels: int, height_in: float, more_in: float = 0.0, share: bool = False) -> list[Axes]:
    """Axes for panels ``height_in`` high each, two side by side where there is room, and ``more_in`` for a legend."""
    across = min(panels, 2, max(int(drawing.get_figwidth() // _PANEL_IN), 1))
    down = -(-panels // across)
    set_height(drawing, more_in + height_in * down)
    every = list(drawing.subplots(down, across, squeeze=False, sharex=share, sharey=share).flat)
    for axes in every[panels:]:
        axes.set_visible(False)
    return every[:panels]


def letters_in(drawing: Drawing, part: float, points: float = 0.0) -> int:
    """How many letters of that height (0: the usual one) stand side by side in a part of the width."""
    from matplotlib import rcParams

    height = points or float(rcParams["font.size"])
    return max(int(part * drawing.get_figwidth() * 72.0 / (_LETTER * height)), 8)


def not_drawn(count: int, what: str) -> str:
    """The note that so many more of ``what`` have no place in the picture; "" where all have."""
    if count <= 0:
        return ""
    return f"{count:,} more {what} is not drawn" if count == 1 else f"{count:,} more {what}s are not drawn"


def legend_below(drawing: Drawing, handles: Sequence[Any], title: str = "", notes: Sequence[str] = ()) -> None:
    """A legend below all panels, in as many columns as there is room for; above it its title and what a reader should
    know of the picture, line by line."""
    from matplotlib import rcParams

    points = float(rcParams["legend.fontsize"])
    lines = [line for note in notes for line in wrap(note, letters_in(drawing, 0.95, points))]
    if not handles and not lines:
        return
    head = "\n".join([title, *lines] if title else lines)
    most = max(letters_in(drawing, 0.45, points), 12)
    for handle in handles:
        handle.set_label(short(str(handle.get_label()), most))
    widest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = int(drawing.get_figwidth() / (_KEY_IN + widest * _LETTER * points / 72.0))
    drawing.legend(
        handles=list(handles), loc="outside lower center", title=head or None, title_fontsize=points, columnspacing=1.2,
        handletextpad=0.5, handlelength=1.4, ncols=max(min(columns, len(handles)), 1),
    )  # fmt: skip


def logarithmic(axes: Axes, which: Literal["x", "y"], axis: Axis, title: str, dimension: str = "") -> None:
    """Make one axis logarithmic, with round values (matplotlib's own need math text) and its title.

    Short units of the size of a value stand at it, long ones in the title.
    """
    values = round_values(axis)
    if len(values) < _FEW and axis.high - axis.low < 1.0:
        values = _even(axis)
    short_unit = dimension in _SHORT_UNITS
    ticks = [round_text(value, dimension if short_unit else "") for value in values]
    label = title if short_unit or dimension in ("", "number", "count") else f"{title} [{symbol(dimension)}]"
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
def _settings(width_in: float) -> Iterator[Drawing]:
    """An empty drawing under settings of its own: text stays text, a dollar sign in a name is no formula."""
    import matplotlib
    from matplotlib.figure import Figure

    size = 8.0 if width_in < _NARROW_IN else 9.0
    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "silicost", "pdf.fonttype": 42, "text.parse_math": False,
        "font.size": size, "legend.fontsize": size - 1.0, "axes.spines.top": False, "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "legend.frameon": False, "axes.titlesize": size + 0.5, "axes.titlelocation": "left", "lines.linewidth": 1.4,
        "axes.axisbelow": True, "grid.linewidth": 0.5, "grid.color": ink("line"),
    }  # fmt: skip
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        # Names may hold characters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Figure(figsize=(width_in, 4.2), layout="constrained")
