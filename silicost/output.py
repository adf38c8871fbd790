"""Printing: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from hardware_specs.files import write_text as write_text


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def print_rows(rows: Sequence[dict[str, Any]], how: Format, title: str = "") -> None:
    """Print records that share their keys: a table, an array of objects, or CSV."""
    if how is Format.JSON:
        print_json(list(rows))
    elif how is Format.CSV:
        sys.stdout.write(csv_text(rows))
    else:
        _print_table(rows, title)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    sys.stdout.write(json_text(value))


def json_text(value: Any) -> str:
    """``value`` as JSON; numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n"


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Records as CSV with a header; nothing for no records."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def _print_table(rows: Sequence[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for key in rows[0] if rows else ():
        numeric = any(isinstance(row[key], (int, float)) and not isinstance(row[key], bool) for row in rows)
        table.add_column(key, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown = ("-" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values())
        table.add_row(*map(Text, shown))
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(table)


def _finite(value: Any) -> Any:
    """``value`` without infinities and NaN, which JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
