"""CSV that spreadsheets can open: a text that they would run as a formula begins with an apostrophe.

"CSV injection", OWASP: such texts begin with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

FORMULAS: Final = "=+-@\t\r"
"""What the text of a formula begins with."""


def harmless(text: str) -> str:
    """``text`` as a spreadsheet takes it for a text.

    >>> harmless("=1+1"), harmless("h100")
    ("'=1+1", 'h100')
    """
    return f"'{text}" if text[:1] and text[0] in FORMULAS else text


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records that share their keys as CSV with a header, what is None empty; nothing for no records."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([harmless(str(key)) for key in rows[0]])
    writer.writerows([_cell(row[key]) for key in rows[0]] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else harmless(value) if isinstance(value, str) else value
