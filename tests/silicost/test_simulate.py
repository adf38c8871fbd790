"""``silicost simulate`` as a program and as a person reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from simulator.metrics import BY_NAME

S = "simulate --model llama-3.1-8b --device h100-sxm-80gb --isl 512 --osl 32 --batch 4"
KEYS = {
    "kind", "title", "ttft_s", "tpot_s", "e2e_s", "prefill_tokens_per_s", "decode_tokens_per_s", "output_tokens_per_s",
    "total_tokens_per_s", "tokens_per_s_per_device", "mfu_prefill", "mfu_decode", "mbu_decode", "max_batch",
    "j_per_output_token", "usd_per_million_output_tokens", "carbon_g", "memory_bytes", "memory_capacity_bytes", "fits",
    "energy_j", "pools", "bound", "breakdown", "intervals", "reasons", "warnings", "configuration", "provenance",
    "scenario_hash", "seed", "schema", "laws_hash", "silicost_version",
}  # fmt: skip
QUESTIONS = [
    S,
    "simulate --model qwen3-0.6b --device ryzen-9-7950x --isl 32 --osl 4 --threads 4",
    f"{S} --tp 2 --pp 2 --dp 2",
    f"{S} --weight-dtype int4 --kv-dtype fp8 --price 2USD/h",
    "simulate --model mixtral-8x7b --device h100-sxm-80gb --isl 100 --osl 5 --tp 4 --ep 4",
    "simulate --model bert-large --device a10g --isl 384 --osl 1 --batch 8",
    "simulate --model mamba2-2.7b --device mi300x --isl 2000 --osl 20",
    "simulate --model deepseek-v3 --device h200-sxm-141gb --isl 100 --osl 5 --tp 8 --ep 8 --dtype fp8",
    "simulate --model qwen3-8b --device tpu-v5e --isl 128 --osl 16 --weight-dtype int8",
    "simulate --model qwen3-0.6b --device xeon-8480-plus --isl 128 --osl 16",
    "simulate --model qwen3-0.6b --device alveo-v80 --isl 128 --osl 16",
    "simulate --model llama-2-7b --device gaudi-3 --isl 128 --osl 16",
]
Run = Callable[..., Any]


@pytest.mark.parametrize("command", QUESTIONS)
def test_json(silicost: Run, command: str) -> None:
    ran = silicost(f"{command} --format json")
    assert ran.status == 0, ran.err
    result = ran.json
    assert set(result) == KEYS
    assert set(result["memory_bytes"]) == {"weights", "kv", "activations", "overhead", "total"}
    parts = [size for part, size in result["memory_bytes"].items() if part != "total"]
    assert sum(parts) == pytest.approx(result["memory_bytes"]["total"])
    assert result["fits"] is (result["memory_bytes"]["total"] <= result["memory_capacity_bytes"])
    assert sum(result["breakdown"].values()) == pytest.approx(result["e2e_s"], rel=1e-9)
    energy = result["energy_j"]
    assert energy["device"] <= energy["node"] <= energy["facility"]
    prompt = "encode" if "bert" in command else "prefill"
    assert set(result["bound"]) == ({prompt} if result["tpot_s"] is None else {prompt, "decode"})
    assert (result["schema"], result["kind"]) == (1, "inference")
    assert type(result["max_batch"]) is int
    asked = result["configuration"]
    assert asked["plan"].keys() == {
        "tp", "pp", "dp", "ep", "micro_batch", "recompute", "cp", "vpp", "sequence", "zero", "schedule", "etp",
        "cp_comm", "shard", "overlap", "offload", "stages",
    }  # fmt: skip
    assert {type(asked[key]) for key in ("batch", "isl", "osl", "count")} == {int}
    (pool,) = result["pools"]
    assert pool["memory_bytes"] == result["memory_bytes"]
    assert pool["memory_capacity_bytes"] == result["memory_capacity_bytes"]
    assert pool["energy_device_j"] == energy["device"]
    assert set(result["bound"].values()) <= {"compute", "memory", "communication", "overhead"}
    assert {row["mark"] for row in result["provenance"]} <= {"sourced", "assumed", "calibrated"}


@pytest.mark.parametrize("command", QUESTIONS)
def test_metrics_have_an_interval_or_a_reason(silicost: Run, command: str) -> None:
    result = silicost(f"{command} --format json").json
    for name in BY_NAME.keys() & result.keys():
        if result[name] is None:
            assert result["reasons"][name], name
            assert name not in result["intervals"]
    for name, ends in result["intervals"].items():
        assert ends["p2_5"] < ends["p10"] < result[name] < ends["p90"], name
        # A fraction of a peak ends at 1.
        assert ends["p90"] < ends["p97_5"] or (BY_NAME[name].dimension == "fraction" and ends["p97_5"] == 1.0), name
    assert {"ttft_s", "e2e_s", "prefill_tokens_per_s"} <= result["intervals"].keys()
    of_tokens = {"output_tokens_per_s", "j_per_output_token"}
    assert of_tokens <= result["intervals"].keys() or "bert" in command


def test_definitions_hold(silicost: Run) -> None:
    r = silicost(f"{S} --tp 2 --format json").json
    assert r["e2e_s"] == pytest.approx(r["ttft_s"] + 31 * r["tpot_s"])
    assert r["output_tokens_per_s"] == pytest.approx(4 * 32 / r["e2e_s"])
    assert r["tokens_per_s_per_device"] == pytest.approx(r["output_tokens_per_s"] / 2)
    assert r["prefill_tokens_per_s"] == pytest.approx(4 * 512 / r["ttft_s"])
    assert r["j_per_output_token"] == pytest.approx(r["energy_j"]["device"] / 128)


def test_a_price_is_device_time_and_an_unknown_one_is_null(silicost: Run) -> None:
    r = silicost(f"{S} --tp 2 --price 3.6USD/h --format json").json
    assert r["usd_per_million_output_tokens"] == pytest.approx(r["e2e_s"] * 2 * 0.001 / 128 * 1e6)
    unknown = silicost("simulate --model qwen3-0.6b --device alveo-v80 --isl 8 --osl 8 --format json").json
    if unknown["usd_per_million_output_tokens"] is None:
        assert "no price is known" in unknown["reasons"]["usd_per_million_output_tokens"]


def test_one_token_has_no_decode(silicost: Run) -> None:
    r = silicost("simulate --model llama-3.1-8b --device h100-sxm-80gb --isl 64 --osl 1 --format json").json
    assert r["tpot_s"] is None
    assert "only one output token" in r["reasons"]["tpot_s"]
    assert r["e2e_s"] == r["ttft_s"]


@pytest.mark.parametrize(
    ("change", "faster"),
    [
        ("device.memory.bandwidth=2x", "tpot_s"),
        ("device.compute.peaks.bf16=2x", "ttft_s"),
        ("runtime.host_step=50%", "tpot_s"),
    ],
)
def test_what_if_changes_do_what_they_say(silicost: Run, change: str, faster: str) -> None:
    plain, changed = silicost(f"{S} --format json").json, silicost(f"{S} --format json --set {change}").json
    assert changed[faster] < plain[faster]
    assert changed["scenario_hash"] != plain["scenario_hash"]


def test_the_same_question_gives_the_same_bytes(silicost: Run) -> None:
    assert silicost(f"{S} --format json").out == silicost(f"{S} --format json").out


def test_csv_has_the_numbers_of_the_json(silicost: Run) -> None:
    result, text = silicost(f"{S} --format json").json, silicost(f"{S} --format csv").out
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(text))}
    assert float(rows["ttft_s"]["value"]) == result["ttft_s"]
    assert float(rows["ttft_s"]["p10"]) == result["intervals"]["ttft_s"]["p10"]
    assert rows["ttft_s"]["unit"] == "s"
    assert float(rows["memory_bytes.total"]["value"]) == result["memory_bytes"]["total"]
    assert rows["bound.decode"]["value"] == result["bound"]["decode"]


def test_the_table_says_what_was_asked_and_names_units(silicost: Run) -> None:
    ran = silicost(f"{S} --tp 2")
    assert ran.err == ""
    words = [line.split() for line in ran.out.splitlines()]
    for row in (["runtime", "vllm-0.19"], ["count", "2"], ["batch", "4"], ["device", "h100-sxm-80gb"]):
        assert row in words
    assert any(line[:1] == ["system"] for line in words)
    header = next(line for line in ran.out.splitlines() if line.startswith("metric"))
    assert "80% from" in header
    assert "80% to" in header
    ttft = next(line for line in words if line[:1] == ["ttft_s"])
    assert ttft[2] == "ms"
    assert float(ttft[3]) < float(ttft[1]) < float(ttft[4])


def test_warnings_go_to_stderr_once(silicost: Run) -> None:
    ran = silicost("simulate --model llama-2-7b --device h100-sxm-80gb --isl 5000 --osl 8 --format json")
    assert ran.json["warnings"] == ["5008 tokens of context: llama-2-7b was made for at most 4096"]
    assert ran.err == f"silicost: warning: {ran.json['warnings'][0]}\n"


@pytest.mark.parametrize(("device", "threads"), [("raspberry-pi-5", 9), ("raspberry-pi-5", -1), ("h100-sxm-80gb", 2)])
def test_threads_are_cores_of_a_cpu(silicost: Run, device: str, threads: int) -> None:
    ran = silicost(f"simulate --model qwen3-0.6b --device {device} --isl 32 --osl 4 --threads {threads}")
    assert ran.status == 2
    assert f"--threads {threads}" in ran.err


def test_fewer_threads_are_slower(silicost: Run) -> None:
    words = "simulate --model qwen3-0.6b --device ryzen-9-7950x --isl 64 --osl 4 --format json --threads"
    two, four, every = (silicost(f"{words} {count}").json["ttft_s"] for count in (2, 4, 0))
    assert two > four > every
