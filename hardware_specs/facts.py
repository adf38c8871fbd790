"""A fact: one number with its unit, where it comes from, and how far to trust it.

In TOML a fact is an inline table whose value is text with a unit, and exactly one of three marks::

    bandwidth = { value = "3.35 TB/s", source = "nvidia" }          # sourced: a key of [sources]
    idle      = { value = "70 W", assumed = "10% of TDP, as H100" } # no source gives it: the reason
    gemm_peak = { value = 0.83, calibrated = "prefill" }            # fitted from samples: a key of [fits]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any

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


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How numbers were set from measurements, so that a score can leave those measurements out.

    ``sources`` names measured tables as the ``source`` column of a points file does; ``devices`` the devices whose
    rows were used (empty: all of those tables); ``rows`` how many, None where nobody counted; ``rule`` how.

    A fit that left groups of rows out says by which columns rows were grouped (``split_by``, see
    ``group_digest``), and the digests of the groups that it used, one or several to a text (long lists are slow to
    read); ``rows_sha256`` is that of the rows used.
    """

    id: str
    sources: tuple[str, ...]
    rule: str
    date: str
    devices: tuple[str, ...] = ()
    rows: int | None = None
    split_by: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    rows_sha256: str = ""

    def covers(self, source: str, device: str) -> bool:
        """Whether rows of ``device`` in the table ``source`` were looked at."""
        return source in self.sources and (not self.devices or device in self.devices)

    @property
    def digests(self) -> frozenset[str]:
        """Digests of the groups of rows that were used."""
        return _digests(self.groups)


@cache
def _digests(groups: tuple[str, ...]) -> frozenset[str]:
    return frozenset(" ".join(groups).split())


def group_digest(key: str) -> str:
    """Short digest of the key of a group of rows: what ``Fit.groups`` lists instead of the rows themselves."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class Fact(msgspec.Struct, frozen=True):
    """One number in SI units.

    ``text`` is what the file says ("3.35 TB/s"); ``origin`` is the citation, the reason of an assumption or
    the rule of the ``fit``, as ``mark`` says; ``date`` is ISO, or "" where only the reason is known.
    """

    value: float
    dimension: str
    text: str
    mark: Mark
    origin: str
    date: str = ""
    fit: Fit | None = None


@dataclass(frozen=True)
class Dimension:
    """The dimension (see ``hardware_specs.units.DIMENSIONS``) that a field of a record must have.

    The dimension "any" takes that of the unit. Facts of hardware are positive, or zero where ``zero_allowed``.
    """

    name: str
    zero_allowed: bool = False


AnyFact = Annotated[Fact, Dimension("any", zero_allowed=True)]
Number = Annotated[Fact, Dimension("number")]
Bytes = Annotated[Fact, Dimension("bytes", zero_allowed=True)]
BytesPerSecond = Annotated[Fact, Dimension("bytes_per_s")]
Flops = Annotated[Fact, Dimension("flops")]
Hertz = Annotated[Fact, Dimension("hz")]
Watts = Annotated[Fact, Dimension("w", zero_allowed=True)]
Seconds = Annotated[Fact, Dimension("s", zero_allowed=True)]
Usd = Annotated[Fact, Dimension("usd")]
UsdPerSecond = Annotated[Fact, Dimension("usd_per_s")]
UsdPerJoule = Annotated[Fact, Dimension("usd_per_j", zero_allowed=True)]
GramsPerJoule = Annotated[Fact, Dimension("g_per_j", zero_allowed=True)]


def fits_in(part: Any) -> set[Fit]:
    """The fits that calibrated facts of a record rest on, at any depth."""
    if isinstance(part, Fact):
        return {part.fit} if part.fit else set()
    if isinstance(part, msgspec.Struct):
        return set().union(*(fits_in(getattr(part, name)) for name in part.__struct_fields__))
    if isinstance(part, dict):
        return set().union(*map(fits_in, part.values()))
    if isinstance(part, tuple):
        return set().union(*map(fits_in, part))
    return set()
