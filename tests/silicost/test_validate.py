"""``silicost validate``: reports as tables, JSON and CSV, rows as Parquet, bad input in a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

OPS = """source,device,op,dtype,m,n,k,measured_s,software,quality
lab,h100-sxm-80gb,gemm,bf16,512,4096,4096,3e-5,vLLM 0.19,A
lab,h100-sxm-80gb,gemm,bf16,1,4096,4096,1.5e-5,vLLM 0.19,B
lab,h1000,gemm,bf16,1,4096,4096,1.5e-5,vLLM 0.19,A
"""
RUN = """engine,device,model,weight_dtype,batch,input_len,output_len,metric,measured
vLLM 0.19,h100-sxm-80gb,mine,bf16,1,64,8,tpot_s,0.01
"""
MODELS = """id,layers,hidden,heads,kv_heads,head_dim,ffn,vocab,gated_mlp
mine,16,2048,32,8,64,8192,128256,1
"""
SHARED = Path(__file__).parents[3] / "shared" / "ground_truth"


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    (tmp_path / "ops.csv").write_text(OPS)
    return tmp_path / "ops.csv"


def test_json(silicost: Callable[..., Any], ops: Path) -> None:
    ran = silicost("validate --format json", str(ops))
    assert ran.status == 0, ran.err
    first, second = ran.json["groups"]
    assert (first["device"], first["n"], first["skipped"]) == ("h100-sxm-80gb", 2, 0)
    assert (second["device"], second["n"], second["skipped"], second["mape"]) == ("h1000", 0, 1, None)
    assert ran.json["overall"]["n"] == 2


def test_csv_and_table(silicost: Callable[..., Any], ops: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(silicost("validate --format csv --group-by op", str(ops)).out)))
    assert [(row["op"], row["n"], row["skipped"]) for row in rows] == [("gemm", "2", "1")]
    assert rows[0]["skip_reasons"].startswith("1 x unknown device 'h1000'")
    table = silicost("validate", str(ops)).out
    assert "over all rows" in table
    assert "unknown device 'h1000'" in table


def test_rows_out(silicost: Callable[..., Any], ops: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "rows.parquet"
    assert silicost("validate", str(ops), "--rows-out", str(target)).status == 0
    rows = pd.read_parquet(target)
    assert rows["m"].tolist() == [512.0, 1.0, 1.0]
    assert rows["predicted"].notna().tolist() == [True, True, False]
    assert [path.name for path in target.parent.iterdir()] == ["rows.parquet"]
    again = silicost("validate --format json", str(target))
    assert again.json["overall"] == silicost("validate --format json", str(ops)).json["overall"]


def test_where(silicost: Callable[..., Any], ops: Path) -> None:
    overall = silicost("validate --format json --where", "quality=A", str(ops)).json["overall"]
    assert (overall["n"], overall["skipped"]) == (1, 1)


def test_models_that_the_catalogue_lacks(silicost: Callable[..., Any], tmp_path: Path) -> None:
    for name, text in (("run.csv", RUN), ("models.csv", MODELS)):
        (tmp_path / name).write_text(text)
    run, models = str(tmp_path / "run.csv"), str(tmp_path / "models.csv")
    assert silicost("validate --format json", run).json["overall"]["skipped"] == 1
    assert silicost("validate --format json", run, "--models", models).json["overall"]["n"] == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--kind", "op"], "did you mean 'ops'"),
        (["--kind", "training"], "no training points: it lacks"),
        (["--where", "qual=A"], "did you mean 'quality'"),
        (["--where", "quality=Z"], "no row is left"),
        (["--group-by", "devise"], "did you mean 'device'"),
        (["--rows-out", "rows.csv"], "must be a file that ends in .parquet"),
        (["--models", "nothing.csv"], "no such file"),
        (["--format", "yaml"], "not allowed"),
    ],
)
def test_bad_input(refused: Callable[..., str], ops: Path, flags: list[str], said: str) -> None:
    assert said in refused("validate", str(ops), *flags)


def test_no_path_no_file_no_rows(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(OPS.splitlines()[0] + "\n")
    assert "Missing argument" in refused("validate")
    assert "no such file" in refused("validate", str(tmp_path / "none.csv"))
    assert "no rows" in refused("validate", str(tmp_path / "empty.csv"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs measured tables, which are no part of the project")
@pytest.mark.parametrize(
    ("table", "least"),
    [("ops/infersim.csv.gz", 580), ("inference/rocm_vllm_mi300x.csv.gz", 30), ("training/maxtext.csv.gz", 40)],
)
def test_measured_tables(silicost: Callable[..., Any], table: str, least: int) -> None:
    overall = silicost("validate --format json", str(SHARED / table)).json["overall"]
    assert overall["n"] >= least
    assert 0.0 < overall["mape"] < 1.0
