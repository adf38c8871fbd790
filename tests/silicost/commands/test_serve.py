"""``silicost serve``: exit statuses, one line for what cannot be, and the same numbers in every format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

COUNTS = (
    "requests", "completed", "rejected", "lost", "preemptions", "retries", "iterations", "simulated_events",
)  # fmt: skip
Run = Callable[..., Any]
Refused = Callable[..., str]
POOL = "--model smollm-135m --device l4"
LENGTHS = "--isl 64 --osl 16"
ASKED = f"serve {POOL} --rate 20 {LENGTHS} --requests 60 --no-intervals"
FLEET = """
slo = "ttft=500ms@p99"
[traffic]
rate = 20.0
requests = 60
isl = "64"
osl = "16"
[[pool]]
name = "a"
device = "l4"
model = "smollm-135m"
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """A fleet file with changes of lines."""

    def write(*changes: tuple[str, str], more: str = "") -> Path:
        text = FLEET
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "f.toml"
        path.write_text(text + more)
        return path

    return write


def test_every_format_says_the_same(silicost: Run) -> None:
    found = silicost(f"{ASKED} --format json").json
    assert (found["requests"], found["completed"], found["intervals"]) == (60, 60, {})
    for name in COUNTS:
        assert isinstance(found[name], int)
    assert set(found) >= {
        "requests", "duration_s", "ttft_s", "tpot_s", "itl_s", "e2e_s", "output_tokens_per_s", "requests_per_s",
        "goodput_requests_per_s", "energy_j", "j_per_output_token", "usd_per_million_output_tokens", "carbon_g",
        "preemptions", "rejected", "kv_peak_fraction", "iterations", "simulated_events", "intervals",
    }  # fmt: skip
    assert found["ttft_s"].keys() == {"mean", "p50", "p90", "p95", "p99"}
    assert found["energy_j"].keys() == {"device", "node", "facility"}
    text = silicost(ASKED).out
    assert "ttft_s" in text
    latencies, values = silicost(f"{ASKED} --format csv").out.split("\n\n")
    rows = list(csv.DictReader(io.StringIO(latencies)))
    assert [row["latency"] for row in rows] == ["ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s"]
    assert "completed,60" in values


def test_flags_and_file_are_one_fleet(silicost: Run, file: Callable[..., Path]) -> None:
    by_flags = silicost(f"{ASKED} --slo ttft=500ms@p99 --format json").json
    by_file = silicost(f"serve --fleet {file()} --no-intervals --format json").json
    for found in (by_flags, by_file):
        found["pools"][0].pop("name")
    assert by_flags == by_file


