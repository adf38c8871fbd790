"""Training here, inference there: times, energy while the other waits, the handover."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.devices.priors import idle_w
from simulator.scenario import Plan, Rule, Scenario, StaticBatch, TrainStep, TrainThenInfer
from simulator.simulate import simulate
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

MODEL = load_model("llama-3.2-1b")
WORK = TrainThenInfer(TrainStep(MODEL, 8, 512), 10, StaticBatch(MODEL, 4, 256, 16))
SERVE = (Rule("tpu-v5e", phase="prefill"), Rule("tpu-v5e", phase="decode"))


@pytest.fixture
def scenario(pools: Callable[..., Scenario]) -> Scenario:
    made = pools(WORK, "gpu-tpu-pods", [("h100-sxm-80gb", 8), ("tpu-v5e", 4)], SERVE)
    train = pools(WORK.train, "gpu-tpu-pods", [("h100-sxm-80gb", 8), ("tpu-v5e", 4)])
    return msgspec.structs.replace(made, pools=(train.pools[0], made.pools[1]))


def alone(scenario: Scenario, pool: int) -> Scenario:
    work = (WORK.train, WORK.infer)[pool]
    return msgspec.structs.replace(scenario, workload=work, pools=(scenario.pools[pool],), rules=())


def test_one_after_the_other(scenario: Scenario) -> None:
    result, train, serve = simulate(scenario), simulate(alone(scenario, 0)), simulate(alone(scenario, 1))
    m = {name: value for name, value in result.metrics.items() if value is not None}
    assert m["step_time_s"] == train.metrics["step_time_s"]
    assert (m["ttft_s"], m["e2e_s"]) == (serve.metrics["ttft_s"], serve.metrics["e2e_s"])
    assert m["makespan_s"] == pytest.approx(10 * m["step_time_s"] + m["handover_s"] + m["e2e_s"])
    assert sum(result.breakdown.values()) == pytest.approx(m["makespan_s"])
    assert result.intervals["step_time_s"] == train.intervals["step_time_s"]
    assert result.intervals["ttft_s"] == serve.intervals["ttft_s"]
    assert set(result.bound) == {"step", "prefill", "decode"}


def test_the_pool_that_waits_draws_its_idle_power(scenario: Scenario) -> None:
    result = simulate(scenario)
    m = {name: value or 0.0 for name, value in result.metrics.items()}
    for pool, times, own in ((0, 10, m["step_time_s"] * 10), (1, 1, m["e2e_s"])):
        single = simulate(alone(scenario, pool)).pools[0]
        spec = scenario.pools[pool]
        waits = idle_w(spec.device) * spec.count * (m["makespan_s"] - own)
        assert result.pools[pool].energy_j == pytest.approx(single.energy_j * times + waits)
        assert result.pools[pool].memory == single.memory
    assert result.energy.device == pytest.approx(sum(pool.energy_j for pool in result.pools))


def test_the_weights_cross_the_slower_side(scenario: Scenario) -> None:
    """Two bytes per parameter; eight devices send through four adapters, four receive through two."""
    link = scenario.links["roce-400g"]
    adapter = scenario.system.shared_links[0]
    whole = count_parameters(MODEL).total * 2.0
    expected = link.latency.value + whole / (2 * adapter.bandwidth.value * link.achieved_fraction.value)
    assert simulate(scenario).metrics["handover_s"] == pytest.approx(expected, rel=1e-6)


def test_every_serving_replica_gets_a_copy(scenario: Scenario) -> None:
    served = msgspec.structs.replace(scenario.pools[1], plan=Plan(tp=1, dp=4))
    copies = msgspec.structs.replace(scenario, pools=(scenario.pools[0], served))
    one, four = (simulate(s).metrics["handover_s"] or 0.0 for s in (scenario, copies))
    assert four == pytest.approx(4 * one, rel=0.01)


def test_refuses_rules_that_cut_or_leave_out(scenario: Scenario) -> None:
    def with_rules(*rules: Rule) -> Scenario:
        return msgspec.structs.replace(scenario, rules=rules)

    with pytest.raises(InputError, match="inference is split over"):
        simulate(with_rules(Rule("tpu-v5e", phase="decode")))
    with pytest.raises(InputError, match="each of the two pools must do one of them"):
        simulate(with_rules())
    with pytest.raises(InputError, match=r"place\[0\]: 'mlp\.\*': training and inference are placed by phase"):
        simulate(with_rules(Rule("tpu-v5e", operator="mlp.*"), *SERVE))
