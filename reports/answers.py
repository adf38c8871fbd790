"""The answer of a page of results in a sentence: which is best by what matters, how surely, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reports.headline import best_of, headlines_of
from reports.numbers import Cell, cell_of, metric_of, quantity
from reports.text import labels_of, lowered, short
from simulator.result import Result

CONTESTS: Final = (
    ("output_tokens_per_s", "most output"), ("step_time_s", "shortest step"), ("makespan_s", "shortest run"),
    ("usd_per_million_output_tokens", "cheapest tokens"), ("j_per_output_token", "least energy per token"),
    ("usd_per_step", "cheapest step"),
)  # fmt: skip
"""What results compete in, and how the winner is called."""
_MOST: Final = 3


def answer_of(results: Sequence[Result]) -> str:
    """One sentence about ``results``; "" where there are none."""
    if len(results) == 1:
        return _of_one(results[0])
    labels = labels_of(results)
    won = [said for name, title in CONTESTS if (said := _winner(results, labels, name, title))]
    unfit = [label for label, result in zip(labels, results, strict=True) if not result.fits]
    said = "; ".join(won[:_MOST])
    sentence = f"{said[:1].upper()}{said[1:]}." if said else ""
    if unfit:
        names = ", ".join(unfit[:_MOST]) + (f" and {len(unfit) - _MOST} more" if len(unfit) > _MOST else "")
        sentence += f" Not enough memory: {names}."
    return sentence.strip()


def _of_one(result: Result) -> str:
    shown = [cell_of(result, name) for name in headlines_of(result)]
    known = [_figure(cell) for cell in shown if cell.value is not None][:_MOST]
    numbers = ", ".join([*known[:1], *map(lowered, known[1:])])
    need = f"{quantity(result.memory.total, 'bytes')} of {quantity(result.memory_capacity_bytes, 'bytes')}"
    fits = f"It fits in {need}" if result.fits else f"It does not fit: {need}"
    bound = ", ".join(f"{short(phase, 24)} is {short(what, 24)}-bound" for phase, what in result.bound.items())
    return " ".join(f"{said}." for said in (numbers, "; ".join(filter(None, [fits, bound]))) if said)


def _figure(cell: Cell) -> str:
    return f"{metric_of(cell.name).title} {cell.number} {cell.unit}".rstrip()


def _winner(results: Sequence[Result], labels: Sequence[str], name: str, title: str) -> str:
    """The best by a metric; "probably" where the 80% interval of another one that fits reaches over its own."""
    group = [place for place, result in enumerate(results) if name in result.metrics]
    best = best_of([results[place] for place in group], name)
    if best is None:
        return ""
    place = group[best]
    cell = cell_of(results[place], name)
    others = [results[other] for other in group if other != place and results[other].fits]
    unsure = any(_overlap(results[place], other, name) for other in others)
    return f"{title}: {'probably ' if unsure else ''}{labels[place]}, {cell.number} {cell.unit}".rstrip()


def _overlap(one: Result, other: Result, name: str) -> bool:
    bands = one.intervals.get(name), other.intervals.get(name)
    if bands[0] is None or bands[1] is None:
        return True
    return max(bands[0].p10, bands[1].p10) <= min(bands[0].p90, bands[1].p90)
