"""Ways between units: which link they take, and what several devices share on it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.facts import Fact, Mark
from hardware_specs.records import SharedLink, SystemSpec
from hardware_specs.systems import links_of
from simulator.engine.executor import execute
from simulator.placement.program import ProgramWriter, units_of
from simulator.placement.single import prefill_of, run_steps
from simulator.placement.units import Unit, transfer_link
from simulator.prepared import prepare_pool
from simulator.scenario import Plan, Rule, Scenario, StaticBatch
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
WORK = StaticBatch(MODEL, 2, 512, 16)
SIZE = 1e9
H100 = "h100-sxm-80gb"
Pools = Callable[..., Scenario]


def named(scenario: Scenario, **counts: int) -> Scenario:
    """Several pools of the first pool's device, by name and count."""
    first = scenario.pools[0]
    made = tuple(msgspec.structs.replace(first, name=n, count=c, plan=Plan(tp=c)) for n, c in counts.items())
    return msgspec.structs.replace(scenario, pools=made)


def units(scenario: Scenario) -> list[Unit]:
    return [Unit(prepare_pool(scenario, pool)) for pool in scenario.pools]


def seconds(scenario: Scenario, *ways: tuple[int, int]) -> float:
    """Time of SIZE bytes over each of some ways between pools, all at once."""
    prepared = [prepare_pool(scenario, pool) for pool in scenario.pools]
    made = units_of(prepared)
    writer = ProgramWriter(made)
    names = [pool.name for pool in scenario.pools]
    for a, b in ways:
        writer.send(made[names[a]][0], made[names[b]][0], SIZE, (), "data")
    return execute(writer.build()).makespan_s


def with_shared(scenario: Scenario, *shared: SharedLink) -> Scenario:
    system = msgspec.structs.replace(scenario.system, shared_links=shared)
    return msgspec.structs.replace(scenario, system=system)


def rate(value: float) -> Fact:
    return Fact(value, "bytes_per_s", str(value), Mark.ASSUMED, "test")


@pytest.fixture
def pods(pools: Pools) -> Scenario:
    return pools(WORK, "h100-superpod-32", [(H100, 8)])


def test_pools_of_one_group_hold_disjoint_devices(pods: Scenario) -> None:
    made = units(named(pods, prefill=8, decode=16))
    assert [unit.name for unit in made] == ["prefill:0-7", "decode:8-23"]
    assert [unit.ranks for unit in made] == [range(8), range(8, 24)]


@pytest.mark.parametrize(
    ("counts", "link"),
    [((4, 4), "nvlink4"), ((8, 8), "ib-ndr"), ((4, 8), "ib-ndr"), ((16, 8), "ib-ndr")],
)
def test_the_network_joins_nodes_and_the_groups_own_link_a_node(
    pods: Scenario, counts: tuple[int, int], link: str
) -> None:
    one, other = units(named(pods, a=counts[0], b=counts[1]))
    assert transfer_link(one, other).id == transfer_link(other, one).id == link


def test_groups_of_one_node_meet_over_the_host_link(pools: Pools) -> None:
    gpu, tpu = units(pools(WORK, "gpu-tpu-lab", [(H100, 1), ("tpu-v5e", 1)]))
    assert transfer_link(gpu, tpu).id == "roce-400g"


def test_time_between_nodes_is_that_of_every_devices_adapter(pods: Scenario) -> None:
    link = pods.links["ib-ndr"]
    alone = SIZE / (8 * 50e9 * link.achieved_fraction.value) + link.latency.value
    assert seconds(named(pods, a=8, b=8), (0, 1)) == pytest.approx(alone)


def test_a_plan_that_begins_inside_a_node_crosses_to_the_next_one(pods: Scenario) -> None:
    _, second = units(named(pods, a=4, b=8))
    group = second.prepared.communicators["tp"]
    assert (group.inner.size, group.outer.size) == (4.0, 2.0)