def test_flags_of_the_traffic_go_before_the_file(silicost: Run, file: Callable[..., Path]) -> None:
    path = file(("rate = 20.0", "rate = 20.0\nburstiness = 1.0"), ('"16"', '"lognormal:mean=20,p99=90"'))
    changed = silicost(f"serve --fleet {path} --requests 20 --osl 4 --seed 3 --no-intervals --format json").json
    assert changed["completed"] == 20
    assert changed["output_tokens_per_s"] == pytest.approx(4 * changed["requests_per_s"])
    path = file()
    loop = silicost(f"serve --fleet {path} --concurrency 3 --no-intervals --format json").json
    assert loop["running_mean"] <= 3.0
    green = silicost(f"serve --fleet {path} --site eu-france --no-intervals --format json").json
    usual = silicost(f"serve --fleet {path} --no-intervals --format json").json
    assert green["carbon_g"] < usual["carbon_g"]
    other = silicost(f"serve --fleet {path} --slo ttft=1us --no-intervals --format json").json
    assert (usual["slo_attainment"], other["slo_attainment"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    "flag",
    ["--model gpt2", "--device l40", "--replicas 2", "--tp 2", "--scheduler static", "--draft ngram", "--depth 9",
     "--acceptance 0.3", "--turns 3", "--think 1s", "--prefix-caching", "--kv-dtype fp8", "--swap 1GB"],
)  # fmt: skip
def test_what_belongs_to_pools_stands_in_the_file(refused: Refused, file: Callable[..., Path], flag: str) -> None:
    said = refused(f"serve --fleet {file()} {flag}")
    assert said.startswith(f"silicost: {flag.split()[0]}: stands in the file beside --fleet")


def test_prompts_and_answers_apart(silicost: Run) -> None:
    command = f"serve --model smollm-135m --rate 20 {LENGTHS} --requests 60 --no-intervals --format json"
    found = silicost(f"{command} --prefill-device l4 --decode-device gaudi-3").json
    assert [pool["device"] for pool in found["pools"]] == ["l4", "gaudi-3"]
    assert found["links"][0]["carried_bytes"] == 60 * 64 * 2 * 30 * 3 * 64 * 2


def test_traces(silicost: Run, refused: Refused, tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    command = f"serve {POOL} --trace {trace} --no-intervals --format json"
    trace.write_text("arrival_s,input,output\n3,10,5\n1,10,5\n1,10,5\n2,7,3\n")
    ran = silicost(command)
    assert ran.json["completed"] == 4
    assert ran.err.count("\n") == 1
    assert "stand after later ones and were sorted by time" in ran.err
    assert "stand after later ones" in ran.json["notes"][0]
    fast = silicost(f"{command} --speedup 4 --requests 2").json
    assert (fast["completed"], fast["duration_s"] < ran.json["duration_s"]) == (2, True)
    for text, said in (
        ("", "the file is empty"),
        ("arrival_s,input,output\n", "no request in it"),
        ("arrival_s,input,output\nnan,10,5\n", "line 2: arrival_s 'nan' must be a finite number or a date"),
        ("arrival_s,input,output\n0,nan,5\n", "line 2: input 'nan' must be a whole number of tokens"),
        ("arrival_s,input,output\n0,10,-5\n", "line 2: output '-5' must be"),
        ("arrival_s,input,output\n0,0,5\n", "no request in it (1 line without a prompt or an answer left out"),
    ):
        trace.write_text(text)
        assert said in refused(command)


def test_zero_requests(silicost: Run, tmp_path: Path) -> None:
    out = f"--timeline {tmp_path / 't.csv'} --requests-out {tmp_path / 'r.parquet'}"
    ran = silicost(f"serve {POOL} --rate 5 {LENGTHS} --requests 0 {out}")
    assert ran.status == 0
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 0
    assert (tmp_path / "t.csv").read_text().startswith("pool,end_s,waiting")


def test_files_of_a_run(silicost: Run, tmp_path: Path) -> None:
    silicost(f"{ASKED} --timeline {tmp_path / 'new' / 't.parquet'} --requests-out {tmp_path / 'r.csv'}")
    assert pq.read_table(tmp_path / "new" / "t.parquet").column_names[:2] == ["pool", "end_s"]
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 61


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "--model llama-3.1-70b --device h100-sxm-80gb --rate 1 --isl 9 --osl 9",
            "h100-sxm-80gb cannot serve llama-3.1",
        ),
        (
            f"{POOL} --rate 5 --requests 5 --isl 100000 --osl 9 --format json",
            "no request could be served: pool l4: 5 requests of up to 100009 tokens, prompt and answer, do not fit: "
            "its context is",
        ),
        (
            f"{POOL} --rate 5 --requests 5 --isl 100 --osl 9 --kv-blocks 2 --format json",
            "5 requests of up to 109 tokens, prompt and answer, do not fit: its cache holds 2 blocks of 16 tokens",
        ),
    ],
)
def test_no_feasible_fleet(silicost: Run, command: str, said: str) -> None:
    ran = silicost(f"serve {command} --no-intervals")
    assert ran.status == 3
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_nobody_left_to_answer(silicost: Run, file: Callable[..., Path]) -> None:
    path = file(more='[[failure]]\npool = "a"\nat = "0 s"\n')
    ran = silicost(f"serve --fleet {path} --no-intervals --format json")
    assert ran.status == 3
    assert "no replica was there that could answer (outages: a from 0 s on)" in ran.err
    assert json.loads(ran.out)["lost"] == 60
    path = file(more='[[failure]]\npool = "a"\nat = "1 s"\n')
    ran = silicost(f"serve --fleet {path} --no-intervals --format json")
    assert ran.status == 0
    assert ran.json["completed"] + ran.json["lost"] == 60
    assert ran.json["lost"] > 30


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--device l4 --rate 1", "--model: which model is served?"),
        ("--model gpt2 --rate 1", "--device: on which device?"),
        ("--model gpt2 --prefill-device l4 --rate 1", "--decode-device: on which device?"),
        (POOL, "give one of --rate, --concurrency and --trace; none is given"),
        (f"{POOL} --rate 1 --concurrency 2", "--rate and --concurrency are given"),
        (f"{POOL} --rate 1", "--isl and --osl say how long prompts and answers are"),
        (f"{POOL} --rate 1 {LENGTHS} --think 5s", "--think: only conversations have pauses; give --turns as well"),
        (f"{POOL} --rate 1 {LENGTHS} --depth 3", "--depth and --acceptance: only drafts have them"),
        (f"{POOL} --rate 1 {LENGTHS} --speedup 2", "--trace-format and --speedup: only a trace has them"),
        (f"{POOL} --rate 1 {LENGTHS} --replicas 0", "replicas 0: must be a whole number from 1"),
        (f"{POOL} --rate 1 {LENGTHS} --scheduler vllm", "unknown scheduler 'vllm'; did you mean 'vllm-v0'"),
        (f"{POOL} --rate 1 {LENGTHS} --router random", "unknown router 'random'"),
        (f"{POOL} --rate 1 {LENGTHS} --slo ttft", "--slo 'ttft': must be as ttft=500ms@p99"),
        (f"{POOL} --rate 1 {LENGTHS} --swap 1GB --prefix-caching", "kept by name (prefix cache) or swapped, not both"),
        (f"{POOL} --rate 0 {LENGTHS}", "rate 0.0 must be above 0"),
        (f"{POOL} --rate 1e-7 {LENGTHS}", "--rate 1e-07: must be at least 1e-06 requests a second"),
        (f"{POOL} --concurrency 0 {LENGTHS}", "--concurrency 0: must be a whole number from 1"),
        (f"{POOL} --trace /", "/: is a directory, not a file"),
        (f"{POOL} --rate 1 --isl zipf:alpha=1,high=1e30 --osl 9", "must be a whole number from 1 to 2147483648"),
        (f"{POOL} --trace t.csv --isl 9", "--isl and --trace contradict each other"),
        (f"{POOL} --trace t.csv --turns 3", "--turns and --trace contradict each other"),
        (f"{POOL} --concurrency 2 {LENGTHS} --burstiness 2", "--burstiness and --concurrency contradict each other"),
        (f"{POOL} --rate 1 {LENGTHS} --prefill-device l4 --decode-device l4", "--device: --prefill-device and"),
        ("--fleet nosuch", "unknown fleet 'nosuch' (a .toml file, or one of "),
        ("--fleet nosuch.toml", "nosuch.toml: cannot be read (No such file or directory)"),
    ],
)
def test_flags_that_cannot_be(refused: Refused, flags: str, said: str) -> None:
    assert said in refused(f"serve {flags}")


