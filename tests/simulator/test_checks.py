"""What every scenario must satisfy: no device twice, no host that draws more than all nodes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.assemble import host_w
from simulator.prepared import prepare_pool
from simulator.scenario import Plan, Rule, Scenario, StaticBatch
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
WORK = StaticBatch(MODEL, 2, 256, 8)
H100 = "h100-sxm-80gb"
Pools = Callable[..., Scenario]


def named(scenario: Scenario, **counts: int) -> Scenario:
    first = scenario.pools[0]
    made = tuple(msgspec.structs.replace(first, name=n, count=c, plan=Plan(tp=c)) for n, c in counts.items())
    return msgspec.structs.replace(scenario, pools=made)


def hosts_w(scenario: Scenario) -> dict[str, float]:
    return host_w([prepare_pool(scenario, pool) for pool in scenario.pools])


def test_a_device_is_in_one_pool_only(pools: Pools) -> None:
    whole = pools(WORK, "dgx-h100", [(H100, 8)])
    for counts in ({"prefill": 8, "decode": 8}, {"prefill": 4, "decode": 8}):
        twice = msgspec.structs.replace(named(whole, **counts), rules=(Rule("decode", phase="decode"),))
        held = sum(counts.values())
        with pytest.raises(InputError, match=f"8 x h100-sxm-80gb; .* of pool decode = {held} are asked for"):
            simulate(twice)
    four = whole.system.nodes * 4
    assert prepare_pool(named(whole, a=four, b=four), whole.pools[0]).pool.count == 8


def test_two_pools_of_one_name(pools: Pools) -> None:
    whole = pools(WORK, "dgx-h100", [(H100, 4)])
    with pytest.raises(InputError, match="two pools are called 'h100-sxm-80gb'"):
        simulate(msgspec.structs.replace(whole, pools=whole.pools * 2))


def test_pools_pay_for_their_shares_of_the_hosts(pools: Pools) -> None:
    whole = pools(WORK, "h100-superpod-32", [(H100, 8)])
    assert whole.system.host_power is not None
    node_w = whole.system.host_power.value
    assert hosts_w(named(whole, a=4, b=16)) == pytest.approx({"a": node_w / 2, "b": node_w * 2})
    mixed = pools(WORK, "gpu-tpu-lab", [(H100, 1), ("tpu-v5e", 1)])
    assert mixed.system.host_power is not None
    assert sum(hosts_w(mixed).values()) == pytest.approx(mixed.system.host_power.value)
    assert len(set(hosts_w(mixed).values())) == 1
