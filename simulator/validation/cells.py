"""Cells of a row: numbers where numbers are meant, and a reason where a row cannot be predicted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from hardware_specs.errors import InputError, clipped

Row = Mapping[str, str]

MOST_DEVICES = 1_000_000
LEAST_MEASURED, MOST_MEASURED = 1e-15, 1e15
"""No time, rate or energy of a computation lies outside."""
_COMMANDS = re.compile(r" \((use --|silicost )[^)]*\)")


class Unpredictable(InputError):
    """A row lacks what a prediction needs, or contradicts itself; the text says what."""


def number(row: Row, name: str) -> float | None:
    """The number in a cell; None for an empty one or a column that is not there.

    Raises:
        Unpredictable: text that is no finite number.
    """
    text = row.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unpredictable(f"{name} {clipped(text)!r}: must be a number")
    return value


def whole(row: Row, name: str, default: int, most: int = 10**9) -> int:
    """The count in a cell; ``default`` for an empty one.

    Raises:
        Unpredictable: not from 1 to ``most``, or a fraction.
    """
    value = number(row, name)
    if value is not None and value >= 1.0 and value != round(value):
        raise Unpredictable(f"{name} {clipped(row[name])!r}: must be a whole number")
    return mean(row, name, default, most)


def mean(row: Row, name: str, default: int, most: int = 10**9) -> int:
    """As ``whole``, of a cell that may hold the mean of counts, which is rounded.

    Raises:
        Unpredictable: not from 1 to ``most``.
    """
    value = number(row, name)
    if value is None:
        return default
    if not 1 <= round(value) <= most:
        raise Unpredictable(f"{name} {clipped(row[name])!r}: must be from 1 to {most}")
    return round(value)


def measured_value(row: Row, name: str) -> float:
    """What was measured.

    Raises:
        Unpredictable: missing, not positive, or absurdly small or large.
    """
    value = number(row, name)
    if value is None:
        raise Unpredictable(f"{name} missing")
    if not value > 0.0:
        raise Unpredictable(f"{name} {clipped(row[name])!r}: must be positive")
    if not LEAST_MEASURED <= value <= MOST_MEASURED:
        allowed = f"from {LEAST_MEASURED:.0e} to {MOST_MEASURED:.0e}"
        raise Unpredictable(f"{name} {clipped(row[name])!r}: must be {allowed}")
    return value


def reason_of(error: InputError) -> str:
    """Why a row is skipped: the error without advice about flags and commands, which a file has no use for."""
    return _COMMANDS.sub("", str(error))
