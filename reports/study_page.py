"""The page of a study: its question, the answer, and what the answer rests on, in one HTML file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from reports.definitions import Term, term_of
from reports.fact_figures import STUDY_ASKED, STUDY_PROVENANCE
from reports.figure import Figure, drawn
from reports.page_data import Page, write_page
from reports.study import Measure, StudyCard
from reports.study_figures import bars, gains, heat, lines, mixtures, pareto, reasons, shares
from reports.templating import render_page
from reports.text import short

MEANINGS: Final = {
    "memory_bytes": "Weights, caches, activations and states on the fullest device.",
    "device_j": "Energy of all devices, from the start to the end.",
    "facility_j": "Energy of devices and hosts, times the power usage effectiveness (PUE) of the site.",
    "facility_j_per_output_token": "That energy of the facility divided by output tokens.",
    "usd": "Price of everything from the start to the end.",
    "waiting_share": "Share of the price that is paid for devices that wait.",
    "transfer_share": "Share of the time in which data moves between devices.",
}
"""Definitions of metrics that only studies have."""

FIGURES: Final[tuple[Figure[StudyCard], ...]] = tuple(
    sorted(
        (
            STUDY_ASKED,
            STUDY_PROVENANCE,
            *(each.FIGURE for each in (bars, gains, heat, lines, mixtures, pareto, reasons, shares)),
        ),
        key=lambda figure: figure.order,
    )
)
"""Every figure of ``reports.study_figures`` and the facts, in the order of the page."""


def write_study(path: Path, card: StudyCard, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_study(card, static), Page("study", card))


def render_study(card: StudyCard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(FIGURES, card, static)
    known = [best for best in card.best if best is not None]
    return render_page(
        "study.html", static, title=card.title, lead=card.question, figures=figures, card=card, answer=card.answer,
        axes=list(dict.fromkeys(name for best in known for name, _ in best.configuration)),
        leading=int(bool(card.mixtures)), with_bands=any(math.isfinite(best.low) for best in known),
        terms=[_term(measure) for measure in card.metrics], rests=(rests_on(card),),
    )  # fmt: skip


def _term(measure: Measure) -> Term:
    """The definition of a metric; those of studies alone stand here."""
    if measure.name not in MEANINGS:
        return term_of(measure.name)
    return Term(measure.name, measure.title, MEANINGS[measure.name], measure.dimension, measure.better)


def rests_on(card: StudyCard) -> str:
    """What all numbers of the page rest on."""
    points = f"{card.feasible:,} feasible of {card.rows:,} predicted points"
    marks = ", ".join(short(group.name, 60) for group in card.provenance[:6])
    return f"Rests on {points}; {card.sample or 'all of them'}.{f' Inputs: {marks}, below.' if marks else ''}"
