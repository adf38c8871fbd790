"""Memory of each pipeline rank over a training step, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import quantity, unit_of
from reports.palette import role
from reports.parts import legend_of
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result
from simulator.timeline import RankSteps

MOST_PANELS: Final = 4
"""Ranks of a result that are drawn: the first, the last, the fullest and one between."""
FIXED: Final = ("overhead", "weights", "gradients", "optimizer")
"""Parts that lie there for the whole step, from below."""
_SIZE_IN: Final = (5.0, 2.7)
_BOX: Final = (0.13, 0.18, 0.845, 0.76)


class Panel(NamedTuple):
    """One rank."""

    title: str
    svg: Markup


class Group(NamedTuple):
    """The ranks of one result; ``hidden`` are not drawn."""

    label: str
    panels: list[Panel]
    hidden: int


def applies(results: Sequence[Result]) -> bool:
    """Whether some result says what its ranks hold over time."""
    return any(result.timeline.ranks for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """A panel per rank, all of a result on one scale."""
    groups = [
        _group(label, result, f"over-step-{k}")
        for k, (label, result) in enumerate(zip(labels_of(results), results, strict=True))
        if result.timeline.ranks
    ]
    keys = legend_of([*FIXED, "activations"], "memory")
    return render("memory_over_step.html", groups=groups, legend_keys=keys)


def shown_of(ranks: Sequence[RankSteps]) -> list[int]:
    """Ranks to be drawn, in their order."""
    fullest = max(range(len(ranks)), key=lambda rank: (max(ranks[rank].sizes_bytes), -rank))
    wanted = dict.fromkeys([0, len(ranks) - 1, fullest, len(ranks) // 2, 1 % len(ranks)])
    return sorted(list(wanted)[:MOST_PANELS])


def _group(label: str, result: Result, key: str) -> Group:
    ranks = result.timeline.ranks
    shown, capacity = shown_of(ranks), result.memory_capacity_bytes
    highest = max(max(rank.sizes_bytes) for rank in ranks)
    top = capacity if highest <= capacity <= 4.0 * highest else highest
    end_s = max(rank.times_s[-1] for rank in ranks)
    panels = [
        Panel(
            f"Rank {rank}: {quantity(max(ranks[rank].sizes_bytes), 'bytes')} at most",
            _drawn(ranks[rank], (end_s, top * 1.05), capacity, f"{key}-{rank}", f"Memory of rank {rank} of {label}"),
        )
        for rank in shown
    ]
    return Group(label, panels, len(ranks) - len(shown))


def _drawn(rank: RankSteps, ends: tuple[float, float], capacity: float, key: str, label: str) -> Markup:
    """A rank up to the ``ends`` of its axes, [s] and [B]."""
    end_s, top = ends
    scale, unit = unit_of(top, "bytes")
    clock, tick = unit_of(end_s, "s")
    times = [each / clock for each in (*rank.times_s, end_s)]
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        below = 0.0
        for part in FIXED:
            above = below + getattr(rank, part) / scale
            axes.fill_between([times[0], times[-1]], below, above, color=colour(role("memory", part)), linewidth=0.0)
            below = above
        sizes = [max(size / scale, below) for size in (*rank.sizes_bytes, rank.sizes_bytes[-1])]
        axes.fill_between(times, below, sizes, step="post", color=colour(role("memory", "activations")), linewidth=0.0)
        if capacity / scale <= top / scale:
            axes.axhline(capacity / scale, color=colour("ink"), linewidth=1.2)
        axes.set(xlim=(times[0], times[-1]), ylim=(0.0, top / scale), xlabel=f"time [{tick}]", ylabel=unit)
        axes.grid(axis="y", color=colour("line"), linewidth=0.6, alpha=0.6)
        return inline(figure, key, f"{label}: {quantity(max(rank.sizes_bytes), 'bytes')} at most", {})


FIGURE: Final = Figure(
    "memory-over-step",
    "Memory over the step",
    32,
    "What a device of a pipeline rank holds during a training step: weights, gradients and optimizer states lie there "
    "for all of it; each forward leaves activations, which its backward frees. With them is counted what is computed "
    "again and the gradients beside a layer while it goes backward, or the logits of the loss. The line is what the "
    "runtime may use.",
    applies,
    draw,
)
