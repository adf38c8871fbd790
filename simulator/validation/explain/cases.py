"""A measured row as something to be priced again and again, each time with one number changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np

from hardware_specs.dtypes import COMPUTE_DTYPES
from simulator.devices.calibrated import Chosen
from simulator.devices.model import DeviceModel, compile_device, cost_on_devices
from simulator.kernels import collectives
from simulator.kernels.roofline import COMPUTE, MEMORY, OVERHEAD, TIME
from simulator.prepared import Prepared, prepare
from simulator.scenario import Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from simulator.steps.pricing import PricedGraph
from simulator.steps.static_batch import BatchCost, price_batch
from simulator.steps.train_step import StepCost, price_step
from simulator.validation.explain.parts import Seconds, added, scaled, split, split_graphs
from simulator.validation.explain.setup import Setup
from simulator.validation.inference_point import DECODE_METRICS, PROMPT_METRICS
from simulator.validation.ops import group_in, kernels_alone
from workloads.graph import OpColumns
from workloads.operators import FAMILIES, FAMILY_CODES, OpKind

Steps = Sequence[tuple[PricedGraph, float]]
_ROUNDING: Final = 1e-12


class Used(NamedTuple):
    """The record of law parameters that prices most of a family's time, and the calibration that it is of."""

    record: Any
    chosen: Chosen | None
    seconds: float


class Case(Protocol):
    """A measured row: the setup that predicts it, and what any other setup would predict."""

    @property
    def setup(self) -> Setup:
        """What the prediction is made from."""
        ...

    def seconds(self, setup: Setup) -> float:
        """The time that the measured metric depends on, under ``setup`` [s].

        Raises:
            InputError: ``setup`` cannot be simulated.
        """
        ...

    def parts(self) -> Seconds:
        """What the predicted time consists of."""
        ...

    def used(self) -> dict[str, Used]:
        """The law parameters in use, by operator family."""
        ...

    def dtypes(self) -> frozenset[str]:
        """Dtypes of the math."""
        ...


@dataclass(frozen=True, eq=False)
class RunCase:
    """A row of inference or training: a scenario on one pool, and the metric that was measured.

    ``part`` is how much of the scenario's time the run takes: 1/c under context parallelism of c ways.
    """

    scenario: Scenario
    metric: str
    part: float = 1.0

    @property
    def setup(self) -> Setup:
        """What the prediction is made from."""
        pool = self.scenario.pools[0]
        return Setup(pool.device, pool.runtime, self.scenario.system, self.scenario.links)

    def under(self, setup: Setup) -> Scenario:
        """The scenario under another setup."""
        pool = msgspec.structs.replace(self.scenario.pools[0], device=setup.device, runtime=setup.runtime)
        return msgspec.structs.replace(self.scenario, pools=(pool,), system=setup.system, links=setup.links)

    def seconds(self, setup: Setup) -> float:
        """The time of the phase, or of the whole run, that the metric depends on [s]."""
        cost = _price(prepare(self.under(setup)))
        if isinstance(cost, StepCost):
            return cost.step_s * self.part
        if self.metric in PROMPT_METRICS:
            return cost.ttft_s
        return cost.decode_s / cost.steps if self.metric in DECODE_METRICS else cost.e2e_s

    def value_of(self, metric: str, scenario: Scenario) -> float | None:
        """A metric in another scenario."""
        return simulate(scenario).metrics[metric]

    def parts(self) -> Seconds:
        """What the time of ``seconds`` consists of."""
        prepared = prepare(self.scenario)
        cost, ways = _price(prepared), prepared.pool.plan.pp
        if isinstance(cost, StepCost):
            return scaled(_step_parts(cost, ways), self.part)
        prompt, decode = _prompt_parts(cost, ways), _decode_parts(cost, ways)
        if self.metric in PROMPT_METRICS:
            return prompt
        return scaled(decode, 1.0 / cost.steps) if self.metric in DECODE_METRICS else added(prompt, decode)

    def used(self) -> dict[str, Used]:
        """The law parameters in use, by operator family."""
        prepared = prepare(self.scenario)
        return _used(
            prepared.model, [(s.graph.columns, s.time_s * s.graph.repeat * n) for s, n in self._steps(prepared)]
        )

    def dtypes(self) -> frozenset[str]:
        """Dtypes of the math."""
        steps = self._steps(prepare(self.scenario))
        return frozenset(o.dtype for priced, _ in steps for o in priced.graph.operators if o.flops > 0.0)

    def _steps(self, prepared: Prepared) -> Steps:
        cost = _price(prepared)
        if isinstance(cost, StepCost):
            return [(cost.micro, float(cost.micro_batches)), (cost.update, 1.0)]
        prompt = () if self.metric in DECODE_METRICS else cost.prefill
        decode = () if self.metric in PROMPT_METRICS else cost.decode
        return [(step.priced, step.times) for step in (*prompt, *decode)]


def _price(prepared: Prepared) -> BatchCost | StepCost:
    """The cost of the only pool's work."""
    work, plan = prepared.scenario.workload, prepared.pool.plan
    if isinstance(work, TrainStep):
        return price_step(work, plan, prepared.how, prepared.model, prepared.communicators)
    assert isinstance(work, StaticBatch)
    return price_batch(work, plan, prepared.how, prepared.model, prepared.communicators)


