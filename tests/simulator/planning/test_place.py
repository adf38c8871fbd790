"""Placements of scenarios: what is found, what the engine says of it, and the words."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest

from hardware_specs.errors import DoesNotFit, InputError
from simulator.planning.additive import totals_of
from simulator.planning.answer import placed_result
from simulator.planning.blocks import aim_of, problem_of
from simulator.planning.place import Candidate, place, simulated, value_of
from simulator.planning.rules_of import placed
from simulator.prepared import prepare_pool
from simulator.scenario import Formats, Privacy, Rule, Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model

Make = Callable[..., Scenario]


def short(name: str, layers: int) -> Architecture:
    """The first layers of a model."""
    whole = load_model(name)
    groups = (msgspec.structs.replace(whole.groups[-1], count=layers),)
    return msgspec.structs.replace(whole, id=f"{name}-{layers}", groups=groups)


@pytest.fixture(scope="module")
def mixture(pools: Make) -> Scenario:
    """Three layers on a GPU and a TPU."""
    work = StaticBatch(short("llama-3.1-8b", 3), 4, 512, 32)
    return pools(work, "gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)])


def estimated(scenario: Scenario, objective: str, chosen: tuple[int, ...]) -> tuple[float, Scenario]:
    """The additive value of layers on these pools, in both phases, and the scenario with their rules."""
    prepared = [prepare_pool(scenario, pool) for pool in scenario.pools]
    work = scenario.workload
    assert isinstance(work, StaticBatch)
    problem = problem_of(work, prepared, scenario.privacy)
    placement = tuple(np.full((2, 1), pool) for pool in chosen)
    return aim_of(objective, prepared).value(totals_of(problem, placement)), placed(scenario, problem, placement)


@pytest.mark.parametrize("chosen", [(0, 0, 1, 1, 1), (1, 0, 0, 0, 1), (0, 1, 0, 1, 0), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_additive_values_are_those_of_the_engine(mixture: Scenario, objective: str, chosen: tuple[int, ...]) -> None:
    """Nothing overlaps where both phases lie alike: the same to the last digits but for the pools' waiting."""
    estimate, own = estimated(mixture, objective, chosen)
    work = own.workload
    assert isinstance(work, StaticBatch)
    assert value_of(objective, own, work, simulate(own)) == pytest.approx(estimate, rel=1e-9)


def test_what_is_chosen_is_close_to_the_best_of_all(pools: Make) -> None:
    """Every placement of two whole layers on the engine: regret at most 2%."""
    work = StaticBatch(short("llama-3.1-8b", 2), 4, 512, 32)
    tight = pools(work, "gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)])
    prepared = [prepare_pool(tight, pool) for pool in tight.pools]
    problem = problem_of(work, prepared, tight.privacy)
    for objective in ("latency", "throughput"):
        best = math.inf
        for ends in product((0, 1), repeat=2):
            for layers in product(product((0, 1), repeat=2), repeat=2):
                rows = [(ends[0], ends[0]), *layers, (ends[1], ends[1])]
                placement = tuple(np.array(row).reshape(2, 1) for row in rows)
                own = placed(tight, problem, placement)
                ran = simulated(Candidate(problem, placement, own, 0.0), work, objective)
                best = min(best, ran.value)
        assert place(tight, work, objective).value <= best * 1.02


def test_rules_of_an_answer_give_its_result(pools: Make) -> None:
    """The scenario that is handed back is simulated to what was reported."""
    work = StaticBatch(short("mixtral-8x7b", 4), 1, 128, 16)
    scenario = pools(
        work, "cpu-gpu-workstation", [("rtx-4090", 1), ("xeon-8480-plus", 1)], formats=Formats(weight="q4_k_m")
    )
    own, result = placed_result(scenario, "throughput")
    again = simulate(own)
    assert again.metrics == result.metrics
    found = result.configuration["found"]
    assert found["objective"] == "throughput"
    assert found["value"] >= found["bound"] * (1.0 - 1e-6)
    assert {each["pool"] for each in found["alone"]} == {"rtx-4090", "xeon-8480-plus"}
    assert result.configuration["verdict"].startswith("The mixture")


def test_a_model_too_large_for_one_pool_needs_the_mixture(pools: Make) -> None:
    work = StaticBatch(load_model("mixtral-8x7b"), 1, 64, 4)
    scenario = pools(
        work, "cpu-gpu-workstation", [("rtx-4090", 1), ("xeon-8480-plus", 1)], formats=Formats(weight="q4_k_m")
    )
    gpu = Privacy(weights=("rtx-4090",))
    with pytest.raises(DoesNotFit, match="rtx-4090: does not fit, by any plan; xeon-8480-plus: may not see weights"):
        place(msgspec.structs.replace(scenario, privacy=gpu), work, "latency")


def test_placement_obeys_privacy(mixture: Scenario) -> None:
    work = mixture.workload
    assert isinstance(work, StaticBatch)
    kept = msgspec.structs.replace(mixture, privacy=Privacy(kv=("tpu-v5e",)))
    assert place(kept, work, "latency").value > place(mixture, work, "latency").value
    for objective in ("latency", "throughput"):
        own = place(kept, work, objective)
        assert own.best is not None
        layers = [rule.pool for rule in own.best.scenario.rules if rule.layers and rule.operator in ("", "attention.*")]
        assert set(layers) == {"tpu-v5e"}
        assert simulate(own.scenario).fits


def test_words_and_errors(mixture: Scenario, pools: Make) -> None:
    own, result = placed_result(mixture, "energy")
    asked = result.asked
    assert asked["placed for"] == "energy"
    assert asked["placement"] == "everything on h100-sxm-80gb"
    assert asked["verdict"].startswith("The mixture does not pay: h100-sxm-80gb alone needs")
    assert not own.mixed
    with pytest.raises(InputError, match="--place: unknown objective 'speed'"):
        placed_result(mixture, "speed")
    bare = tuple(msgspec.structs.replace(pool, usd_per_device_s=None) for pool in mixture.pools)
    with pytest.raises(InputError, match="no price is known for h100-sxm-80gb"):
        placed_result(msgspec.structs.replace(mixture, pools=bare), "usd")


def test_training_stages_are_ordered(pools: Make) -> None:
    work = TrainStep(short("llama-3.1-8b", 4), 8, 512)
    scenario = pools(work, "h100-mi300x-pods", [("h100-sxm-80gb", 2), ("mi300x", 2)])
    own, result = placed_result(scenario, "latency")
    found: dict[str, Any] = result.configuration["found"]
    assert len(found["simulated"]) == 2
    assert found["value"] == pytest.approx(min(
        *(each["value"] for each in found["simulated"]), *(each["value"] for each in found["alone"])
    ))  # fmt: skip
    assert found["value"] == result.metrics["step_time_s"]
    assert own.rules == ()


def test_rules_are_replaced(mixture: Scenario) -> None:
    ruled = msgspec.structs.replace(mixture, rules=(Rule("tpu-v5e", phase="decode"),))
    assert placed_result(ruled, "latency")[1].metrics == placed_result(mixture, "latency")[1].metrics
