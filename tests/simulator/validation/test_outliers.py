"""The rows furthest off: which they are, what they are called, and what may be behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulator.devices.calibrated import choice_of
from simulator.validation.one_pool import device_of
from simulator.validation.outcome import blank
from simulator.validation.outliers import dimension_of, outliers_of, what_of
from simulator.validation.points import Points
from simulator.validation.reasons import reasons_of_row
from simulator.validation.validate import Scored
from workloads.runtimes.catalogue import load_runtime

MakePoints = Callable[..., Points]
GEMM = {"source": "lab", "device": "h100-sxm-80gb", "op": "gemm", "dtype": "bf16", "m": "8", "n": "16", "k": "32",
        "software": "vLLM 0.19"}  # fmt: skip
RUN = {"engine": "vLLM 0.19", "device": "h100-sxm-80gb", "n_devices": "2", "model": "llama-3.1-8b",
       "weight_dtype": "bf16", "tp": "2", "batch": "4", "batch_kind": "exact", "input_len": "64", "output_len": "8",
       "metric": "tpot_s"}  # fmt: skip
STEP = {
    "framework": "Megatron-Core 2025", "device": "a100-sxm-80gb", "n_devices": "8", "model": "gpt-x", "tp": "4",
    "seq_len": "2048", "global_batch": "32", "micro_batch": "4", "recompute": "full", "precision": "bf16",
}  # fmt: skip


def scored(points: Points, observed: list[float], predicted: list[float], left_out: str = "") -> Scored:
    """``points`` with these numbers; the last row is left out if ``left_out`` says why."""
    outcome = blank(len(observed))
    outcome.observed[:], outcome.predicted[:] = observed, predicted
    outcome.low_80[:], outcome.high_80[:] = outcome.predicted / 2.0, outcome.predicted * 2.0
    outcome.runtime[:], outcome.device_class[:] = "vllm-0.19", "gpu"
    outcome.provenance[:] = "h100-sxm-80gb: priors of class gpu"
    outcome.left_out[-1] = left_out
    return Scored(points, outcome)


def test_the_worst_of_all_files_come_first(points: MakePoints) -> None:
    rows = [{**GEMM, "m": str(m)} for m in range(4)]
    one = scored(points("ops", rows, "one"), [1.0, 1.0, 1.0, 1.0], [1.1, 0.2, np.nan, 99.0], left_out="seen")
    two = scored(points("ops", rows, "two"), [1.0, 1.0, 1.0, 1.0], [1.0, 3.0, 1.0, 1.01])
    found = outliers_of([one, two], 3)
    assert [(each.predicted, each.observed) for each in found] == [(0.2, 1.0), (3.0, 1.0), (1.1, 1.0)]
    assert found[0].what == "gemm bf16 m 1 n 16 k 32"
    assert (found[0].low_80, found[0].high_80, found[0].dimension, found[0].source) == (0.1, 0.4, "s", "lab")
    assert all(each.reason for each in found)
    assert outliers_of([scored(points("ops", rows[:1]), [1.0], [np.nan])], 3) == []


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("ops", GEMM, "gemm bf16 m 8 n 16 k 32"),
        ("inference", RUN, "tpot_s llama-3.1-8b bf16 on 2 batch 4 in 64 out 8 tp 2"),
        ("training", STEP, "step_time_s gpt-x bf16 on 8 batch 32 micro 4 seq 2048 tp 4"),
    ],
)
def test_a_row_in_words(kind: str, row: dict[str, str], said: str) -> None:
    assert what_of(kind, row) == said


def test_what_a_row_is_scored_on_has_a_dimension() -> None:
    assert dimension_of("ops", GEMM) == dimension_of("training", STEP) == dimension_of("inference", RUN) == "s"
    assert dimension_of("inference", {"metric": "j_per_output_token"}) == "j"
    assert dimension_of("inference", {"metric": "odd"}) == ""


def reasons(kind: str, row: dict[str, Any], **changes: Any) -> str:
    said = {"runtime": "vllm-0.19", "regime": "memory", "provenance": "", "fitted": False} | changes
    return "; ".join(reasons_of_row(kind, row, **said))


def test_reasons_follow_from_the_row() -> None:
    assert "software not named: vllm-0.19 taken" in reasons("ops", {**GEMM, "software": "our own"})
    assert "software not named" not in reasons("ops", GEMM)
    assert "no calibration: priors of class gpu" in reasons("ops", GEMM)
    assert "launch and host decide" in reasons("ops", GEMM, regime="overhead")
    assert "bf16 computed as" in reasons("ops", {**GEMM, "device": "v100-pcie-32gb"})
    assert "computed as" not in reasons("ops", GEMM)
    assert "batch is no exact one but 'concurrency'" in reasons("inference", {**RUN, "batch_kind": "concurrency"})
    assert "recomputation not stated" in reasons("training", {**STEP, "recompute": "unknown"})
    assert "recomputation" not in reasons("training", STEP)
    assert "no fit has seen" in reasons("ops", {**GEMM, "op": "all_reduce"})


def test_calibrations_are_told_apart() -> None:
    spec = device_of("h100-sxm-80gb")
    for chosen in choice_of(spec, load_runtime("vllm-0.19")).entries:
        text = f"h100-sxm-80gb: priors of class gpu; runtime vllm-0.19; fit {chosen.entry.fit.id}"
        seen, unseen = reasons("ops", GEMM, provenance=text, fitted=True), reasons("ops", GEMM, provenance=text)
        assert "no calibration" not in seen + unseen
        if chosen.own_device and chosen.own_runtime:
            assert "seen by its fit" in seen
            assert "extrapolated" in unseen
        else:
            assert "calibrated" in seen
