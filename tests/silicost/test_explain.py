"""``silicost explain``: tables, JSON and CSV of explained rows, bad input in a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAD = "device,op,dtype,m,n,k,n_devices,message_bytes,measured_s,software,quality"
OPS = f"""{HEAD}
h100-sxm-80gb,gemm,bf16,512,4096,4096,,,8e-5,vLLM 0.19,A
h100-sxm-80gb,gemm,bf16,1024,4096,4096,,,1e-4,vLLM 0.19,B
h1000,gemm,bf16,1,4096,4096,,,1.5e-5,vLLM 0.19,A
"""
RUN = """engine,device,model,weight_dtype,batch,input_len,output_len,metric,measured
vLLM 0.19,tpu-v6e,mine,bf16,1,64,8,tpot_s,0.02
"""
MODELS = """id,layers,hidden,heads,kv_heads,head_dim,ffn,vocab,gated_mlp
mine,16,2048,32,8,64,8192,128256,1
"""
CHANGE = {
    "path", "owner", "meaning", "dimension", "now", "low", "high", "sd", "needed", "ratio", "in_range", "nearest",
    "left", "size", "set",
}  # fmt: skip


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    (tmp_path / "ops.csv").write_text(OPS)
    return tmp_path / "ops.csv"


def test_json(silicost: Callable[..., Any], ops: Path) -> None:
    ran = silicost("explain --format json", str(ops))
    assert ran.status == 0, ran.err
    assert "NaN" not in ran.out
    assert "Infinity" not in ran.out
    first, second, third = ran.json["rows"]
    assert [row["row"] for row in ran.json["rows"]] == [1, 2, 3]
    assert sum(part["seconds"] for part in first["parts"]) == pytest.approx(first["predicted"])
    assert sum(part["share"] for part in first["parts"]) == pytest.approx(1.0)
    assert sum(family["share"] for family in first["families"]) == pytest.approx(1.0)
    assert all(set(change) == CHANGE for change in first["changes"])
    assert first["measured_s"] == first["measured"] == 8e-5
    assert second["reason"] == ""
    assert (third["reason"].startswith("unknown device 'h1000'"), third["changes"]) == (True, [])
    assert ran.json["joint"][0]["after"] < ran.json["joint"][0]["before"]


def test_csv_has_a_line_for_each_change(silicost: Callable[..., Any], ops: Path) -> None:
    whole = silicost("explain --format json", str(ops)).json["rows"]
    lines = list(csv.DictReader(io.StringIO(silicost("explain --format csv", str(ops)).out)))
    assert [sum(line["row"] == str(row["row"]) for line in lines) for row in whole] == [
        max(len(row["changes"]), 1) for row in whole
    ]
    assert [line["path"] for line in lines if line["row"] == "1"] == [each["path"] for each in whole[0]["changes"]]
    assert lines[0]["rank"] == "1"
    assert float(lines[0]["now"]) == whole[0]["changes"][0]["now"]
    assert (lines[-1]["path"], lines[-1]["reason"][:14]) == ("", "unknown device")


def test_tables(silicost: Callable[..., Any], ops: Path) -> None:
    out = silicost("explain", str(ops)).out
    assert "row 1 of ops: gemm bf16 m 512 n 4096 k 4096 (h100-sxm-80gb, vllm-0.19)" in out
    assert "measured 80.0 µs, predicted " in out
    assert "not explained: unknown device 'h1000'; did you mean " in out
    assert "alone would have to be" in out
    assert "runtime.factors.gemm" in out
    assert "one number for all 2 rows" in out
    assert max(map(len, out.splitlines())) <= 200


def test_models_and_rates(silicost: Callable[..., Any], tmp_path: Path) -> None:
    for name, text in (("run.csv", RUN), ("models.csv", MODELS)):
        (tmp_path / name).write_text(text)
    ran = silicost("explain", str(tmp_path / "run.csv"), "--models", str(tmp_path / "models.csv"))
    assert ran.status == 0, ran.err
    assert "measured 20.0 ms" in ran.out
    assert "runtime.host_step" in ran.out
    (tmp_path / "run.csv").write_text(RUN.replace("tpot_s,0.02", "decode_tokens_per_s,50"))
    rate = silicost("explain", str(tmp_path / "run.csv"), "--models", str(tmp_path / "models.csv"))
    assert "measured 50.0 tokens/s" in rate.out
    both = [silicost("explain --format json", str(tmp_path / "run.csv"), "--models", str(tmp_path / "models.csv"))]
    assert both[0].json["rows"][0]["measured_s"] == pytest.approx(0.02)


def test_where_and_several_files(silicost: Callable[..., Any], ops: Path) -> None:
    ran = silicost("explain --format json --kind ops --where", "quality=A", str(ops), str(ops))
    assert [(row["row"], row["reason"] == "") for row in ran.json["rows"]] == [
        (1, True), (2, False), (3, True), (4, False),
    ]  # fmt: skip
    regime = silicost("explain --format json --where", "runtime=vllm-0.19", str(ops)).json["rows"]
    assert [row["runtime"] for row in regime] == ["vllm-0.19", "vllm-0.19"]
    assert json.dumps(ran.json["rows"][0]["changes"]) == json.dumps(ran.json["rows"][2]["changes"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--kind", "op"], "did you mean 'ops'"),
        (["--kind", "training"], "no training points: it lacks"),
        (["--where", "qual=A"], "did you mean 'quality'"),
        (["--where", "quality=Z"], "no row is left"),
        (["--models", "nothing.csv"], "no such file"),
        (["--format", "yaml"], "not allowed"),
        (["nothing.csv"], "no such file"),
    ],
)
def test_bad_input(refused: Callable[..., str], ops: Path, flags: list[str], said: str) -> None:
    assert said in refused("explain", str(ops), *flags)


def test_no_path_no_rows_too_many(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "Missing argument 'PATH...'" in refused("explain")
    (tmp_path / "empty.csv").write_text(f"{HEAD}\n")
    assert "no rows" in refused("explain", str(tmp_path / "empty.csv"))
    (tmp_path / "many.csv").write_text("\n".join([HEAD, *[OPS.splitlines()[1]] * 101]))
    assert "101 rows: explain takes at most 100" in refused("explain", str(tmp_path / "many.csv"))
