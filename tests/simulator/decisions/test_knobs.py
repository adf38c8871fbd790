"""Knobs: every fact with a path, turned as ``--set`` turns it; parameters of laws in all calibrations alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError, UnitError
from hardware_specs.facts import Fact, Mark
from hardware_specs.overrides import apply_overrides
from simulator.decisions.knobs import ASKED, facts_in, knob_of, knobs_of, result_at, scenario_at, value_of
from simulator.prepared import prepare
from simulator.scenario import Rule, Scenario, StaticBatch, TrainStep, TrainThenInfer
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
SMALL = load_model("qwen2.5-1.5b")
WORK = StaticBatch(SMALL, 4, 256, 32)


def priced(scenario: Scenario, usd_per_s: float = 1e-3) -> Scenario:
    fact = Fact(usd_per_s, "usd_per_s", "a price", Mark.SOURCED, "a list")
    pools = tuple(
        msgspec.structs.replace(pool, usd_per_device_s=fact, price_origin="a list") for pool in scenario.pools
    )
    return msgspec.structs.replace(scenario, pools=pools)


@pytest.mark.parametrize("device", ["h100-sxm-80gb", "xeon-8480-plus", "tpu-v6e", "gaudi-3", "alveo-v80"])
def test_the_paths_of_a_result_are_knobs(one_pool: MakeScenario, device: str) -> None:
    scenario = priced(one_pool(WORK, device))
    known = {knob.path: knob for knob in knobs_of(scenario)}
    model = prepare(scenario).model
    for row in simulate(scenario).provenance:
        if not row.path or row.path in known:
            continue
        kind, _, rest = row.path.partition(".")
        facts = dict(facts_in(getattr(scenario.pools[0], kind)))
        repeats = rest.startswith("parameters.") and rest not in facts
        if repeats:
            value = float(model.record[rest.removeprefix("parameters.")])
            assert value == 0.0 or any(fact.value == value for fact in facts.values()), row.path
        else:
            assert facts[rest].value == 0.0, row.path
    assert {"batch", "isl", "osl", "price", "device.memory.bandwidth", "site.pue"} <= set(known)
    assert all(knob.value > 0.0 and math.isfinite(knob.value) and knob.allows(knob.value) for knob in known.values())


def test_marks(one_pool: MakeScenario) -> None:
    known = {knob.path: knob for knob in knobs_of(priced(one_pool(WORK, "h100-sxm-80gb")))}
    assert known["batch"].mark == ASKED
    assert known["price"].mark == "sourced"
    assert known["device.memory.bandwidth"].mark == "sourced"
    assert known["device.parameters.gemm_stream_share"].mark == "calibrated"
    assert known["device.parameters.gemm_stream_share"].origin.startswith("fits ")
    assert "device.parameters.vector_clock" not in known, "it repeats the clock of the datasheet"


@pytest.mark.parametrize("path", ["device.memory.bandwidth", "runtime.host_step", "site.pue", "system.host_power"])
def test_turned_as_an_override_does(one_pool: MakeScenario, path: str) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    knob = knob_of(scenario, path)
    turned = scenario_at(scenario, [(knob, 1.25 * knob.value)])
    kind, _, rest = path.partition(".")
    record = getattr(scenario, kind) if hasattr(scenario, kind) else getattr(scenario.pools[0], kind)
    found = getattr(turned, kind) if hasattr(scenario, kind) else getattr(turned.pools[0], kind)
    expected = dict(facts_in(apply_overrides(record, {rest: "1.25x"})))
    assert dict(facts_in(found))[rest].value == expected[rest].value == pytest.approx(1.25 * knob.value)
    assert scenario_at(scenario, [(knob, knob.value)]) is scenario


def test_a_link_is_turned(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb", tp=2)
    knob = knob_of(scenario, "link.nvlink4.latency")
    slower = result_at(scenario, [(knob, 10.0 * knob.value)]).metrics["tpot_s"]
    assert slower is not None
    assert slower > (simulate(scenario).metrics["tpot_s"] or 0.0)


def test_sizes(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    turned = scenario_at(scenario, [(knob_of(scenario, "batch"), 7.0), (knob_of(scenario, "isl"), 300.0)])
    assert turned.workload == StaticBatch(SMALL, 7, 300, 32)
    step = one_pool(TrainStep(SMALL, 16, 512), "h100-sxm-80gb", dp=2, micro_batch=4)
    knob = knob_of(step, "global_batch")
    assert (knob.value, knob.step) == (16.0, 8.0)
    assert knob.allows(24.0)
    assert not knob.allows(20.0)
    assert scenario_at(step, [(knob, 24.0)]).workload == TrainStep(SMALL, 24, 512)
    both = msgspec.structs.replace(step, workload=TrainThenInfer(TrainStep(SMALL, 16, 512), 5, WORK))
    settings = [(knob_of(both, "steps"), 9.0), (knob_of(both, "isl"), 99.0), (knob_of(both, "seq_len"), 100.0)]
    assert scenario_at(both, settings).workload == TrainThenInfer(
        TrainStep(SMALL, 16, 100), 9, StaticBatch(SMALL, 4, 99, 32)
    )


def test_a_parameter_of_a_law_is_scaled_in_every_record(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    knob = knob_of(scenario, "device.parameters.gemm_stream_share")
    records = prepare(scenario).model.records["gemm_stream_share"]
    assert len(set(records.tolist())) > 1, "calibrations differ"
    base, same = simulate(scenario), result_at(scenario, [(knob, knob.value)])
    assert same.metrics == base.metrics
    slower = result_at(scenario, [(knob, 0.9 * knob.value)])
    assert (slower.metrics["tpot_s"] or 0.0) > (base.metrics["tpot_s"] or 0.0)
    assert prepare(scenario).model.records["gemm_stream_share"].tolist() == records.tolist(), "the model is unchanged"


def test_a_parameter_of_a_prior_is_as_set(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "mi300x", runtime="ideal")
    knob = next(k for k in knobs_of(scenario) if k.path.startswith("device.parameters.") and k.mark == "assumed")
    text = knob.written(0.9 * knob.value, 17)
    changed = apply_overrides(scenario.pools[0].device, {knob.path.removeprefix("device."): text})
    pool = msgspec.structs.replace(scenario.pools[0], device=changed)
    expected = simulate(msgspec.structs.replace(scenario, pools=(pool,)))
    found = result_at(scenario, [(knob, 0.9 * knob.value)])
    assert found.energy.device == pytest.approx(expected.energy.device, rel=1e-12)
    assert found.metrics["e2e_s"] == pytest.approx(expected.metrics["e2e_s"] or 0.0, rel=1e-12)
    assert found.energy.device != simulate(scenario).energy.device


def test_training_under_a_scaled_law(one_pool: MakeScenario) -> None:
    scenario = one_pool(TrainStep(SMALL, 8, 512), "h100-sxm-80gb")
    knob = knob_of(scenario, "device.parameters.gemm_sustained")
    slower = result_at(scenario, [(knob, 0.8 * knob.value)]).metrics["step_time_s"]
    assert slower is not None
    assert slower > (simulate(scenario).metrics["step_time_s"] or 0.0)


def test_a_power_limit_below_static_power_is_refused(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    knob = knob_of(scenario, "device.parameters.cap_w")
    with pytest.raises(InputError, match="leaves nothing above the static power"):
        result_at(scenario, [(knob, 0.05 * knob.value)])


def test_several_pools(pools: MakeScenario) -> None:
    scenario = pools(WORK, "gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)], [Rule("tpu-v5e", phase="decode")])
    known = {knob.path for knob in knobs_of(scenario)}
    assert {"device.tpu-v5e.memory.bandwidth", "device.h100-sxm-80gb.memory.bandwidth", "runtime.host_step"} <= known
    assert not any(".parameters." in path for path in known)
    knob = knob_of(scenario, "device.tpu-v5e.memory.bandwidth")
    turned = scenario_at(scenario, [(knob, 2.0 * knob.value)])
    bandwidths = [pool.device.memory.bandwidth.value for pool in turned.pools]
    assert bandwidths == [scenario.pools[0].device.memory.bandwidth.value, 2.0 * knob.value]
    step = knob_of(scenario, "runtime.host_step")
    doubled = [pool.runtime.host_step.value for pool in scenario_at(scenario, [(step, 2.0 * step.value)]).pools]
    assert doubled == [2.0 * pool.runtime.host_step.value for pool in scenario.pools]


def test_prices(one_pool: MakeScenario) -> None:
    bare = one_pool(WORK, "h100-sxm-80gb")
    knob = knob_of(bare, "price")
    assert math.isnan(knob.value)
    assert "price" not in {each.path for each in knobs_of(bare)}
    metric = "usd_per_million_output_tokens"
    cheap, dear = (result_at(bare, [(knob, usd)]).metrics[metric] for usd in (1e-3, 3e-3))
    assert cheap is not None
    assert dear == pytest.approx(3.0 * cheap)
    with pytest.raises(InputError, match="price=2x: no price is known; give an absolute value"):
        value_of(knob, "2x")


def test_values_in_words(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    bandwidth, batch = knob_of(scenario, "device.memory.bandwidth"), knob_of(scenario, "batch")
    assert value_of(bandwidth, "6 TB/s") == 6e12
    assert value_of(bandwidth, "200%") == pytest.approx(2.0 * bandwidth.value)
    assert value_of(batch, "1.4x") == 6.0
    assert bandwidth.written(6e12) == "6 TB/s"
    assert knob_of(scenario, "price").written(2.5 / 3600.0) == "2.5 USD/h"
    for knob, text, said in (
        (batch, "1.5", "must be a whole number at least 1"),
        (batch, "0", "must be a whole number at least 1"),
        (bandwidth, "0x", "must be a bytes_per_s above 0"),
        (knob_of(scenario, "site.pue"), "0.5", "must be a number at least 1"),
        (knob_of(scenario, "runtime.memory_utilisation"), "1.2", "at most 1"),
    ):
        with pytest.raises(InputError, match=said):
            value_of(knob, text)
    with pytest.raises(UnitError, match="is a size, not a bandwidth"):
        value_of(bandwidth, "6 TB")


@pytest.mark.parametrize(
    ("path", "said"),
    [("bandwidth", "'device.memory.bandwidth'"), ("device.memory.bandwith", "did you mean 'device.memory.bandwidth"),
     ("batches", "did you mean 'batch'"), ("x", "unknown knob 'x' \\(silicost sensitivity")],
)  # fmt: skip
def test_unknown_knobs(one_pool: MakeScenario, path: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        knob_of(one_pool(WORK, "h100-sxm-80gb"), path)
