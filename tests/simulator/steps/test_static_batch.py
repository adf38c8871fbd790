"""The closed form of a static batch: contexts, identities between its times, pipelines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.prepared import Prepared, prepare
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.static_batch import BatchCost, decode_contexts, host_seconds, price_batch
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")


def priced(scenario: Scenario) -> tuple[Prepared, BatchCost]:
    prepared = prepare(scenario)
    work = scenario.workload
    assert isinstance(work, StaticBatch)
    return prepared, price_batch(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)


@given(st.integers(1, 10_000), st.integers(1, 20_000), st.floats(-1.0, 1.0), st.floats(0.0, 10.0))
def test_contexts_stand_for_all_steps_and_sum_a_linear_function_exactly(
    isl: int, osl: int, slope: float, offset: float
) -> None:
    contexts, weights = decode_contexts(isl, osl)
    assert sum(weights) == pytest.approx(osl - 1)
    assert all(isl < context < isl + osl for context in contexts)
    exact = sum(offset + slope * (isl + 1 + step) for step in range(osl - 1))
    assert sum(w * (offset + slope * c) for c, w in zip(contexts, weights, strict=True)) == pytest.approx(
        exact, rel=1e-9, abs=1e-6
    )


@pytest.mark.parametrize("osl", [1, 2, 10, 100])
def test_times_agree_with_each_other(one_pool: Callable[..., Scenario], osl: int) -> None:
    _, cost = priced(one_pool(StaticBatch(MODEL, 4, 128, osl), "h100-sxm-80gb"))
    assert cost.e2e_s == pytest.approx(cost.ttft_s + (osl - 1) * (cost.tpot_s or 0.0))
    assert (cost.tpot_s is None) == (osl == 1)
    assert cost.busy_s + cost.host_s * osl == pytest.approx(cost.e2e_s)


def test_few_steps_are_priced_one_by_one(one_pool: Callable[..., Scenario]) -> None:
    """A batch of osl n takes what osl n - 1 takes and one step more, at the last context."""
    longer, shorter = (priced(one_pool(StaticBatch(MODEL, 2, 64, n), "h100-sxm-80gb"))[1] for n in (8, 7))
    last = priced(one_pool(StaticBatch(MODEL, 2, 64 + 6, 2), "h100-sxm-80gb"))[1]
    assert longer.decode_s - shorter.decode_s == pytest.approx(last.decode_s)


def test_every_step_pays_the_host(one_pool: Callable[..., Scenario]) -> None:
    prepared, cost = priced(one_pool(StaticBatch(MODEL, 8, 32, 20), "h100-sxm-80gb", runtime="vllm-0.6"))
    host = host_seconds(prepared.pool.runtime, 8)
    assert host > prepared.pool.runtime.host_step.value > 0.0
    assert cost.ttft_s == pytest.approx(cost.prefill.total_s + host)
    assert cost.e2e_s - cost.busy_s == pytest.approx(20 * host)


def test_pipeline_fills_once_then_a_micro_batch_leaves_per_stage_time(one_pool: Callable[..., Scenario]) -> None:
    _, cost = priced(one_pool(StaticBatch(MODEL, 8, 128, 4), "h100-sxm-80gb", pp=4))
    stage = cost.prefill.total_s / 4
    assert cost.ttft_s == pytest.approx((4 + 4 - 1) * stage + cost.host_s)
    # Each device is busy with four micro-batches and waits in the bubble.
    one_step = cost.decode_s / 3 - cost.host_s
    assert cost.busy_s == pytest.approx(4 * stage + 3 * one_step)


def test_a_single_sequence_leaves_all_but_one_stage_idle(one_pool: Callable[..., Scenario]) -> None:
    _, cost = priced(one_pool(StaticBatch(MODEL, 1, 128, 1), "h100-sxm-80gb", pp=4))
    assert cost.ttft_s == pytest.approx(cost.prefill.total_s + cost.host_s)
    assert cost.busy_s == pytest.approx(cost.prefill.total_s / 4)


@pytest.mark.parametrize("axis", ["tp", "dp"])
def test_more_devices_are_faster_on_a_long_prompt(one_pool: Callable[..., Scenario], axis: str) -> None:
    work = StaticBatch(MODEL, 8, 4096, 2)
    alone = priced(one_pool(work, "h100-sxm-80gb"))[1].ttft_s
    assert priced(one_pool(work, "h100-sxm-80gb", **{axis: 2}))[1].ttft_s < alone
