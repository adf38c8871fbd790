"""Servers whose queue never empties: the batch that they hold, and what they answer."""

from __future__ import annotations

import math

import pytest

from hardware_specs.errors import InputError
from simulator import memory
from simulator.prepared import Prepared, prepare
from simulator.scenario import Formats, Plan
from simulator.validation.assumptions import complete
from simulator.validation.inference import is_served
from simulator.validation.inference_point import WHAT_FITS, Limits, Point, point_of
from simulator.validation.one_pool import device_of
from simulator.validation.predictor import Predictor
from simulator.validation.requests import requests_in
from simulator.validation.saturated import BLOCK_TOKENS, Asks, saturated_rate, server_of
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

POINT = Point(
    "llama-3.1-8b", "h100-sxm-80gb", WHAT_FITS, 1000, 1000, Plan(), "trtllm-1.0", Formats("bf16", "bf16"), Limits()
)
ARCH = load_model(POINT.model)
LARGE = POINT._replace(model="llama-3-70b", formats=Formats("fp8", "fp8", "fp8"))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor({})


def ready(predictor: Predictor, point: Point) -> Prepared:
    return prepare(predictor.scenario(point._replace(batch=point.plan.dp)))


def tokens_per_s(predictor: Predictor, point: Point) -> float:
    return predictor.rate(point).requests_per_s * point.osl


def test_a_runtime_that_reserves_answers_holds_whole_requests(predictor: Predictor) -> None:
    asks = Asks(1000, 1000, 0, 4096)
    _, limits = server_of(ready(predictor, POINT), ARCH, asks)
    assert limits.sequences == limits.blocks // math.ceil(2000 / BLOCK_TOKENS)
    assert server_of(ready(predictor, POINT), ARCH, asks._replace(requests=3))[1] == limits
    assert server_of(ready(predictor, POINT), ARCH, asks._replace(sequences=7))[1].sequences == 7


def test_others_admit_what_they_may_run(predictor: Predictor) -> None:
    point, asks = POINT._replace(runtime="vllm-0.19"), Asks(1000, 1000, 0, 1024)
    _, limits = server_of(ready(predictor, point), ARCH, asks)
    assert limits.sequences == 1024 > limits.blocks // math.ceil(2000 / BLOCK_TOKENS)


def test_the_cache_takes_its_share_of_what_is_left(predictor: Predictor) -> None:
    prepared, asks = ready(predictor, POINT), Asks(1000, 1000, 0, 64)
    _, limits = server_of(prepared, ARCH, asks)
    runtime, sharding = prepared.pool.runtime, prepared.how.sharding
    held = memory.weight_bytes(ARCH, prepared.precision, sharding) + runtime.context.value
    held += memory.inference_activation_bytes(ARCH, 8192, 64, prepared.precision, 1)
    assert runtime.free_memory_share is not None
    free = runtime.free_memory_share.value * (prepared.pool.device.usable_bytes - held)
    each = memory.kv_bytes_per_sequence(ARCH, float(BLOCK_TOKENS), prepared.precision, sharding)
    assert limits.blocks == pytest.approx(free / each, abs=1.0)


def test_one_batch_takes_what_a_static_one_does(predictor: Predictor) -> None:
    for runtime in ("trtllm-1.0", "vllm-0.10"):
        point = POINT._replace(runtime=runtime)
        static = predictor.result(point._replace(batch=32)).metrics["e2e_s"]
        served = 32 / predictor.rate(point._replace(limits=Limits(requests=32))).requests_per_s
        assert served == pytest.approx(static, rel=0.05)


def test_the_last_batch_is_emptier(predictor: Predictor) -> None:
    endless = predictor.rate(POINT)
    few = predictor.rate(POINT._replace(limits=Limits(requests=endless.sequences + 1)))
    many = predictor.rate(POINT._replace(limits=Limits(requests=40 * endless.sequences)))
    assert few.requests_per_s < 0.85 * endless.requests_per_s
    assert many.requests_per_s == pytest.approx(endless.requests_per_s, rel=0.05)


