"""``silicost compat`` and ``--fallback``."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest


def test_table_says_why(silicost: Any) -> None:
    ran = silicost("compat --device a100-sxm-80gb,groq-lpu-v1")
    assert ran.status == 0
    assert "weights only" in ran.out and "--weight-dtype fp8" in ran.out and "Assumed" in ran.out


def test_rows(silicost: Any) -> None:
    ran = silicost("compat --device v100-sxm-32gb --operator gemm,training --dtype bf16,fp8 --format csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["operator"], row["dtype"], row["level"]) for row in rows] == [
        ("gemm", "bf16", "emulated"), ("gemm", "fp8", "weights only"),
        ("training", "bf16", "none"), ("training", "fp8", "none"),
    ]  # fmt: skip
    trained = silicost("compat --device v100-sxm-32gb --runtime torch-eager-2.4 --operator training --format json").json
    assert {row["dtype"]: row["level"] for row in trained}["fp16"] == "native"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--device h1000", "unknown device"), ("--operator gem", "did you mean 'gemm'"), ("--dtype bf17", "bf16"),
        ("--device tpu-v5e --runtime vllm-0.19", "runs on"),
    ],
)  # fmt: skip
def test_refused(silicost: Any, more: str, words: str) -> None:
    ran = silicost(f"compat {more}")
    assert ran.status == 2 and words in ran.err and ran.out == ""


def test_plan_that_needs_the_impossible(silicost: Any) -> None:
    asked = "simulate --model mamba-130m --device inferentia2 --isl 64 --osl 8 --format json"
    ran = silicost(asked)
    assert (ran.status, ran.out) == (2, "")
    assert "ssm_scan in bf16 does not run on inferentia2" in ran.err and "--fallback host" in ran.err
    moved = silicost(f"{asked} --fallback host")
    assert moved.status == 0
    assert "ssm_scan runs on the host (xeon-8480-plus)" in moved.err
    assert moved.json["breakdown"]["transfer"] > 0.0
    assert silicost(f"{asked} --fallback epyc-9654").json["ttft_s"] > 0.0
    wrong = silicost(f"{asked} --fallback h100-sxm-80gb")
    assert wrong.status == 2 and "a host is a CPU" in wrong.err


def test_fallback_changes_nothing_where_all_runs(silicost: Any) -> None:
    asked = "simulate --model mamba-130m --device h100-sxm-80gb --isl 64 --osl 8 --format json"
    assert silicost(f"{asked} --fallback host").json == silicost(asked).json
