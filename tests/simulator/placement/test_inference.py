"""Inference on several pools: what moves, what it takes, and the limits in which a closed form is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from simulator.placement.inference import placed_inference
from simulator.prepared import prepare_pool
from simulator.result import Result
from simulator.scenario import Rule, Scenario, StaticBatch
from simulator.simulate import simulate
from simulator.steps.inference_result import inference_result, memory_use
from simulator.timeline import Timeline
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
WORK = StaticBatch(MODEL, 2, 512, 16)
LAB = ("gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)])
SPLIT = (Rule("tpu-v5e", phase="decode"),)
GPU, TPU = "h100-sxm-80gb", "tpu-v5e"


def with_link(scenario: Scenario, link: str, **values: float) -> Scenario:
    """The same scenario with other numbers of a link."""
    facts = {name: Fact(value, "", str(value), Mark.ASSUMED, "test") for name, value in values.items()}
    changed: Any = msgspec.structs.replace(scenario.links[link], **facts)
    return msgspec.structs.replace(scenario, links={**scenario.links, link: changed})


def alone(scenario: Scenario, pool: int) -> Result:
    """The work of a scenario on one of its pools, in closed form."""
    single = msgspec.structs.replace(scenario, pools=(scenario.pools[pool],), rules=())
    assert isinstance(single.workload, StaticBatch)
    return inference_result(prepare_pool(single, single.pools[0]), single.workload, Timeline(()))


def moved(result: Result, name: str) -> list[float]:
    """Bytes of every transfer of that name, on its path."""
    return [s.amount for s in result.timeline.spans if s.name == name and s.lane == "transfer"]


def test_an_infinitely_fast_link_leaves_each_phase_as_on_its_device(pools: Callable[..., Scenario]) -> None:
    scenario = with_link(pools(WORK, *LAB, SPLIT), "roce-400g", bandwidth=1e30, latency=0.0)
    result = simulate(scenario)
    assert result.metrics["ttft_s"] == pytest.approx(alone(scenario, 0).metrics["ttft_s"], rel=1e-9)
    assert result.metrics["tpot_s"] == pytest.approx(alone(scenario, 1).metrics["tpot_s"], rel=1e-9)


@pytest.mark.parametrize("pool", [0, 1])
def test_all_on_one_pool_is_the_closed_form_of_that_pool(pools: Callable[..., Scenario], pool: int) -> None:
    rules = () if pool == 0 else tuple(Rule(TPU, phase=phase) for phase in ("prefill", "decode"))
    scenario = pools(WORK, *LAB, rules)
    result, closed = simulate(scenario), alone(scenario, pool)
    for name in ("ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s"):
        assert result.metrics[name] == pytest.approx(closed.metrics[name], rel=1e-9)
    assert result.pools[pool].energy_j == pytest.approx(closed.pools[0].energy_j, rel=1e-9)
    assert result.pools[pool].busy_s == pytest.approx(closed.pools[0].busy_s, rel=1e-9)
    assert result.bound == closed.bound
    mine, theirs = result.pools[pool].memory, closed.memory
    assert (mine.weights, mine.kv, mine.activations) == pytest.approx((theirs.weights, theirs.kv, theirs.activations))
    other = result.pools[1 - pool]
    assert (other.busy_s, other.memory.weights, other.memory.kv) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["llama-3.2-1b", "deepseek-v2-lite", "mamba2-2.7b", "gemma-2-2b", "lfm2-350m"])
def test_the_cache_of_every_layer_moves_once(pools: Callable[..., Scenario], name: str) -> None:
    model = load_model(name)
    scenario = pools(StaticBatch(model, 2, 512, 4), *LAB, SPLIT)
    result = simulate(scenario)
    prepared = prepare_pool(scenario, scenario.pools[0])
    whole = memory_use(prepared, StaticBatch(model, 2, 512, 0)).kv
    sizes = moved(result, "kv cache")
    assert len(sizes) == model.layers
    assert sum(sizes) == pytest.approx(whole, rel=1e-12)


def test_the_cache_moves_while_the_prefill_goes_on(pools: Callable[..., Scenario]) -> None:
    result = simulate(pools(WORK, *LAB, SPLIT))
    first = min(s.start_s for s in result.timeline.spans if s.name == "kv cache")
    assert first < (result.metrics["ttft_s"] or 0.0)
    assert {GPU + ":0", TPU + ":0", "h100-sxm-80gb:0 roce-400g", "tpu-v5e:0 roce-400g"} <= set(
        result.timeline.resources
    )


@pytest.mark.parametrize("isl", [200, 1100])
@pytest.mark.parametrize("osl", [1, 8])
def test_chunked_prefill_is_the_closed_form_on_one_pool_and_moves_what_each_step_makes(
    pools: Callable[..., Scenario], isl: int, osl: int
) -> None:
    """Short prompts packed into chunks of 256, long ones cut into them; both have steps that repeat."""
    work = StaticBatch(MODEL, 6, isl, osl)
    scenario = with_chunk(pools(work, *LAB), 256)
    result, closed = simulate(scenario), alone(scenario, 0)
    for name in ("ttft_s", "e2e_s"):
        assert result.metrics[name] == pytest.approx(closed.metrics[name], rel=1e-9)
    assert result.pools[0].energy_j == pytest.approx(closed.pools[0].energy_j, rel=1e-9)
    gemms = [o for phase in result.phases for o in phase.operators if phase.name == "prefill" and o.name == "mlp.down"]
    assert [o.repeat for o in gemms] == [16 * -(-6 * isl // 256)]
    if osl > 1:
        # The main program has the last step alone: what 256 leaves of all tokens, at their share of the caches.
        split = simulate(msgspec.structs.replace(scenario, rules=SPLIT))
        whole = memory_use(prepare_pool(scenario, scenario.pools[0]), StaticBatch(MODEL, 6, isl, 0)).kv
        assert sum(moved(split, "kv cache")) == pytest.approx(whole * (6 * isl % 256) / (6 * isl))
        assert split.metrics["ttft_s"] == pytest.approx(closed.metrics["ttft_s"])


def with_chunk(scenario: Scenario, tokens: int) -> Scenario:
    """The same scenario under software that takes ``tokens`` prompt tokens in a step."""
    changed = tuple(
        msgspec.structs.replace(pool, runtime=msgspec.structs.replace(pool.runtime, prefill_chunk=tokens))
        for pool in scenario.pools
    )
    return msgspec.structs.replace(scenario, pools=changed)


def test_experts_elsewhere_move_each_token_once_there_and_once_back(pools: Callable[..., Scenario]) -> None:
    """Hidden values of every token, however many experts it goes to, in every layer and both ways."""
    moe = load_model("qwen1.5-moe-a2.7b")
    rules = (Rule("xeon-8480-plus", operator="moe.experts"),)
    work = StaticBatch(moe, 1, 64, 2)
    system = ("cpu-gpu-workstation", [("rtx-4090", 1), ("xeon-8480-plus", 1)])
    result = simulate(pools(work, *system, rules))
    sizes = moved(result, "transfer")
    assert len(sizes) == 2 * moe.layers * 2
    assert sum(sizes) == pytest.approx(2 * moe.layers * (64 + 1) * moe.hidden * 2)
    gpu, cpu = result.pools
    assert cpu.memory.weights > 5 * gpu.memory.weights > 0.0
    assert cpu.memory.kv == 0.0 < gpu.memory.kv


def test_layers_on_two_pools_cross_once_per_step(pools: Callable[..., Scenario]) -> None:
    rules = (Rule(TPU, layers=(8, 15)),)
    result = simulate(pools(WORK, *LAB, rules))
    # There and back (the head is on the first pool), for the prompt and for one token of each sequence.
    assert moved(result, "transfer") == [2 * 512 * 2048 * 2, 2 * 512 * 2048 * 2, 2 * 2048 * 2, 2 * 2048 * 2]
    gpu, tpu = result.pools
    assert gpu.memory.kv == pytest.approx(tpu.memory.kv)
    assert gpu.memory.weights > tpu.memory.weights


def test_a_head_elsewhere_hands_the_tokens_back_every_step(pools: Callable[..., Scenario]) -> None:
    result = simulate(pools(WORK, *LAB, (Rule(TPU, operator="head.*"),)))
    assert moved(result, "tokens") == [2 * 4.0]


def test_sharded_pools_receive_the_whole_tensor(pools: Callable[..., Scenario]) -> None:
    """Attention on four chips: queries, keys and values of all heads cross, not those of one chip."""
    system = ("gpu-tpu-pods", [("h100-sxm-80gb", 1), ("tpu-v5e", 4)])
    rules = (Rule(TPU, operator="attention.scores"),)
    result = simulate(pools(StaticBatch(MODEL, 1, 64, 1), *system, rules, runtime="ideal"))
    there, back = moved(result, "transfer")[:2]
    assert there == 64 * (32 + 2 * 8) * 64 * 2
    assert back == 64 * 32 * 64 * 2


def test_reductions_stay_with_what_they_reduce(pools: Callable[..., Scenario]) -> None:
    system = ("gpu-tpu-pods", [("h100-sxm-80gb", 2), ("tpu-v5e", 4)])
    result = simulate(pools(StaticBatch(MODEL, 1, 64, 1), *system, (Rule(TPU, operator="attention.out"),)))
    reduces = [s for s in result.timeline.spans if s.name == "attention.all_reduce" and s.lane == "communication"]
    assert {s.resource for s in reduces} == {"tpu-v5e:0-3"}


@pytest.mark.parametrize(
    "rules", [SPLIT, (Rule(TPU, layers=(8, 15)),), (Rule(TPU, operator="mlp.*"),), (Rule(TPU, operator="head.*"),)]
)
def test_breakdowns_sum_and_nothing_is_faster_than_its_parts(
    pools: Callable[..., Scenario], rules: tuple[Rule, ...]
) -> None:
    scenario = pools(WORK, *LAB, rules)
    result = simulate(scenario)
    e2e = result.metrics["e2e_s"]
    assert e2e is not None
    assert sum(result.breakdown.values()) == pytest.approx(e2e)
    assert result.breakdown.get("idle", 0.0) == 0.0
    assert all(pool.busy_s <= e2e * (1 + 1e-9) for pool in result.pools)
    assert result.energy.device == pytest.approx(sum(pool.energy_j for pool in result.pools))
    slower = with_link(scenario, "roce-400g", bandwidth=1e9)
    assert (simulate(slower).metrics["e2e_s"] or 0.0) > e2e


def test_a_slow_link_bounds_the_whole(pools: Callable[..., Scenario]) -> None:
    scenario = with_link(pools(WORK, *LAB, (Rule(TPU, layers=(8, 15)),)), "roce-400g", bandwidth=1e6)
    assert simulate(scenario).bound == {"prefill": "communication", "decode": "communication"}


def test_pools_pay_and_draw_together(pools: Callable[..., Scenario]) -> None:
    scenario = pools(WORK, *LAB, SPLIT)
    price = Fact(1.0 / 3600.0, "usd_per_s", "1 USD/h", Mark.ASSUMED, "test")
    priced = tuple(msgspec.structs.replace(pool, usd_per_device_s=price) for pool in scenario.pools)
    result = simulate(msgspec.structs.replace(scenario, pools=priced))
    e2e = result.metrics["e2e_s"] or 0.0
    assert result.metrics["usd_per_million_output_tokens"] == pytest.approx(2.0 / 3600.0 * e2e / 32 * 1e6)
    assert scenario.system.host_power is not None
    assert result.energy.node - result.energy.device == pytest.approx(scenario.system.host_power.value * e2e)
    assert simulate(scenario).metrics["usd_per_million_output_tokens"] is None


def test_refuses_rules_that_place_nothing(pools: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match=r"place\[0\]: 'moe\.\*' places no operator"):
        simulate(pools(WORK, *LAB, (Rule(TPU, operator="moe.*"),)))
    with pytest.raises(InputError, match=r"place\[1\]: 'decode' places no operator"):
        simulate(pools(WORK, *LAB, (Rule(TPU), Rule(GPU, phase="decode"))))
    with pytest.raises(InputError, match="tpu-v5"):
        simulate(pools(WORK, *LAB, (Rule("tpu-v5", phase="decode"),)))
    with pytest.raises(InputError, match="phase 'decod' is unknown; did you mean 'decode'"):
        simulate(pools(WORK, *LAB, (Rule(TPU, phase="decod"),)))
    with pytest.raises(InputError, match=r"layers \[3, 1\] must be \[first, last\]"):
        simulate(pools(WORK, *LAB, (Rule(TPU, layers=(3, 1)),)))


def test_refuses_pipelines_and_replicas_inside_pools(pools: Callable[..., Scenario]) -> None:
    scenario = pools(WORK, "gpu-tpu-pods", [("h100-sxm-80gb", 2), ("tpu-v5e", 1)], SPLIT)
    first = scenario.pools[0]
    cut = msgspec.structs.replace(first, plan=msgspec.structs.replace(first.plan, tp=1, pp=2))
    with pytest.raises(InputError, match="pp 2, dp 1; in a scenario with several pools"):
        placed_inference(msgspec.structs.replace(scenario, pools=(cut, *scenario.pools[1:])), WORK)
