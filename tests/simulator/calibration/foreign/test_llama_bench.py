"""llama-bench: the same runs come back from every output format."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from simulator.calibration.foreign.record import Foreign, ModelRow
from simulator.calibration.foreign.registry import read_foreign

GIB = 2**30
RUNS: list[dict[str, Any]] = [
    {"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 102.25, "stddev_ts": 1.5},
    {"n_prompt": 0, "n_gen": 128, "n_depth": 0, "avg_ts": 11.5, "stddev_ts": 0.25},
    {"n_prompt": 0, "n_gen": 128, "n_depth": 4096, "avg_ts": 9.75, "stddev_ts": 0.5},
    {"n_prompt": 512, "n_gen": 128, "n_depth": 0, "avg_ts": 40.0, "stddev_ts": 0.75},
]
COMMON: dict[str, Any] = {
    "build_commit": "abc1234",
    "build_number": 5000,
    "cpu_info": "Some CPU",
    "gpu_info": "",
    "backends": "CPU",
    "model_filename": "m.gguf",
    "model_type": "qwen2 7B Q4_K - Medium",
    "model_size": 4 * GIB,
    "model_n_params": 7_615_616_512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_threads": 16,
    "type_k": "f16",
    "n_gpu_layers": 0,
    "flash_attn": True,
}
RECORDS = [{**COMMON, **run, "test_time": "2026-01-01T00:00:00Z"} for run in RUNS]


def markdown(records: list[dict[str, Any]]) -> str:
    columns = ("model", "size", "params", "backend", "threads", "n_ubatch", "fa", "test", "t/s")
    lines = [f"| {' | '.join(f'{name:>10}' for name in columns)} |".replace("|      model", "| model     ")]
    lines.append(f"| {' | '.join(['---------:'] * len(columns))} |")
    for r in records:
        test = "+".join([f"pp{r['n_prompt']}"] * bool(r["n_prompt"]) + [f"tg{r['n_gen']}"] * bool(r["n_gen"]))
        test += f" @ d{r['n_depth']}" if r["n_depth"] else ""
        rate = f"{r['avg_ts']:.2f} ± {r['stddev_ts']:.2f}"
        size, params = f"{r['model_size'] / GIB:.2f} GiB", f"{r['model_n_params'] / 1e9:.2f} B"
        lines.append(f"| {r['model_type']} | {size} | {params} | CPU | 16 | 512 | 1 | {test} | {rate} |")
    return "\n".join([*lines, "", "build: abc1234 (5000)", ""])


def as_csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    print(",".join(records[0]), file=out)
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([int(v) if isinstance(v, bool) else v for v in record.values()] for record in records)
    return out.getvalue()


FORMS = {
    "md": markdown(RECORDS),
    "csv": as_csv(RECORDS),
    "json": json.dumps(RECORDS, indent=2),
    "jsonl": "\n".join(json.dumps(record) for record in RECORDS),
}


def read(tmp_path: Path, text: str) -> Foreign:
    path = tmp_path / "bench.txt"
    path.write_text(text, encoding="utf-8")
    return read_foreign(path)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    foreign = read(tmp_path, FORMS[form])
    assert foreign.kind == "llama-bench" and foreign.measurements == () and foreign.about["build"] == "abc1234"
    found = [(r.phase, r.tokens, r.depth, r.tokens_per_s, r.sd) for r in foreign.model_rows]
    assert found == [
        ("prompt", 512, 0, 102.25, 1.5),
        ("generation", 128, 0, 11.5, 0.25),
        ("generation", 128, 4096, 9.75, 0.5),
        ("both", 640, 0, 40.0, 0.75),
    ]
    for row in foreign.model_rows:
        assert (row.model, row.quant, row.backend, row.threads) == ("qwen2 7B", "Q4_K - Medium", "CPU", 16)
        assert row.params == pytest.approx(7.62e9, rel=1e-3) and row.size_bytes == 4 * GIB
        assert row.flash is True and row.chunk == 512 and row.source == "bench.txt"


@pytest.mark.parametrize(
    ("kind", "model", "quant"),
    [
        ("llama 7B mostly Q4_0", "llama 7B", "Q4_0"),
        ("llama 8B F16", "llama 8B", "F16"),
        ("qwen3moe 30B.A3B Q8_0", "qwen3moe 30B.A3B", "Q8_0"),
        ("gpt2 0.1B all F32", "gpt2 0.1B", "F32"),
        ("llama ?B IQ2_XXS - 2.0625 bpw (guessed)", "llama ?B", "IQ2_XXS - 2.0625 bpw"),
        ("gpt-oss 20B MXFP4 MoE", "gpt-oss 20B", "MXFP4 MoE"),
    ],
)
def test_names_of_models(tmp_path: Path, kind: str, model: str, quant: str) -> None:
    row = read(tmp_path, json.dumps([{**RECORDS[0], "model_type": kind}])).model_rows[0]
    assert (row.model, row.quant) == (model, quant)


@pytest.mark.parametrize(
    ("test", "phase", "tokens", "depth"),
    [
        ("pp 512", "prompt", 512, 0),
        ("tg 16", "generation", 16, 0),
        ("pp2048 @ d8192", "prompt", 2048, 8192),
        ("pp64+tg8", "both", 72, 0),
    ],
)
def test_names_of_tests(tmp_path: Path, test: str, phase: str, tokens: int, depth: int) -> None:
    row = read(tmp_path, markdown(RECORDS[:1]).replace("pp512", test)).model_rows[0]
    assert (row.phase, row.tokens, row.depth) == (phase, tokens, depth)


def test_tables_in_a_report_with_other_tables(tmp_path: Path) -> None:
    other = "| a | b |\n|---|---|\n| 1 | 2 |\n\nggml_cuda_init: found 1"
    text = f"# My runs\n\n{markdown(RECORDS[:2])}\n{other}\n{markdown(RECORDS[2:])}"
    assert len(read(tmp_path, text).model_rows) == 4


def test_files_of_before_backends_had_names(tmp_path: Path) -> None:
    old = {key: value for key, value in RECORDS[0].items() if key not in ("backends", "n_depth")}
    old |= {"cuda": 0, "metal": 1, "blas": 1}
    row = read(tmp_path, as_csv([old])).model_rows[0]
    assert (row.backend, row.depth) == ("Metal,BLAS", 0)


def test_repetitions_are_counted_where_they_are_listed(tmp_path: Path) -> None:
    listed = {**RECORDS[0], "samples_ts": [101.0, 102.0, 103.0]}
    assert read(tmp_path, json.dumps([listed])).model_rows[0].repeats == 3


def test_no_spread_is_not_a_spread_of_zero(tmp_path: Path) -> None:
    row = read(tmp_path, FORMS["md"].replace("102.25 ± 1.50", "102.25")).model_rows[0]
    assert row.tokens_per_s == 102.25 and math.isnan(row.sd)


def test_runs_of_no_tokens_are_skipped(tmp_path: Path) -> None:
    foreign = read(tmp_path, json.dumps([RECORDS[0], {**RECORDS[0], "n_prompt": 0}]))
    assert len(foreign.model_rows) == 1 and foreign.skipped == ("a run of no tokens",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FORMS["md"].replace("102.25 ± 1.50", "fast"), "line 3: t/s 'fast' must be such as"),
        (FORMS["md"].replace("pp512 |", "perplexity |"), "line 3: test 'perplexity' must be such as"),
        (FORMS["md"].replace("7.62 B", "many", 1), "line 3: params 'many' must be such as"),
        (FORMS["md"].replace("4.00 GiB", "4.00 GiF", 1), "line 3: unknown unit 'GiF' in '4.00 GiF'"),
        (FORMS["md"].replace("| 102.25 ± 1.50 |", ""), "line 3: 8 cells under a header of 9"),
        (
            FORMS["md"].replace("|     params |", "|"),
            "line 1: the table lacks the column params",
        ),
        (FORMS["csv"].replace('"102.25","1.5",', '"102.25",'), "line 2: .* values under a header of"),
        (FORMS["csv"].replace('"102.25"', '"-1"'), "line 2: avg_ts '-1' must be a number"),
        (FORMS["json"][:-40], "not valid JSON, or cut off"),
        (FORMS["jsonl"].replace('"n_gen"', '"n_generated"', 1), "line 1: no field n_gen"),
        (FORMS["jsonl"][:-5], "line 4: not a JSON object, or cut off"),
        (FORMS["json"].replace("102.25", "0"), "t/s 0 must be above zero"),
        (FORMS["json"].replace("qwen2 7B Q4_K - Medium", "qwen2"), "model 'qwen2' must be such as"),
    ],
)
def test_broken_output_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_rows_are_frozen() -> None:
    assert ModelRow.__dataclass_params__.frozen  # type: ignore[attr-defined]