def test_two_pools_share_a_nic(pools: Pools) -> None:
    """Two pools on one adapter take twice as long at once as one of them alone; on two adapters they do not."""
    whole = named(pools(WORK, "h100-superpod-32", [(H100, 1)]), a=1, b=1, rest=4, more=2, far=8)
    link = whole.links["ib-ndr"]
    both = with_shared(whole, SharedLink("nic", "ib-ndr", rate(50e9), devices=(0, 1), groups=(H100,)))
    each = with_shared(whole, SharedLink("nic", "ib-ndr", rate(50e9), each=1))
    alone = SIZE / (50e9 * link.achieved_fraction.value)
    for scenario, ways, expected in (
        (both, [(0, 4)], alone),
        (both, [(0, 4), (1, 4)], 2 * alone),
        (each, [(0, 4), (1, 4)], alone),
        (both, [(0, 4), (4, 1)], alone),
    ):
        assert seconds(scenario, *ways) - link.latency.value == pytest.approx(expected, rel=1e-6)


def test_devices_of_one_pool_share_a_nic_too(pods: Scenario) -> None:
    shared = with_shared(named(pods, a=8, b=8), SharedLink("nic", "ib-ndr", rate(50e9), each=2))
    link = pods.links["ib-ndr"]
    expected = SIZE / (4 * 50e9 * link.achieved_fraction.value) + link.latency.value
    assert seconds(shared, (0, 1)) == pytest.approx(expected)


def test_collectives_between_nodes_share_a_nic(one_pool: Pools) -> None:
    """Each of eight GPUs has an eighth of the node's one adapter, in closed form and on the engine."""
    plain = one_pool(WORK, H100, tp=16, system="h100-superpod-32")
    shared = with_shared(plain, SharedLink("nic", "ib-ndr", rate(50e9), each=8))
    one, eighth = (prepare_pool(s, s.pools[0]).communicators["tp"].outer.bandwidth for s in (plain, shared))
    assert eighth == pytest.approx(one / 8)
    closed = simulate(shared).metrics["ttft_s"] or 0.0
    assert closed > 1.1 * (simulate(plain).metrics["ttft_s"] or 0.0)
    prepared = prepare_pool(shared, shared.pools[0])
    assert run_steps(prepared, prefill_of(prepared, WORK)).makespan_s == pytest.approx(closed, rel=1e-9)


def test_loading_crosses_the_uplink_of_a_switch(pools: Pools) -> None:
    """Eight GPUs of a DGX-1 load through four uplinks: at half of their own ports."""
    scenario = pools(WORK, "v100-dgx-1", [("v100-sxm-32gb", 8)])
    made = units_of([prepare_pool(scenario, scenario.pools[0])])
    writer = ProgramWriter(made)
    unit = made["v100-sxm-32gb"][0]
    writer.load(unit, SIZE, ())
    link = scenario.links["pcie3-x16"]
    expected = SIZE / 4 / (15.75e9 * link.achieved_fraction.value) + link.latency.value
    assert execute(writer.build()).makespan_s == pytest.approx(expected)


def test_a_batch_on_two_pools_of_one_group(pools: Pools) -> None:
    """Prefill and decode on halves of one node: caches cross NVLink, and both phases take what they take alone."""
    whole = named(pools(WORK, "dgx-h100", [(H100, 4)]), prefill=4, decode=4)
    split = msgspec.structs.replace(whole, rules=(Rule("decode", phase="decode"),))
    result = simulate(split)
    alone = simulate(msgspec.structs.replace(whole, pools=whole.pools[:1]))
    assert result.metrics["ttft_s"] == pytest.approx(alone.metrics["ttft_s"], rel=1e-9)
    assert any(span.resource.startswith("nvlink4 prefill:0-3 > decode:4-7") for span in result.timeline.spans)


def test_two_groups_of_one_device(pools: Pools) -> None:
    """A system may have one device twice; pools say which group they mean."""
    scenario = pools(WORK, "dgx-h100", [(H100, 4)])
    group = scenario.system.groups[0]
    halves = tuple(msgspec.structs.replace(group, id=name, count=4) for name in ("left", "right"))
    system: SystemSpec = msgspec.structs.replace(scenario.system, groups=halves)
    made = tuple(msgspec.structs.replace(scenario.pools[0], name=g.id, group=g.id) for g in halves)
    scenario = msgspec.structs.replace(scenario, system=system, links=links_of(system), pools=made)
    left, right = units(scenario)
    assert (left.ranks, right.ranks) == (range(4), range(4))
    assert transfer_link(left, right).id == "pcie5-x16"
