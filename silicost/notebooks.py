"""What notebooks show of records whose rooms know no page: said when ``silicost`` is used, loaded when shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from simulator.display import show_with

if TYPE_CHECKING:
    from simulator.explore.reading import Study
    from simulator.result import Result

MOST_ROWS: Final = 5
"""Rows of a stored study that are shown."""


def register() -> None:
    """Say how results and stored studies are shown."""
    show_with({"simulator.result.Result": _result, "simulator.explore.reading.Study": _study})


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
