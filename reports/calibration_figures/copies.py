"""Copies and messages: time and bandwidth by size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.axis import axis_of
from reports.calibration import Copy, MachineCard
from reports.figure import Figure
from reports.log_axes import frame
from reports.numbers import binary_size, quantity
from reports.palette import SERIES, role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short

_FEWEST_SIZES: Final = 3
"""Sizes that make a line; what has fewer stands in the table."""
_MOST_ROWS: Final = 40
_SIZE_IN: Final = (5.8, 3.9)
_BOX: Final = (0.145, 0.13, 0.81, 0.85)


class Row(NamedTuple):
    """A message, its numbers as text."""

    copy: Copy
    size: str
    time: str
    interval: str
    rate: str


def name_of(copy: Copy) -> str:
    """What is copied, and which way."""
    return f"{copy.what}, {copy.way}" if copy.way else copy.what


def lines_of(copies: Sequence[Copy]) -> dict[str, list[Copy]]:
    """Copies of several sizes by name, the smallest first; as many as there are colours."""
    lines: dict[str, list[Copy]] = {}
    for copy in sorted(copies, key=lambda each: each.message_bytes):
        lines.setdefault(name_of(copy), []).append(copy)
    many = [(name, line) for name, line in lines.items() if len({c.message_bytes for c in line}) >= _FEWEST_SIZES]
    return dict(sorted(many)[: len(SERIES)])


def known(card: MachineCard) -> list[Copy]:
    """Copies with a place on logarithmic axes."""
    return [copy for copy in card.copies if 0.0 < copy.message_bytes < math.inf and 0.0 < copy.time_s < math.inf]


def row_of(copy: Copy) -> Row:
    """A message, ready to be shown."""
    return Row(
        copy, binary_size(copy.message_bytes), quantity(copy.time_s, "s"),
        f"{quantity(copy.low_s, 's')} – {quantity(copy.high_s, 's')}",
        quantity(copy.message_bytes / copy.time_s, "bytes_per_s"),
    )  # fmt: skip


def applies(card: MachineCard) -> bool:
    """Whether copies were measured."""
    return bool(known(card))


def draw(card: MachineCard) -> Markup:
    """One picture of what was measured at several sizes, a table of the rest."""
    copies = known(card)
    lines = lines_of(copies)
    shades = {name: role("series", str(place + 1)) for place, name in enumerate(lines)}
    rest = [row_of(copy) for copy in copies if name_of(copy) not in lines]
    return render(
        "copies.html", svg=_drawn(lines, shades) if lines else "",
        legend_keys=[Key(name, shade) for name, shade in shades.items()], rows=rest[:_MOST_ROWS],
        more=len(rest) - _MOST_ROWS,
    )  # fmt: skip


def _drawn(lines: dict[str, list[Copy]], shades: dict[str, str]) -> Markup:
    every = [copy for line in lines.values() for copy in line]
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        across = axis_of([copy.message_bytes for copy in every])
        up = axis_of([copy.message_bytes / copy.time_s for copy in every])
        frame(axes, across, up, ("bytes", "bytes_per_s"), ("message", ""))
        hints = {}
        for place, (name, line) in enumerate(lines.items()):
            shade = colour(shades[name])
            sizes, rates = [c.message_bytes for c in line], [c.message_bytes / c.time_s for c in line]
            axes.plot(sizes, rates, color=shade, linewidth=1.5, zorder=3)
            axes.scatter(sizes, rates, s=20.0, c=shade, linewidths=0.5, edgecolors=colour("paper"), zorder=4,
                         gid=f"messages-{place}")  # fmt: skip
            hints[f"messages-{place}"] = [
                f"{short(name, 60)}, {binary_size(c.message_bytes)}: {quantity(c.time_s, 's')}, "
                f"{quantity(c.message_bytes / c.time_s, 'bytes_per_s')}"
                for c in line
            ]
        return inline(figure, "copies-0", f"Bandwidth of {len(lines)} kinds of messages by size", hints)


FIGURE: Final = Figure(
    "copies",
    "Copies and messages",
    85,
    "Bytes of a message over the time that it takes: copies on the host, to and from a drive, between devices.",
    applies,
    draw,
)
