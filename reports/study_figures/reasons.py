"""Why points are infeasible."""

from __future__ import annotations

from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import share, whole
from reports.study import Reason, StudyCard
from reports.templating import render

MOST_REASONS: Final = 20


class Row(NamedTuple):
    """A reason in words; ``width`` is its share of all points in percent."""

    code: str
    points: str
    part: str
    width: float
    example: str


def row_of(reason: Reason, rows: int) -> Row:
    """A reason beside all points."""
    part = reason.points / max(rows, 1)
    return Row(reason.code, whole(reason.points), share(part), 100.0 * part, reason.example)


def applies(card: StudyCard) -> bool:
    """Whether any point is infeasible."""
    return bool(card.reasons)


def draw(card: StudyCard) -> Markup:
    """A table, the most frequent first."""
    ordered = sorted(card.reasons, key=lambda reason: (-reason.points, reason.code))
    return render(
        "study_reasons.html", rows=[row_of(reason, card.rows) for reason in ordered[:MOST_REASONS]],
        left_out=len(ordered) - MOST_REASONS,
    )  # fmt: skip


FIGURE: Final = Figure(
    "infeasible",
    "Why points are infeasible",
    70,
    "How many points have no answer or break a constraint, by reason, with the share of all points and one message of "
    "each: others of the same reason may say it with other numbers.",
    applies,
    draw,
)
