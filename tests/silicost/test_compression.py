"""Compression from flags, files, studies and fleets: the same words, the same answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from silicost.scenario_file import load_scenario
from silicost.scenarios import inference_scenario
from simulator.simulate import simulate

Run = Callable[..., Any]
BASE = "--model llama-3.2-1b --device h100-sxm-80gb --isl 256 --osl 32"
FILE = """
[workload]
kind = "inference"
model = "llama-3.2-1b"

[traffic]
batch = 2
isl = 256
osl = 32

[system]
device = "h100-sxm-80gb"

[plan]
weight_dtype = "int4:group=64"
kv_dtype = "int8:group=head"

[compress]
"""
ASKED = {
    "prune": "layers=0.25,ffn=0.25", "low_rank": 0.25, "activation_dtype": "int8:dynamic", "quality": 0.9,
    "weight_dtype": "int4:group=64", "kv_dtype": "int8:group=head",
}  # fmt: skip


def test_flags_file_and_python_say_the_same(silicost: Run, tmp_path: Path) -> None:
    flags = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in ASKED.items())
    printed = silicost(f"simulate {BASE} --batch 2 {flags} --format json").json
    asked: dict[str, Any] = ASKED
    called = simulate(inference_scenario("llama-3.2-1b", "h100-sxm-80gb", batch=2, isl=256, osl=32, **asked))
    path = tmp_path / "smaller.toml"
    path.write_text(
        FILE
        + 'prune = { layers = 0.25, ffn = 0.25 }\nlow_rank = 0.25\nactivation_dtype = "int8:dynamic"\nquality = 0.9\n'
    )
    read = simulate(load_scenario(str(path))[0])
    assert printed["tpot_s"] == called.metrics["tpot_s"] == read.metrics["tpot_s"]
    assert printed["model_quality"] == called.metrics["model_quality"] == read.metrics["model_quality"] == 0.9
    assert printed["scenario_hash"] == called.scenario_hash == read.scenario_hash
    assert printed["configuration"]["model"] == "llama-3.2-1b (layers=0.25+ffn=0.25+rank=0.25)"
    assert "layers 16 -> 12" in [row["value"] for row in printed["provenance"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('prune = { layer = 0.2 }', "compress.prune: 'layer': unknown part; did you mean 'layers'"),
        ('prune = { layers = 0.001 }', "compress.prune layers=0.001: takes away nothing of the 16 layers"),
        ('sparsity = "3:4"', "compress.sparsity 3:4: must be 2:4"),
        ('activation_dtype = "fp9"', "compress.activation_dtype fp9: unknown dtype"),
        ('low_rank = 1.5', "compress.low_rank 1.5"),
        ('quantity = 1', "quantity"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_say_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(FILE + text)
    with pytest.raises(InputError, match=r"wrong\.toml") as error:
        load_scenario(str(path))
    assert said in str(error.value)


def test_what_flags_cannot_say_is_one_line(silicost: Run) -> None:
    for flags, said in (
        ("--prune layers=2", "--prune layers=2: must be a share"),
        ("--low-rank x", "--low-rank x: must be"),
        ("--sparsity 2:5", "--sparsity 2:5: must be 2:4"),
        ("--weight-dtype int4:group=0", "group=0: must be a whole number from 1"),
        ("--kv-dtype q4_0:group=head", "q4_0 has no groups"),
    ):
        ran = silicost(f"simulate {BASE} {flags}")
        assert ran.status == 2 and said in ran.err and ran.err.count("\n") == 1, flags


def test_a_study_carries_quality_along(silicost: Run, tmp_path: Path) -> None:
    ran = silicost(
        f"sweep {BASE} --batch 1,4 --prune none,layers=0.25,layers=0.5+ffn=0.25 --quality 1.0,0.95,0.8 "
        f"--link prune,quality --metric tpot_s,model_quality --objective tpot_s,model_quality "
        f"--constraint model_quality>=0.9 --out {tmp_path}/s --format csv"
    )
    assert ran.status == 0, ran.err
    lines = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(lines) == 6
    assert {(row["prune"], row["feasible"]) for row in lines} == {
        ("none", "True"), ("layers=0.25", "True"), ("layers=0.5+ffn=0.25", "False")
    }  # fmt: skip
    whole = next(row for row in lines if (row["prune"], row["batch"]) == ("none", "1"))
    one = inference_scenario("llama-3.2-1b", "h100-sxm-80gb", batch=1, isl=256, osl=32)
    assert float(whole["tpot_s"]) == pytest.approx(simulate(one).metrics["tpot_s"], rel=1e-9)


def test_two_of_four_in_a_list_of_values(silicost: Run, tmp_path: Path) -> None:
    ran = silicost(
        f"sweep {BASE} --device a100-sxm-80gb --runtime torch-compile-2.4 --sparsity none,2of4 "
        f"--metric memory_bytes,tpot_s --out {tmp_path}/s --format json"
    )
    assert ran.status == 0, ran.err
    assert ran.json["best"]["memory_bytes"]["sparsity"] == "2of4"


def test_what_ifs_change_compression(silicost: Run) -> None:
    ran = silicost(f"delta {BASE} --against prune=layers=0.5 --metric tpot_s --format json")
    assert ran.status == 0, ran.err


def test_a_served_model_is_compressed(silicost: Run) -> None:
    base = (
        "serve --model llama-3.2-1b --device h100-sxm-80gb --rate 5 --isl 64 --osl 16 --requests 20 --no-intervals "
        "--format json"
    )
    plain, less = silicost(base), silicost(f"{base} --prune layers=0.5 --low-rank 0.25 --sparsity 2:4")
    assert plain.status == less.status == 0, less.err
    assert less.json["tpot_s"]["p50"] < plain.json["tpot_s"]["p50"]
    drafted = silicost(f"{base} --draft llama-3.2-1b --draft-prune layers=0.75 --depth 2 --acceptance 0.7")
    assert drafted.status == 0, drafted.err
    whole = silicost(f"{base} --draft llama-3.2-1b --depth 2 --acceptance 0.7")
    assert drafted.json["tpot_s"]["p50"] < whole.json["tpot_s"]["p50"]
    alone = silicost(f"{base} --draft-prune layers=0.75")
    assert alone.status == 2 and "give --draft as well" in alone.err
