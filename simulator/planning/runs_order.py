"""From how often each profile and each change between layers occurs to an order of the layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Final

Step = tuple[Hashable, Hashable, int]
"""An edge from one node to another, and its number; negative numbers are changes between layers."""

MOST_ORDERED: Final = 9
"""Runs whose orders are all looked at, by dynamic programming over sets."""


def eulerian(start: Hashable, steps: Sequence[Step]) -> list[int] | None:
    """Numbers of all ``steps`` on one path from ``start`` (Hierholzer 1873); None where they are not connected."""
    leaving: dict[Hashable, list[tuple[Hashable, int]]] = {}
    for source, target, number in reversed(steps):
        leaving.setdefault(source, []).append((target, number))
    stack: list[tuple[Hashable, int | None]] = [(start, None)]
    path: list[int] = []
    while stack:
        node, by = stack[-1]
        if leaving.get(node):
            stack.append(leaving[node].pop())
        else:
            stack.pop()
            if by is not None:
                path.append(by)
    return path[::-1] if len(path) == len(steps) else None


def cheapest_order(count: int, change: Callable[[int, int], float]) -> list[int]:
    """An order of ``count`` runs with small changes between neighbours: the best one of few, else the nearest next.

    Held, Karp, J. SIAM 10(1), 1962, doi:10.1137/0110015.
    """
    if count > MOST_ORDERED:
        return min((_nearest(first, count, change) for first in range(count)), key=lambda o: _length(o, change))
    best: dict[tuple[int, int], tuple[float, list[int]]] = {(1 << i, i): (0.0, [i]) for i in range(count)}
    for _ in range(count - 1):
        longer: dict[tuple[int, int], tuple[float, list[int]]] = {}
        for (seen, last), (cost, order) in best.items():
            for after in range(count):
                if seen >> after & 1:
                    continue
                key, whole = (seen | 1 << after, after), cost + change(last, after)
                if key not in longer or whole < longer[key][0]:
                    longer[key] = whole, [*order, after]
        best = longer
    return min(best.values())[1]


def _nearest(first: int, count: int, change: Callable[[int, int], float]) -> list[int]:
    order, left = [first], set(range(count)) - {first}
    while left:
        order.append(min(left, key=lambda after: (change(order[-1], after), after)))
        left.remove(order[-1])
    return order


def _length(order: Sequence[int], change: Callable[[int, int], float]) -> float:
    return sum(change(one, other) for one, other in pairwise(order))