def _step_parts(cost: StepCost, ways: int) -> Seconds:
    """A training step as the mean stage spends it."""
    micro = split_graphs([(cost.micro, cost.micro_batches / ways)])
    rest: Seconds = {
        ("collective", "communication"): cost.send_s + cost.reduce_s, ("bubble", "bubble"): cost.bubble_s,
        ("host", "host"): cost.host_s,
    }  # fmt: skip
    return _without_nothing(added(added(micro, split_graphs([(cost.update, 1.0)])), rest))


def _prompt_parts(cost: BatchCost, ways: int) -> Seconds:
    """The prefill as the mean stage spends it."""
    busy = [(step.priced, step.times / ways) for step in cost.prefill]
    return _with_rest(busy, cost.prefill_host_s, cost.ttft_s)


def _decode_parts(cost: BatchCost, ways: int) -> Seconds:
    """All decode steps as the mean stage spends them."""
    prefill_s = sum(step.priced.total_s * step.times for step in cost.prefill) / ways
    once_s = sum(step.priced.total_s * step.times for step in cost.decode)
    share = (cost.busy_s - prefill_s) / once_s if once_s else 0.0
    busy = [(step.priced, step.times * share) for step in cost.decode]
    return _with_rest(busy, cost.decode_host_s, cost.decode_s)


def _with_rest(busy: Steps, host_s: float, total_s: float) -> Seconds:
    """What operators take, the host, and what is left of ``total_s``: waiting for other stages."""
    found = split_graphs(busy)
    waiting_s = total_s - host_s - sum(found.values())
    return _without_nothing(added(found, {("host", "host"): host_s, ("bubble", "bubble"): waiting_s}))


def _without_nothing(seconds: Mapping[tuple[str, str], float]) -> Seconds:
    """``seconds`` without what is zero but for the rounding of differences."""
    least = _ROUNDING * sum(seconds.values())
    return {key: value for key, value in seconds.items() if abs(value) > least}


def _used(model: DeviceModel, steps: Sequence[tuple[OpColumns, Any]]) -> dict[str, Used]:
    """Of each family the record that prices most of its time.

    Args:
        steps: operators, and the seconds of each.
    """
    sums = np.zeros((len(FAMILIES), len(model.records)))
    for columns, seconds in steps:
        np.add.at(sums, (FAMILY_CODES[columns.kind], model.which(columns)), seconds)
    entries = (None, *model.choice.entries)
    return {
        family: Used(model.records[row.argmax()], entries[int(row.argmax())], float(row.sum()))
        for family, row in zip(FAMILIES, sums, strict=True)
        if row.sum() > 0.0
    }


@dataclass(frozen=True, eq=False)
class OperatorCase:
    """A row of an operator on one device, timed alone; ``columns`` hold one operator."""

    base: Setup
    columns: OpColumns

    @property
    def setup(self) -> Setup:
        """What the prediction is made from."""
        return self.base

    def seconds(self, setup: Setup) -> float:
        """The time of the kernel [s]."""
        return float(cost_on_devices((self._model(setup),), self.columns)[0][TIME, 0])

    def parts(self) -> Seconds:
        """What the time of the kernel consists of."""
        cost = cost_on_devices((self._model(self.base),), self.columns)[0]
        one, none = np.ones(1), np.zeros(1)
        return split(self.columns.kind, one, cost[TIME], cost[COMPUTE], cost[MEMORY], cost[OVERHEAD], none)

    def used(self) -> dict[str, Used]:
        """The law parameters of the operator's family."""
        return _used(self._model(self.base), [(self.columns, np.array([self.seconds(self.base)]))])

    def dtypes(self) -> frozenset[str]:
        """The dtype of the math."""
        math = self.columns.flops > 0.0
        return frozenset(COMPUTE_DTYPES[code] for code in self.columns.dtype[math].tolist())

    def _model(self, setup: Setup) -> DeviceModel:
        return compile_device(setup.device, kernels_alone(setup.runtime), timed_alone=True)


@dataclass(frozen=True, eq=False)
class CollectiveCase:
    """A row of a collective over ``count`` devices on ``nodes`` nodes, as ``library`` runs it.

    ``named``: the row names the library; ``base`` then has no factor of the runtime.
    """

    base: Setup
    kind: OpKind
    message_bytes: float
    count: int
    nodes: int
    library: str
    named: bool

    @property
    def setup(self) -> Setup:
        """What the prediction is made from."""
        return self.base

    def seconds(self, setup: Setup) -> float:
        """The time of the collective [s]."""
        group = group_in(setup.system, setup.links, setup.device, self.count, self.nodes, self.library)
        kinds, sizes = np.array([int(self.kind)]), np.array([self.message_bytes])
        alone = collectives.collective_seconds(kinds, sizes, group.inner, group.outer, group.library)
        return float(alone[0]) / setup.runtime.factors.collective.value

    def parts(self) -> Seconds:
        """All of it is communication."""
        return {("collective", "communication"): self.seconds(self.base)}

    def used(self) -> dict[str, Used]:
        """No law of a device takes part."""
        return {}

    def dtypes(self) -> frozenset[str]:
        """No math takes part."""
        return frozenset()
