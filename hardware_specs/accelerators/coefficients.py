"""The coefficients that estimates rest on: read once from the file beside this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hardware_specs.accelerators.records import Coefficients
from hardware_specs.reader import read_record

DATA = Path(__file__).parent / "data"


@cache
def coefficients() -> Coefficients:
    """Every coefficient, each with its source or the reason why it is assumed."""
    return read_record(DATA / "coefficients.toml", Coefficients)
