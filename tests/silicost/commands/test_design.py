"""``silicost design`` as a program and as a person reads it, and that other commands take what it writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "design --class tpu --node 7nm --clock 1GHz --arrays 4 --array-rows 128 --array-cols 128 --rates bf16=1,int8=2 "
    "--vector-lanes 1024 --sram 128MiB --memory HBM2E --stacks 2 --links 4 --link-bandwidth 50GB/s"
)
FILE = """name = "Two stacks"
device_class = "tpu"
node = "7nm"
clock = "1 GHz"
arrays = 4
array_rows = 128
array_cols = 128
rates = { bf16 = 1, int8 = 2 }
vector_lanes = 1024
sram = "128 MiB"
memory = "HBM2E"
stacks = 2
links = 4
link_bandwidth = "50 GB/s"
"""


Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands run; it holds chip.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chip.toml").write_text(FILE)
    return tmp_path


def test_flags_and_file_say_the_same(silicost: Run) -> None:
    from_flags, from_file = silicost(f"{FLAGS} --format json"), silicost("design chip.toml --format json")
    assert (from_flags.status, from_file.status) == (0, 0)
    assert from_flags.json["estimate"] == from_file.json["estimate"]
    assert from_flags.json["device"] == from_file.json["device"]
    assert from_flags.json["device"]["peaks_flops"] == {"bf16": 2 * 65536 * 1e9, "int8": 4 * 65536 * 1e9}
    assert from_flags.json["feasible"] is True


def test_a_person_sees_parts_bands_and_limits(silicost: Run) -> None:
    ran = silicost("design chip.toml")
    assert ran.status == 0
    for text in ("Two stacks", "131 TFLOP/s", "die area", "80% from", "arrays", "static", "places for memory", "yes"):
        assert text in ran.out


def test_csv_is_one_flat_row(silicost: Run) -> None:
    (row,) = csv.DictReader(io.StringIO(silicost("design chip.toml --format csv").out))
    assert row["id"] == "chip"
    assert float(row["die_area_mm2"]) > float(row["area_arrays_mm2"]) > 0
    assert (row["feasible"], row["reason"]) == ("True", "")


def test_flags_and_what_ifs_go_over_the_file(silicost: Run) -> None:
    before = silicost("design chip.toml --format json").json
    after = silicost("design chip.toml --node 5nm --set array_rows=2x --set rates.fp8=2 --format json").json
    assert after["design"]["node"] == "5nm"
    assert after["design"]["array_rows"] == 256
    assert after["device"]["peaks_flops"]["fp8"] == 4 * before["device"]["peaks_flops"]["bf16"]


def test_what_it_writes_every_command_takes(silicost: Run) -> None:
    wrote = silicost("design chip.toml --set clock=1.2GHz --out made/fast.toml")
    assert wrote.status == 0
    assert "device: made/fast.toml" in wrote.err
    shown = silicost("devices show made/fast.toml --format json").json
    assert shown["compute"]["peaks"]["bf16"]["value"] == pytest.approx(2 * 65536 * 1.2e9)
    assert shown["compute"]["peaks"]["bf16"]["mark"] == "assumed"
    asked = "simulate --model llama-3.2-1b --isl 128 --osl 8 --format json"
    alone = silicost(f"{asked} --device made/fast.toml")
    assert alone.status == 0, alone.err
    assert alone.json["tpot_s"] > 0.0
    joined = silicost(f"{asked} --device made/fast.toml --tp 2")
    assert joined.status == 0, joined.err
    slower = silicost("design made/fast.toml --set stack_bandwidth=200GB/s --out made/slow.toml --format json")
    assert slower.json["design"]["clock_hz"] == pytest.approx(1.2e9)
    assert silicost(f"{asked} --device made/slow.toml").json["tpot_s"] > alone.json["tpot_s"]


def test_a_chip_of_sram_alone_is_simulated(silicost: Run) -> None:
    made = silicost(
        "design --class asic --node 7nm --clock 1GHz --arrays 64 --array-rows 64 --array-cols 64 --rates fp16=1 "
        "--sram 300MiB --memory none --links 8 --link-bandwidth 25GB/s --out lpu.toml"
    )
    assert made.status == 0, made.err
    ran = silicost(
        "simulate --model llama-3.2-1b --device ./lpu.toml --count 16 --isl 64 --osl 8 --dtype fp16 --format json"
    )
    assert ran.status == 0, ran.err
    assert ran.json["fits"] is True


def test_what_cannot_be_made_is_shown_written_and_refused(silicost: Run, folder: Path) -> None:
    ran = silicost(
        "design chip.toml --set array_rows=8x --set array_cols=4x --max-power 100W --out big.toml --format json"
    )
    assert ran.status == 3
    codes = [reason["code"] for reason in ran.json["estimate"]["reasons"]]
    assert codes == ["reticle", "interposer", "power-budget"]
    assert "above the reticle of 858 mm2" in ran.err
    assert "above the reticle" in (folder / "big.toml").read_text()
    assert "no " in silicost("design big.toml").out


def test_no_price_is_made_up(silicost: Run) -> None:
    silicost("design chip.toml --out free.toml")
    silicost("design chip.toml --gross-margin 60% --out sold.toml")
    asked = "simulate --model llama-3.2-1b --isl 64 --osl 4 --format json --device"
    assert silicost(f"{asked} ./free.toml").json["usd_per_million_output_tokens"] is None
    assert silicost(f"{asked} ./sold.toml").json["usd_per_million_output_tokens"] > 0.0


def test_coefficients_are_shown_with_mark_and_origin(silicost: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(silicost("design --coefficients --format csv").out)))
    by_field = {row["field"]: row for row in rows}
    assert by_field["nodes.5nm.bitcell"]["mark"] == "sourced"
    assert by_field["die.rest_share"]["mark"] == "calibrated"
    assert all(row["origin"] for row in rows if row["mark"])
    assert silicost("design --coefficients --format json").json["cost"]["wafer_mm"]["value"] == 300


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("design", "needs a FILE or flags"),
        ("design --class tpu", "missing keys 'node', 'clock'"),
        ("design nowhere.toml", "nowhere.toml: cannot be read"),
        ("design chip.toml --memory HBM9", "memory: 'HBM9' is not allowed"),
        ("design chip.toml --clock fast", "clock=fast"),
        ("design chip.toml --arrays 0", "arrays: must be a whole number from 1"),
        ("design chip.toml --set clok=2x", "did you mean 'clock'?"),
        ("design chip.toml --set clock", "must be PATH=VALUE"),
        ("design chip.toml --out chip", "must be a file that ends in .toml"),
        ("design chip.toml --out ''", "must be a file that ends in .toml"),
        ("design chip.toml --runtime nobody", "unknown runtime 'nobody'"),
        ("design chip.toml --rates bf16", "must list each dtype once"),
        ("design chip.toml --format xml", "'xml' is not allowed"),
        ("design chip.toml --out chip.toml/x.toml", "cannot be written"),
    ],
)
def test_slips_are_one_line(refused: Callable[..., str], command: str, said: str) -> None:
    assert said in refused(command)
