"""What notebooks show of records whose rooms know no page: said when ``silicost`` is used, loaded when shown."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from simulator.display import show_with

if TYPE_CHECKING:
    import pandas as pd

    from reports.page_data import Form, Subject
    from silicost.serving.answer import Answer
    from simulator.explore.reading import Study
    from simulator.result import Result

MOST_ROWS: Final = 5
"""Rows of a stored study that are shown."""


_CARDS: Final[dict[str, Form]] = {
    "reports.serving.ServedCard": "served", "reports.study.StudyCard": "study",
    "reports.scorecard.Scorecard": "scorecard",
}  # fmt: skip


def register() -> None:
    """Say how results, served runs, scorecards and studies are shown, and what frames they make."""
    show_with(
        {
            "simulator.result.Result": _result, "simulator.explore.reading.Study": _study,
            "silicost.serving.answer.Answer": _served, **{name: partial(_card, form) for name, form in _CARDS.items()},
        },
        {
            "silicost.serving.answer.Answer": _served_frame,
            **{name: partial(_card_frame, form) for name, form in _CARDS.items()},
        },
    )  # fmt: skip


def _card(form: Form, card: Subject) -> str:
    from reports.notebook import subject_html

    return subject_html(form, card)


def _card_frame(form: Form, card: Subject) -> pd.DataFrame:
    from reports.notebook import frame_of

    return frame_of(form, card)


def _served(answer: Answer) -> str:
    from silicost.serving.page import card_of

    return _card("served", card_of(answer))


def _served_frame(answer: Answer) -> pd.DataFrame:
    from silicost.serving.page import card_of

    return _card_frame("served", card_of(answer))


def _result(result: Result) -> str:
    from reports.notebook import result_html

    return result_html(result)


def _study(study: Study) -> str:
    """A stored study: its first rows, how many there are."""
    from reports.notebook import table_html

    names = [info.name for info in study.columns()]
    batch: Any = next(iter(study.batches(rows=MOST_ROWS)), None)
    rows = [[_text(row[name]) for name in names] for row in batch.to_pylist()] if batch is not None else []
    manifest = study.manifest
    notes = [f"{manifest.rows:,} rows of {manifest.definition.points:,} points in {study.folder}; to_pandas() has all."]
    return table_html(manifest.definition.title, names, rows, notes)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
