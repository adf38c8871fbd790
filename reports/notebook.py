"""Records as short tables for notebooks: no script, no style of its own that reaches the page around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reports.comparing import Entry, Value, entries_of, written
from reports.exports.tables import metric_rows
from reports.headline import headlines_of
from reports.numbers import quantity
from reports.page_data import Form, Page, Subject
from reports.templating import render

if TYPE_CHECKING:
    import pandas as pd

    from simulator.result import Result

MOST_ROWS: Final = 12
"""Numbers that are shown; ``to_pandas`` has all."""
MOST_WARNINGS: Final = 3


def result_html(result: Result) -> str:
    """A result: its headline numbers with intervals, whether it fits, its warnings."""
    (entry,) = entries_of([(result.title, Page("results", (result,)))])
    values = [entry.values[name] for name in headlines_of(result)]
    memory, capacity = (quantity(size, "bytes") for size in (result.memory.total, result.memory_capacity_bytes))
    notes = [f"Memory {memory} of {capacity}: {'fits' if result.fits else 'does not fit'}."]
    notes += [f"Warning: {warning}" for warning in dict.fromkeys(result.warnings)][:MOST_WARNINGS]
    return _html(result.title, "", values, notes)


def subject_html(form: Form, subject: Subject) -> str:
    """A served run, a study or a scorecard: its answer, its first numbers."""
    entry = _entry(form, subject)
    values = list(entry.values.values())
    more = len(values) - MOST_ROWS
    notes = [f"{more} more numbers: to_pandas()."] if more > 0 else []
    return _html(getattr(subject, "title", entry.name), getattr(subject, "answer", ""), values[:MOST_ROWS], notes)


def frame_of(form: Form, subject: Subject) -> pd.DataFrame:
    """Every number of a served run, a study or a scorecard by its name: SI unit, ends of the 80% interval, reason."""
    import pandas as pd

    columns = ["metric", "unit", "value", "p10", "p90", "reason"]
    frame = pd.DataFrame(metric_rows([_entry(form, subject)]), columns=columns)
    return frame.set_index("metric").astype(dict.fromkeys(("value", "p10", "p90"), float))


def table_html(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Any table, in the same form."""
    return render("notebook.html", title=title, lead="", heads=heads, rows=rows, notes=notes)


def _entry(form: Form, subject: Subject) -> Entry:
    (entry,) = entries_of([(getattr(subject, "title", form), Page(form, subject))])
    return entry


def _html(title: str, lead: str, values: Sequence[Value], notes: Sequence[str]) -> str:
    rows = [(value.title, *_cells(value)) for value in values]
    heads = ("Metric", "Median", "80 % interval")
    return render("notebook.html", title=title, lead=lead, heads=heads, rows=rows, notes=notes)


def _cells(value: Value) -> tuple[str, str]:
    if math.isnan(value.value):
        return f"none: {value.reason}", ""
    known = math.isfinite(value.low) and math.isfinite(value.high)
    ends = f"{written(value.low, value.dimension)} – {written(value.high, value.dimension)}" if known else ""
    return written(value.value, value.dimension), ends