def test_replicas_answer_as_many_times_as_much(predictor: Predictor) -> None:
    one, two = predictor.rate(POINT), predictor.rate(POINT._replace(plan=Plan(dp=2)))
    assert two == (2.0 * one.requests_per_s, 2 * one.sequences)


def test_more_memory_and_bandwidth_answer_more(predictor: Predictor) -> None:
    assert tokens_per_s(predictor, POINT._replace(device="h200-sxm-141gb")) > 1.2 * tokens_per_s(predictor, POINT)


def test_a_model_that_nearly_fills_a_device_gains_more_than_twice_from_two(predictor: Predictor) -> None:
    one, two = (tokens_per_s(predictor, LARGE._replace(plan=Plan(tp))) for tp in (1, 2))
    assert two > 4.0 * one


def test_eight_devices_on_pcie_gain_little_over_four(predictor: Predictor) -> None:
    point = LARGE._replace(device="l40s", isl=2048, osl=128)
    four, eight = (tokens_per_s(predictor, point._replace(plan=Plan(tp))) for tp in (4, 8))
    linked = LARGE._replace(isl=2048, osl=128)
    fast = [tokens_per_s(predictor, linked._replace(plan=Plan(tp))) for tp in (4, 8)]
    assert eight < 1.1 * four
    assert fast[1] > 1.25 * fast[0]


def test_what_does_not_fit_or_is_a_pipeline_says_so(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="cannot serve"):
        predictor.rate(LARGE._replace(device="l40s"))
    with pytest.raises(InputError, match="--pp 2: pipelines are not served"):
        predictor.rate(POINT._replace(plan=Plan(pp=2)))
    prepared = ready(predictor, POINT)
    with pytest.raises(InputError, match="not even one sequence fits"):
        saturated_rate(prepared, ARCH, Asks(10_000_000, 1, 0, 4), "key", {})


def test_only_throughput_of_what_fits_is_served() -> None:
    assert is_served(POINT, "output_tokens_per_s")
    assert not is_served(POINT, "ttft_s")
    assert not is_served(POINT._replace(batch=8), "output_tokens_per_s")
    assert not is_served(POINT._replace(limits=Limits(requests_per_s=2.0)), "output_tokens_per_s")
    assert not is_served(POINT._replace(plan=Plan(pp=2)), "output_tokens_per_s")


@pytest.mark.parametrize(
    ("text", "lengths", "requests"),
    [
        ("num_prompts=3200, max_num_seqs=3200", (128, 2048), "3200"),
        ("TensorRT-LLM v1.0 trtllm-bench", (128, 2048), "3000"),
        ("TensorRT-LLM v1.0 trtllm-bench", (128.0, 4096.0), "1500"),
        ("TensorRT-LLM v1.0 trtllm-bench", (17, 23), ""),
        ("TensorRT-LLM v1.0", (128, 2048), ""),
        ("trtllm-bench", (None, 2048), ""),
    ],
)
def test_how_many_requests_a_benchmark_sends(text: str, lengths: tuple[float | None, float], requests: str) -> None:
    assert requests_in(text, *lengths) == requests


def test_data_parallel_attention_is_what_a_row_says() -> None:
    row = {"device": "h200-sxm-141gb", "model": "qwen3-235b-a22b", "weight_dtype": "fp8", "tp": "8", "n_devices": "8",
           "batch_kind": "saturated", "input_len": "1000", "output_len": "1000", "metric": "output_tokens_per_s",
           "note": "attention DP for MoE in v1.0"}  # fmt: skip
    spec, runtime = device_of(row["device"]), load_runtime("trtllm-1.0")
    cells, found = complete(row, spec, runtime, {})
    assert point_of(cells, spec.id, runtime.id).plan == Plan(tp=1, dp=8, ep=8)
    assert [each.column for each in found] == ["tp"]
    dense, _ = complete({**row, "model": "llama-3-70b"}, spec, runtime, {})
    assert point_of(dense, spec.id, runtime.id).plan == Plan(tp=8)
