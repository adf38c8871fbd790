"""Rates that their publisher corrected later are read as corrected, all others as they stand."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from simulator.validation.errata import ERRATA, corrected
from simulator.validation.points import read_file

HEAD = "engine,device,model,metric,tp,measured,note"
TOTAL = "FP8 KV taken; source total of the TP group; static batch"


def table(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "points.csv.gz"
    file.write_bytes(gzip.compress("\n".join((HEAD, *rows)).encode()))
    return file


def test_totals_that_were_of_one_device_are_multiplied_by_tp(tmp_path: Path) -> None:
    row = f"TensorRT-LLM v0.7.1 bench,a100-sxm-80gb,llama-2-70b,output_tokens_per_s,4,670.0,{TOTAL}"
    (found,) = read_file(table(tmp_path, row)).records()
    assert float(found["measured"]) == 4 * 670.0
    assert "times tp" in found["note"] and "138f96d" in found["note"]


@pytest.mark.parametrize(
    "row",
    [
        f"TensorRT-LLM v0.5.0 bench,a100-sxm-80gb,llama-2-70b,output_tokens_per_s,4,670.0,{TOTAL}",
        f"TensorRT-LLM v0.7.1 bench,h100-sxm-80gb,llama-2-70b,output_tokens_per_s,4,670.0,{TOTAL}",
        f"TensorRT-LLM v0.7.1 bench,a100-sxm-80gb,llama-2-70b,ttft_s,4,670.0,{TOTAL}",
        "TensorRT-LLM v0.7.1 bench,a100-sxm-80gb,llama-2-70b,output_tokens_per_s,4,670.0,source per GPU",
    ],
)
def test_other_rows_stay(tmp_path: Path, row: str) -> None:
    (found,) = read_file(table(tmp_path, row)).records()
    assert found["measured"] == "670.0"
    assert found["note"] in row


def test_a_corrected_table_is_not_corrected_again(tmp_path: Path) -> None:
    row = f"TensorRT-LLM v0.7.1 bench,a100-sxm-80gb,llama-2-70b,output_tokens_per_s,4,670.0,{TOTAL}"
    once = read_file(table(tmp_path, row)).table
    assert corrected(once).equals(once)


def test_errata_name_their_source() -> None:
    assert all(erratum.source for erratum in ERRATA)
