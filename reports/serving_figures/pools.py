"""Pools: what each is, what it did, and what limits it."""

from __future__ import annotations

import math
from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.palette import role
from reports.serving import ServedCard
from reports.templating import render


def applies(card: ServedCard) -> bool:
    """Whether there is a pool."""
    return bool(card.pools)


def draw(card: ServedCard) -> Markup:
    """A line for what limits each, and a table of the figures that are not 0 in all of them."""
    kept = [
        place
        for place in range(len(card.pools[0].figures))
        if any(math.isfinite(pool.figures[place].value) and pool.figures[place].value for pool in card.pools)
    ]
    titles = [card.pools[0].figures[place].title for place in kept]
    rows = [
        (pool, role("class", pool.device_class), [pool.figures[place].cell for place in kept]) for pool in card.pools
    ]
    return render("serving_pools.html", rows=rows, titles=titles)


FIGURE: Final = Figure(
    "pools",
    "Pools, and what limits each",
    30,
    "Shares are of the time in which replicas were there, from the first arrival to the last token. Batch and waiting "
    "are means over that time, of each replica. What limits a pool follows from these numbers by the first rule that "
    "holds: full cache, full batch, mostly idle, host or transfers, then memory bandwidth (MBU) or compute (MFU) while "
    "it works.",
    applies,
    draw,
)
