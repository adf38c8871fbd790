"""From a matplotlib figure to SVG that may stand inside a page: no clashing ids, colours by CSS, deterministic.

Drawing code uses ``colour("family-gemm")``: a placeholder that becomes ``var(--family-gemm)`` here, so that a figure
follows the light, dark and print colours of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from markupsafe import Markup

from reports.palette import INKS, ROLES
from reports.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_SLOTS: Final = (*INKS, *ROLES)
_COLOUR: Final = re.compile(r"#0101([0-9a-f]{2})")
_FONT: Final = re.compile(r"font: (?:[a-z0-9]+ )*?([\d.]+)px [^;\"]*")
_LONG_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_FONT_SIZE: Final = 10.5
_LARGEST: Final = 1.4
"""Pixels of a page to a point of a picture, at most: its words stay as large as those around it."""


def colour(name: str) -> str:
    """The placeholder colour of a palette role ("family-gemm") or an ink ("ink", "muted", "line", "paper")."""
    return f"#0101{_SLOTS.index(name):02x}"


def variable_of(text: str) -> str:
    """The CSS variable behind a placeholder colour, "var(--ink)"; any other text as it is."""
    found = _COLOUR.fullmatch(text)
    return f"var(--{_SLOTS[int(found[1], 16)]})" if found else text


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[Drawing]:
    """A new empty figure of that size [in], under settings of its own: text stays text, the output is the same
    for the same input, and a dollar sign in a name is no formula. ``inline`` it before the context ends."""
    import warnings

    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "silicost", "text.parse_math": False, "font.size": _FONT_SIZE,
        "text.color": colour("ink"), "axes.labelcolor": colour("muted"), "axes.edgecolor": colour("line"),
        "xtick.color": colour("muted"), "ytick.color": colour("muted"), "axes.linewidth": 0.8,
        "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "axes.labelsize": 10.0, "path.simplify": False,
        "axes.spines.top": False, "axes.spines.right": False, "xtick.minor.visible": False,
    }  # fmt: skip
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        # Names may hold characters that matplotlib's own font lacks; the page's fonts draw them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Figure(figsize=(width_in, height_in))


def inline(figure: Drawing, key: str, label: str, hints: Mapping[str, Sequence[str]]) -> Markup:
    """``figure`` as an ``<svg>`` element.

    Args:
        figure: drawn inside ``drawing``.
        key: unique on the page; prefixes every id.
        label: what a screen reader says.
        hints: tooltips by the gid of a collection, one for each of its shapes.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())
    _drop_names(root)
    _drop(root, ("metadata", "style"))
    _explain(root, hints)
    used = _references(root)
    for element in root.iter():
        _clean(element, key, used)
    box = root.get("viewBox", "")
    root.attrib.clear()
    most = f"max-width:{_LARGEST * float(box.split()[2]):.0f}px"
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": plain(label), "style": most})
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _drop_names(root: ElementTree.Element) -> None:
    """Inside HTML, SVG needs no namespaces, and ``href`` no prefix."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if "}" in name]:
            element.set(name.rpartition("}")[2], element.attrib.pop(name))


def _drop(parent: ElementTree.Element, tags: tuple[str, ...]) -> None:
    """Remove elements that say nothing or would speak to the whole page, and groups of nothing."""
    for child in list(parent):
        _drop(child, tags)
        empty = child.tag in ("g", "defs") and not len(child)
        if child.tag in tags or empty:
            parent.remove(child)


def _explain(root: ElementTree.Element, hints: Mapping[str, Sequence[str]]) -> None:
    """Give every shape of the named collections its tooltip; shapes are written in the order they were drawn."""
    for element in root.iter():
        texts = hints.get(element.get("id", ""), ())
        if not texts:
            continue
        defined = {shape for definitions in element.iter("defs") for shape in definitions.iter()}
        shapes = [shape for shape in element.iter() if shape.tag in ("path", "use") and shape not in defined]
        for shape, text in zip(shapes, texts, strict=False):
            ElementTree.SubElement(shape, "title").text = plain(text)


def _references(root: ElementTree.Element) -> frozenset[str]:
    """Ids that something points to."""
    found = set()
    for element in root.iter():
        found |= {match for value in element.attrib.values() for match in _REFERENCE.findall(value)}
        if element.get("href", "").startswith("#"):
            found.add(element.get("href", "")[1:])
    return frozenset(found)


def _clean(element: ElementTree.Element, key: str, used: frozenset[str]) -> None:
    """Prefix ids that are used, drop others; colours become variables; hundredths of a point are enough."""
    if element.get("id") in used:
        element.set("id", f"{key}-{element.get('id')}")
    else:
        element.attrib.pop("id", None)
    for name, value in element.attrib.items():
        if name == "href":
            value = f"#{key}-{value[1:]}"
        elif name == "style":
            value = _COLOUR.sub(lambda match: f"var(--{_SLOTS[int(match[1], 16)]})", value)
            value = _FONT.sub(r"font-size: \1px", value)
        if name != "id":
            value = _REFERENCE.sub(rf"url(#{key}-\1)", value)
        if name in ("d", "x", "y", "width", "height", "transform", "points"):
            value = _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value)
        element.set(name, value)
    if element.tag != "text":
        element.text = element.text if element.tag == "title" else None
    element.tail = None
