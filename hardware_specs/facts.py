"""A fact: one number with its unit, where it comes from, and how far to trust it.

In TOML a fact is an inline table whose value is text with a unit, and exactly one of three marks::

    bandwidth = { value = "3.35 TB/s", source = "nvidia" }          # sourced: a key of [sources]
    idle      = { value = "70 W", assumed = "10% of TDP, as H100" } # no source gives it: the reason
    gemm_peak = { value = 0.83, calibrated = "fit 2026-11" }        # fitted from samples: which fit
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Mark(StrEnum):
    """How a number is known."""

    SOURCED = "sourced"
    ASSUMED = "assumed"
    CALIBRATED = "calibrated"


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where facts were read: citation (address or title) and the day it was read or published."""

    cite: str
    date: str


class Fact(msgspec.Struct, frozen=True):
    """One number in SI units.

    ``text`` is what the file says ("3.35 TB/s"); ``origin`` is the citation, the reason of an assumption or
    the name of a fit, as ``mark`` says; ``date`` is ISO, or "" where only the reason is known.
    """

    value: float
    dimension: str
    text: str
    mark: Mark
    origin: str
    date: str = ""
