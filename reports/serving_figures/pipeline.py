"""The pipeline as a graph: stages on pools, and the links between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.palette import role
from reports.parts import Key
from reports.serving import Arrow, Node, ServedCard
from reports.serving_svg import small
from reports.svg import colour, drawing
from reports.templating import render
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NODES: Final = 60
_BOX_IN: Final = (2.2, 0.44)
"""Width of a box, and its height without lines."""
_LINE_IN: Final = 0.185
_GAP_IN: Final = (1.15, 0.35)
_EDGE_IN: Final = 0.08
_PER_IN: Final = 96.0


class Place(NamedTuple):
    """Where a box lies [in]: its left, its top, its height."""

    left: float
    top: float
    height: float


def places_of(nodes: Sequence[Node]) -> tuple[list[Place], float, float]:
    """Boxes in columns, each column in the middle; width and height of all [in]."""
    heights = [_BOX_IN[1] + _LINE_IN * len(node.lines) for node in nodes]
    columns: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        columns.setdefault(node.column, []).append(place)
    tall = {
        column: sum(heights[place] for place in own) + _GAP_IN[1] * (len(own) - 1) for column, own in columns.items()
    }
    height = max(tall.values()) + 2.0 * _EDGE_IN
    found = [Place(0.0, 0.0, 0.0)] * len(nodes)
    for number, column in enumerate(sorted(columns)):
        top = (height - tall[column]) / 2.0
        left = _EDGE_IN + number * (_BOX_IN[0] + _GAP_IN[0])
        for place in columns[column]:
            found[place] = Place(left, top, heights[place])
            top += heights[place] + _GAP_IN[1]
    width = 2.0 * _EDGE_IN + len(columns) * _BOX_IN[0] + (len(columns) - 1) * _GAP_IN[0]
    return found, width, height


def _draw_box(axes: Axes, node: Node, at: Place) -> None:
    from matplotlib.patches import Rectangle

    shade = colour(role("class", node.device_class))
    axes.add_patch(Rectangle((at.left, at.top), _BOX_IN[0], at.height, facecolor=shade, alpha=0.09, linewidth=0.0))
    axes.add_patch(Rectangle((at.left, at.top), _BOX_IN[0], at.height, fill=False, edgecolor=colour("line"),
                             linewidth=1.0))  # fmt: skip
    axes.add_patch(Rectangle((at.left, at.top), 0.055, at.height, facecolor=shade, linewidth=0.0))
    axes.text(at.left + 0.17, at.top + 0.225, short(node.name, 26), fontsize=11.0, va="center", weight="bold")
    for place, line in enumerate(node.lines):
        axes.text(at.left + 0.17, at.top + 0.44 + _LINE_IN * place, short(line, 32), fontsize=8.8, va="center",
                  color=colour("muted"))  # fmt: skip


def _draw_arrow(axes: Axes, arrow: Arrow, places: Sequence[Place]) -> None:
    source, target = places[arrow.source], places[arrow.target]
    begin = source.left + _BOX_IN[0], source.top + source.height / 2.0
    end = target.left, target.top + target.height / 2.0
    if end[0] <= source.left + 1e-6:
        begin = source.left + _BOX_IN[0] / 2.0, source.top + source.height
        end = target.left + _BOX_IN[0] / 2.0, target.top
    bend = {"arrowstyle": "-|>", "color": colour("muted"), "linewidth": 1.1, "shrinkA": 1.0, "shrinkB": 1.0,
            "mutation_scale": 10.0, "connectionstyle": "arc3,rad=0.0"}  # fmt: skip
    axes.annotate("", xy=end, xytext=begin, arrowprops=bend)
    near = (
        target.left - _GAP_IN[0] / 2.0,
        end[1] + (begin[1] - end[1]) * min(1.0, _GAP_IN[0] / 2.0 / max(end[0] - begin[0], 1e-6)),
    )
    for place, line in enumerate(arrow.text.split("\n")[:2]):
        axes.text(near[0], near[1] + (-0.12 if place == 0 else 0.14), short(line, 18), fontsize=8.2, ha="center",
                  va="center", color=colour("muted"))  # fmt: skip


def svg_of(nodes: Sequence[Node], arrows: Sequence[Arrow], key: str) -> tuple[Markup, float]:
    """The graph, and its width [px]."""
    places, width, height = places_of(nodes)
    with drawing(width, height) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0.0, width), ylim=(height, 0.0))
        axes.set_axis_off()
        for arrow in arrows:
            _draw_arrow(axes, arrow, places)
        for node, place in zip(nodes, places, strict=True):
            _draw_box(axes, node, place)
        ways = "; ".join(f"{nodes[arrow.source].name} to {nodes[arrow.target].name}" for arrow in arrows)
        return small(figure, key, f"Stages {', '.join(node.name for node in nodes)}: {short(ways, 600)}", {}), (
            _PER_IN * width
        )


def applies(card: ServedCard) -> bool:
    """Whether requests go through more than one place."""
    return 1 < len(card.nodes) <= MOST_NODES


def draw(card: ServedCard) -> Markup:
    """The graph, which may be wider than the page."""
    svg, width = svg_of(card.nodes, card.arrows, "pipeline")
    classes = dict.fromkeys(node.device_class for node in card.nodes)
    keys = [Key(name, role("class", name)) for name in classes]
    return render("serving_pipeline.html", svg=svg, width=round(width), legend_keys=keys)


FIGURE: Final = Figure(
    "pipeline",
    "The way of a request",
    5,
    "Stages from left to right, each on a pool of its own kind of device. Beside an arrow stands what one request "
    "sends on average, and what the link carries at most; two stages on one pool need no link.",
    applies,
    draw,
)