FILES = (
    (("rate = 20.0", "rat = 20.0"), "traffic.rat: unknown key; did you mean 'rate'"),
    (("rate = 20.0", 'rate = "fast"'), "traffic.rate: must be a number, not 'fast'"),
    (("rate = 20.0", "rate = -1.0"), "traffic: rate -1.0 must be above 0"),
    (("requests = 60", "requests = -1"), "traffic: --requests -1: must be a whole number from 1"),
    (("requests = 60", "requests = 6.5"), "traffic.requests: must be a whole number, not 6.5"),
    (('"64"', '"sixty"'), "traffic: --isl: unknown law of lengths 'sixty'"),
    (('"l4"', '"l4x"'), "pool a: unknown device 'l4x'; did you mean 'l4'"),
    (('"smollm-135m"', '"smollm-135n"'), "pool a: unknown model 'smollm-135n'; did you mean 'smollm-135m'"),
    (('device = "l4"', 'device = "l4"\ntp = 0'), "pool a: --tp 0: must be a whole number"),
    (('device = "l4"', 'device = "l4"\nscheduler = "fifo"'), "pool a: unknown scheduler 'fifo' (allowed: vllm-v1"),
    (('device = "l4"', 'device = "l4"\nswap = "4 s"'), "pool a: swap: '4 s' is a time, not a size"),
    (('device = "l4"', 'device = "l4"\nautoscale = 3'), "pool[0].autoscale: must be a table, not 3"),
    (('"ttft=500ms@p99"', '"tft=500ms@p99"'), "slo 'tft': unknown latency; did you mean 'ttft'"),
)


@pytest.mark.parametrize(("change", "said"), FILES)
def test_files_that_cannot_be(
    refused: Refused, file: Callable[..., Path], change: tuple[str, str], said: str
) -> None:  # fmt: skip
    line = refused(f"serve --fleet {file(change)}")
    assert line.startswith(f"silicost: f.toml: {said}")


def test_places_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    assert "--timeline" in refused(f"{ASKED} --timeline {tmp_path}")
    (tmp_path / "r.csv").mkdir()
    assert "cannot be written" in refused(f"{ASKED} --requests-out {tmp_path / 'r.csv'} --timeline {tmp_path}/t.csv")
    assert not (tmp_path / "t.csv").exists()
    twice = f"--requests-out {tmp_path / 'a.csv'} --timeline {tmp_path / 'a.csv'}"
    assert "a place of its own" in refused(f"{ASKED} {twice}")


def test_help_names_every_flag(silicost: Run) -> None:
    text = silicost("serve --help").out
    for flag in (
        "--fleet",
        "--trace-format",
        "--burstiness",
        "--prefill-device",
        "--requests-out",
        "--timeline",
        "--slo",
    ):
        assert flag in text


@pytest.mark.parametrize("rate", ["1", "2000"])
def test_weights_in_sram_over_stages_of_many_chips(silicost: Run, rate: str) -> None:
    """Two stages of 32 chips, which hold 8 billion weights of a byte between them."""
    asked = "serve --model llama-3-8b --device groq-lpu-v1 --tp 32 --pp 2 --weight-dtype int8 --isl 128 --osl 16"
    ran = silicost(asked, "--rate", rate, "--requests", "20", "--no-intervals", "--format", "json")
    assert ran.status == 0
    assert json.loads(ran.out)["completed"] == 20


def test_what_no_chip_can_hold_is_said(silicost: Run) -> None:
    asked = "serve --model llama-3-8b --device groq-lpu-v1 --tp 32 --pp 2 --isl 128 --osl 16 --rate 1"
    ran = silicost(asked)
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.startswith("silicost: groq-lpu-v1 cannot serve llama-3-8b: weights")
