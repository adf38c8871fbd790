"""``silicost validate``: reports as tables, JSON and CSV, rows as Parquet, bad input in a line."""

from __future__ import annotations

import csv
import io
import shlex
import subprocess
import sys
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
STEPS = """framework,device,n_devices,model,seq_len,global_batch,micro_batch,tp,pp,recompute,precision,metric,measured
torchtitan,h100-sxm-80gb,8,llama-3.1-8b,8192,16,2,1,1,full,bf16,step_time_s,3
torchtitan,h100-sxm-80gb,8,llama-3.1-8b,8192,16,2,1,1,full,bf16,memory_bytes,6e10
torchtitan,h100-sxm-80gb,8,llama-3.1-8b,8192,8,1,1,1,full,bf16,memory_bytes,4e10
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


def test_memory_of_training_runs(silicost: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "steps.csv").write_text(STEPS)
    report = silicost("validate --kind training --format json", str(tmp_path)).json
    assert (report["overall"]["n"], report["memory"]["n"]) == (1, 2)
    assert 0.0 < report["memory"]["mape"] < 1.0
    assert "memory of training runs" in silicost("validate --kind training", str(tmp_path)).out


def test_rows_out(silicost: Callable[..., Any], ops: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "rows.parquet"
    assert silicost("validate", str(ops), "--rows-out", str(target)).status == 0
    rows = pd.read_parquet(target)
    assert rows["m"].tolist() == [512.0, 1.0, 1.0]
    assert rows["predicted"].notna().tolist() == [True, True, False]
    assert [path.name for path in target.parent.iterdir()] == ["rows.parquet"]
    again = silicost("validate --format json", str(target))
    assert again.json["overall"] == silicost("validate --format json", str(ops)).json["overall"]


def test_without_a_path_the_shipped_figures_are_scored(silicost: Callable[..., Any], tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    ran = silicost("validate --kind ops --group-by device_class,op --format json --report", str(page))
    assert ran.status == 0, ran.err
    assert ran.json["overall"]["n"] + ran.json["overall"]["skipped"] >= 100
    assert {group["device_class"] for group in ran.json["groups"]} >= {"gpu", "tpu", "asic"}
    text = page.read_text()
    assert "Predictions beside published figures" in text
    assert "Operators: time" in text
    assert {path.name for path in page.parent.iterdir()} == {"page.html", "page.page.json"}


def test_the_page_is_the_same_each_time(silicost: Callable[..., Any], ops: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "one.html", tmp_path / "two.html"]
    for page in pages:
        ran = silicost("validate", str(ops), "--report", str(page))
        assert (ran.status, str(page) in ran.err) == (0, True)
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert "unknown device" in pages[0].read_text()


def test_absurd_cells_are_reasons_and_print_no_warning(
    silicost: Callable[..., Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    cells = (("512", "1e-320"), ("1e-320", "1e-5"), ("1e300", "1e-5"), ("512", "1e300"), ("512", "1e-5"))
    absurd = [f"lab,h100-sxm-80gb,gemm,bf16,{m},4096,4096,{t},vLLM 0.19,A" for m, t in cells]
    (tmp_path / "ops.csv").write_text("\n".join([OPS.splitlines()[0], *absurd]) + "\n")
    ran = silicost("validate --format json", str(tmp_path / "ops.csv"))
    assert (ran.json["overall"]["n"], ran.json["overall"]["skipped"], ran.err) == (1, 4, "")
    assert [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)] == []


def test_a_pipe_is_a_file(ops: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m silicost validate <(cat {shlex.quote(str(ops))}) --format csv"
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert [row["n"] for row in csv.DictReader(io.StringIO(told.stdout))] == ["2", "0"]


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
        (["--report", "page.htm"], "--report page.htm: must be a file that ends in .html"),
        (["--report", "/dev/null/page.html"], "cannot be written"),
        (["--models", "nothing.csv"], "no such file"),
        (["--format", "yaml"], "not allowed"),
    ],
)
def test_bad_input(refused: Callable[..., str], ops: Path, flags: list[str], said: str) -> None:
    assert said in refused("validate", str(ops), *flags)


def test_no_file_no_rows(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(OPS.splitlines()[0] + "\n")
    (tmp_path / "twice.csv").write_text(OPS.replace("quality", "m"))
    assert "2 columns are called 'm'" in refused("validate", str(tmp_path / "twice.csv"))
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
