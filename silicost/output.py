"""Printing: tables for people, JSON and CSV for programs. Everything on standard output goes through here."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from hardware_specs.errors import InputError
from hardware_specs.files import write_text as write_text
from hardware_specs.spreadsheets import csv_of

_WIDTH = 200
"""Columns of a table that goes to a file or pipe."""
_LONGEST_WORD = 24
"""A word longer than this may be folded [characters]."""
_LONGEST_NAME = 40
"""As much of the names in the first column stands unfolded [characters]."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys rather than shows: names in files of others may hold it."""
_QUANTITY = re.compile(r"-?[0-9][0-9,.]*(?:e[-+]?[0-9]+)?(?: [^ ]{1,12})?")
"""A number with or without its unit."""


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
        write_out(csv_text(rows))
    else:
        print_table(rows, title)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    write_out(json_text(value))


def json_text(value: Any) -> str:
    """``value`` as JSON; numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n"


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Records as CSV with a header; nothing for no records. No text of them is a formula of a spreadsheet."""
    return csv_of(rows)


def print_table(rows: Sequence[dict[str, Any]], title: str = "", header: bool = True) -> None:
    """Print records as a table as wide as the terminal: cells are folded, and where that is not enough columns on the
    right are left out, which the last line says."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, "bold") if title else None, title_justify="left", header_style="bold", box=None,
        pad_edge=False, show_header=header,
    )  # fmt: skip
    text, terminal = io.StringIO(), sys.stdout.isatty()
    width = None if terminal or "COLUMNS" in os.environ else _WIDTH
    console = Console(file=text, force_terminal=terminal, width=width, highlight=False)
    lines = [{key: _cell(value) for key, value in row.items()} for row in rows]
    keys = columns_that_fit(lines, console.width)
    for index, key in enumerate(keys):
        numeric = all(_is_number(row[key]) or row[key] is None for row in rows)
        longest = _LONGEST_NAME if index == 0 else _LONGEST_WORD
        needed = min(_needed(key, lines, longest), console.width)
        whole = max(len(line[key]) for line in lines) <= needed
        table.add_column(key, justify="right" if numeric else "left", overflow="fold", no_wrap=whole, min_width=needed)
    for line in lines:
        table.add_row(*(Text(line[key]) for key in keys))
    console.print(table)
    left_out = [key for key in (lines[0] if lines else ()) if key not in keys]
    note = f"(not shown for want of room: {', '.join(left_out)}; see --format csv)\n" if left_out else ""
    write_out("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()) + note)


def columns_that_fit(lines: Sequence[dict[str, str]], width: int) -> list[str]:
    """The keys, from the left, whose longest words stand side by side in ``width`` columns; at least one."""
    fitting: list[str] = []
    used = 0
    for key in lines[0] if lines else ():
        used += _needed(key, lines, _LONGEST_WORD if fitting else _LONGEST_NAME) + 2
        if fitting and used - 2 > width:
            break
        fitting.append(key)
    return fitting


def _needed(key: str, lines: Sequence[dict[str, str]], longest: int) -> int:
    """Columns in which no number is parted from its unit and no word is folded that is not longer than ``longest``."""
    numbers = [len(line[key]) for line in lines if _QUANTITY.fullmatch(line[key])]
    words = [len(word) for line in lines if not _QUANTITY.fullmatch(line[key]) for word in line[key].split()]
    return max([min(max([0, *words, *map(len, key.split())]), longest), *numbers])


def write_out(text: str) -> None:
    """Write to standard output; a reader that has gone away has what it wanted.

    Raises:
        InputError: standard output cannot be written, a full disk for example.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        if not isinstance(error, BrokenPipeError):
            raise InputError(f"standard output: cannot be written ({error.strerror})") from None


def drop_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _finite(value: Any) -> Any:
    """``value`` without infinities and NaN, which JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
