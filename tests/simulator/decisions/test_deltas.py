"""Deltas add up to the last digit, by operators and by facts; what is alone and what interacts."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError
from hardware_specs.overrides import apply_overrides
from simulator.decisions.deltas import TIMES, delta_of, pieces_of, seconds_by_cause
from simulator.scenario import Formats, Rule, Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
SMALL = load_model("qwen2.5-1.5b")
WORK = StaticBatch(SMALL, 4, 256, 32)


def with_facts(scenario: Scenario, kind: str, changes: dict[str, str]) -> Scenario:
    pool = scenario.pools[0]
    return msgspec.structs.replace(
        scenario, pools=(msgspec.structs.replace(pool, **{kind: apply_overrides(getattr(pool, kind), changes)}),)
    )


PAIRS = [
    ("h100-sxm-80gb", {}, "mi300x", {}),
    ("h100-sxm-80gb", {}, "tpu-v6e", {}),
    ("h100-sxm-80gb", {"tp": 2, "pp": 2}, "h100-sxm-80gb", {"tp": 4, "formats": Formats("fp8")}),
    ("xeon-8480-plus", {}, "h100-sxm-80gb", {"runtime": "torch-eager-2.4"}),
]


@pytest.mark.parametrize("metric", ["ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "j_per_output_token"])
@pytest.mark.parametrize(("one", "own", "other", "others"), PAIRS)
def test_it_adds_up(
    one_pool: MakeScenario, one: str, own: dict[str, object], other: str, others: dict[str, object], metric: str
) -> None:
    first, second = one_pool(WORK, one, **own), one_pool(StaticBatch(SMALL, 8, 300, 16), other, **others)
    found = delta_of(first, second, metric)
    before, after = (simulate(each).metrics[metric] for each in (first, second))
    assert before is not None
    assert after is not None
    size = abs(before) + abs(after)
    assert (found.before, found.after, found.total) == (before, after, after - before)
    assert math.fsum(cause.in_order for cause in found.causes) == pytest.approx(found.total, abs=1e-14 * size)
    alone = math.fsum(cause.alone or 0.0 for cause in found.causes)
    assert alone + found.interaction == pytest.approx(found.total, abs=1e-14 * size)
    assert bool(found.pieces) == (metric in TIMES)
    if found.pieces:
        assert math.fsum(piece.delta for piece in found.pieces) == pytest.approx(found.total, abs=1e-14 * size)
        assert math.fsum(piece.before for piece in found.pieces) == pytest.approx(before, rel=1e-12)


def test_one_fact_is_the_whole_difference(one_pool: MakeScenario) -> None:
    first = one_pool(WORK, "h100-sxm-80gb")
    found = delta_of(first, with_facts(first, "device", {"memory.bandwidth": "2x"}), "tpot_s")
    (cause,) = found.causes
    assert cause.facts == ("device.memory.bandwidth",)
    assert cause.alone == cause.in_order == found.total < 0.0
    assert found.interaction == 0.0


def test_facts_that_do_not_interact(one_pool: MakeScenario) -> None:
    """Host time is added to each step, whatever the operators take: effects are additive."""
    first = one_pool(WORK, "h100-sxm-80gb")
    second = with_facts(first, "device", {"memory.bandwidth": "2x"})
    second = with_facts(second, "runtime", {"host_step": "3x"})
    found = delta_of(first, second, "tpot_s")
    host = next(cause for cause in found.causes if cause.facts == ("runtime.host_step",))
    assert host.alone == pytest.approx(2.0 * first.pools[0].runtime.host_step.value)
    assert host.in_order == pytest.approx(host.alone)
    assert found.interaction == pytest.approx(0.0, abs=1e-12)


def test_facts_that_interact(one_pool: MakeScenario) -> None:
    """More decode steps, and each of them shorter: the steps that were added are shorter as well."""
    first = one_pool(WORK, "h100-sxm-80gb")
    second = with_facts(first, "runtime", {"host_step": "0.1x"})
    found = delta_of(first, msgspec.structs.replace(second, workload=StaticBatch(SMALL, 4, 256, 132)), "e2e_s")
    saved = 0.9 * first.pools[0].runtime.host_step.value
    assert [cause.facts for cause in found.causes] == [("osl",), ("runtime.host_step",)]
    assert found.interaction == pytest.approx(-100.0 * saved)
    assert found.causes[1].alone == pytest.approx(-32.0 * saved)
    assert found.causes[1].in_order == pytest.approx(-132.0 * saved)


def test_what_has_no_effect_is_counted(one_pool: MakeScenario) -> None:
    first = one_pool(WORK, "h100-sxm-80gb")
    found = delta_of(first, with_facts(first, "device", {"memory.bandwidth": "2x", "power.tdp": "1.01x"}), "tpot_s")
    assert [cause.facts for cause in found.causes] == [("device.memory.bandwidth",)]
    assert found.idle == 1


def test_what_cannot_change_alone_changes_together(one_pool: MakeScenario) -> None:
    first, second = one_pool(WORK, "h100-sxm-80gb"), one_pool(WORK, "gaudi-3")
    last = delta_of(first, second, "tpot_s").causes[-1]
    assert last.facts == ("runtime", "device, system")
    assert last.after == (second.pools[0].runtime.id, "1 x gaudi-3")
    assert last.alone is not None
    tpu = delta_of(first, one_pool(WORK, "tpu-v6e", runtime="jax-xla-2024"), "tpot_s").causes[-1]
    assert (tpu.facts, tpu.alone) == (("device, system",), None), "the runtime of the first does not run there"


def test_no_difference(one_pool: MakeScenario) -> None:
    first = one_pool(WORK, "h100-sxm-80gb")
    found = delta_of(first, first, "e2e_s")
    assert (found.total, found.causes, found.interaction, found.idle) == (0.0, (), 0.0, 0)
    assert all(piece.delta == 0.0 for piece in found.pieces)


def test_training_and_several_pools_add_up(one_pool: MakeScenario, pools: MakeScenario) -> None:
    steps = [
        one_pool(TrainStep(SMALL, 16, 512), "h100-sxm-80gb", tp=2, dp=2, pp=2, micro_batch=2, recompute=recompute)
        for recompute in ("none", "full")
    ]
    found = delta_of(*steps, "step_time_s")
    assert math.fsum(piece.delta for piece in found.pieces) == pytest.approx(found.total, rel=1e-12)
    assert {"host", "bubble", "collective"} <= {piece.family for piece in found.pieces}
    assert [cause.facts for cause in found.causes] == [("plan",)]
    placed = pools(WORK, "gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)], [Rule("tpu-v5e", phase="decode")])
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        mixed = delta_of(one_pool(WORK, "h100-sxm-80gb"), placed, metric)
        assert math.fsum(piece.delta for piece in mixed.pieces) == pytest.approx(mixed.total, rel=1e-12)
        assert math.fsum(cause.in_order for cause in mixed.causes) == pytest.approx(mixed.total, rel=1e-12)


def test_pieces_of_a_run_are_its_breakdown(one_pool: MakeScenario) -> None:
    result = simulate(one_pool(WORK, "h100-sxm-80gb"))
    seconds = seconds_by_cause(result, "e2e_s")
    for family, expected in result.breakdown.items():
        found = math.fsum(value for key, value in seconds.items() if key[0] == family)
        assert found == pytest.approx(expected, rel=1e-12)
    assert len(seconds) > len(result.breakdown), "a family has operators of several bounds"
    assert {piece.family for piece in pieces_of(result, result, "tpot_s")} <= set(result.breakdown)


def test_metrics_without_a_value(one_pool: MakeScenario) -> None:
    first = one_pool(WORK, "h100-sxm-80gb")
    with pytest.raises(InputError, match=r"usd_per_million_output_tokens has no value for .*: no price is known"):
        delta_of(first, first, "usd_per_million_output_tokens")
    with pytest.raises(InputError, match=r"step_time_s is no metric of qwen2\.5-1\.5b on"):
        delta_of(first, first, "step_time_s")
