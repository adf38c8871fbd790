"""What a served fleet is printed and written as: complete, readable, and whole or not at all."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_fleets import STEADY, fleet, pool, served, value

from hardware_specs.errors import InputError
from silicost.serving.answer import Answer
from silicost.serving.files import Places, check_places, write_files
from silicost.serving.output import json_of, latency_rows, pool_rows, shown, value_rows
from silicost.serving.tables import StageTable, TenantTable, TrafficTable


@pytest.fixture(scope="module")
def one() -> Answer:
    return served(fleet(slo="ttft=1s@p99"), intervals=True)


@pytest.fixture(scope="module")
def two() -> Answer:
    stages = (StageTable('p, "first"', decode="d"),)
    tenants = (TenantTable("x", 0.5), TenantTable("y", 0.5, slo="e2e=1s@p90"))
    return served(fleet(pool('p, "first"', price=""), pool("d", replicas=2), stage=stages, tenant=tenants))


def test_json_is_json(one: Answer, two: Answer) -> None:
    for answer in (one, two):
        found = json.loads(json.dumps(json_of(answer), allow_nan=False, default=None))
        assert found["requests"] == found["completed"] == STEADY.requests
        assert found["energy_j"]["device"] == sum(each["device_j"] for each in found["pools"])
        nulls = {name for name, number in found.items() if number is None}
        assert nulls == found["reasons"].keys() & found.keys()
    assert json_of(one)["intervals"]["ttft_s.p99"].keys() == {"p10", "p90"}
    assert json_of(one)["tenants"] == {}
    assert json_of(two)["tenants"].keys() == {"x", "y"}
    assert [link["between"] for link in json_of(two)["links"]] == [["d", 'p, "first"']]


def test_nothing_is_json_too() -> None:
    found = json_of(served(fleet(traffic=TrafficTable(rate=1.0, requests=0, isl="9", osl="9"))))
    assert json.loads(json.dumps(found, allow_nan=False))["ttft_s"]["p99"] is None


def test_rows_for_people(one: Answer, two: Answer) -> None:
    assert [row["latency"] for row in latency_rows(one)] == ["ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s"]
    rows = {row["what"]: row for row in value_rows(one)}
    assert rows["slo_attainment"]["value"] == "100 %"
    assert " to " in rows["requests_per_s"]["80% interval"]
    assert "prefix_hit_rate" not in rows
    assert "lost" not in rows
    assert {row["80% interval"] for row in value_rows(two)} == {""}
    assert [row["device"] for row in pool_rows(two)] == ["1 x 1 l4", "2 x 1 l4"]


def test_numbers_for_people() -> None:
    assert [shown(None, "s"), shown(0.0123, "s"), shown(1500.0, ""), shown(0.5, "fraction")] == [
        "-", "12.3 ms", "1,500", "50.0 %",
    ]  # fmt: skip


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_requests_as_tables(two: Answer, tmp_path: Path) -> None:
    write_files(Places(requests_out=str(tmp_path / "r.parquet")), two)
    write_files(Places(requests_out=str(tmp_path / "r.csv")), two)
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.column_names == list(two.requests)
    for name, column in two.requests.items():
        np.testing.assert_array_equal(table[name].to_numpy(), column)
    rows = read_csv(tmp_path / "r.csv")
    assert len(rows) == STEADY.requests
    assert [float(row["e2e_s"]) for row in rows] == two.requests["e2e_s"].tolist()
    assert math.isnan(float(rows[int(np.argmin(two.requests["output"]))]["tpot_s"]))


def test_the_run_over_time(two: Answer, tmp_path: Path) -> None:
    write_files(Places(timeline=str(tmp_path / "t.csv")), two)
    rows = read_csv(tmp_path / "t.csv")
    assert {row["pool"] for row in rows} == {'p, "first"', "d"}
    width_s = float(rows[0]["end_s"])
    for series in two.series:
        own = [row for row in rows if row["pool"] == series.pool]
        assert [float(row["end_s"]) for row in own] == pytest.approx(width_s * np.arange(1, len(own) + 1))
        assert len(own) <= 256
    made = sum(float(row["tokens_per_s"]) for row in rows) * width_s
    assert made == pytest.approx(two.requests["output"].sum())
    prompts = sum(float(row["prompt_tokens_per_s"]) for row in rows) * width_s
    assert prompts == pytest.approx(two.requests["input"].sum())
    ran = sum(float(row["iterations_per_s"]) for row in rows) * width_s
    assert ran == pytest.approx(value(two, "iterations"))


def test_files_are_written_whole_or_not_at_all(
    one: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    kept = tmp_path / "t.csv"
    kept.write_text("before")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    places = Places(str(tmp_path), str(tmp_path / "r.parquet"), str(kept))
    with pytest.raises(InputError, match=r"r\.parquet: cannot be written"):
        write_files(places, one)
    assert kept.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_places_that_cannot_be_written(one: Answer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = Places(timeline=str(tmp_path / "file" / "x.csv"))
    with pytest.raises(InputError, match="cannot be written"):
        write_files(below, one)
    (tmp_path / "folder.csv").mkdir()
    for places, said in (
        (below, "file is no directory"),
        (Places(out=str(tmp_path / "file")), "file is no directory"),
        (Places(timeline=str(tmp_path / "folder.csv")), "it is a directory"),
        (Places(requests_out=str(tmp_path / "r.json")), r"must end in \.parquet or \.csv"),
        (Places("", str(tmp_path / "a.csv"), str(tmp_path / "new" / ".." / "a.csv")), "give each a place of its own"),
    ):
        with pytest.raises(InputError, match=said):
            check_places(places)
    check_places(Places(str(tmp_path / "new" / "deep"), str(tmp_path / "a.csv"), str(tmp_path / "b.parquet")))
