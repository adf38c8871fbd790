"""Why the others lose: against the first, or without an answer at all."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.recommendation import Answered, Lost, Option, Recommendation
from reports.templating import render

MOST_ROWS: Final = 10
"""Options that stand open; the others open by a press."""


class Kind(NamedTuple):
    """Devices that lose for the same reason, the nearest miss first."""

    reason: str
    lost: list[Lost]


class Panel(NamedTuple):
    """One question."""

    answer: Answered
    ranked: tuple[Option, ...]
    more: tuple[Option, ...]
    kinds: list[Kind]


def applies(card: Recommendation) -> bool:
    """Whether anything lost."""
    return any(len(each.options) > 1 or each.lost for each in card.answers)


def draw(card: Recommendation) -> Markup:
    """Those that are ranked, then the others by reason."""
    panels = [Panel(each, each.options[1:MOST_ROWS], each.options[MOST_ROWS:], _kinds(each)) for each in card.answers]
    return render("recommendation_losers.html", panels=panels, several=len(card.answers) > 1)


def _kinds(each: Answered) -> list[Kind]:
    counts = Counter(lost.reason for lost in each.lost)
    return [Kind(reason, [lost for lost in each.lost if lost.reason == reason]) for reason, _ in counts.most_common()]


FIGURE: Final = Figure(
    "others",
    "Why each other loses",
    50,
    "First those that can do it, each beside the first; then those without an answer, by reason, the nearest miss "
    "first.",
    applies,
    draw,
)
