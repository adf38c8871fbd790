"""One pool on the engine takes exactly as long as the closed form says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from simulator.placement.single import decode_of, prefill_of, run_steps, training_step, watch
from simulator.prepared import prepare
from simulator.scenario import Scenario, StaticBatch, TrainStep, Workload
from simulator.simulate import simulate
from simulator.steps.pricing import price_graph
from simulator.steps.static_batch import price_batch
from simulator.steps.train_step import price_step
from workloads.models.catalogue import load_model

DENSE, MOE, MLA, SSM, ENCODER = (
    load_model(name)
    for name in ("llama-3.2-1b", "qwen1.5-moe-a2.7b", "deepseek-v2-lite", "mamba2-2.7b", "bert-base-uncased")
)


def one_after_the_other(scenario: Scenario) -> Scenario:
    """``scenario`` under its runtime as the engine runs it: each operator is launched and moved by itself."""
    pool = scenario.pools[0]
    runtime = structs.replace(pool.runtime, runs_ahead=False, overlaps_tensor=False)
    return structs.replace(scenario, pools=(structs.replace(pool, runtime=runtime),))


def both(scenario: Scenario) -> tuple[float, float]:
    """Seconds on the engine and in closed form, of a prompt and a decode step or of a micro-batch."""
    if isinstance(scenario.workload, TrainStep):
        scenario = one_after_the_other(scenario)
    prepared = prepare(scenario)
    work, plan = scenario.workload, prepared.pool.plan
    if isinstance(work, TrainStep):
        steps = [training_step(prepared, work)]
    else:
        assert isinstance(work, StaticBatch)
        prompts = prefill_of(prepared, work)
        steps = [*prompts, *decode_of(prepared, work, 1, len(prompts))]
    run = run_steps(prepared, steps)
    assert sum(run.end_s[i] - run.start_s[i] for i in run.critical_path()) == pytest.approx(run.makespan_s)
    if isinstance(work, TrainStep):
        step = price_step(work, plan, prepared.how, prepared.model, prepared.communicators)
        # One micro-batch: no other one fills the bubble.
        return run.makespan_s, step.step_s - step.update.total_s - step.reduce_s
    assert isinstance(work, StaticBatch)
    batch = price_batch(work, plan, prepared.how, prepared.model, prepared.communicators)
    return run.makespan_s, batch.e2e_s


CASES: list[tuple[str, Workload, dict[str, int]]] = [
    ("h100-sxm-80gb", StaticBatch(DENSE, 4, 256, 2), {}),
    ("tpu-v5e", StaticBatch(DENSE, 4, 256, 2), {}),
    ("xeon-8480-plus", StaticBatch(DENSE, 4, 256, 2), {}),
    ("alveo-u280", StaticBatch(DENSE, 4, 256, 2), {}),
    ("gaudi-2", StaticBatch(DENSE, 4, 256, 2), {}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 4, 256, 1), {"tp": 2}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 4, 256, 2), {"tp": 8}),
    ("mi300x", StaticBatch(DENSE, 4, 256, 2), {"tp": 8}),
    ("tpu-v5e", StaticBatch(DENSE, 4, 256, 2), {"tp": 4}),
    ("l40s", StaticBatch(DENSE, 4, 256, 2), {"tp": 4}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 1, 256, 2), {"pp": 2}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 1, 256, 2), {"tp": 2, "pp": 4}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 1, 256, 2), {"tp": 8, "pp": 2}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 4, 256, 2), {"tp": 16}),
    ("h100-sxm-80gb", StaticBatch(MOE, 8, 64, 2), {"tp": 2, "dp": 2, "ep": 4}),
    ("h100-sxm-80gb", StaticBatch(MLA, 8, 64, 2), {"tp": 4, "ep": 4}),
    ("h100-sxm-80gb", StaticBatch(SSM, 2, 128, 2), {"tp": 2}),
    ("tpu-v5e", StaticBatch(SSM, 2, 128, 2), {}),
    ("h100-sxm-80gb", StaticBatch(ENCODER, 16, 128, 1), {"tp": 2}),
    # Prompts in chunks, several micro-batches and chunks through unequal stages, prompts cut at the edge of a step.
    ("rtx-4090", StaticBatch(DENSE, 1, 1500, 2), {}),
    ("rtx-4090", StaticBatch(DENSE, 3, 200, 1), {}),
    ("rtx-4090", StaticBatch(DENSE, 1, 2048, 2), {"pp": 2}),
    ("rtx-4090", StaticBatch(DENSE, 2, 1300, 1), {"pp": 4}),
    ("rtx-4090", StaticBatch(DENSE, 2, 3500, 1), {"pp": 8}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 8, 256, 1), {"pp": 2}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 7, 256, 1), {"pp": 3}),
    ("h100-sxm-80gb", StaticBatch(DENSE, 15, 64, 1), {"pp": 15}),
    ("h100-sxm-80gb", StaticBatch(MOE, 8, 64, 1), {"pp": 4}),
    ("h100-sxm-80gb", StaticBatch(load_model("llama-3.1-8b"), 5, 64, 1), {"pp": 31}),
    ("h100-sxm-80gb", TrainStep(DENSE, 1, 512), {"recompute": "selective"}),
    ("h100-sxm-80gb", TrainStep(DENSE, 1, 512), {"tp": 2, "pp": 4, "recompute": "full"}),
    ("h100-sxm-80gb", TrainStep(MOE, 2, 128), {"dp": 2, "ep": 2}),
    ("tpu-v5e", TrainStep(DENSE, 2, 512), {"tp": 4, "dp": 2}),
    ("h100-sxm-80gb", TrainStep(DENSE, 1, 512, lora_rank=8), {"tp": 2}),
]


@pytest.mark.parametrize(("device", "work", "plan"), CASES)
def test_equals_the_closed_form(
    one_pool: Callable[..., Scenario], device: str, work: Workload, plan: dict[str, Any]
) -> None:
    seen, closed = both(one_pool(work, device, **plan))
    assert seen == pytest.approx(closed, rel=1e-9)


@pytest.mark.parametrize(("batch", "pp"), [(4, 2), (1, 4), (15, 15), (6, 3)])
def test_decode_rounds_follow_each_other_as_the_closed_form_says(
    one_pool: Callable[..., Scenario], batch: int, pp: int
) -> None:
    """Micro-batches begin their next token when they have left the last stage and the first one is free.

    A model without attention, so that all steps are equal.
    """
    work = StaticBatch(SSM, batch, 64, 9)
    prepared = prepare(one_pool(work, "h100-sxm-80gb", pp=pp))
    prompts = prefill_of(prepared, work)
    ends = [run_steps(prepared, [*prompts, *decode_of(prepared, work, n, len(prompts))]).makespan_s for n in (4, 6)]
    closed = price_batch(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)
    assert (ends[1] - ends[0]) / 2.0 == pytest.approx(closed.tpot_s, rel=1e-9)


def test_every_operator_runs_as_often_as_its_graph_says(one_pool: Callable[..., Scenario]) -> None:
    prepared = prepare(one_pool(StaticBatch(MOE, 2, 64, 1), "h100-sxm-80gb", tp=2))
    work = prepared.scenario.workload
    assert isinstance(work, StaticBatch)
    (step,) = prefill_of(prepared, work)
    graph = step.lower(prepared.how)
    run = run_steps(prepared, [step])
    names = [task.name for task in run.program.tasks if task.family != "host"]
    assert len(names) == graph.repeat.sum()
    priced = price_graph(graph, prepared.model, prepared.communicators)
    static_j = float(prepared.model.record["static_w"]) * float(priced.time_s @ priced.graph.repeat)
    assert sum(task.dynamic_j for task in run.program.tasks) == pytest.approx(priced.total_j - static_j)


def test_the_picture_shows_stages_and_links(one_pool: Callable[..., Scenario]) -> None:
    timeline = watch(prepare(one_pool(StaticBatch(DENSE, 1, 64, 2), "h100-sxm-80gb", tp=2, pp=2)))
    assert {"h100-sxm-80gb:0-1", "h100-sxm-80gb:2-3", "h100-sxm-80gb:0-1 nvlink4"} <= set(timeline.resources)
    lanes = {span.lane for span in timeline.spans if span.resource == "h100-sxm-80gb:0-1 nvlink4"}
    assert lanes == {"out", "in"}


@pytest.mark.parametrize(
    ("device", "work", "plan"),
    [
        ("h100-sxm-80gb", StaticBatch(DENSE, 4, 256, 2), {}),
        ("alveo-u280", StaticBatch(DENSE, 4, 256, 2), {}),
        ("h100-sxm-80gb", StaticBatch(DENSE, 4, 256, 2), {"tp": 8}),
    ],
)
def test_power_over_time_is_the_energy_of_the_batch(
    one_pool: Callable[..., Scenario], device: str, work: Workload, plan: dict[str, Any]
) -> None:
    result = simulate(one_pool(work, device, **plan), timeline=True)
    seen = result.timeline
    (unit,) = seen.static_w
    steps = [*seen.power_w(unit), (seen.end_s, 0.0)]
    joules = sum(power * (later - at) for (at, power), (later, _) in itertools.pairwise(steps))
    assert joules * result.pools[0].count == pytest.approx(result.energy.device, rel=1e-9)
    assert min(power for _, power in steps[:-1]) == pytest.approx(seen.static_w[unit])
    assert seen.power_w("no such resource") == []
