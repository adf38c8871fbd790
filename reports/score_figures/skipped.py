"""What was not scored, and why."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.figure import Figure
from reports.scorecard import Scorecard
from reports.templating import render


def rows_of(card: Scorecard) -> list[tuple[str, str, int]]:
    """(kind, reason, rows): what could not be predicted by kind, then what is no part of the scores (kind "")."""
    skipped = [(kind.kind, reason, rows) for kind in card.kinds for reason, rows in kind.skip_reasons.items()]
    return skipped + [("", reason, rows) for reason, rows in card.left_out.items()]


def applies(card: Scorecard) -> bool:
    """Whether any row was not scored."""
    return bool(rows_of(card))


def draw(card: Scorecard) -> Markup:
    """One table."""
    return render("skipped.html", rows=rows_of(card))


FIGURE: Final = Figure(
    "skipped",
    "What was not scored, and why",
    60,
    "Skipped rows lack something that a prediction needs, or ask for what is not modelled; they count in the number "
    "of skipped rows. Rows that are left out are no part of the scores: another row scores their run, or they were "
    "asked to be left out.",
    applies,
    draw,
)
