from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.spreadsheets import FORMULAS, csv_of
from simulator.explore.export import csv_batches

cells = st.one_of(st.none(), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")))


@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=5))
def test_no_text_of_a_file_is_a_formula(rows: list[dict[str, object]]) -> None:
    found = list(csv.DictReader(io.StringIO(csv_of(rows), newline="")))
    assert len(found) == len(rows)
    for row, read in zip(rows, found, strict=True):
        for key, value in row.items():
            if isinstance(value, str):
                assert read[key][:1] not in FORMULAS or not read[key]
                assert read[key].removeprefix("'") == value.removeprefix("'")
            else:
                assert read[key] == ("" if value is None else str(value))


@pytest.mark.parametrize("bad", ["=cmd|' /C calc'!A0", "+1", "-1", "@a", "\ta", "\ra"])
def test_files_of_studies_hold_none_either(bad: str) -> None:
    table = pa.table({"device": pa.array([bad, "h100", None]).dictionary_encode(), "value": [-1.0, 2.0, None]})
    text = "".join(csv_batches(table.schema, table.to_batches()))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[1:] == [[f"'{bad}", "-1"], ["h100", "2"], ["", ""]]


def test_nothing_is_nothing() -> None:
    assert csv_of([]) == ""
