"""A pool of a scenario made ready to be priced: checked, device compiled, communicators built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from hardware_specs.errors import InputError, about
from hardware_specs.records import DeviceSpec, SystemSpec
from simulator.checks import check_hardware, check_pools, check_workload
from simulator.compatibility import check_kernels, words_of
from simulator.devices.model import DeviceModel, compile_device
from simulator.formats import precision_of, training_precision
from simulator.network.communicator import Communicator
from simulator.network.topology import Network
from simulator.scenario import Plan, Pool, Scenario, TrainStep, check_plan, trains
from workloads.lowering.dataflow import Dataflow
from workloads.lowering.plan import Lowering, Precision, check_sharding
from workloads.runtimes.catalogue import check_runtime
from workloads.runtimes.record import Runtime


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked pool with everything that pricing needs."""

    scenario: Scenario
    pool: Pool
    model: DeviceModel
    precision: Precision
    how: Lowering
    network: Network
    communicators: Mapping[str, Communicator]

    @property
    def peak_flops(self) -> float:
        """Dense peak of the compute dtype on one device [FLOP/s]."""
        return self.model.peak_flops(self.precision.compute)

    @property
    def usable_bytes(self) -> float:
        """Bytes of one device that weights, cache, activations and the runtime may fill [B]."""
        return self.pool.device.usable_bytes * self.pool.runtime.memory_utilisation.value

    @property
    def nodes(self) -> float:
        """Nodes whose host the pool keeps busy, as the share of each node's devices that it holds."""
        return self.pool.count / self.network.group.count


def prepare(scenario: Scenario) -> Prepared:
    """Prepare the only pool of a scenario.

    Raises:
        InputError: as ``prepare_pool``; or the scenario has several pools.
    """
    if scenario.mixed:
        names = ", ".join(pool.name for pool in scenario.pools)
        raise InputError(f"the closed form takes one pool, this scenario has {len(scenario.pools)}: {names}")
    return prepare_pool(scenario, scenario.pools[0])


def prepare_pool(scenario: Scenario, pool: Pool) -> Prepared:
    """Check one pool of a scenario and compile its device.

    Raises:
        InputError: an impossible size, plan, dtype or runtime for this device.
    """
    check_workload(scenario.workload)
    check_pools(scenario)
    check_hardware(scenario, pool)
    with about("runtime"):
        check_runtime(pool.runtime, pool.device, trains(scenario.workload))
    plan = pool.plan
    sharding = plan.sharding
    with about("plan"):
        check_plan(pool.plan, pool.count)
        if not isinstance(scenario.workload, Dataflow):
            check_sharding(scenario.workload.model, sharding, pool.runtime.pads_heads)
    with about("dtype"):
        precision = _precision(scenario, pool)
    if not scenario.mixed:
        check_kernels(pool, words_of(scenario.workload))
    with about("system"):
        group, ranks = scenario.group_of(pool), scenario.ranks_of(pool)
        network = Network(scenario.system, scenario.links, pool.device, group, ranks)
    runtime = with_ranks(on_host(pool.runtime, scenario.system), plan.tp)
    runtime = in_turn(runtime, plan.tp * plan.dp * chips_of(pool.device))
    if runtime is not pool.runtime:
        pool = msgspec.structs.replace(pool, runtime=runtime)
    casts = precision.scaling is not None or bool(precision.quantize)
    return Prepared(
        scenario,
        pool,
        compile_device(pool.device, _casting(pool.runtime) if casts else pool.runtime),
        precision,
        Lowering(precision, sharding, frozenset(pool.runtime.fusions), pool.runtime.experts),
        network,
        communicators_of(network, pool.plan, pool.runtime.collectives),
    )


def _precision(scenario: Scenario, pool: Pool) -> Precision:
    """Number formats of a pool: training keeps what it trains wide, and casts."""
    work = scenario.workload
    if isinstance(work, TrainStep):
        return training_precision(pool.formats, pool.device, pool.runtime, work.lora_rank > 0)
    return precision_of(pool.formats, pool.device, pool.runtime)


