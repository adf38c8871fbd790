"""What does not fit: the answer is still there, and the advice is true when followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def advised(message: str) -> str:
    """The flags of the cheapest change, as they would be typed."""
    return message.rpartition("the cheapest change that fits: ")[2].partition(" (")[0].strip()


@pytest.mark.parametrize(
    "command",
    [
        "simulate --model llama-3.1-70b --device h100-sxm-80gb --isl 1024 --osl 128",
        "simulate --model llama-3.1-8b --device h100-sxm-80gb --isl 4096 --osl 512 --batch 4000",
        "simulate --model qwen3-32b --device rtx-4090 --isl 512 --osl 64",
        "simulate --model llama-3.1-8b --device tpu-v5e --isl 512 --osl 64",
        "train --model llama-3.1-8b --device h100-sxm-80gb --global-batch 64 --micro-batch 8 --seq-len 4096 --tp 4",
    ],
)
def test_the_fix_fits(silicost: Run, command: str) -> None:
    ran = silicost(f"{command} --format json")
    assert ran.status == 3
    memory, capacity = ran.json["memory_bytes"]["total"], ran.json["memory_capacity_bytes"]
    assert not ran.json["fits"]
    over = re.search(r"are usable: ([\d.,]+) (\w?)B too much; the cheapest change that fits: --", ran.err)
    assert over, ran.err
    assert ran.err.startswith("silicost: does not fit: ")
    assert ran.err.count("\n") == 1
    scale = {"": 1.0, "M": 1e6, "G": 1e9, "T": 1e12}[over[2]]
    assert float(over[1].replace(",", "")) * scale == pytest.approx(memory - capacity, rel=0.006)
    fixed = silicost(f"{command} --format json {advised(ran.err)}")
    assert fixed.status == 0, fixed.err
    assert fixed.json["fits"]


def test_the_largest_batch_is_the_largest(silicost: Run) -> None:
    command = "simulate --model llama-3.1-8b --device h100-sxm-80gb --isl 4096 --osl 512 --format json --batch"
    most = int(silicost(f"{command} 1").json["max_batch"])
    assert silicost(f"{command} {most}").status == 0
    assert silicost(f"{command} {most + 1}").status == 3


def test_more_devices_than_the_system_has(silicost: Run) -> None:
    command = "simulate --model llama-3.1-405b --device h100-sxm-80gb --isl 1000 --osl 100 --format json --count 8"
    ran = silicost(f"{command} --system dgx-h100 --weight-dtype bf16")
    assert ran.status == 3
    assert ran.err.endswith("fits: --tp 16 --count 16 (without --system dgx-h100)\n")
    assert silicost(f"{command} --weight-dtype bf16 {advised(ran.err)}").status == 0


def test_nothing_helps(silicost: Run) -> None:
    ran = silicost("simulate --model llama-3.1-405b --device groq-lpu-v1 --isl 1000 --osl 100 --format json")
    assert ran.status == 3
    assert "none of the single changes tried fits" in ran.err


def test_the_table_is_printed_all_the_same(silicost: Run) -> None:
    ran = silicost("simulate --model llama-3.1-70b --device h100-sxm-80gb --isl 1024 --osl 128")
    assert ran.status == 3
    assert "ttft_s" in ran.out
