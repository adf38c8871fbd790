"""What every kind of run shares: whose electricity is paid, how energy depends on time, whose peak counts."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.facts import Fact, Mark
from simulator.assemble import host_w, paid_usd
from simulator.prepared import prepare, prepare_pool
from simulator.scenario import Rule, Scenario, StaticBatch, TrainStep, TrainThenInfer
from simulator.simulate import simulate
from simulator.uncertainty.intervals import POWER, Z95
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
WORK = StaticBatch(MODEL, 2, 256, 8)
GPU, TPU = "h100-sxm-80gb", "tpu-v5e"
LAB = ("gpu-tpu-lab", [(GPU, 1), (TPU, 1)])
SPLIT = (Rule(TPU, phase="decode"),)
PRICE = Fact(1e-3, "usd_per_s", "1e-3 USD/s", Mark.ASSUMED, "test")
Pools = Callable[..., Scenario]


def with_prices(scenario: Scenario, *owned: bool) -> Scenario:
    pools = tuple(
        msgspec.structs.replace(pool, usd_per_device_s=PRICE, owned=own)
        for pool, own in zip(scenario.pools, owned, strict=True)
    )
    return msgspec.structs.replace(scenario, pools=pools)


def paid(scenario: Scenario, *owned: bool) -> float:
    """What ten seconds cost in which the first device draws 1000 J and the second 500 J."""
    priced = with_prices(scenario, *owned)
    prepared = [prepare_pool(priced, pool) for pool in priced.pools]
    usd, why = paid_usd(prepared, {GPU: 1000.0, TPU: 500.0}, 10.0)
    assert usd is not None and why == ""
    return usd


def test_only_owned_pools_pay_electricity(pools: Pools) -> None:
    scenario = pools(WORK, *LAB)
    site, hosts = scenario.site, host_w([prepare_pool(scenario, pool) for pool in scenario.pools])
    rent = 2 * 10.0 * PRICE.value

    def bill(joules: float) -> float:
        return joules * site.pue.value * site.electricity.value

    gpu, tpu = bill(1000.0 + 10.0 * hosts[GPU]), bill(500.0 + 10.0 * hosts[TPU])
    assert paid(scenario, False, False) == pytest.approx(rent)
    assert paid(scenario, True, False) == pytest.approx(rent + gpu)
    assert paid(scenario, False, True) == pytest.approx(rent + tpu)
    assert paid(scenario, True, True) == pytest.approx(rent + gpu + tpu)


def test_energy_intervals_are_those_of_time_and_power(one_pool: Pools) -> None:
    """Static energy grows with time, what operators spend with its root; the power model errs beside."""
    scenario = one_pool(WORK, GPU)
    result = simulate(scenario)

    def sd(metric: str) -> float:
        known = result.intervals[metric]
        return math.log(known.p97_5 / known.p2_5) / (2.0 * Z95)

    static_w = float(prepare(scenario).model.record["static_w"])
    static_j = static_w * (result.metrics["e2e_s"] or 0.0)
    hosts_j = result.energy.node - result.energy.device
    assert 0.0 < static_j < result.energy.device
    for metric, share in (
        ("j_per_output_token", static_j / result.energy.device),
        ("carbon_g", (static_j + hosts_j) / result.energy.node),
    ):
        assert sd(metric) == pytest.approx(math.hypot(0.5 * (1.0 + share) * sd("e2e_s"), POWER))


def test_the_mfu_of_a_phase_counts_the_devices_that_take_part(pools: Pools) -> None:
    """Where the prefill runs on the GPU alone its MFU is that of the GPU alone."""
    split = pools(WORK, *LAB, SPLIT)
    alone = msgspec.structs.replace(split, pools=split.pools[:1], rules=())
    ours, theirs = simulate(split).metrics, simulate(alone).metrics
    assert ours["ttft_s"] == pytest.approx(theirs["ttft_s"], rel=1e-9)
    assert ours["mfu_prefill"] == pytest.approx(theirs["mfu_prefill"], rel=1e-9)
    decoder = msgspec.structs.replace(split, pools=split.pools[1:], rules=())
    share = (simulate(decoder).metrics["tpot_s"] or 0.0) / (ours["tpot_s"] or 1.0)
    assert ours["mfu_decode"] == pytest.approx((simulate(decoder).metrics["mfu_decode"] or 0.0) * share, rel=1e-9)


def test_the_kind_is_that_of_the_workload(one_pool: Pools, pools: Pools) -> None:
    train = TrainStep(MODEL, 2, 128)
    serve = (*SPLIT, Rule(TPU, phase="prefill"))
    life = pools(TrainThenInfer(train, 2, WORK), "gpu-tpu-pods", [(GPU, 8), (TPU, 4)], serve)
    trainer = pools(train, "gpu-tpu-pods", [(GPU, 8)]).pools[0]
    life = msgspec.structs.replace(life, pools=(trainer, life.pools[1]))
    kinds = [simulate(s).as_json()["kind"] for s in (one_pool(WORK, GPU), one_pool(train, GPU), life)]
    assert kinds == ["inference", "training", "train-then-infer"]


def test_several_pools_say_their_plans_apart(pools: Pools) -> None:
    scenario = pools(WORK, "gpu-tpu-pods", [(GPU, 8), (TPU, 4)], SPLIT)
    result = simulate(scenario)
    asked = result.configuration
    assert [row["plan"]["tp"] for row in asked["pools"]] == [8, 4]
    assert [row["name"] for row in asked["pools"]] == [pool["name"] for pool in result.as_json()["pools"]]
    assert result.asked["count"] == "8 + 4"
    assert result.asked["plan"].startswith("tp 8, pp 1") and " | tp 4" in result.asked["plan"]
    assert result.asked["batch"] == "2"
