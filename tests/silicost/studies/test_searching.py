"""Searched studies: the true front of a small space, bounds kept, and going on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hardware_specs.errors import InputError, UnknownName
from silicost.studies.searching import search_study
from silicost.studies.study import Study, study_of
from silicost.studies.summary import summarise
from silicost.studies.work import prepare_study
from simulator.explore.pareto import non_dominated
from simulator.explore.reading import open_study

TABLES: dict[str, Any] = {
    "metrics": ["tpot_s", "usd_per_million_output_tokens"],
    "constraints": ["ttft_s <= 200 ms"],
    "scenario": {"model": "llama-3.1-8b", "isl": 512, "osl": 64},
    "axes": {
        "device": ["h100-sxm-80gb", "a100-sxm-80gb", "l4"], "dtype": ["bf16", "fp8"], "batch": "1:64:*2",
        "tp": [1, 2],
    },
}  # fmt: skip


def study(**search: Any) -> Study:
    return study_of({**TABLES, "search": {"evaluations": 84, "method": "random", **search}}, "s", Path())


def ignore(message: str) -> None:
    raise AssertionError(message)


def test_a_search_through_the_whole_space_finds_the_true_front(tmp_path: Path) -> None:
    asked = study()
    prepared = prepare_study(asked)
    searched = search_study(asked, prepared, tmp_path / "s", ignore)
    assert searched.ended == "evaluations"
    assert searched.progress[-1].evaluations == 84
    found = summarise(open_study(tmp_path / "s"), asked.metrics, asked.objectives)
    assert found.rows == 84
    points = prepared.work.sampler.points(0, 84)
    table = prepared.work.evaluator(points)
    good = np.asarray(table["feasible"])
    costs = np.stack([np.asarray(table[metric])[good] for metric in asked.metrics], axis=1)
    front = costs[non_dominated(costs)]
    assert sorted(row["tpot_s"] for row in found.front) == pytest.approx(sorted(front[:, 0]), rel=1e-12)
    assert all(
        row["ttft_s"] <= 0.2 for row in open_study(tmp_path / "s").to_pandas().query("feasible").to_dict("records")
    )


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole = study(evaluations=64, seed=3)
    prepared = prepare_study(whole)
    search_study(whole, prepared, tmp_path / "one", ignore)
    parts = sorted((tmp_path / "one" / "parts").iterdir())
    expected = open_study(tmp_path / "one").to_pandas()
    lost = 64 - sum(pq.read_metadata(part).num_rows for part in parts[1:])
    assert 0 < lost < 64
    parts[0].unlink()
    calls: list[int] = []
    evaluate = prepared.work.evaluator.__class__.__call__

    def counted(self: Any, points: Any) -> Any:
        calls.append(len(points))
        return evaluate(self, points)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared.work.evaluator.__class__, "__call__", counted)
        search_study(whole, prepared, tmp_path / "one", ignore)
    assert calls == [lost]
    again = open_study(tmp_path / "one").to_pandas()
    assert again.equals(expected)


def test_what_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown search method 'gpp'; did you mean 'gp'"):
        study(method="gpp")
    with pytest.raises(InputError, match="evaluations 0: must be from 1"):
        study(evaluations=0)
    with pytest.raises(InputError, match="searched or sampled, not both"):
        study_of({**TABLES, "search": {"evaluations": 4}, "sample": {"kind": "random", "n": 3}}, "s", Path())
    with pytest.raises(InputError, match="'evals': unknown key"):
        study_of({**TABLES, "search": {"evals": 4}}, "s", Path())
