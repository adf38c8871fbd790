"""The schedule of a training step: what each pipeline rank does when, and when it waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import quantity, share, unit_of
from reports.palette import role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result
from simulator.timeline import Action, RankSteps

KINDS: Final = {
    "F": ("forward", "1"), "B": ("backward", "2"), "I": ("backward: inputs", "4"), "W": ("backward: weights", "3"),
}  # fmt: skip
"""Kinds of actions: in words, and which series colours them."""
MOST_RANKS: Final = 32
_WIDTH_IN: Final = 13.0
_LEFT_IN: Final = 0.9
_RIGHT_IN: Final = 1.1
_RANK_IN: Final = 0.27
_MOST_WORDS: Final = 1_500
"""Actions that have words of their own."""


class Chart(NamedTuple):
    """The schedule of one result."""

    label: str
    svg: Markup
    length_s: float
    ranks: int
    hidden: int
    idle: str


def applies(results: Sequence[Result]) -> bool:
    """Whether some result has more than one pipeline rank."""
    return any(len(result.timeline.ranks) > 1 for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """A chart per result with a pipeline."""
    named = [pair for pair in zip(labels_of(results), results, strict=True) if len(pair[1].timeline.ranks) > 1]
    charts = [_chart(label, result.timeline.ranks, f"pipeline-{k}") for k, (label, result) in enumerate(named)]
    present = {action.kind for _, result in named for rank in result.timeline.ranks for action in rank.actions}
    keys = [Key(words, role("series", series)) for kind, (words, series) in KINDS.items() if kind in present]
    return render("pipeline.html", charts=charts, legend_keys=keys)


def length_of(ranks: Sequence[RankSteps]) -> float:
    """When the last action of all ranks ends [s]."""
    return max(action.end_s for rank in ranks for action in rank.actions)


def busy_of(actions: Sequence[Action]) -> float:
    """Seconds in which a rank computes; two actions that run together count once [s]."""
    total, reached = 0.0, 0.0
    for action in sorted(actions, key=lambda action: (action.start_s, action.end_s)):
        total += max(action.end_s - max(action.start_s, reached), 0.0)
        reached = max(reached, action.end_s)
    return total


def _chart(label: str, ranks: Sequence[RankSteps], key: str) -> Chart:
    length = length_of(ranks)
    idle = 1.0 - sum(busy_of(rank.actions) for rank in ranks) / (length * len(ranks))
    shown = ranks[:MOST_RANKS]
    return Chart(label, _drawn(label, shown, length, key), length, len(ranks), len(ranks) - len(shown), share(idle))


def _drawn(label: str, ranks: Sequence[RankSteps], length_s: float, key: str) -> Markup:
    scale, unit = unit_of(length_s, "s")
    height = len(ranks) * _RANK_IN + 0.55
    wordy = sum(len(rank.actions) for rank in ranks) <= _MOST_WORDS
    hints: dict[str, Sequence[str]] = {}
    with drawing(_WIDTH_IN, height) as figure:
        box = (_LEFT_IN / _WIDTH_IN, 0.5 / height, 1.0 - (_LEFT_IN + _RIGHT_IN) / _WIDTH_IN, 1.0 - 0.55 / height)
        axes = figure.add_axes(box)
        for row, rank in enumerate(ranks):
            axes.broken_barh(
                [(each.start_s / scale, (each.end_s - each.start_s) / scale) for each in rank.actions],
                (row - 0.38, 0.76), facecolors=[colour(role("series", KINDS[each.kind][1])) for each in rank.actions],
                linewidth=0.4, edgecolors=colour("paper"), zorder=2, gid=f"rank-{row}",
            )  # fmt: skip
            if wordy:
                hints[f"rank-{row}"] = [_words(each) for each in rank.actions]
            busy = share(busy_of(rank.actions) / length_s)
            axes.annotate(f"{busy} busy", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8.5,
                          color=colour("muted"), annotation_clip=False)  # fmt: skip
        axes.set(xlim=(0.0, length_s / scale), ylim=(len(ranks) - 0.4, -0.6), xlabel=f"time [{unit}]")
        axes.set_yticks(range(len(ranks)), [f"rank {row}" for row in range(len(ranks))])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=colour("line"), linewidth=0.6)
        axes.set_axisbelow(True)
        text = f"Schedule of {label}: {len(ranks)} pipeline ranks over {quantity(length_s, 's')}"
        return inline(figure, key, text, hints)


def _words(each: Action) -> str:
    when = f"{quantity(each.start_s, 's')} to {quantity(each.end_s, 's')}"
    return f"{KINDS[each.kind][0]} of micro-batch {each.micro_batch} on stage {each.stage}: {when}"


FIGURE: Final = Figure(
    "pipeline",
    "Pipeline, rank by rank",
    34,
    "What each pipeline rank does in a training step by its schedule, time to the right: a bar is one micro-batch on "
    "one stage, a gap is waiting. The exchange of gradients and the optimizer come after it.",
    applies,
    draw,
)
