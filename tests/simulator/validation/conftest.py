"""Points in memory and on disk, from rows in one line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from simulator.validation.points import Points

Rows = Sequence[dict[str, object]]


@pytest.fixture(scope="session")
def points() -> Callable[..., Points]:
    """``points(kind, rows)``: every column that any of the rows has; missing cells are empty."""

    def make(kind: str, rows: Rows, name: str = "table") -> Points:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = {column: [str(row.get(column, "")) for row in rows] for column in columns}
        return Points(kind, name, pd.DataFrame(cells, dtype=str))

    return make


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., Path]:
    """``csv_file(rows)``: a CSV of them."""

    def make(rows: Rows, name: str = "table.csv") -> Path:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return make
