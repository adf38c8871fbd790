"""Live figures: models of Bokeh as data in the page, one script that draws them, and the parts of Bokeh that they need.

Nothing is loaded: Bokeh's scripts are read from the installed package and stand in the page, once, and only where it
has a live figure. The data of a figure is JSON in a script element of its own, with every ``<`` escaped; nothing of it
is ever run or read as HTML. The same models give the same bytes: Bokeh counts its models through the life of a process,
so here they are numbered anew, in the order in which the JSON names them.

A live figure stands on a still one, which is what shows in print, without scripts, and where drawing fails. Colours are
those of ``reports.svg.colour``; the script puts in what the page has at the moment, and again when that changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from markupsafe import Markup

from reports.numbers import unit_of
from reports.svg import colour, variable_of
from reports.text import plain

if TYPE_CHECKING:
    from bokeh import plotting
    from bokeh.models import HoverTool, LayoutDOM, TickFormatter
    from bokeh.models.widgets import StringFormatter

BUNDLES: Final = {"core": "bokeh.min.js", "tables": "bokeh-tables.min.js"}
"""The parts of Bokeh that a page may hold, in the order in which they load."""
_MARK: Final = re.compile(r'data-live="([a-z ]*)"')
_EXPONENTS: Final = range(-18, 25)
_FONT: Final = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif"

TABLE_CSS: Final = """
:host { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
.slick-header, .slick-header-columns, .slick-header-column, .slick-viewport, .slick-pane, .slick-row,
.slick-row.odd, .slick-row.even { background: var(--paper); color: var(--ink); border-color: var(--line); }
.slick-header-column.slick-header-column { color: var(--muted); font-size: 12px; border-right: 0; }
.slick-header-column:hover { background: var(--sheet); }
.slick-cell.slick-cell { border-color: transparent; border-bottom: 1px solid var(--line); line-height: 26px; }
.slick-row:hover { background: var(--sheet); } .slick-cell.active { border-color: var(--link); }
"""
"""The page's look for a table of Bokeh's, which page.css does not reach."""


Way = Literal["dots", "lines", "lanes", "each"]
"""What is a row of marks, along which arrows lead to the left and right, up and down to the next: all dots that a tool
answers for, one line, all bars on one height, or all lines, of which each is one mark."""


class Live(NamedTuple):
    """A live figure, ready for a template: what it is called on the page, the bundles it needs, its data as JSON, and
    how high its roots are [px]."""

    key: str
    bundles: str
    data: Markup
    heights: tuple[int, ...]


class Said(NamedTuple):
    """A row of a tooltip: the column that holds its values and how they are written.

    ``dimension`` is that of numbers; ``labels`` are the words of values that are places in a list.
    """

    title: str
    column: str
    dimension: str | None = None
    labels: Sequence[str] = ()


def live_of(key: str, roots: Sequence[LayoutDOM], settings: Mapping[str, Any] | None = None) -> Live:
    """A live figure of ``roots``, each of which stands in a stage of its own.

    Args:
        key: unique on the page.
        settings: what a script of the figure's own needs; JSON. Models are named there by their ``name``.
    """
    from bokeh.document import Document

    document = Document()
    for root in roots:
        document.add_root(root)
    said = {"models": _numbered(document.to_json(deferred=False)), "settings": dict(settings or {})}
    tables = any(type(model).__name__ == "DataTable" for root in roots for model in root.references())
    return Live(
        key,
        "core tables" if tables else "core",
        escaped(said),
        tuple(int(getattr(root, "height", 0) or 0) for root in roots),
    )


def escaped(said: Any) -> Markup:
    """JSON that may stand inside a script element, whatever text is in it."""
    text = json.dumps(said, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def scripts_in(drawn: Iterable[Markup]) -> list[Markup]:
    """The parts of Bokeh that the live figures among ``drawn`` need: nothing without a live figure, one empty script
    where none of them needs Bokeh."""
    marks = [mark for each in drawn for mark in _MARK.findall(each)]
    wanted = {bundle for mark in marks for bundle in mark.split()}
    return [_bundle(name) for bundle, name in BUNDLES.items() if bundle in wanted] or [Markup("")] * bool(marks)


@cache
def _bundle(name: str) -> Markup:
    import bokeh

    folder = Path(bokeh.__file__).parent / "server" / "static" / "js"
    # A script element ends at the first such text, wherever it stands.
    return Markup((folder / name).read_text(encoding="utf-8").replace("</script", "<\\/script"))


def _numbered(said: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its models numbered in order, and colours by the name of their variable."""
    numbers: dict[str, str] = {}

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                name: numbers.setdefault(each, f"m{len(numbers)}") if name == "id" else walk(each, _named(name, key))
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [walk(each, key) for each in value]
        return variable_of(value) if isinstance(value, str) and ("color" in key or key == "palette") else value

    return {"version": said["version"], "title": "", "roots": walk(said["roots"])}


def _named(name: str, key: str) -> str:
    """Whose value it is: "value" is that of the property around it."""
    return key if name == "value" else name


def units(dimension: str) -> list[tuple[float, str]]:
    """Factors and names of the units of a dimension, the largest first."""
    found = dict(unit_of(10.0**exponent, dimension) for exponent in _EXPONENTS)
    return sorted(found.items(), reverse=True)


def quantities(dimension: str) -> TickFormatter:
    """Ticks with their unit, as everywhere on the pages: "10 ms"."""
    from bokeh.models import BasicTickFormatter

    return BasicTickFormatter(tags=["quantity", units(dimension)])


def cells(dimension: str) -> StringFormatter:
    """Cells of a table of numbers with their unit, as everywhere on the pages; rows are sorted by the numbers."""
    from bokeh.models.widgets import StringFormatter

    return StringFormatter(tags=["cell", units(dimension)])


def hover(rows: Sequence[Said], way: Way = "dots", spared: int = 0, **options: Any) -> HoverTool:
    """A tooltip of ``rows``, which the keyboard comes to as well; text is shown as text, whatever is in it.

    Args:
        way: how the keyboard goes from one to the next.
        spared: points at either end of a line that are there to be drawn and say nothing.
    """
    from bokeh.models import HoverTool

    said = [
        [plain(row.title), row.column, units(row.dimension) if row.dimension is not None else None,
         [plain(label) for label in row.labels]]
        for row in rows
    ]  # fmt: skip
    return HoverTool(tooltips=[], tags=["said", said, way, spared], show_arrow=False, **options)


def plot(height: int, **options: Any) -> plotting.figure:
    """An empty plot as wide as there is room, in the page's colours and without a logo."""
    from bokeh.models import LogAxis, NoOverlap
    from bokeh.plotting import figure

    usual = {"tools": "pan,box_zoom,wheel_zoom,reset", "active_scroll": None, "toolbar_location": "above"}
    made = figure(
        height=height, sizing_mode="stretch_width", min_width=240, background_fill_color=None, border_fill_color=None,
        outline_line_color=None, **{**usual, **options},
    )  # fmt: skip
    made.toolbar.logo = None
    for axis in made.axis:
        if isinstance(axis, LogAxis):
            axis.ticker.tags = ["round"]
    made.min_border_right = 16
    for axis in made.axis:
        axis.axis_line_color = axis.major_tick_line_color = colour("line")
        axis.minor_tick_line_color, axis.major_label_policy = None, NoOverlap()
        axis.major_label_text_color = axis.axis_label_text_color = colour("muted")
        axis.major_label_text_font = axis.axis_label_text_font = _FONT
        axis.major_label_text_font_size, axis.axis_label_text_font_size = "12px", "12.5px"
        axis.axis_label_text_font_style = "normal"
    for grid in made.grid:
        grid.grid_line_color, grid.grid_line_alpha = colour("line"), 0.6
    return made


def text_style(**options: Any) -> dict[str, Any]:
    """Text in a plot."""
    from bokeh.core.properties import value

    return {"text_font": value(_FONT), "text_font_size": "11.5px", "text_color": colour("muted"), **options}
