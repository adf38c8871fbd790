"""What a page about predictions beside measurements shows: plain data, readable without what made it.

Figures of merit are mappings from the names of the documented report (docs: validation) to numbers; None is no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.display import frame_of, html_of

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.object_]
Figures = Mapping[str, float | int | None]

KINDS: Final = {"ops": "operators", "inference": "inference", "training": "training", "serving": "serving"}
"""The kinds of measurement in the order of a page, and their names in words."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """The n predicted rows of one kind that share a dimension, shape [n] each; NaN ends: without an interval.

    ``hints`` says of each row what it is; it is empty where there are too many rows for that.
    """

    dimension: str
    device_class: Words
    observed: Floats
    predicted: Floats
    low_95: Floats
    low_80: Floats
    high_80: Floats
    high_95: Floats
    hints: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.observed)


class Score(NamedTuple):
    """Figures of all rows of a class or kind, of those that a fit has seen, or of those held out (``part``)."""

    part: str
    figures: Figures


class ClassScores(NamedTuple):
    """The scores of one device class; "" is a class that is not known."""

    device_class: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, eq=False)
class KindScores:
    """One kind of measurement (ops, inference, training): its scores in all, by class, and its rows."""

    kind: str
    scores: tuple[Score, ...]
    classes: tuple[ClassScores, ...]
    clouds: tuple[Cloud, ...]
    skip_reasons: Mapping[str, int]


class Miss(NamedTuple):
    """A row whose prediction is far off, in the unit of ``dimension``; ``reason`` says what may be behind it."""

    kind: str
    source: str
    device: str
    device_class: str
    what: str
    dimension: str
    observed: float
    predicted: float
    low_80: float
    high_80: float
    regime: str
    runtime: str
    fitted: bool
    provenance: str
    reason: str


class Table(NamedTuple):
    """A table of measurements."""

    name: str
    kind: str
    rows: int


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Predictions beside measurements: everything that their page shows.

    ``left_out`` are reasons why rows are no part of the scores, with their number; ``misses`` stand worst first.
    """

    title: str
    tables: tuple[Table, ...]
    kinds: tuple[KindScores, ...]
    misses: tuple[Miss, ...]
    left_out: Mapping[str, int]
    laws_hash: str
    silicost_version: str

    def to_pandas(self) -> pd.DataFrame:
        """Numbers by name in SI units: value, ends of the 80% interval (NaN: none), why there is no value."""
        return frame_of(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None (text) where no room above has said how."""
        return html_of(self)
