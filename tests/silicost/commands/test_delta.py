"""``silicost delta``: both accounts add up in every format."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASKED = "--model qwen2.5-1.5b --device h100-sxm-80gb --isl 256 --osl 16 --batch 4"


def test_json_adds_up(silicost: Run) -> None:
    found = silicost(f"delta {ASKED} --against device=mi300x --against batch=8 --format json").json
    values = [
        silicost(f"simulate {ASKED} {more} --format json").json["tpot_s"] for more in ("", "--device mi300x --batch 8")
    ]
    assert [found["before"], found["after"]] == values
    assert (found["a"], found["b"]) == ("h100-sxm-80gb, batch 4", "mi300x, batch 8")
    total = found["after"] - found["before"]
    assert found["delta"] == total
    for amounts in (
        [cause["in_order"] for cause in found["causes"]],
        [*(cause["alone"] or 0.0 for cause in found["causes"]), found["interaction"]],
        [piece["delta"] for piece in found["operators"]],
    ):
        assert math.fsum(amounts) == pytest.approx(total, abs=1e-15)
    assert found["causes"][0]["facts"] == ["batch"]
    assert found["facts_without_effect"] > 0


def test_csv_and_table_and_page(silicost: Run, tmp_path: Path) -> None:
    command = f"delta {ASKED} --against weight_dtype=fp8 --against device.memory.bandwidth=2x"
    rows = list(csv.DictReader(io.StringIO(silicost(f"{command} --format csv").out)))
    assert [row["kind"] for row in rows][:3] == ["fact", "fact", "interaction"]
    assert {row["kind"] for row in rows[3:]} == {"operators"}
    ran = silicost(f"{command} --report {tmp_path}/d.html")
    assert "by what was changed, in this order" in ran.out
    assert "their interaction" in ran.out
    assert "tpot_s by operators and what bounds them" in ran.out
    page = (tmp_path / "d.html").read_text()
    assert "Where the difference comes from" in page
    assert page.count("their interaction") >= 1


def test_money_has_no_operators(silicost: Run) -> None:
    ran = silicost(f"delta {ASKED} --against device=mi300x --metric usd_per_million_output_tokens")
    assert ran.status == 0
    assert "price" in ran.out
    assert "by operators" not in ran.out


def test_the_same(silicost: Run, tmp_path: Path) -> None:
    ran = silicost(f"delta {ASKED} --against batch=4 --report {tmp_path}/same.html")
    assert ran.status == 0
    assert "or 1.00 times" in ran.out
    assert (tmp_path / "same.html").exists()


def test_files(silicost: Run) -> None:
    ran = silicost("delta prefill-gpu-decode-tpu --against two-devices --metric e2e_s")
    assert (ran.status, ran.out) == (2, "")
    assert "e2e_s is no metric of" in ran.err
    same = silicost("delta prefill-gpu-decode-tpu --against prefill-gpu-decode-tpu --metric e2e_s --format json").json
    assert same["delta"] == 0.0


def test_bad_input(refused: Callable[..., str]) -> None:
    assert "--metric tpo: unknown; did you mean 'tpot_s'" in refused(f"delta {ASKED} --against batch=8 --metric tpo")
    assert "--against: is missing" in refused(f"delta {ASKED}")
    assert "unknown runtime" in refused(f"delta {ASKED} --against runtime=vlm")
