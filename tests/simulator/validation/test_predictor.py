"""The batch that a server runs: what fits, what its scheduler allows, what arrives, how fast tokens must come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.scenario import Formats, Plan
from simulator.validation.inference import predict_inference
from simulator.validation.inference_point import WHAT_FITS, Limits, Point
from simulator.validation.points import Points
from simulator.validation.predictor import NEAR, Predictor

MakePoints = Callable[..., Points]
POINT = Point(
    "llama-3.1-8b", "h100-sxm-80gb", WHAT_FITS, 512, 128, Plan(), "vllm-0.6", Formats("bf16", "bf16"), Limits()
)
ROW = {"engine": "vLLM 0.6", "device": "h100-sxm-80gb", "model": "llama-3.1-8b", "weight_dtype": "bf16",
       "input_len": "512", "output_len": "128", "measured": "1"}  # fmt: skip


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor({})


def run_s(predictor: Predictor, batch: int) -> float:
    value = predictor.result(POINT._replace(batch=batch)).metrics["e2e_s"]
    assert value is not None
    return value


def test_a_batch_that_is_stated_stays() -> None:
    assert Predictor({}).settled(POINT._replace(batch=3)).batch == 3


def test_memory_and_scheduler_bound_the_batch(predictor: Predictor) -> None:
    fits = predictor.settled(POINT)
    assert fits.batch == predictor.result(fits).metrics["max_batch"]
    assert predictor.settled(POINT._replace(limits=Limits(256))).batch == 256
    two = POINT._replace(plan=Plan(dp=2), limits=Limits(256))
    assert predictor.settled(two).batch == 512, "a scheduler for each replica"


def test_a_limit_on_tokens_bounds_the_batch(predictor: Predictor) -> None:
    limit = 0.02
    batch = predictor.settled(POINT._replace(limits=Limits(token_s=limit))).batch
    assert run_s(predictor, batch) <= limit * POINT.osl < run_s(predictor, round(batch * NEAR) + 1)
    assert predictor.settled(POINT._replace(limits=Limits(token_s=1e-6))).batch == 1
    assert predictor.settled(POINT._replace(limits=Limits(token_s=1e6))).batch == predictor.settled(POINT).batch


def test_arrivals_keep_as_many_in_flight_as_littles_law_says(predictor: Predictor) -> None:
    rate = 8.0
    batch = predictor.settled(POINT._replace(limits=Limits(requests_per_s=rate))).batch
    assert batch / NEAR - 1 <= rate * run_s(predictor, batch) <= batch
    most = predictor.settled(POINT._replace(limits=Limits(256, requests_per_s=1e6))).batch
    assert most == 256, "more arrive than the server clears"


def test_what_leaves_a_server_is_what_arrives_or_what_it_can(points: MakePoints) -> None:
    rates = ("0.5", "8", "1e6")
    rows = [{**ROW, "request_rate": rate, "metric": "output_tokens_per_s"} for rate in rates]
    slow, busy, full = predict_inference(points("inference", rows), {}).predicted.tolist()
    assert (slow, busy) == (0.5 * 128, 8 * 128)
    saturated = {**ROW, "batch_kind": "saturated", "metric": "output_tokens_per_s"}
    assert full == pytest.approx(predict_inference(points("inference", [saturated]), {}).predicted[0], rel=0.02)


def test_tokens_of_a_busy_server_come_slower_and_a_first_one_waits_for_its_turn(points: MakePoints) -> None:
    rows = [
        {**ROW, "request_rate": rate, "metric": metric} for metric in ("tpot_s", "ttft_s") for rate in ("0.5", "16")
    ]
    idle_step, busy_step, idle_first, busy_first = predict_inference(points("inference", rows), {}).predicted.tolist()
    assert busy_step > idle_step
    assert busy_first - idle_first == pytest.approx(busy_step - idle_step)
