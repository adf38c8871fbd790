"""The page of a scorecard: predictions beside measurements, in one HTML file that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from reports.definitions import Term
from reports.figure import drawn, score_figures
from reports.numbers import number, whole
from reports.page_data import Page, write_page
from reports.score_figures.scores import COLUMNS, written
from reports.scorecard import KINDS, Figures, KindScores, Scorecard
from reports.templating import render_page

_SHOWN_TABLES: Final = 60


class Card(NamedTuple):
    """What stands first about one kind: a large figure, and lines of name, title and text."""

    title: str
    mape: str
    sub: str
    lines: list[tuple[str, str, str]]


def write_scorecard(path: Path, card: Scorecard, static: bool = False) -> None:
    """Write the page of ``card`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_scorecard(card, static), Page("scorecard", card))


def render_scorecard(card: Scorecard, static: bool = False) -> str:
    """The page of ``card`` as one HTML document; the same card gives the same bytes."""
    figures = drawn(score_figures(), card, static)
    return render_page(
        "scorecard.html",
        static,
        title=card.title,
        lead="",
        figures=figures,
        leading=1,
        card=card,
        cards=[_card(kind) for kind in card.kinds],
        tables=card.tables[:_SHOWN_TABLES],
        more_tables=len(card.tables) - _SHOWN_TABLES,
        by_kind=_rows_by_kind(card),
        rows=sum(table.rows for table in card.tables),
        answer=_answer(card),
        terms=[Term(column.name, column.title, column.meaning) for column in COLUMNS],
        rests=_rests(card),
    )


def _answer(card: Scorecard) -> str:
    """How far off predictions are, kind by kind, on rows held out of fits where there are any."""
    said = []
    for kind in card.kinds:
        held = next((score for score in kind.scores[1:] if score.part == "held out" and score.figures["n"]), None)
        figures = (held or kind.scores[0]).figures
        if figures["n"]:
            of = f" on {whole(figures['n'])} rows{' held out of fits' if held else ''}"
            said.append(f"{KINDS.get(kind.kind, kind.kind)}: half within {_share(figures, 'median_ape')}{of}")
    sentence = "; ".join(said)
    return f"{sentence[:1].upper()}{sentence[1:]}." if said else "No row could be predicted."


def _rests(card: Scorecard) -> tuple[str, ...]:
    """What all figures of the page rest on."""
    counts = [(score.part, int(score.figures["n"] or 0)) for kind in card.kinds for score in kind.scores[1:]]
    parts = dict.fromkeys(part for part, _ in counts)
    said = "; ".join(f"{whole(sum(n for name, n in counts if name == part))} {part}" for part in parts)
    rows = sum(int(kind.scores[0].figures["n"] or 0) for kind in card.kinds)
    return (f"Rests on {whole(rows)} measured rows that were predicted{f': {said}' if said else ''}.",)


def _rows_by_kind(card: Scorecard) -> list[tuple[str, int]]:
    """Kinds in words, with the rows of their tables."""
    kinds = dict.fromkeys(table.kind for table in card.tables)
    return [(KINDS.get(kind, kind), sum(t.rows for t in card.tables if t.kind == kind)) for kind in kinds]


def _card(kind: KindScores) -> Card:
    whole_kind, *parts = kind.scores
    figures = whole_kind.figures
    lines = [("mape", f"mean error, {part.part}", _share(part.figures, "mape")) for part in parts if part.figures["n"]]
    lines += [
        ("median_ape", "median error", _share(figures, "median_ape")),
        ("bias", "bias: predicted / measured", _ratio(figures, "bias")),
        ("coverage_80", "inside the 80 % interval", _held(figures, "coverage_80")),
        ("coverage_95", "inside the 95 % interval", _held(figures, "coverage_95")),
        ("interval_score", "interval score", _ratio(figures, "interval_score")),
        ("constant_band_score", "of a constant band", _ratio(figures, "constant_band_score")),
    ]
    counts = [figures[name] or 0 for name in ("n", "skipped", "source_devices")]
    sub = f"{whole(counts[0])} rows from {whole(counts[2])} pairs of source and device; {whole(counts[1])} skipped"
    return Card(KINDS.get(kind.kind, kind.kind), _share(figures, "mape"), sub, lines)


def _share(figures: Figures, name: str) -> str:
    value = figures[name]
    return "none" if value is None else written(value, "share")


def _held(figures: Figures, name: str) -> str:
    """A coverage with the p-value of its promise."""
    p = figures[f"{name}_p"]
    return "none" if p is None else f"{_share(figures, name)} (p {'' if p < 0.001 else '= '}{written(p, 'p')})"


def _ratio(figures: Figures, name: str) -> str:
    value = figures[name]
    return "none" if value is None else number(value)
