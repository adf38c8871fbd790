"""``silicost upgrades``: price lists, what is bought, and what is wrong with a list."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASKED = "--model qwen2.5-1.5b --device h100-sxm-80gb --isl 256 --osl 32 --batch 4"
LIST = """
[[options]]
name = "HBM"
path = "device.memory.bandwidth"
factor = 1.5
cost = "4000 USD"

[[options]]
path = "runtime.host_step"
value = "0.2 ms"
cost = "0.3 kUSD"

[[options]]
name = "both clocks"
set = { "device.compute.peaks.bf16" = "1.2x", "device.compute.clock_boost" = "1.2x" }
cost = "6000 USD"
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(LIST)
    return path


def test_json_and_csv(silicost: Run, prices: Path) -> None:
    found = silicost(f"upgrades {ASKED} --price-list {prices} --format json", "--budget", "5000 USD").json
    assert (found["metric"], found["budget_usd"], found["exact"], found["sets"]) == ("tpot_s", 5000.0, True, 4)
    assert {tuple(row["options"]) for row in found["singles"]} == {
        ("HBM",), ("runtime.host_step 200 µs",), ("both clocks",),
    }  # fmt: skip
    rates = [row["gain_per_usd"] for row in found["singles"]]
    assert rates == sorted(rates, reverse=True)
    assert found["best"]["options"] == ["HBM", "runtime.host_step 200 µs"]
    assert found["best"]["cost_usd"] == 4300.0
    assert found["best"]["value"] < found["base"]["value"]
    text = silicost(f"upgrades {ASKED} --price-list {prices} --format csv", "--budget", "5000 USD").out
    rows = list(csv.DictReader(io.StringIO(text)))
    kinds = [row["kind"] for row in rows]
    assert [kinds.count(kind) for kind in ("base", "single", "best")] == [1, 3, 1]
    assert float(rows[kinds.index("best")]["value"]) == found["best"]["value"]


def test_table_and_page(silicost: Run, prices: Path, tmp_path: Path) -> None:
    ran = silicost(f"upgrades {ASKED} --price-list {prices} --metric decode_tokens_per_s --report {tmp_path}/up.html")
    assert ran.status == 0
    assert "buy HBM + runtime.host_step 200 µs + both clocks: decode_tokens_per_s" in ran.out
    assert "(of 8 sets)" in ran.out
    page = (tmp_path / "up.html").read_text()
    assert "What money buys" in page
    assert "runtime.host_step 200" in page
    nothing = silicost(f"upgrades {ASKED} --price-list {prices}", "--budget", "10 USD")
    assert "buy nothing for at most 10.0 USD: no set improves tpot_s" in nothing.out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("device.memory.bandwidth", "device.memory.bandwith"), "options[1]: unknown knob 'device.memory.bandwith'"),
        (("factor = 1.5", "factor = 0"), "device.memory.bandwidth=0x: must be a bytes_per_s above 0"),
        (("factor = 1.5\n", ""), "options[1]: needs 'path' with one of 'factor' and 'value', or 'set' alone"),
        (('value = "0.2 ms"', 'value = "0.2 GB"'), "'0.2 GB' is a size, not a time"),
        (('cost = "4000 USD"', 'cost = "-4000 USD"'), "must not be below 0"),
        (('cost = "4000 USD"', 'cost = "4000 W"'), "is a power, not an amount of money"),
        (('name = "both clocks"', 'name = "HBM"'), "options[3]: 'HBM' is there twice"),
        (("[[options]]", "[[option]]"), "unknown key; did you mean 'options'?"),
    ],
)
def test_bad_lists(refused: Callable[..., str], prices: Path, change: tuple[str, str], said: str) -> None:
    prices.write_text(LIST.replace(*change))
    assert said in refused(f"upgrades {ASKED} --price-list {prices}")


def test_other_bad_input(refused: Callable[..., str], prices: Path, tmp_path: Path) -> None:
    assert "no.toml: cannot be read" in refused(f"upgrades {ASKED} --price-list {tmp_path}/no.toml")
    assert "must not be below 0" in refused(f"upgrades {ASKED} --price-list {prices}", "--budget", "-1 USD")
    assert "has no unit" in refused(f"upgrades {ASKED} --price-list {prices} --budget 1000")
    assert "must be one metric" in refused(f"upgrades {ASKED} --price-list {prices} --metric tpot_s,ttft_s")
    empty = tmp_path / "empty.toml"
    empty.write_text("options = []\n")
    assert "there is nothing to buy" in refused(f"upgrades {ASKED} --price-list {empty}")
