"""Runs of a server as points: their figures, what a simulation of the same run says, and the two measured runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hardware_specs.errors import InputError
from simulator.validation.points import read_points
from simulator.validation.serving import limits_of, predict_serving
from simulator.validation.serving_runs import Stamps, figures_of_run, read_meta, stamps_of, table_of_run

SHARED = Path(__file__).parents[4] / "shared" / "ground_truth"
META = {
    "device": "l4", "model": "llama-3.2-1b", "engine": "vLLM", "engine_version": "0.19.0", "tp": 1, "dtype": "bfloat16",
    "kv_dtype": "auto", "max_num_seqs": 16, "max_num_batched_tokens": 512, "max_model_len": 4096, "kv_blocks": 800,
    "block_size": 16,
}  # fmt: skip


def rows(count: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    queued = np.cumsum(rng.exponential(0.2, count))
    first = queued + rng.uniform(0.05, 0.2, count)
    output = rng.integers(1, 60, count)
    return pd.DataFrame(
        {
            "arrival_s": queued - 0.01, "queued_s": queued, "first_token_s": first,
            "last_token_s": first + 0.01 * (output - 1), "input_len": rng.integers(10, 900, count),
            "output_len": output,
        }
    )  # fmt: skip


def write(folder: Path, table: pd.DataFrame, **meta: Any) -> Path:
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "requests.csv", index=False)
    (folder / "meta.json").write_text(json.dumps({**META, **meta}))
    return folder


def ignore(done: int) -> None:
    assert done > 0


def test_figures_of_a_run_by_hand() -> None:
    stamps = Stamps(
        np.array([0.0, 1.0]), np.array([0.5, 2.5]), np.array([1.5, 2.5]), np.array([10, 20]), np.array([11, 1])
    )
    found = figures_of_run(stamps)
    assert found["output_tokens_per_s"] == 12 / 2.5
    assert found["ttft_s"] == 1.0 and found["e2e_s"] == 1.5
    assert found["tpot_s"] == pytest.approx(0.1), "one token has no gap"
    assert found["ttft_s.p99"] == pytest.approx(1.49)


def test_a_run_that_was_simulated_is_predicted_to_the_digit(tmp_path: Path) -> None:
    points = read_points([write(tmp_path / "one", rows())])[0]
    once = predict_serving(points, {}, ignore)
    assert (once.predicted > 0.0).all() and not once.skip_reason.any()
    assert (once.low_95 < once.low_80).all() and (once.high_80 < once.high_95).all()
    assert ((once.low_80 < once.predicted) & (once.predicted < once.high_80)).all()
    assert not once.assumed.any() and not once.fitted.any()
    from simulator.prepared import prepare
    from simulator.scenario import Formats, Plan, StaticBatch
    from simulator.serving.cluster import serve
    from simulator.serving.requests import Asked
    from simulator.validation.one_pool import device_of, model_of, one_pool
    from workloads.runtimes.catalogue import load_runtime

    arch = model_of("llama-3.2-1b", {})
    scenario = one_pool(StaticBatch(arch, 1, 1, 1), device_of("l4"), load_runtime("vllm-0.19"), Plan(), Formats(), 1)
    prepared = prepare(scenario)
    limits = limits_of(read_meta(tmp_path / "one"), prepared, arch)
    assert limits == (512, 16, 16, 800, 4096)
    stamps = stamps_of(tmp_path / "one", rows())
    q = serve(prepared, arch, Asked(stamps.queued_s, stamps.input, stamps.output), limits).requests
    again = rows().assign(first_token_s=q.first_s, last_token_s=q.last_s)
    measured = read_points([write(tmp_path / "two", again)])[0]
    twice = predict_serving(measured, {}, ignore)
    assert twice.predicted == pytest.approx(twice.observed, rel=1e-9)


def test_blocks_that_are_not_stated_are_assumed(tmp_path: Path) -> None:
    points = read_points([write(tmp_path / "one", rows(), kv_blocks=None)])[0]
    assert set(predict_serving(points, {}, ignore).assumed.tolist()) == {"kv_blocks"}


@pytest.mark.parametrize(
    ("meta", "why"),
    [({"device": "l5"}, "unknown device"), ({"model": "llama-9"}, "unknown model"), ({"kv_blocks": 1}, "no request")],
)
def test_what_cannot_be_predicted_says_why(tmp_path: Path, meta: dict[str, Any], why: str) -> None:
    points = read_points([write(tmp_path / "one", rows(), **meta)])[0]
    found = predict_serving(points, {}, ignore)
    assert np.isnan(found.predicted).all() and np.isfinite(found.observed).all()
    assert all(why in reason for reason in found.skip_reason.tolist())


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [("queued_s", "x", "queued_s 'x'"), ("input_len", "0", "input_len '0'"), ("last_token_s", "nan", "last_token_s"),
     ("output_len", "-3", "output_len '-3'")],
)  # fmt: skip
def test_broken_cells_are_named(tmp_path: Path, column: str, value: str, why: str) -> None:
    table = rows().astype(str)
    table.loc[4, column] = value
    with pytest.raises(InputError, match=f"row 5: {why}"):
        table_of_run(write(tmp_path / "one", rows()), table)


def test_broken_runs(tmp_path: Path) -> None:
    folder = write(tmp_path / "one", rows())
    with pytest.raises(InputError, match="lacks first_token_s"):
        table_of_run(folder, rows().drop(columns="first_token_s"))
    with pytest.raises(InputError, match="no requests"):
        table_of_run(folder, rows().iloc[:0])
    (folder / "meta.json").write_text("[")
    with pytest.raises(InputError, match=r"meta\.json"):
        read_meta(folder)
    (folder / "meta.json").write_text('{"device": 4}')
    with pytest.raises(InputError, match="device"):
        read_meta(folder)
    (folder / "meta.json").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_meta(folder)


@pytest.mark.skipif(not (SHARED / "serving").is_dir(), reason="the measured runs are not at hand")
def test_the_measured_runs() -> None:
    """vLLM 0.19 on an RTX 4090 and an RTX PRO 6000; no number was set from either."""
    known, unknown = read_points([SHARED / "serving"], "serving")
    found = predict_serving(known, {}, ignore)
    errors = dict(zip(known.text("metric"), np.abs(found.predicted / found.observed - 1.0).tolist(), strict=True))
    assert not found.fitted.any()
    assert errors["output_tokens_per_s"] < 0.05 and errors["tpot_s"] < 0.05 and errors["e2e_s"] < 0.05
    assert errors["ttft_s"] < 0.15 and errors["e2e_s.p99"] < 0.15
    found = predict_serving(unknown, {}, ignore)
    assert not found.fitted.any()
    assert ((found.low_80 <= found.observed) & (found.observed <= found.high_80)).all()
