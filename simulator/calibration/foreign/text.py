"""The text of a foreign file: lines with their numbers, and errors that say where.

Files come from redirected output, so that they may be UTF-16 (PowerShell), coloured, or labelled line by line by the
launcher (``srun --label``, ``mpirun --tag-output``).
"""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_file

LARGEST: Final = 1e18
"""No benchmark measures more of anything."""
MOST_BYTES: Final = 64 * 2**20
"""Largest file that is read [B]; outputs of benchmarks are far smaller."""
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LABEL: Final = re.compile(r"^\s*(?:\[\d+,\d+\](?:<\w+>)?:?|\d+:(?=\s))")
"""What launchers put before each line: "[1,0]<stdout>:", " 0: "."""


@dataclass(frozen=True)
class Text:
    """A file: its ``place`` for errors, its ``name``, and its ``lines`` without colours and labels."""

    place: str
    name: str
    lines: tuple[str, ...]

    @cached_property
    def whole(self) -> str:
        """All lines."""
        return "\n".join(self.lines)

    @cached_property
    def json(self) -> Any:
        """The file as JSON; None where it is none."""
        try:
            return self.parsed_json()
        except InputError:
            return None

    def parsed_json(self) -> Any:
        """The file as JSON.

        Raises:
            InputError: it is none, or was cut off; with the line.
        """
        try:
            return json.loads(self.whole)
        except json.JSONDecodeError as error:
            raise self.error(error.lineno, f"not valid JSON, or cut off: {error.msg}") from None
        except (ValueError, RecursionError):
            raise self.error(0, "JSON with absurdly long numbers, or nested too deeply") from None

    def has(self, *words: str) -> bool:
        """Whether any of ``words`` stands in the file."""
        return any(word in self.whole for word in words)

    def error(self, line: int, what: str) -> InputError:
        """An error at a line, counted from 1 (0: the whole file)."""
        return InputError(f"{self.place}: line {line}: {what}" if line else f"{self.place}: {what}")

    def number(self, word: str, line: int, what: str, *, zero: bool = True) -> float:
        """A number that is not negative, and no larger than ``LARGEST``.

        Raises:
            InputError: it is none, negative, absurd, or 0 where ``zero`` is not allowed.
        """
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not 0.0 <= value <= LARGEST or (value == 0.0 and not zero):
            allowed = f"a number {'from' if zero else 'above'} zero, at most {LARGEST:g}"
            raise self.error(line, f"{what} {clipped(word)!r} must be {allowed}")
        return value


def read_text(path: Path) -> Text:
    """The text of a file.

    Raises:
        InputError: no such file, too large, or no text.
    """
    place = clipped(str(path))
    if not is_file(path):
        raise InputError(f"{place}: no such file")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{place}: {size} bytes are no output of a benchmark (at most {MOST_BYTES})")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror})") from None
    text = _COLOURS.sub("", _decoded(data, place))
    lines = tuple(_LABEL.sub("", line).rstrip() for line in text.splitlines())
    return Text(place, path.name, lines)


def _decoded(data: bytes, place: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise InputError(f"{place}: not a text file; give what the benchmark printed")
    return data.decode("utf-8-sig", errors="replace")
