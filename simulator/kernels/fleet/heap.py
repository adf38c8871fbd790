"""A binary heap of the earliest, whose equal keys leave in the order in which they came."""

from __future__ import annotations

from typing import Any

from simulator.kernels.jit import law_kernel, law_part


@law_kernel
def put(heap: Any, key_s: float, item: int) -> None:
    """Add an item."""
    place = heap.size[0]
    heap.size[0] += 1
    heap.size[1] += 1
    stamp = heap.size[1]
    while place > 0:
        above = (place - 1) // 2
        if heap.key_s[above] <= key_s:
            break
        heap.key_s[place], heap.stamp[place], heap.item[place] = (
            heap.key_s[above], heap.stamp[above], heap.item[above],
        )  # fmt: skip
        place = above
    heap.key_s[place], heap.stamp[place], heap.item[place] = key_s, stamp, item


@law_part
def take(heap: Any) -> int:
    """Remove the earliest item and return it; the heap must not be empty."""
    found = heap.item[0]
    heap.size[0] -= 1
    last = heap.size[0]
    _sink(heap, heap.key_s[last], heap.stamp[last], heap.item[last])
    return found


@law_part
def postpone(heap: Any, key_s: float) -> None:
    """Give the earliest item a later key; it stays before those with that key which came after it."""
    _sink(heap, key_s, heap.stamp[0], heap.item[0])


@law_part
def _sink(heap: Any, key_s: float, stamp: int, item: int) -> None:
    """Let an item sink from the top to its place."""
    place, last = 0, heap.size[0]
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        other = below + 1
        if other < last and _earlier(heap, other, below):
            below = other
        if key_s < heap.key_s[below] or (key_s == heap.key_s[below] and stamp < heap.stamp[below]):
            break
        heap.key_s[place], heap.stamp[place], heap.item[place] = (
            heap.key_s[below], heap.stamp[below], heap.item[below],
        )  # fmt: skip
        place = below
    heap.key_s[place], heap.stamp[place], heap.item[place] = key_s, stamp, item


@law_part
def _earlier(heap: Any, one: int, other: int) -> bool:
    if heap.key_s[one] == heap.key_s[other]:
        return heap.stamp[one] < heap.stamp[other]
    return heap.key_s[one] < heap.key_s[other]
