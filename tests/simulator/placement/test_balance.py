"""Balanced layers are the fastest split that the engine finds, fit, and are told beside what pools do alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest

from hardware_specs.errors import InputError
from simulator.placement import balance as balancing
from simulator.placement.alone import Alone, best_alone
from simulator.placement.balance import balance, ranked, under
from simulator.placement.training import placed_training
from simulator.placement.verdict import verdict
from simulator.result import Result
from simulator.scenario import Rule, Scenario, TrainStep
from simulator.simulate import simulate
from simulator.steps.split import runs_seconds
from workloads.models.catalogue import load_model

GPU, TPU = "h100-sxm-80gb", "tpu-v5e"
WHOLE = load_model("llama-3.2-1b")
SMALL = msgspec.structs.replace(WHOLE, groups=(msgspec.structs.replace(WHOLE.groups[0], count=8),), tied=False)
WORK = TrainStep(SMALL, 16, 1024)


def splits(layers: int, pools: int) -> Iterator[tuple[int, ...]]:
    for cuts in itertools.combinations(range(1, layers), pools - 1):
        ends = (0, *cuts, layers)
        yield tuple(end - first for first, end in itertools.pairwise(ends))


def mixed(
    pools: Callable[..., Scenario], counts: Sequence[tuple[str, int]], work: TrainStep = WORK, dp: int = 1
) -> Scenario:
    scenario = pools(work, "gpu-tpu-pods", counts)
    made = []
    for number, pool in enumerate(scenario.pools):
        plan = msgspec.structs.replace(pool.plan, tp=pool.count // dp, dp=dp)
        made.append(msgspec.structs.replace(pool, name=f"{number} {pool.device.id}", plan=plan))
    return msgspec.structs.replace(scenario, pools=tuple(made), layers="balanced")


def step_s(result: Result) -> float:
    return result.metrics["step_time_s"] or 0.0


@pytest.mark.parametrize(
    "counts",
    [[(GPU, 2), (TPU, 8)], [(TPU, 8), (GPU, 1)], [(GPU, 4), (TPU, 4), (GPU, 2)], [(GPU, 4), (TPU, 4), (TPU, 4)]],
)
def test_no_split_is_faster_on_the_engine(pools: Callable[..., Scenario], counts: list[tuple[str, int]]) -> None:
    scenario = mixed(pools, counts)
    found = balance(scenario, WORK)
    times = {each: step_s(placed_training(under(scenario, each), WORK)) for each in splits(8, len(counts))}
    assert step_s(found.result) == min(times.values()) == times[found.lengths]
    assert max(times.values()) > 1.1 * min(times.values())
    assert len(times) > balancing.TRIED


def test_layers_that_do_not_fit_go_elsewhere(pools: Callable[..., Scenario]) -> None:
    """The GPU would take most of the layers, but has memory for few."""
    scenario = mixed(pools, [(GPU, 1), (TPU, 8)])
    free = balance(scenario, WORK)
    used = free.result.pools[0].memory.total
    gpu = scenario.pools[0]
    room = msgspec.structs.replace(gpu.runtime.memory_utilisation, value=0.9 * used / gpu.device.usable_bytes)
    runtime = msgspec.structs.replace(gpu.runtime, memory_utilisation=room)
    tight = msgspec.structs.replace(
        scenario, pools=(msgspec.structs.replace(gpu, runtime=runtime), *scenario.pools[1:])
    )
    found = balance(tight, WORK)
    every = {each: placed_training(under(tight, each), WORK) for each in splits(8, 2)}
    assert not every[free.lengths].fits and found.result.fits
    assert step_s(found.result) == min(step_s(each) for each in every.values() if each.fits)
    assert found.lengths[0] < free.lengths[0]
    assert (free.held_back, found.held_back) == ("", gpu.name)


def test_estimates_of_many_splits_go_to_the_least_slowest_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = np.stack([runs_seconds([each] * 12, 0.0, 1) for each in (1.0, 2.0, 4.0)])
    assert ranked(seconds, 100, 0.0)[0] == (8, 3, 1)
    monkeypatch.setattr(balancing, "MOST", 10)
    assert ranked(seconds, 100, 0.0) == [(8, 3, 1)]
    seconds[0, 0, 5:] = np.inf
    assert ranked(seconds, 100, 0.0)[0][0] <= 4
    seconds[:] = np.inf
    assert ranked(seconds, 100, 0.0) == []


def test_a_balanced_result_tells_the_split_and_what_pools_do_alone(pools: Callable[..., Scenario]) -> None:
    scenario = mixed(pools, [(GPU, 2), (TPU, 8)])
    result = simulate(scenario)
    told, names = result.configuration, [pool.name for pool in scenario.pools]
    assert list(told["split"]) == names and sum(told["split"].values()) == 8
    first = told["split"][names[0]]
    assert told["layers"] == f"{names[0]} 0-{first - 1} ({first}), {names[1]} {first}-7 ({8 - first})"
    assert [each["pool"] for each in told["alone"]] == names
    assert told["verdict"].startswith("It ") and result.asked["verdict"] == told["verdict"]
    assert result.scenario_hash == scenario.hash
    assert result.scenario_hash != simulate(under(scenario, (3, 3))).scenario_hash


def test_alone_is_the_fastest_plan_that_fits(pools: Callable[..., Scenario]) -> None:
    scenario = mixed(pools, [(GPU, 2), (TPU, 8)])
    best = best_alone(scenario, WORK, scenario.pools[1])
    assert best.plan is not None and best.plan.devices == 8
    for tp, dp in ((8, 1), (2, 4), (1, 8)):
        plan = msgspec.structs.replace(best.plan, tp=tp, pp=1, dp=dp, micro_batch=2)
        own = msgspec.structs.replace(scenario.pools[1], plan=plan)
        other = simulate(msgspec.structs.replace(scenario, pools=(own,), layers=""))
        assert step_s(other) >= (best.step_s or 0.0) or not other.fits
    large = TrainStep(load_model("llama-3.1-70b"), 16, 4096)
    none = best_alone(mixed(pools, [(GPU, 2), (TPU, 8)], large), large, scenario.pools[1])
    assert (none.plan, none.step_s, none.words) == (None, None, "does not fit, by any plan")


@pytest.mark.parametrize(
    ("factor", "price", "words"),
    [
        (3.0, 0.8, "It buys time, not tokens: 3 times as fast as tpu alone, at 25% more a token; .* waits .*"),
        (3.0, 2.0, "It pays: 3 times as fast as tpu alone, and a token costs 50% less."),
        (3.0, None, "It is 3 times as fast as tpu alone; what it costs is unknown."),
        (0.5, 0.8, "It does not pay: tpu alone takes .* s a step, it takes .* s; .* waits .*"),
    ],
)
def test_verdicts(pools: Callable[..., Scenario], factor: float, price: float | None, words: str) -> None:
    scenario = mixed(pools, [(GPU, 2), (TPU, 8)])
    mixture = balance(scenario, WORK).result
    mixture = msgspec.structs.replace(mixture, metrics={**mixture.metrics, "usd_per_step": 1.0})
    slow = msgspec.structs.replace(
        mixture, metrics={**mixture.metrics, "step_time_s": step_s(mixture) * factor, "usd_per_step": price}
    )
    alone = Alone("tpu", 8, 16 * 1024, scenario.pools[1].plan, slow)
    assert re.fullmatch(words, verdict(mixture, [alone]))
    assert verdict(mixture, [Alone("tpu", 8, 1)]) == "It is needed: no pool alone has room for the step."
    assert verdict(msgspec.structs.replace(mixture, fits=False), [alone]) == "It does not fit."


def test_refuses_what_contradicts_balanced_layers(pools: Callable[..., Scenario]) -> None:
    scenario = mixed(pools, [(GPU, 2), (TPU, 8)])
    rule = Rule(scenario.pools[1].name, layers=(0, 1))
    with pytest.raises(InputError, match="layers are balanced; beside that only phase 'update' can be placed"):
        simulate(msgspec.structs.replace(scenario, rules=(rule,)))
    with pytest.raises(InputError, match="layers 'even': allowed is 'balanced'"):
        simulate(msgspec.structs.replace(scenario, layers="even"))
    one = msgspec.structs.replace(SMALL, groups=(msgspec.structs.replace(SMALL.groups[0], count=1),))
    with pytest.raises(InputError, match="has 1 for 2 pools"):
        simulate(mixed(pools, [(GPU, 2), (TPU, 8)], TrainStep(one, 4, 128)))


def test_an_update_elsewhere_goes_with_balanced_layers(pools: Callable[..., Scenario]) -> None:
    scenario = mixed(pools, [(GPU, 2), (TPU, 8)])
    rule = Rule(scenario.pools[1].name, phase="update")
    result = simulate(msgspec.structs.replace(scenario, rules=(rule,)))
    assert result.pools[0].memory.optimizer == 0.0 < result.pools[1].memory.optimizer
