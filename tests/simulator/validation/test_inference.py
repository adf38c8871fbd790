"""Inference rows: what a row means as a scenario, what it is scored on, why it is skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from simulator.scenario import Formats, Plan, StaticBatch
from simulator.simulate import simulate
from simulator.validation.cells import Unpredictable
from simulator.validation.inference import METRICS, point_of, predict_inference
from simulator.validation.inference_point import WHAT_FITS
from simulator.validation.one_pool import one_pool
from simulator.validation.points import Points
from simulator.validation.weights import weight_format
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

MakePoints = Callable[..., Points]
ROW = {"source": "lab", "engine": "vLLM 0.19", "device": "h100-sxm-80gb", "n_devices": "1", "model": "llama-3.1-8b",
       "weight_dtype": "bf16", "batch": "8", "batch_kind": "exact", "input_len": "512", "output_len": "64",
       "metric": "tpot_s", "measured": "0.008"}  # fmt: skip


def point(**change: str) -> Any:
    return point_of({**ROW, **change}, "h100-sxm-80gb", "vllm-0.19")


def test_a_row_is_the_simulation_of_its_configuration(points: MakePoints) -> None:
    spec, runtime = load_device("h100-sxm-80gb"), load_runtime("vllm-0.19")
    work = StaticBatch(load_model("llama-3.1-8b"), 8, 512, 64)
    result = simulate(one_pool(work, spec, runtime, Plan(), Formats("bf16", "bf16"), 1))
    rows = [{**ROW, "metric": metric} for metric in METRICS]
    outcome = predict_inference(points("inference", rows), {})
    assert outcome.predicted.tolist() == [result.metrics[metric] for metric in METRICS]
    assert set(outcome.runtime) == {"vllm-0.19"}
    for i, metric in enumerate(METRICS):
        ends = result.intervals[metric]
        assert (outcome.low_95[i], outcome.low_80[i], outcome.high_80[i], outcome.high_95[i]) == pytest.approx(
            (ends.p2_5, ends.p10, ends.p90, ends.p97_5)
        )
    regimes = dict(zip(METRICS, outcome.regime.tolist(), strict=True))
    assert regimes["ttft_s"] == result.bound["prefill"]
    assert regimes["tpot_s"] == result.bound["decode"]


def test_energy_at_the_wall_includes_the_host(points: MakePoints) -> None:
    rows = [{**ROW, "metric": "j_per_output_token", "energy_scope": scope} for scope in ("gpu only", "wall power")]
    device, wall = predict_inference(points("inference", rows), {}).predicted.tolist()
    assert wall > 1.05 * device


def test_lengths_that_a_metric_does_not_need_may_be_missing() -> None:
    assert point(metric="ttft_s", output_len="")[3:5] == (512, 1)
    assert point(metric="tpot_s", output_len="")[3:5] == (512, 2)
    assert point(metric="decode_tokens_per_s", input_len="0", output_len="128")[3:5] == (1, 129)
    assert point(metric="tpot_s", output_len="1")[3:5] == (512, 2)
    for missing in ({"input_len": ""}, {"metric": "e2e_s", "output_len": ""}, {"batch": ""}):
        with pytest.raises(Unpredictable, match="unpublished"):
            point(**missing)


def test_devices_that_no_way_names_hold_layers_one_after_another() -> None:
    assert point(n_devices="4").plan == Plan(4)
    assert point(n_devices="4", tp="2").plan == Plan(2, 2)
    assert point(n_devices="4", pp="4").plan == Plan(1, 4)
    assert point(n_devices="8", tp="2", dp="4", ep="8").plan == Plan(2, 1, 4, 8)
    for stated in ({"n_devices": "6", "tp": "4"}, {"n_devices": "8", "tp": "3", "pp": "2", "dp": "1"}):
        with pytest.raises(Unpredictable, match=f"are not the {stated['n_devices']} devices"):
            point(**stated)


def test_a_saturated_engine_runs_what_fits(points: MakePoints) -> None:
    full = {**ROW, "batch": "", "batch_kind": "saturated", "metric": "output_tokens_per_s"}
    assert point_of(full, "h100-sxm-80gb", "vllm-0.19").batch == WHAT_FITS
    one = {**full, "batch": "1"}
    most, least = predict_inference(points("inference", [full, one]), {}).predicted.tolist()
    assert most > 20.0 * least


def test_weight_formats_by_name_or_by_width() -> None:
    assert weight_format("float16", None) == ("fp16", "fp16")
    assert weight_format("Q4_K - Medium", None) == ("bf16", "q4_k_m")
    assert weight_format("some 4 bit", 0.5625) == ("bf16", "q4_0")
    with pytest.raises(InputError, match="unpublished"):
        weight_format("", 2.0)
    with pytest.raises(InputError, match="unknown storage format"):
        weight_format("some bits", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "h1000"}, "unknown device"),
        ({"device": ""}, "device missing"),
        ({"model": "llama-9"}, "unknown model"),
        ({"model": ""}, "model missing"),
        ({"metric": "ttft"}, "unknown metric 'ttft'; did you mean 'ttft_s'"),
        ({"measured": ""}, "measured missing"),
        ({"measured": "-1"}, "measured '-1': must be positive"),
        ({"measured": "1e-320"}, "measured '1e-320': must be from 1e-15 to 1e+15"),
        ({"n_devices": "2.5"}, "n_devices '2.5': must be a whole number"),
        ({"measured": "fast"}, "measured 'fast': must be a number"),
        ({"batch": "0"}, "batch '0': must be from 1"),
        ({"tp": "x"}, "tp 'x': must be a number"),
        ({"n_devices": "3"}, "does not divide the 32 heads"),
        ({"n_devices": "1e9"}, "n_devices '1e9': must be from 1"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(points: MakePoints, change: dict[str, str], said: str) -> None:
    outcome = predict_inference(points("inference", [{**ROW, **change}, ROW]), {})
    assert said in outcome.skip_reason[0]
    assert outcome.skip_reason[1] == ""
    assert outcome.predicted[1] > 0.0


def test_columns_may_be_missing(points: MakePoints) -> None:
    least = {
        name: ROW[name] for name in ("model", "metric", "measured", "device", "batch", "weight_dtype", "input_len")
    }
    outcome = predict_inference(points("inference", [least, {"model": "m", "metric": "tpot_s", "measured": 1}]), {})
    assert outcome.predicted[0] > 0.0
    assert outcome.skip_reason[1] == "device missing"
