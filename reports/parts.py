"""Parts of a whole, as the bars of a page show them: what, how much, in which colour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reports.numbers import quantity, share
from reports.palette import BOUNDS, family_rank, in_words, role
from simulator.result import OperatorCost


class Part(NamedTuple):
    """One segment of a bar; ``width`` is in percent of the whole bar."""

    name: str
    colour: str
    width: float
    hint: str


class Key(NamedTuple):
    """One entry of a legend."""

    name: str
    colour: str


def parts_of(values: Mapping[str, float], group: str, dimension: str, whole: float = 0.0) -> list[Part]:
    """Segments of ``values`` in their order; the bar is ``whole`` long, or as long as their sum.

    What is not positive and finite is left out: it has no length.
    """
    drawn = {name: value for name, value in values.items() if value > 0.0 and math.isfinite(value)}
    total = math.fsum(drawn.values())
    length = whole or total
    return [
        Part(
            in_words(group, name),
            role(group, name),
            100.0 * value / length,
            f"{in_words(group, name)}: {quantity(value, dimension)}, {share(value / total)}",
        )
        for name, value in drawn.items()
    ]


def by_family(seconds: Mapping[str, float]) -> dict[str, float]:
    """``seconds`` per operator family in the order of legends."""
    return {family: seconds[family] for family in sorted(seconds, key=family_rank)}


def family_seconds(operators: Iterable[OperatorCost]) -> dict[str, float]:
    """Seconds per operator family, in the order of legends."""
    seconds: dict[str, float] = {}
    for operator in operators:
        seconds[operator.family] = seconds.get(operator.family, 0.0) + operator.time_s
    return by_family(seconds)


def bound_seconds(operators: Iterable[OperatorCost]) -> dict[str, float]:
    """Seconds by what bounds them, compute first."""
    seconds = dict.fromkeys(BOUNDS, 0.0)
    for operator in operators:
        seconds[operator.bound] = seconds.get(operator.bound, 0.0) + operator.time_s
    return seconds


def legend_of(names: Iterable[str], group: str) -> list[Key]:
    """A legend of the names that occur, each once, in the order of families where they are families."""
    unique = dict.fromkeys(names)
    ordered = sorted(unique, key=family_rank) if group == "family" else list(unique)
    return [Key(in_words(group, name), role(group, name)) for name in ordered]
