"""Where dollars and joules go: a bar for each, cut by pools."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import quantity, share
from reports.palette import SERIES, role
from reports.parts import Part
from reports.serving import ServedCard, Slice, Split
from reports.templating import render

_BESIDE: Final = {-1: role("family", "host"), -2: role("family", "bubble")}
"""Colours of what belongs to no pool: hosts, cooling and losses."""


class Bar(NamedTuple):
    """A bar of parts, or the reason why there is none."""

    title: str
    total: str
    parts: list[Part]
    note: str


def colour_of(each: Slice) -> str:
    """The colour of a pool, the same in all bars."""
    if each.pool < 0:
        return _BESIDE[each.pool]
    return role("series", SERIES[each.pool] if each.pool < len(SERIES) else "other")


def bar_of(split: Split) -> Bar:
    """Parts of a split; what is not known has no bar."""
    known = [each for each in split.slices if each.value > 0.0 and math.isfinite(each.value)]
    total = math.fsum(each.value for each in known)
    parts = [
        Part(each.name, colour_of(each), 100.0 * each.value / total,
             f"{each.name}: {quantity(each.value, split.dimension)}, {share(each.value / total)}")
        for each in known
    ]  # fmt: skip
    return Bar(split.title, quantity(total, split.dimension) if known else "none", parts, split.note)


def applies(card: ServedCard) -> bool:
    """Whether anything was spent."""
    return any(each.value > 0.0 for split in card.splits for each in split.slices)


def draw(card: ServedCard) -> Markup:
    """The bars, each with the shares of its parts."""
    bars = [bar_of(split) for split in card.splits]
    return render("serving_splits.html", bars=bars)


FIGURE: Final = Figure(
    "spent",
    "Where the joules and the dollars go",
    40,
    "Devices of each pool, working and idle, from the first arrival to the last token; then the hosts that they stand "
    "in, and what the site adds for cooling and losses (PUE).",
    applies,
    draw,
)