@lru_cache(maxsize=64)
def _casting(runtime: Runtime) -> Runtime:
    """``runtime`` whose products cost no cast of their inputs: casts are operators. Cached, as ``_slower``."""
    return msgspec.structs.replace(runtime, fusions=tuple(dict.fromkeys((*runtime.fusions, "quantize"))))


def on_host(runtime: Runtime, system: SystemSpec) -> Runtime:
    """``runtime`` on the host of ``system``: one that runs ahead is bound by the speed of a thread there.

    Times of others were fitted to runs on the hosts of their devices, without regard to this speed.
    """
    if system.host_speed is None or not runtime.runs_ahead:
        return runtime
    return _slower(runtime, system.host_speed.value)


@lru_cache(maxsize=64)
def with_ranks(runtime: Runtime, ways: int) -> Runtime:
    """``runtime`` whose host step holds what it sends to ``ways`` tensor parallel ranks. Cached, as ``_slower``."""
    if runtime.host_rank is None or ways == 1:
        return runtime
    step, each = runtime.host_step, runtime.host_rank
    text = f"{step.text} + {ways - 1} x {each.text} (ranks)"
    return msgspec.structs.replace(
        runtime, host_step=msgspec.structs.replace(step, value=step.value + (ways - 1) * each.value, text=text)
    )


def chips_of(device: DeviceSpec) -> int:
    """Chips of a card that is described as one device."""
    compute = device.compute
    return int(compute.units.value) if compute.unit_name == "chips" and compute.units else 1


@lru_cache(maxsize=64)
def in_turn(runtime: Runtime, chips: int) -> Runtime:
    """``runtime`` whose one thread launches each operator on ``chips`` after another. Cached, as ``_slower``."""
    if not runtime.launches_in_turn or chips == 1:
        return runtime
    one = runtime.launch
    launch = msgspec.structs.replace(one, value=one.value * chips, text=f"{one.text} x {chips} (chips)")
    return msgspec.structs.replace(runtime, launch=launch)


@lru_cache(maxsize=64)
def _slower(runtime: Runtime, speed: float) -> Runtime:
    """Cached, so that equal runtimes stay one object, by which compiled devices are known."""
    facts = {name: getattr(runtime, name) for name in ("launch", "host_step", "host_sequence", "host_rank")}
    scaled = {
        name: msgspec.structs.replace(fact, value=fact.value / speed, text=f"{fact.text} / {speed:g} (host)")
        for name, fact in facts.items()
        if fact is not None
    }
    return msgspec.structs.replace(runtime, **scaled)


def communicators_of(network: Network, plan: Plan, library: str) -> dict[str, Communicator]:
    """One communicator of ``library`` per axis. Ranks run tp fastest, then cp, then dp (expert groups inside the
    three), then pp.

    "dp" joins all that hold the same weights, cp ranks included; "edp" the devices that hold the same experts;
    "ends" the first and the last stage.
    """
    network.communicator(plan.devices, 1, library)
    replicas = plan.dp * plan.cp
    layout = {
        "tp": (plan.tp, 1), "ep": (plan.ep, max(plan.etp, 1)), "etp": (plan.etp, 1), "cp": (plan.cp, plan.tp),
        "dp": (replicas, plan.tp), "pp": (plan.pp, plan.tp * replicas),
    }  # fmt: skip
    if plan.pp > 1:
        # As far apart as half of the stages: in one node, or not, as the first and the last one.
        layout["ends"] = (2, plan.pp // 2 * plan.tp * replicas)
    if plan.sharding.sends_tokens:
        layout["edp"] = (plan.expert_replicas, plan.ep * max(plan.etp, 1))
    if 0 < plan.shard < replicas:
        layout["shard"], layout["copies"] = (plan.shard, plan.tp), (replicas // plan.shard, plan.tp * plan.shard)
    return {axis: network.communicator(size, stride, library) for axis, (size, stride) in layout.items() if size > 1}
