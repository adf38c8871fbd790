"""The chance that one is better: closed forms without inputs and with them, seeds, and the Monte Carlo error."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy import stats

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.overrides import apply_overrides
from simulator.decisions.chances import chances
from simulator.decisions.superiority import Unsure, superiority
from simulator.decisions.terms import covariance_of, joined_terms, terms_of
from simulator.scenario import Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from simulator.uncertainty.intervals import Z80
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
SMALL = load_model("qwen2.5-1.5b")
WORK = StaticBatch(SMALL, 4, 256, 32)
USD = "usd_per_million_output_tokens"


def with_price(scenario: Scenario, usd_per_s: float) -> Scenario:
    fact = Fact(usd_per_s, "usd_per_s", "", Mark.ASSUMED, "test")
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(scenario.pools[0], usd_per_device_s=fact),))


@pytest.fixture
def two(one_pool: MakeScenario) -> tuple[Scenario, Scenario]:
    return with_price(one_pool(WORK, "h100-sxm-80gb"), 1e-3), with_price(one_pool(WORK, "mi300x"), 8e-4)


def test_the_same_scenario_is_as_good(two: tuple[Scenario, Scenario]) -> None:
    for metric in ("tpot_s", "output_tokens_per_s", USD, "j_per_output_token"):
        found = superiority(two[0], two[0], metric)
        assert (found.chance, found.error, found.of_model, found.of_inputs) == (0.5, 0.0, 0.5, None)
        assert found.ratio == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", ["tpot_s", "decode_tokens_per_s", USD])
def test_without_inputs_it_is_the_chance_of_the_intervals(two: tuple[Scenario, Scenario], metric: str) -> None:
    results = [simulate(each) for each in two]
    terms, loads = joined_terms([terms_of(s, r, metric) for s, r in zip(two, results, strict=True)])
    sign = -1.0 if metric == "decode_tokens_per_s" else 1.0
    losses = np.array([sign * math.log(result.metrics[metric] or 0.0) for result in results])
    expected = chances(losses, loads @ covariance_of(terms) @ loads.T)
    found = superiority(*two, metric)
    assert found.chance == found.of_model == pytest.approx(expected[0], rel=1e-9)
    other = superiority(two[1], two[0], metric)
    assert other.chance == pytest.approx(1.0 - found.chance)
    assert 0.01 < found.chance < 0.99
    gap, sd = found.gaps[0], math.sqrt(found.variances[0])
    assert found.ratio == pytest.approx((gap - Z80 * sd, gap, gap + Z80 * sd), abs=1e-8)
    assert found.model_share == 1.0


def test_unsure_prices_of_one_device_have_a_closed_form(one_pool: MakeScenario) -> None:
    """On one device errors cancel; the log ratio of two log-normal prices is normal."""
    first, second = (with_price(one_pool(WORK, "mi300x"), usd) for usd in (1e-3, 1e-3))
    unsure = [Unsure("price", "a", 0.5e-3, 2.0e-3), Unsure("price", "b", 0.8e-3, 3.2e-3)]
    found = superiority(first, second, USD, unsure, draws=2000, seed=5)
    sd = math.hypot(*(math.log(each.high / each.low) / (2.0 * Z80) for each in unsure))
    expected = stats.norm.cdf(math.log(1.6) / sd)
    assert found.of_model == 0.5
    assert found.chance == found.of_inputs == pytest.approx(expected, abs=4.0 * found.error)
    assert found.error == pytest.approx(math.sqrt(expected * (1.0 - expected) / 2000), rel=0.05)
    assert found.model_share == pytest.approx(0.0, abs=1e-12)
    assert found.ratio[1] == pytest.approx(math.log(1.6), abs=0.1)


def test_an_input_of_both_cancels(one_pool: MakeScenario) -> None:
    first, second = (with_price(one_pool(WORK, "mi300x"), usd) for usd in (1e-3, 1.1e-3))
    shared = superiority(first, second, USD, [Unsure("isl", "", 100.0, 1000.0)], draws=60)
    assert shared.chance == 1.0
    assert shared.gaps == pytest.approx(np.full(60, math.log(1.1)))


def test_with_errors_and_inputs(two: tuple[Scenario, Scenario]) -> None:
    unsure = [Unsure("price", "b", 4e-4, 1.6e-3), Unsure("batch", "", 1.0, 16.0, 4.0)]
    found = superiority(*two, USD, unsure, draws=300, seed=1)
    again = superiority(*two, USD, unsure, draws=300, seed=1)
    assert found.chance == again.chance
    other = superiority(*two, USD, unsure, draws=300, seed=2)
    assert found.chance != other.chance
    assert found.chance == pytest.approx(other.chance, abs=5.0 * math.hypot(found.error, other.error))
    assert 0.0 < found.error < 0.03
    assert 0.1 < found.model_share < 0.9
    alone = superiority(*two, USD, unsure[:1], draws=300, seed=1)
    assert found.gaps.mean() == pytest.approx(alone.gaps.mean(), abs=0.3), "draws of a price do not change with others"
    both = superiority(*two, USD, unsure[::-1], draws=300, seed=1)
    assert both.chance == pytest.approx(found.chance, abs=1e-12)


def test_where_one_cannot_be_run(one_pool: MakeScenario) -> None:
    first, second = one_pool(StaticBatch(SMALL, 4, 2048, 64), "rtx-3080"), one_pool(WORK, "h100-sxm-80gb")
    batch = Unsure("batch", "a", 1.0, 1000.0)
    found = superiority(first, second, "e2e_s", [batch], draws=100)
    assert found.only_second > 10
    assert found.only_first == found.neither == 0
    assert len(found.gaps) == 100 - found.only_second
    assert found.chance <= 1.0 - found.only_second / 100


def test_a_price_that_is_not_known_is_taken_at_its_median(one_pool: MakeScenario) -> None:
    first, second = one_pool(WORK, "mi300x"), with_price(one_pool(WORK, "mi300x"), 1e-3)
    found = superiority(first, second, USD, [Unsure("price", "a", 0.5e-3, 2e-3)], draws=50)
    assert found.values[0] == pytest.approx(found.values[1])
    with pytest.raises(InputError, match="no price is known"):
        superiority(first, second, USD)


def test_distributions() -> None:
    price = Unsure("price", "a", 2.0, 8.0)
    assert [price.at(u) for u in (0.1, 0.5, 0.9)] == pytest.approx([2.0, 4.0, 8.0])
    triangle, u = Unsure("isl", "", 10.0, 50.0, 20.0), np.linspace(0.01, 0.99, 21)
    expected = stats.triang.ppf(u, 0.25, loc=10.0, scale=40.0)
    assert [triangle.at(float(x)) for x in u] == pytest.approx(expected)
    assert triangle.at(0.5, step=8.0) % 8.0 == 0.0
    assert Unsure("batch", "", 0.01, 0.02).at(0.5, step=1.0) == 1.0
    assert Unsure("batch", "", 3.0, 3.0, 3.0).at(0.7) == 3.0


def test_bad_questions(one_pool: MakeScenario, two: tuple[Scenario, Scenario]) -> None:
    with pytest.raises(InputError, match="metric: 'tpot' is not allowed; did you mean 'tpot_s'"):
        superiority(*two, "tpot")
    with pytest.raises(InputError, match="unknown knob 'lengths'"):
        superiority(*two, "tpot_s", [Unsure("lengths", "", 1.0, 2.0)])
    with pytest.raises(InputError, match="in the intervals of the prediction already"):
        superiority(*two, "tpot_s", [Unsure("device.parameters.static_w", "a", 1.0, 2.0)])
    step = one_pool(TrainStep(SMALL, 8, 512), "h100-sxm-80gb")
    with pytest.raises(InputError, match="tpot_s: no value"):
        superiority(step, step, "tpot_s")
    large = one_pool(StaticBatch(load_model("llama-3.1-70b"), 1, 16, 4), "h100-sxm-80gb")
    with pytest.raises(InputError, match="does not fit the memory"):
        superiority(large, two[0], "tpot_s")
    slow = apply_overrides(two[0].pools[0].device, {"memory.bandwidth": "0.01x"})
    slower = msgspec.structs.replace(two[0], pools=(msgspec.structs.replace(two[0].pools[0], device=slow),))
    assert superiority(two[0], slower, "tpot_s").chance > 0.999
