from __future__ import annotations

import csv
import io

import msgspec
import pyarrow.parquet as pq
import pytest

from reports.exports.tables import TABLES, csv_of, parquet_of, ranking_rows
from reports.recommendation import Answered, Lost, Option, Recommendation
from reports.study import Measure
from simulator.result import Result


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", TABLES)
def test_csv_and_parquet_have_the_same_rows(name: str, seven: list[Result]) -> None:
    rows = TABLES[name](seven)
    assert rows
    table = pq.read_table(io.BytesIO(parquet_of(rows)))
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(read(csv_of(rows))) == len(rows)


def test_metrics_are_those_of_the_results(one: Result) -> None:
    rows = {row["metric"]: row for row in read(csv_of(TABLES["metrics"]([one])))}
    for name, value in one.metrics.items():
        assert rows[name]["value"] == ("" if value is None else repr(float(value)))
        assert (rows[name]["reason"] != "") == (value is None)
    for name, band in one.intervals.items():
        assert [float(rows[name][end]) for end in ("p2_5", "p10", "p90", "p97_5")] == [
            band.p2_5, band.p10, band.p90, band.p97_5,
        ]  # fmt: skip


def test_operators_of_a_phase_take_its_time(one: Result) -> None:
    rows = TABLES["operators"]([one])
    for phase in TABLES["phases"]([one]):
        seconds = sum(row["time_s"] for row in rows if row["phase"] == phase["phase"])
        assert seconds == pytest.approx(phase["time_s"])


def test_no_cell_is_a_formula(one: Result, hostile: str) -> None:
    for bad in (hostile, "=1+1", "+1", "-1", "@a"):
        changed = msgspec.structs.replace(one, reasons=dict.fromkeys(one.metrics, bad), title=bad)
        text = csv_of(TABLES["metrics"]([changed]))
        text.encode("utf-8")
        assert not any(cell[:1] in "=+@" for row in read(text) for cell in row.values() if cell)
        parquet_of(TABLES["metrics"]([changed]))


def test_nothing_is_nothing() -> None:
    assert csv_of([]) == ""


def test_types_do_not_depend_on_what_is_known(one: Result) -> None:
    bare = msgspec.structs.replace(one, intervals={}, metrics=dict.fromkeys(one.metrics))
    for name, rows_of in TABLES.items():
        full, empty = (pq.read_schema(io.BytesIO(parquet_of(rows_of([each])))) for each in (one, bare))
        assert full.types == empty.types, name
        assert "null" not in map(str, full.types)


def test_units_are_written_as_people_do(one: Result) -> None:
    units = {row["metric"]: row["unit"] for row in TABLES["metrics"]([one])}
    assert units["j_per_output_token"] == "J"
    assert units["usd_per_million_output_tokens"] == "USD"
    assert units["memory_bytes"] == "B"
    assert units["tpot_s"] == "s"


def test_a_ranking_has_every_device_with_its_numbers() -> None:
    usd = Measure("usd_per_million_output_tokens", "Cost per million output tokens", "usd", "lower")
    options = tuple(
        Option(f"d{k}", "gpu", k, "tp 1", float(k), 0.5 * k, 2.0 * k, usd_per_hour=3.0, price="rented",
               why="dearer" * (k > 1), metrics=(("tpot_s", 0.01 * k), ("mfu", 0.5)))
        for k in (1, 2)
    )  # fmt: skip
    lost = Lost("z", "asic", "memory", "does not fit", "needs 9 GB")
    card = Recommendation("t", (Answered("chat", "v", "q", usd, options=options, lost=(lost,)),))
    rows = ranking_rows(card)
    assert [(row["rank"], row["device"], row["devices"]) for row in rows] == [
        (1, "d1", 1), (2, "d2", 2), (None, "z", None)
    ]  # fmt: skip
    assert (rows[1]["value"], rows[1]["p10"], rows[1]["p90"], rows[1]["unit"]) == (2.0, 1.0, 4.0, "USD")
    assert (rows[1]["plan"], rows[1]["price"], rows[1]["usd_per_hour"]) == ("tp 1", "rented", 3.0)
    assert [row["verdict"] for row in rows] == ["the first", "dearer", "needs 9 GB"]
    assert (rows[1]["tpot_s [s]"], rows[1]["mfu [fraction]"], rows[2]["tpot_s [s]"], rows[2]["reason"]) == (
        0.02, 0.5, None, "memory"
    )  # fmt: skip
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    table = pq.read_table(io.BytesIO(parquet_of(rows)))
    assert table.num_rows == 3 and str(table.schema.field("tpot_s [s]").type) == "double"
