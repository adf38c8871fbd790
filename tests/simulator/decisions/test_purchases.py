"""What to buy: gains of single changes, the best set under a budget by brute force, exclusions, greedy beyond that."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from hardware_specs.errors import InputError
from simulator.decisions import purchases
from simulator.decisions.knobs import knob_of, result_at
from simulator.decisions.purchases import Option, weigh
from simulator.scenario import Formats, Scenario, StaticBatch
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
WORK = StaticBatch(load_model("qwen2.5-1.5b"), 4, 512, 32)
FACTORS = {
    "HBM": ("device.memory.bandwidth", 1.5, 4000.0), "more HBM": ("device.memory.bandwidth", 2.0, 9000.0),
    "math": ("device.compute.peaks.bf16", 2.0, 5000.0), "host": ("runtime.host_step", 0.5, 300.0),
    "paint": ("device.memory.capacity", 1.5, 100.0),
}  # fmt: skip


def options_of(scenario: Scenario, names: list[str]) -> list[Option]:
    found = []
    for name in names:
        path, factor, cost = FACTORS[name]
        knob = knob_of(scenario, path)
        found.append(Option(name, ((knob, factor * knob.value),), cost))
    return found


@pytest.fixture
def scenario(one_pool: MakeScenario) -> Scenario:
    return one_pool(WORK, "h100-sxm-80gb")


def test_single_gains(scenario: Scenario) -> None:
    options = options_of(scenario, list(FACTORS))
    found = weigh(scenario, "tpot_s", "lower", options)
    base = result_at(scenario, ()).metrics["tpot_s"]
    assert base is not None
    assert (found.base.options, found.base.value, found.base.gain) == ((), base, 0.0)
    for each in found.singles:
        option = next(option for option in options if option.name == each.options[0])
        value = result_at(scenario, option.settings).metrics["tpot_s"]
        assert value is not None
        assert (each.value, each.cost_usd) == (value, option.cost_usd)
        assert each.gain == pytest.approx(math.log(base / value), abs=1e-12)
    rates = [each.gain_per_usd or 0.0 for each in found.singles]
    assert rates == sorted(rates, reverse=True)
    assert found.singles[0].options == ("host",)
    rate = weigh(scenario, "decode_tokens_per_s", "higher", options)
    assert [each.gain for each in rate.singles] == pytest.approx([each.gain for each in found.singles])


@pytest.mark.parametrize("budget", [0.0, 350.0, 5000.0, 9500.0, 1e9])
def test_the_best_set_by_brute_force(scenario: Scenario, budget: float) -> None:
    options = options_of(scenario, list(FACTORS))
    found = weigh(scenario, "tpot_s", "lower", options, budget)
    sets = [
        chosen
        for size in range(len(options) + 1)
        for chosen in itertools.combinations(options, size)
        if sum(o.cost_usd for o in chosen) <= budget and len({p for o in chosen for p in o.paths}) == len(chosen)
    ]

    def rank(chosen: tuple[Option, ...]) -> tuple[float, float]:
        value = result_at(scenario, [s for o in chosen for s in o.settings]).metrics["tpot_s"]
        assert value is not None
        return value, sum(o.cost_usd for o in chosen)

    best = min(sets, key=rank)
    assert found.exact
    assert found.sets == len(sets)
    assert (found.best.value, found.best.cost_usd) == rank(best)
    assert "paint" not in found.best.options, "what gains nothing is not bought"
    costs = [each.cost_usd for each in found.frontier]
    values = [each.value or 0.0 for each in found.frontier]
    assert costs == sorted(set(costs))
    assert values == sorted(set(values), reverse=True)
    assert found.frontier[0] == found.base
    assert found.frontier[-1].value == found.best.value


def test_greedy_where_sets_are_too_many(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_of(scenario, list(FACTORS))
    exact = weigh(scenario, "tpot_s", "lower", options)
    monkeypatch.setattr(purchases, "MOST_SETS", 3)
    found = weigh(scenario, "tpot_s", "lower", options)
    assert not found.exact
    assert set(found.best.options) <= {"HBM", "more HBM", "math", "host"}
    assert len({FACTORS[name][0] for name in found.best.options}) == len(found.best.options)
    assert (found.best.value or math.inf) >= (exact.best.value or 0.0)
    assert (found.best.gain or 0.0) > 0.5 * (exact.best.gain or 0.0)


def test_memory_that_makes_it_fit(one_pool: MakeScenario) -> None:
    big = one_pool(StaticBatch(load_model("llama-3.1-8b"), 1, 128, 16), "rtx-3080", formats=Formats("fp16"))
    assert not result_at(big, ()).fits
    path = "device.memory.usable" if big.pools[0].device.memory.usable else "device.memory.capacity"
    knob = knob_of(big, path)
    found = weigh(big, "tpot_s", "lower", [Option("memory", ((knob, 3.0 * knob.value),), 500.0)])
    assert (found.base.value, found.base.gain, found.base.reason) == (None, None, "does not fit the memory")
    assert found.best.options == ("memory",)
    assert found.best.gain is None
    assert found.best.value is not None


def test_what_cannot_be(scenario: Scenario) -> None:
    knob = knob_of(scenario, "device.parameters.cap_w")
    found = weigh(scenario, "tpot_s", "lower", [Option("frugal", ((knob, 1.0),), 1.0)])
    assert "leaves nothing above the static power" in found.singles[0].reason
    assert found.best == found.base
    free = Option("free", ((knob_of(scenario, "runtime.host_step"), 1e-6),), 0.0)
    assert weigh(scenario, "tpot_s", "lower", [free], 0.0).best.options == ("free",)
    unpriced = weigh(scenario, "usd_per_million_output_tokens", "lower", [free])
    assert unpriced.best == unpriced.base
    assert "no price is known" in unpriced.base.reason
    assert weigh(scenario, "tpot_s", "lower", []).best.options == ()


def test_a_scenario_that_cannot_be_simulated(one_pool: MakeScenario) -> None:
    with pytest.raises(InputError, match="--batch 0"):
        weigh(one_pool(StaticBatch(WORK.model, 0, 16, 4), "h100-sxm-80gb"), "tpot_s", "lower", [])
