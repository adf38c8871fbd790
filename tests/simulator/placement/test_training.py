"""Training on several pools: the closed form where one does it all, pipelines, optimizers elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.placement import rhythm
from simulator.placement.pools import common_structure
from simulator.placement.training import priced_pools, shape_of
from simulator.prepared import prepare_pool
from simulator.result import Result
from simulator.scenario import Pool, Rule, Scenario, TrainStep
from simulator.simulate import simulate
from simulator.steps.pricing import phase_cost
from simulator.steps.training_result import training_result
from simulator.timeline import Timeline
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

MODEL = load_model("llama-3.2-1b")
PODS = ("gpu-tpu-pods", [("h100-sxm-80gb", 2), ("tpu-v5e", 8)])
GPU, TPU = "h100-sxm-80gb", "tpu-v5e"
HALF = (Rule(TPU, layers=(8, 15)),)


def train(batch: int, **more: int) -> TrainStep:
    return TrainStep(MODEL, batch, 1024, **more)


def alone(scenario: Scenario, pool: int) -> Result:
    single = msgspec.structs.replace(scenario, pools=(scenario.pools[pool],), rules=())
    assert isinstance(single.workload, TrainStep)
    return training_result(prepare_pool(single, single.pools[0]), single.workload, Timeline(()))


def one_after_the_other(pool: Pool) -> Pool:
    """``pool`` under its runtime as the engine runs it: operators are launched and moved one by one, hosts in line."""
    host = msgspec.structs.replace(pool.runtime.host_step, value=0.0)
    runtime = msgspec.structs.replace(pool.runtime, runs_ahead=False, overlaps_tensor=False, host_step=host)
    return msgspec.structs.replace(pool, runtime=runtime)


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_all_on_one_pool_is_the_closed_form(pools: Callable[..., Scenario], batch: int) -> None:
    scenario = pools(train(batch), *PODS)
    scenario = msgspec.structs.replace(scenario, pools=tuple(map(one_after_the_other, scenario.pools)))
    result, closed = simulate(scenario), alone(scenario, 0)
    assert result.metrics["step_time_s"] == pytest.approx(closed.metrics["step_time_s"], rel=1e-9)
    assert set(result.metrics) == set(closed.metrics)
    assert result.kind == closed.kind
    assert result.pools[0].energy_j == pytest.approx(closed.pools[0].energy_j, rel=1e-9)
    mine, theirs = result.pools[0].memory, closed.memory
    assert msgspec.structs.asdict(mine) == pytest.approx(msgspec.structs.asdict(theirs))
    assert result.bound == closed.bound


@pytest.mark.parametrize("rules", [HALF, (Rule(TPU, operator="mlp.*"),), (Rule(TPU, phase="update"),)])
def test_the_rhythm_is_what_running_every_micro_batch_gives(
    pools: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch, rules: tuple[Rule, ...]
) -> None:
    scenario = pools(train(33), *PODS, rules)
    monkeypatch.setattr(rhythm, "FEWEST", 8)
    short = simulate(scenario)
    monkeypatch.setattr(rhythm, "FEWEST", 1000)
    long = simulate(scenario)
    assert short.warnings and not long.warnings
    assert short.metrics["step_time_s"] == pytest.approx(long.metrics["step_time_s"], rel=1e-9)
    assert short.energy.device == pytest.approx(long.energy.device, rel=1e-9)
    assert sum(short.breakdown.values()) == pytest.approx(short.metrics["step_time_s"])


def test_two_stages_overlap_micro_batches(pools: Callable[..., Scenario]) -> None:
    """Far below one after the other, above the busier stage, and the first forward fills the pipeline."""
    one, eight = (simulate(pools(train(n), *PODS, HALF)) for n in (1, 8))
    single, step = one.metrics["step_time_s"] or 0.0, eight.metrics["step_time_s"] or 0.0
    assert max(pool.busy_s for pool in eight.pools) < step < 0.8 * 8 * single
    assert all(pool.busy_s > 0.0 for pool in eight.pools)


def test_parameters_and_states_lie_where_their_layers_run(pools: Callable[..., Scenario]) -> None:
    gpu, tpu = simulate(pools(train(4), *PODS, HALF)).pools
    layer = (count_parameters(MODEL).attention + count_parameters(MODEL).mlp) / 16
    assert tpu.memory.optimizer == pytest.approx(8 * layer / 8 * 12.0, rel=1e-2)
    held = (gpu.memory.optimizer * 2 + tpu.memory.optimizer * 8) / 12.0
    assert held == pytest.approx(count_parameters(MODEL).total, rel=1e-2)
    assert tpu.memory.activations < gpu.memory.activations


def test_an_optimizer_elsewhere_receives_gradients_and_returns_weights(pools: Callable[..., Scenario]) -> None:
    here, there = (simulate(pools(train(2), *PODS, rules)) for rules in ((), (Rule(TPU, phase="update"),)))
    assert there.pools[0].memory.optimizer == 0.0
    assert there.pools[0].memory.gradients == pytest.approx(here.pools[0].memory.gradients, rel=1e-3)
    assert there.pools[1].memory.optimizer > 0.0
    moved = there.breakdown["transfer"] * 25e9 * 2 * 0.9
    assert moved == pytest.approx(count_parameters(MODEL).total * 6.0, rel=0.2)


def test_adapters_alone_are_updated(pools: Callable[..., Scenario]) -> None:
    whole, adapters = (simulate(pools(train(2, lora_rank=r), *PODS, HALF)) for r in (0, 8))
    for mine, full in zip(adapters.pools, whole.pools, strict=True):
        assert 0.0 < mine.memory.optimizer < 0.03 * full.memory.optimizer


def test_phases_show_each_device(pools: Callable[..., Scenario]) -> None:
    result = simulate(pools(train(2), *PODS, HALF))
    shown = {(phase.name, phase.operators[0].device) for phase in result.phases}
    assert shown == {(p, d) for p in ("forward", "backward", "update") for d in (GPU, TPU)}


def test_refuses_a_backward_away_from_its_forward(pools: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match="its backward on tpu-v5e; the backward needs what the forward kept"):
        simulate(pools(train(1), *PODS, (Rule(TPU, phase="backward"),)))


def test_refuses_rules_of_inference(pools: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match="'decode' places no operator"):
        simulate(pools(train(1), *PODS, (Rule(TPU, phase="decode"),)))


def replicas(scenario: Scenario, ways: list[tuple[int, int, int]]) -> Scenario:
    """``scenario`` whose pools are cut (tp, dp, micro-batch)."""
    plans = [
        msgspec.structs.replace(pool.plan, tp=tp, dp=dp, micro_batch=micro)
        for pool, (tp, dp, micro) in zip(scenario.pools, ways, strict=True)
    ]
    made = [msgspec.structs.replace(pool, plan=plan) for pool, plan in zip(scenario.pools, plans, strict=True)]
    return msgspec.structs.replace(scenario, pools=tuple(made))


def test_pools_have_replicas_of_their_own(pools: Callable[..., Scenario]) -> None:
    """The same sequences cross however each pool cuts them; a pool that takes fewer at once runs several times."""
    scenario = pools(train(32), *PODS, HALF)
    ways = [[(2, 1, 8), (8, 1, 8)], [(1, 2, 4), (1, 8, 1)], [(2, 1, 8), (2, 4, 1)]]
    results = [simulate(replicas(scenario, each)) for each in ways]
    crossed = [
        sum(span.amount for span in each.timeline.spans if span.name == "transfer" and " > " in span.resource)
        for each in results
    ]
    assert crossed[0] == pytest.approx(crossed[1]) == pytest.approx(crossed[2])
    one, four = (simulate(replicas(scenario, [(2, 1, m), (8, 1, 8)])) for m in (8, 2))
    assert four.pools[0].busy_s == pytest.approx(one.pools[0].busy_s, rel=0.35)
    assert four.pools[0].memory.activations == pytest.approx(one.pools[0].memory.activations, rel=0.35)


def test_several_passes_are_as_many_calls(pools: Callable[..., Scenario]) -> None:
    """FLOPs, bytes and times are those of all passes; whether calls lie between measured ones is asked of one."""
    work = train(32)
    prepared = common_structure(replicas(pools(work, *PODS, HALF), [(2, 1, 2), (8, 1, 8)]), replicas=True)
    shape = shape_of(work, prepared)
    assert shape.passes == {GPU: 4, TPU: 1}
    four = priced_pools(work, prepared, shape).priced[GPU]
    one = priced_pools(work, prepared, replace(shape, passes={GPU: 1, TPU: 1})).priced[GPU]
    model = prepared[0].model
    together, single = model.reach(four.graph.columns), model.reach(one.graph.columns)
    assert (together.interpolated != single.interpolated).any()
    for mine, theirs in zip(
        phase_cost("step", four, model).operators, phase_cost("step", one, model).operators, strict=True
    ):
        for name in ("time_s", "flops", "moved_bytes", "interpolated_s", "extrapolated_s"):
            assert getattr(mine, name) == pytest.approx(4.0 * getattr(theirs, name), rel=1e-12), (mine.name, name)


def test_replicas_cut_states_and_exchange_gradients(pools: Callable[..., Scenario]) -> None:
    whole = pools(train(32), *PODS, HALF)
    one, eight = (simulate(replicas(whole, [(2, 1, 8), each])) for each in ((8, 1, 8), (1, 8, 1)))
    assert eight.pools[1].memory.weights == pytest.approx(8 * one.pools[1].memory.weights, rel=0.01)
    assert eight.breakdown["collective"] > 0.0
    gpu = replicas(pools(train(32), *PODS, HALF), [(1, 2, 4), (8, 1, 8)])
    zero = [
        msgspec.structs.replace(gpu.pools[0], plan=msgspec.structs.replace(gpu.pools[0].plan, zero=stage))
        for stage in (0, 1)
    ]
    kept, cut = (simulate(msgspec.structs.replace(gpu, pools=(pool, gpu.pools[1]))) for pool in zero)
    assert kept.pools[0].memory.optimizer == pytest.approx(2 * cut.pools[0].memory.optimizer)


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ([(2, 1, 3), (8, 1, 2)], "pool tpu-v5e: micro-batch x dp = 2: must divide that of pool h100-sxm-80gb, 3"),
        ([(1, 2, 4), (8, 1, 1)], "global-batch 12: must be a multiple of the largest micro-batch x dp of a pool, 8"),
    ],
)
def test_refuses_micro_batches_that_do_not_meet(
    pools: Callable[..., Scenario], ways: list[tuple[int, int, int]], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        simulate(replicas(pools(train(12), *PODS, HALF), ways))


def test_a_tied_head_elsewhere_sends_its_gradient(pools: Callable[..., Scenario]) -> None:
    rules = (*HALF, Rule(TPU, operator="head.*"))
    untied = msgspec.structs.replace(MODEL, tied=False)
    tied, apart = (simulate(pools(TrainStep(model, 4, 1024), *PODS, rules)) for model in (MODEL, untied))
    moved = tied.breakdown["transfer"] - apart.breakdown.get("transfer", 0.0)
    size = MODEL.vocab * MODEL.hidden * 6.0
    assert moved == pytest.approx(size / (25e9 * 2 * 0.9), rel=0.2)
