"""The closed form of a static batch: contexts, identities between its times, pipelines."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.prepared import Prepared, prepare
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.pipeline import send_seconds, stage_seconds
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
    assert cost.busy_s + cost.prefill_host_s + cost.decode_host_s == pytest.approx(cost.e2e_s)


def test_few_steps_are_priced_one_by_one(one_pool: Callable[..., Scenario]) -> None:
    """A batch of osl n takes what osl n - 1 takes and one step more, at the last context."""
    longer, shorter = (priced(one_pool(StaticBatch(MODEL, 2, 64, n), "h100-sxm-80gb"))[1] for n in (8, 7))
    last = priced(one_pool(StaticBatch(MODEL, 2, 64 + 6, 2), "h100-sxm-80gb"))[1]
    assert longer.decode_s - shorter.decode_s == pytest.approx(last.decode_s)


def test_every_step_pays_the_host(one_pool: Callable[..., Scenario]) -> None:
    prepared, cost = priced(one_pool(StaticBatch(MODEL, 8, 32, 20), "h100-sxm-80gb", runtime="vllm-0.6"))
    host = host_seconds(prepared.pool.runtime, 8)
    assert host > prepared.pool.runtime.host_step.value > 0.0
    assert cost.ttft_s == pytest.approx(cost.prefill[0].priced.total_s + host)
    assert cost.e2e_s - cost.busy_s == pytest.approx(20 * host)


def test_every_chunk_pays_the_host(one_pool: Callable[..., Scenario]) -> None:
    """4 prompts of 1200 tokens in chunks of 512: 8 whole chunks, and 704 tokens left in two steps."""
    prepared, cost = priced(one_pool(StaticBatch(MODEL, 4, 1200, 1), "rtx-4090", runtime="llamacpp-2025"))
    assert [(step.times, step.priced.graph.operators[0].m) for step in cost.prefill] == [
        (4.0, 512), (4.0, 512), (1.0, 512), (1.0, 704 - 512)
    ]  # fmt: skip
    runtime = prepared.pool.runtime
    assert runtime.host_sequence is not None
    finishing = 8 + 704 / 176
    assert cost.prefill_host_s == pytest.approx(10 * runtime.host_step.value + finishing * runtime.host_sequence.value)
    assert cost.ttft_s == pytest.approx(cost.busy_s + cost.prefill_host_s)


def test_chunks_do_the_same_work_and_take_longer(one_pool: Callable[..., Scenario]) -> None:
    """All FLOPs of attention and products are there, whatever the chunk; weights are read once a step."""
    work = StaticBatch(MODEL, 2, 4096, 1)
    scenario = one_pool(work, "rtx-4090", runtime="llamacpp-2025")
    pool = scenario.pools[0]
    flops, seconds = [], []
    for chunk in (256, 1000, 8192, 0):
        runtime = msgspec.structs.replace(pool.runtime, prefill_chunk=chunk)
        other = msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, runtime=runtime),))
        cost = priced(other)[1]
        heads = sum(s.times * o.flops for s in cost.prefill for o in s.priced.graph.operators if "head" in o.name)
        flops.append(sum(s.times * s.priced.graph.flops for s in cost.prefill) - heads)
        seconds.append(cost.ttft_s)
    assert flops == pytest.approx([flops[0]] * 4, rel=1e-12)
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[2] == seconds[3]


def test_pipeline_fills_once_then_a_micro_batch_leaves_per_stage_time(one_pool: Callable[..., Scenario]) -> None:
    _, cost = priced(one_pool(StaticBatch(MODEL, 8, 128, 4), "h100-sxm-80gb", pp=4))
    (prefill,) = cost.prefill
    stages = stage_seconds(prefill.priced, 4)
    sends = 3 * send_seconds(prefill.priced)
    assert cost.ttft_s == pytest.approx(sum(stages) + sends + 3 * max(stages) + prefill.host_s)
    # Each device is busy with four micro-batches of every step and waits in the bubble.
    decode = sum(step.times * step.priced.total_s for step in cost.decode)
    assert cost.busy_s == pytest.approx(sum(stages) + sends + decode)
    assert cost.decode_s == pytest.approx(
        sum(max(s.priced.total_s + s.host_s, 4 * max(stage_seconds(s.priced, 4)), 4 * s.host_s) for s in cost.decode)
    )


def test_a_pipeline_runs_at_its_fullest_stage(one_pool: Callable[..., Scenario]) -> None:
    """31 stages of 32 layers: one stage has two, so that a step takes nearly as long as on 16 stages."""
    work = StaticBatch(load_model("llama-3.1-8b"), 64, 256, 1)
    costs = {pp: priced(one_pool(work, "h100-sxm-80gb", pp=pp))[1] for pp in (16, 31)}
    stages = stage_seconds(costs[31].prefill[0].priced, 31)
    layer = stages[1]
    assert stages[1:-1] == pytest.approx([layer] * 29)
    assert stages[0] == pytest.approx(2 * layer, rel=0.1)
    assert sum(stages) + 30 * send_seconds(costs[31].prefill[0].priced) == pytest.approx(
        costs[31].prefill[0].priced.total_s
    )


def test_a_single_sequence_leaves_all_but_one_stage_idle(one_pool: Callable[..., Scenario]) -> None:
    _, cost = priced(one_pool(StaticBatch(MODEL, 1, 128, 1), "h100-sxm-80gb", pp=4))
    (prefill,) = cost.prefill
    assert cost.ttft_s == pytest.approx(prefill.priced.total_s + prefill.host_s)
    assert cost.busy_s == pytest.approx(prefill.priced.total_s / 4)


def test_chunks_of_one_prompt_fill_the_stages(one_pool: Callable[..., Scenario]) -> None:
    """A prompt of 16 chunks on four cards: chunk i is on one stage while chunk i + 1 is on the one before."""
    work = StaticBatch(MODEL, 1, 8192, 1)
    alone, four = (priced(one_pool(work, "rtx-4090", runtime="llamacpp-2025", pp=pp))[1] for pp in (1, 4))
    assert 2.0 < alone.ttft_s / four.ttft_s < 4.0
    short = StaticBatch(MODEL, 1, 512, 1)
    one, many = (priced(one_pool(short, "rtx-4090", runtime="llamacpp-2025", pp=pp))[1] for pp in (1, 4))
    assert many.ttft_s >= one.ttft_s


@pytest.mark.parametrize("axis", ["tp", "dp"])
def test_more_devices_are_faster_on_a_long_prompt(one_pool: Callable[..., Scenario], axis: str) -> None:
    work = StaticBatch(MODEL, 8, 4096, 2)
    alone = priced(one_pool(work, "h100-sxm-80gb"))[1].ttft_s
    assert priced(one_pool(work, "h100-sxm-80gb", **{axis: 2}))[1].ttft_s < alone
