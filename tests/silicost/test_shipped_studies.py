"""The studies that come with the package: each asks a question, is answered by its name alone, and has an answer."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silicost.studies.shipped import path_of, shipped_studies
from silicost.studies.study import Study, read_study

STUDIES = tuple(name for name in shipped_studies() if not name.startswith("mixed-"))
Run = Callable[..., Any]

KNOBS = {
    "batch-under-slo": ("batch",), "compression": ("weight_dtype", "sparsity", "prune", "low_rank"),
    "cpu-small-models": ("device",), "expert-parallel": ("ep",),
    "faster-memory": ("device.memory.bandwidth",), "gpu-for-70b": ("device",), "gpu-or-tpu": ("device",),
    "long-context": ("isl",), "lora-on-one-gpu": ("lora_rank",), "narrow-formats": ("weight_dtype",),
    "old-gpus": ("device", "price"), "power-cap": ("device.parameters.cap_w",), "price-break-even": ("device",),
    "sram-or-hbm": ("device", "tp", "pp"), "tensor-parallel": ("tp",), "training-layout": ("micro_batch",),
    "triple-traffic": ("batch",),
}  # fmt: skip
"""What each study is about: its first axis."""


def study(name: str) -> Study:
    return read_study(path_of(name))


def test_there_are_fifteen_and_more_on_what_they_say() -> None:
    assert len(STUDIES) >= 15
    assert set(KNOBS) == set(STUDIES)
    assert (
        len({study(name).title for name in STUDIES}) == len({study(name).question for name in STUDIES}) == len(STUDIES)
    )


@pytest.mark.parametrize("name", STUDIES)
def test_each_asks_a_question_of_100_to_20000_points(name: str) -> None:
    asked = study(name)
    assert asked.question.endswith("?")
    assert 30 < len(asked.question) < 120
    assert 100 <= asked.sampler().count <= 20_000
    assert asked.space.axes[0].names == KNOBS[name]
    assert len(asked.objectives) == 2
    assert 3 <= len(asked.metrics) <= 6
    assert asked.sample.kind == "grid"


@pytest.mark.parametrize("name", STUDIES)
def test_no_table_is_empty(name: str) -> None:
    table = tomllib.loads(path_of(name).read_text())
    assert {"title", "question", "metrics", "scenario"} <= table.keys()
    assert all(table[key] for key in table)


@pytest.mark.parametrize("name", STUDIES)
def test_each_is_answered_by_its_name(silicost: Run, tmp_path: Path, name: str) -> None:
    ran = silicost(f"sweep {name} --out {tmp_path} --format json")
    assert ran.status == 0, ran.err
    assert "warning" not in ran.err
    found, asked = ran.json, study(name)
    assert found["feasible"] >= 0.15 * found["rows"] > 0
    assert set(found["best"]) == set(asked.metrics)
    assert found["pareto"]
    assert all(row[metric] > 0.0 for metric, row in found["best"].items())
    assert not {each["code"] for each in found["reasons"]} - {"memory", *(c.metric for c in asked.constraints), "input"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert asked.question.split("?")[0] in page.replace("\u00a0", " ")
    assert "What the first axis changes</h2>" in page
    assert "like for like" in page
    assert len(page) < 2_500_000
