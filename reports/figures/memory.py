"""What fills the memory of the fullest device, against what the workload may use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import number, quantity, share
from reports.parts import Part, legend_of, parts_of
from reports.templating import render
from reports.text import labels_of, short
from simulator.result import PoolUse, Result

MOST_SHOWN: Final = 2.0
"""Bars end at this multiple of the capacity; the number beside them says how much longer they are."""


class Stack(NamedTuple):
    """The bar of one pool of a result; ``limit`` is where the capacity lies, in percent of the track."""

    label: str
    parts: list[Part]
    limit: float
    total: str
    capacity: str
    used: str
    fits: bool
    beyond: bool


def applies(results: Sequence[Result]) -> bool:
    """Whether some pool says how much of how much memory it needs."""
    return any(_ratio(pool) > 0.0 for result in results for pool in result.pools)


def draw(results: Sequence[Result]) -> Markup:
    """One stacked bar per pool, all on the scale of their own capacity."""
    named = [
        (_label(label, pool, len(results) == 1) if len(result.pools) > 1 else label, pool)
        for label, result in zip(labels_of(results), results, strict=True)
        for pool in result.pools
        if _ratio(pool) > 0.0
    ]
    longest = min(max(1.0, *(_ratio(pool) for _, pool in named)), MOST_SHOWN)
    stacks = [_stack(label, pool, longest) for label, pool in named]
    present = {name for _, pool in named for name, value in _parts(pool).items() if value > 0.0}
    order = [name for name in _parts(named[0][1]) if name in present]
    return render("memory.html", stacks=stacks, legend_keys=legend_of(order, "memory"))


def _label(label: str, pool: PoolUse, alone: bool) -> str:
    """A pool of a result with several; of one result its name is enough."""
    return short(pool.name, 36) if alone else f"{label}: {short(pool.name, 24)}"


def _parts(pool: PoolUse) -> dict[str, float]:
    return {name: float(value) for name, value in msgspec.structs.asdict(pool.memory).items()}


def _ratio(pool: PoolUse) -> float:
    """Need over capacity; 0 where either is unknown."""
    need, capacity = pool.memory.total, pool.capacity_bytes
    known = math.isfinite(need) and math.isfinite(capacity) and capacity > 0.0
    return need / capacity if known else 0.0


def _stack(label: str, pool: PoolUse, longest: float) -> Stack:
    capacity, ratio = pool.capacity_bytes, _ratio(pool)
    parts = parts_of(_parts(pool), "memory", "bytes", capacity * longest)
    return Stack(
        label, parts, 100.0 / longest, quantity(pool.memory.total, "bytes"), quantity(capacity, "bytes"),
        share(ratio) if ratio < 10.0 else f"{number(ratio)} ×", pool.fits, ratio > longest,
    )  # fmt: skip


FIGURE = Figure(
    "memory",
    "What fills the memory",
    30,
    "Bytes on the fullest device of each pool, in percent of what the runtime may use; the upright line is 100\u00a0%.",
    applies,
    draw,
)
