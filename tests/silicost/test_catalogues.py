"""``silicost devices|models|systems|runtimes|links|sites``: list and show, for programs and people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from silicost.commands.catalogues import KINDS

Run = Callable[..., Any]
ROW_KEYS = {
    "devices": {"id", "device_class", "memory_bytes", "memory_bandwidth_bytes_per_s", "peak_16bit_flops", "tdp_w"},
    "models": {"id", "total_params", "active_params", "layers", "hidden", "vocab", "source"},
    "systems": {"id", "nodes", "devices_per_node", "links", "network"},
    "runtimes": {"id", "version", "date", "device_classes", "graph_mode", "host_step_s"},
    "links": {"id", "category", "bandwidth_bytes_per_s", "latency_s", "achieved_fraction"},
    "sites": {"id", "electricity_usd_per_kwh", "pue", "carbon_g_per_kwh"},
    "calibrations": {"id", "operators", "runtimes", "rows", "left_out_mape", "held_out_mape"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_list(silicost: Run, kind: str) -> None:
    rows = silicost(f"{kind} list --format json").json
    assert len(rows) > 5
    names = [row["id"] for row in rows]
    assert names == sorted(names)
    assert kind == "calibrations" or len(names) == len(set(names))
    assert all(ROW_KEYS[kind] <= row.keys() for row in rows)
    table = list(csv.DictReader(io.StringIO(silicost(f"{kind} list --format csv").out)))
    assert [row["id"] for row in table] == [row["id"] for row in rows]
    assert table[0].keys() == rows[0].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_show_every_field_and_mark(silicost: Run, kind: str) -> None:
    name = silicost(f"{kind} list --format json").json[0]["id"]
    record = silicost(f"{kind} show {name} --format json").json
    assert record["id"] == name
    rows = list(csv.DictReader(io.StringIO(silicost(f"{kind} show {name} --format csv").out)))
    assert rows[0].keys() == {"field", "value", "mark", "origin"}
    assert all(row["origin"] for row in rows if row["mark"])
    assert name in silicost(f"{kind} show {name}").out


def test_a_model_shows_its_parameters_and_layers(silicost: Run) -> None:
    model = silicost("models show mixtral-8x7b --format json").json
    assert model["total_params"] == pytest.approx(46.7e9, rel=0.01)
    assert model["active_params"] == pytest.approx(12.9e9, rel=0.01)
    assert model["layers"] == 32
    assert model["structure"] == [
        "32 layers: gqa attention, 32 heads of 128 on 8 KV heads; 2 of 8 experts of 14336"
    ]  # fmt: skip
    hybrid = silicost("models show deepseek-v3 --format json").json
    assert [line.partition(" ")[0] for line in hybrid["structure"]] == ["3", "58"]


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_keep_to_the_terminal(silicost: Run, monkeypatch: pytest.MonkeyPatch, kind: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [row["id"] for row in silicost(f"{kind} list --format json").json]
    lines = silicost(f"{kind} list").out.splitlines()
    notes = [line for line in lines if line.startswith("(not shown for want of room")]
    assert all(len(line) <= width for line in lines if line not in notes)
    assert len(notes) <= (1 if width == 80 else 0)
    first = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert set(names) <= first


def test_numbers_of_tables_have_units(silicost: Run) -> None:
    line = next(line for line in silicost("devices list").out.splitlines() if line.startswith("h100-sxm-80gb"))
    assert "3.35 TB/s" in line
    assert "989 TFLOP/s" in line
    assert "700 W" in line


def test_control_characters_of_colour_only_on_terminals(silicost: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in silicost("devices list").out


def test_a_device_of_ones_own(silicost: Run, tmp_path: Any) -> None:
    from hardware_specs.devices import _CATALOGUE

    (tmp_path / "mine.toml").write_text(_CATALOGUE.paths["a30"].read_text().replace('"933', '"1933'))
    shown = silicost("devices show --format json", str(tmp_path / "mine.toml"))
    assert json.loads(shown.out)["memory"]["bandwidth"]["value"] // 1e9 == 1933
