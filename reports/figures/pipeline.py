"""The schedule of a training step: what each pipeline rank does when, and when it waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.lanes import Row, busy_of, draw_rows
from reports.numbers import quantity, share
from reports.palette import role
from reports.parts import Key
from reports.svg import colour
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result
from simulator.timeline import Action, RankSteps

KINDS: Final = {
    "F": ("forward", "1"), "B": ("backward", "2"), "I": ("backward: inputs", "4"), "W": ("backward: weights", "3"),
}  # fmt: skip
"""Kinds of actions: in words, and which series colours them."""
MOST_RANKS: Final = 32
_LEFT_IN: Final = 0.9
_RIGHT_IN: Final = 1.1
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


def _chart(label: str, ranks: Sequence[RankSteps], key: str) -> Chart:
    length = length_of(ranks)
    idle = 1.0 - sum(map(_busy, ranks)) / (length * len(ranks))
    shown = ranks[:MOST_RANKS]
    wordy = sum(len(rank.actions) for rank in shown) <= _MOST_WORDS
    rows = [
        Row(
            f"rank {place}", [(each.start_s, each.end_s) for each in rank.actions],
            [colour(role("series", KINDS[each.kind][1])) for each in rank.actions], _busy(rank),
            [_words(each) for each in rank.actions] if wordy else (),
        )
        for place, rank in enumerate(shown)
    ]  # fmt: skip
    svg = draw_rows(
        key, f"Schedule of {label}: {len(shown)} pipeline ranks", rows, (0.0, length), (_LEFT_IN, _RIGHT_IN), 0.4
    )
    return Chart(label, svg, length, len(ranks), len(ranks) - len(shown), share(idle))


def _busy(rank: RankSteps) -> float:
    return busy_of((each.start_s, each.end_s) for each in rank.actions)


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
