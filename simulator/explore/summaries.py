"""What the columns of a study hold, in one pass over its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulator.explore.columns import ColumnInfo
from simulator.explore.reading import Study

if TYPE_CHECKING:
    import pyarrow as pa

MOST_DISTINCT: Final = 100_000
"""Different values are counted up to this number."""


class ColumnSummary(NamedTuple):
    """One column: different values (None where there are too many), ends of its numbers, rows where it is unknown."""

    info: ColumnInfo
    distinct: int | None
    least: float | int | None
    greatest: float | int | None
    unknown: int


def summaries(study: Study) -> list[ColumnSummary]:
    """All columns in order.

    Raises:
        InputError: a part cannot be read.
    """
    columns = [_Column(info) for info in study.columns()]
    for batch in study.batches():
        for place, column in enumerate(columns):
            column.add(batch.column(place))
    return [column.summary() for column in columns]


class _Column:
    """A column as far as it was seen."""

    def __init__(self, info: ColumnInfo) -> None:
        self._info = info
        self._values: set[Any] | None = set()
        self._ends: list[Any] = []
        self._unknown = 0

    def add(self, array: pa.Array) -> None:
        """Take up a batch."""
        import pyarrow.compute as pc

        self._unknown += array.null_count
        numeric = self._info.kind in ("int", "float")
        if numeric:
            ends = pc.min_max(array).as_py()
            self._ends = [end for end in (*self._ends, ends["min"], ends["max"]) if end is not None]
            self._ends = [min(self._ends), max(self._ends)] if self._ends else []
        if self._values is not None and (self._info.axis or not numeric):
            self._values |= set(pc.unique(array).drop_null().to_pylist())
            if len(self._values) > MOST_DISTINCT:
                self._values = None

    def summary(self) -> ColumnSummary:
        """What was seen."""
        counted = self._info.axis or self._info.kind not in ("int", "float")
        least, greatest = self._ends or (None, None)
        distinct = len(self._values) if counted and self._values is not None else None
        return ColumnSummary(self._info, distinct, least, greatest, self._unknown)
