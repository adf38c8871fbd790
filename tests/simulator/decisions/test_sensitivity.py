"""Elasticities against closed forms: powers, folds and jumps, a roofline, and Euler's sum over all rates and times."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from simulator.decisions import sensitivity
from simulator.decisions.knobs import Knob, knob_of, knobs_of
from simulator.decisions.sensitivity import (
    RANGES,
    Range,
    default_range,
    elasticities,
    largest,
    ranked,
    tornado,
)
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
SMALL = load_model("qwen2.5-1.5b")
WORK = StaticBatch(SMALL, 4, 512, 64)
RATES = {"bytes_per_s": 1.0, "flops": 1.0, "hz": 1.0, "s": -1.0}


class Curve:
    """Stands in for a simulation: a metric that is a function of the one knob that is turned."""

    def __init__(self, function: Callable[[float], float | None], base: float) -> None:
        self.function, self.base = function, base

    def __call__(self, scenario: Scenario, settings: list[tuple[Knob, float]]) -> Result:
        value = self.function(settings[0][1] if settings else self.base)
        return msgspec.structs.replace(_RESULT, metrics={"tpot_s": value})


_RESULT = Result(
    "inference", "", "", 0, "", "", {}, {}, None, 0.0, True, None, {}, {}, {}, (), ()  # type: ignore[arg-type]
)  # fmt: skip


def slope_of(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[float], float | None], knob: Knob
) -> sensitivity.Slope:
    monkeypatch.setattr(sensitivity, "result_at", Curve(function, knob.value))
    (found,) = elasticities(None, ("tpot_s",), (knob,))  # type: ignore[arg-type]
    return found.slopes["tpot_s"]


REAL = Knob("k", "a number", "number", 2.0, "sourced", "")


@pytest.mark.parametrize(
    ("function", "shape", "left", "right"),
    [
        (lambda x: 5.0 * x**-1.7, "smooth", -1.7, -1.7),
        (lambda x: 3.0, "smooth", 0.0, 0.0),
        (lambda x: max(1.0 / x, 0.25 * x), "fold", -1.0, 1.0),
        (lambda x: math.exp(40.0 * math.log(x / 2.0) ** 2 + math.log(x)), "smooth", 0.6, 1.4),
        (lambda x: 1.0 + (x >= 2.0), "jump", 100.0 * math.log(2.0), 0.0),
        (lambda x: 1.0 + (x > 2.0 * math.exp(0.006)), "near", 0.0, 100.0 * math.log(2.0)),
    ],
    ids=["power", "constant", "fold", "curve", "jump", "near"],
)
def test_shapes(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[float], float], shape: str, left: float, right: float
) -> None:
    found = slope_of(monkeypatch, function, REAL)
    assert found.shape == shape
    assert found.left == pytest.approx(left, abs=1e-9)
    assert found.right == pytest.approx(right, abs=1e-9)
    assert found.elasticity == pytest.approx(0.5 * (left + right), abs=1e-9)


def test_whole_numbers_step_to_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Knob("batch", "", "number", 8.0, "asked", "", 1.0, 1.0)
    found = slope_of(monkeypatch, lambda x: float(math.ceil(x / 8.0)), whole)
    assert found == (pytest.approx(math.log(2.0) / math.log(9.0 / 7.0)), 0.0, pytest.approx(
        math.log(2.0) / math.log(9.0 / 8.0)), "whole")  # fmt: skip
    least = slope_of(monkeypatch, lambda x: x, whole._replace(value=1.0))
    assert least == (pytest.approx(1.0), None, pytest.approx(1.0), "edge")


def test_a_metric_without_a_value_has_no_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slope_of(monkeypatch, lambda x: None, REAL) == (None, None, None, "none")
    assert slope_of(monkeypatch, lambda x: 1.0 / x if x >= 2.0 else None, REAL).shape == "edge"
    assert slope_of(monkeypatch, lambda x: 1.0 / x, REAL._replace(high=2.0)).right is None


@pytest.mark.parametrize(("runtime", "within"), [("ideal", 2e-3), ("vllm-0.19", 2e-2)])
def test_decode_follows_the_bandwidth_but_for_its_floors(one_pool: MakeScenario, runtime: str, within: float) -> None:
    scenario = one_pool(StaticBatch(load_model("llama-3.1-8b"), 1, 128, 32), "h100-sxm-80gb", runtime=runtime)
    decode = next(phase for phase in simulate(scenario).phases if phase.name == "decode")
    floor = 1.0 - sum(o.memory_s for o in decode.operators if o.bound == "memory") / decode.time_s
    (found,) = elasticities(scenario, ("tpot_s",), (knob_of(scenario, "device.memory.bandwidth"),))
    assert 0.1 < floor < 0.4
    assert found.slopes["tpot_s"].elasticity == pytest.approx(-(1.0 - floor), abs=within)
    assert found.slopes["tpot_s"].shape == "smooth"


def test_all_watts_together_are_the_energy(one_pool: MakeScenario) -> None:
    """Of a part whose memory draws a share of its rating; a byte of HBM3 costs joules that no watts change."""
    scenario = one_pool(WORK, "a100-sxm-80gb")
    watts = [knob for knob in knobs_of(scenario) if knob.path.startswith("device.power.")]
    found = elasticities(scenario, ("j_per_output_token",), watts)
    total = sum(each.slopes["j_per_output_token"].elasticity or 0.0 for each in found)
    assert total == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("device", ["h100-sxm-80gb", "gaudi-3", "tpu-v6e"])
def test_rates_and_times_together_scale_the_time(one_pool: MakeScenario, device: str) -> None:
    """Euler: a time is homogeneous of degree -1 in all rates and 1/seconds, so its elasticities to them sum to -1."""
    scenario = one_pool(WORK, device)
    metrics = ("ttft_s", "tpot_s")
    found = elasticities(scenario, metrics, [k for k in knobs_of(scenario) if k.dimension in RATES])
    for metric in metrics:
        total = sum(RATES[each.knob.dimension] * (each.slopes[metric].elasticity or 0.0) for each in found)
        assert total == pytest.approx(-1.0, abs=5e-3), metric


def test_a_price_is_proportional(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    fact = Fact(1e-3, "usd_per_s", "a price", Mark.SOURCED, "a list")
    pool = msgspec.structs.replace(scenario.pools[0], usd_per_device_s=fact)
    scenario = msgspec.structs.replace(scenario, pools=(pool,))
    metrics = ("usd_per_million_output_tokens", "tpot_s")
    (found,) = elasticities(scenario, metrics, (knob_of(scenario, "price"),))
    assert found.slopes[metrics[0]].elasticity == pytest.approx(1.0)
    assert found.slopes[metrics[1]] == (0.0, 0.0, 0.0, "smooth")
    assert ranked((found,), "tpot_s") == []
    assert ranked((found,), metrics[0]) == [found]


def test_ranked_by_the_largest_slope(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    told: list[tuple[int, int]] = []
    knobs = knobs_of(scenario)[:20]
    found = elasticities(scenario, ("tpot_s",), knobs, tell=lambda *done: told.append(done))
    sizes = [largest(each.slopes["tpot_s"]) for each in ranked(found, "tpot_s")]
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < len(sizes) < len(found)
    assert told == [(number, 20) for number in range(1, 21)]


def test_a_scenario_that_cannot_be_simulated(one_pool: MakeScenario) -> None:
    scenario = one_pool(StaticBatch(SMALL, 0, 16, 4), "h100-sxm-80gb")
    with pytest.raises(InputError, match="--batch 0"):
        elasticities(scenario, ("tpot_s",), ())


def test_swings(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    knobs = [knob_of(scenario, path) for path in ("device.memory.bandwidth", "isl", "site.pue")]
    given = {"isl": Range(100.0, 1000.0, "given")}
    swings = tornado(scenario, ("tpot_s", "ttft_s"), knobs, given)
    base = simulate(scenario).metrics
    bandwidth = swings[0]
    assert bandwidth.range == (knobs[0].value / 1.1, knobs[0].value * 1.1, RANGES["sourced"][1])
    assert (bandwidth.low["tpot_s"] or 0.0) > (base["tpot_s"] or 0.0) > (bandwidth.high["tpot_s"] or math.inf)
    assert 0.0 < bandwidth.size("tpot_s", base["tpot_s"]) < 2.0 * math.log(1.1)
    assert swings[1].range == given["isl"]
    assert (
        swings[1].high["ttft_s"]
        == simulate(msgspec.structs.replace(scenario, workload=StaticBatch(SMALL, 4, 1000, 64))).metrics["ttft_s"]
    )
    pue = swings[2].knob._replace(value=1.05)
    assert default_range(scenario, pue) == (1.0, pytest.approx(1.155), "sourced: a tenth, inside its physical range")
    assert swings[2].size("tpot_s", base["tpot_s"]) == 0.0


def test_an_end_that_cannot_be(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    (swing,) = tornado(
        scenario, ("tpot_s",), (knob_of(scenario, "device.parameters.cap_w"),), {
            "device.parameters.cap_w": Range(1.0, 700.0, "given")}
    )  # fmt: skip
    assert swing.low == {"tpot_s": None}
    assert "leaves nothing above the static power" in swing.reason
    assert swing.high["tpot_s"] is not None
    assert swing.size("tpot_s", swing.high["tpot_s"]) == 0.0


def test_ranges_by_mark(one_pool: MakeScenario) -> None:
    scenario = one_pool(TrainStep(SMALL, 8, 512), "h100-sxm-80gb", micro_batch=2)
    for mark, (factor, why) in RANGES.items():
        assert default_range(scenario, REAL._replace(mark=mark)) == (2.0 / factor, 2.0 * factor, why)
    assert default_range(scenario, knob_of(scenario, "global_batch"))[:2] == (4.0, 16.0)
    assert default_range(scenario, knob_of(scenario, "global_batch")._replace(value=2.0))[:2] == (2.0, 4.0)
    price = Knob("price", "", "usd_per_s", 7.0 / 3600.0, "sourced", "")
    asked = default_range(scenario, price)
    assert 0.0 < asked.low < price.value <= asked.high
    assert "providers" in asked.why
    assert default_range(scenario, price._replace(mark="asked"))[:2] == (price.value / 2.0, price.value * 2.0)
