"""The page of a calibration: what was measured, what was fitted, and how far it can be trusted, in one HTML file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from reports.calibration import MachineCard
from reports.definitions import Term
from reports.figure import calibration_figures, drawn
from reports.numbers import share, whole
from reports.page_data import Page, write_page
from reports.templating import render_page
from reports.text import short

TERMS: Final = (
    Term("samples", "Samples", "Measured calls that a fit is of."),
    Term("shapes", "Shapes", "Groups of calls that were left out together: the same weights or heads."),
    Term("median-error", "Median error, shape left out",
         "Median of |predicted / measured - 1| on shapes that fits left out.", better="lower"),
    Term("mean-error", "Mean error, shape left out",
         "Mean of |predicted / measured - 1| on shapes that fits left out.", better="lower"),
    Term("unseen-error", "Mean error, kind left out",
         "Mean of |predicted / measured - 1| where no operator of this kind was seen.", better="lower"),
    Term("interval-80", "80\u00a0% interval", "Measured over predicted time: ends between which four of five lie."),
    Term("bandwidth", "Bandwidth", "Bytes that a stream or a message moves, counted as STREAM does, over its time.",
         better="higher"),
)  # fmt: skip
"""What the numbers of a calibration mean."""


def write_calibration(path: Path, card: MachineCard, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_calibration(card, static), Page("calibration", card))


def render_calibration(card: MachineCard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(calibration_figures(), card, static)
    return render_page(
        "calibration.html", static, title=card.title, lead=card.lead, figures=figures, card=card,
        answer=answer_of(card), terms=TERMS, rests=(rests_on(card),),
    )  # fmt: skip


def answer_of(card: MachineCard) -> str:
    """How far off fits are on shapes that they left out."""
    errors = sorted(entry.mean for entry in card.entries if math.isfinite(entry.mean))
    if not errors:
        return f"{whole(len(card.points))} calls were measured; none of them has a fit that was tried on other shapes."
    middle, worst = errors[len(errors) // 2], errors[-1]
    fits = f"{whole(len(errors))} fit{'s' if len(errors) > 1 else ''} to {whole(len(card.points))} measured calls"
    if len(errors) == 1:
        return f"{fits}: off by {share(worst)} on average on shapes left out."
    return f"{fits}: in the middle one off by {share(middle)} on shapes left out, in the worst by {share(worst)}."


def rests_on(card: MachineCard) -> str:
    """What all numbers of the page rest on."""
    runs = ", ".join(dict.fromkeys(point.runtime for point in card.points if point.runtime))
    under = f" under {short(runs, 80)}" if runs else ""
    return f"Measured on {short(card.device, 60)}{under}, {short(card.date, 20)}: {whole(len(card.points))} calls."
