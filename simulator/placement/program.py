"""Programs in the making: operators on units, and transfers where data changes unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from simulator.engine.tasks import HOST, Flow, Lane, Program, Task
from simulator.placement.units import Unit, collective_flow, load_flow, transfer_flow, transfer_link
from simulator.prepared import Prepared
from simulator.steps.pricing import PricedGraph
from workloads import operators as op
from workloads.operators import COLLECTIVES, OpKind

Units = Mapping[str, tuple[Unit, ...]]
"""Units of each pool by its name, first pipeline stage first."""


def units_of(prepared: Iterable[Prepared]) -> Units:
    """One unit for each pipeline stage of each pool."""
    return {each.pool.name: tuple(Unit(each, s) for s in range(each.pool.plan.pp)) for each in prepared}


def static_w(unit: Unit) -> float:
    """What one device of a unit draws while it is in use, whatever it does [W]."""
    return float(unit.prepared.model.record["static_w"])


@dataclass(frozen=True)
class Product:
    """The task that made a piece of data, the unit it lies on, and its size [B]; None: as much as its reader reads."""

    task: int
    unit: Unit
    size_bytes: float | None


class ProgramWriter:
    """Collects tasks; data that is needed on another unit is moved there once."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self._tasks: list[Task] = []
        self._moved: dict[tuple[int, str], int] = {}

    def build(self) -> Program:
        """The finished program."""
        links = {port: rate for stages in self.units.values() for unit in stages for port, rate in unit.ports().items()}
        every = [unit for stages in self.units.values() for unit in stages]
        return Program(tuple(self._tasks), links, {unit.name: static_w(unit) for unit in every})

    def __len__(self) -> int:
        return len(self._tasks)

    def operator(
        self, unit: Unit, priced: PricedGraph, index: int, after: Iterable[Product], read_bytes: float | None = None
    ) -> Product:
        """One execution of operator ``index`` of ``priced``.

        Args:
            read_bytes: what it reads of products without a size of their own [B]; its result then has none either.
                None: products have sizes, and that of the result is what the operator writes.
        """
        operator = priced.graph.operators[index]
        waits = self.arrived(after, unit, read_bytes or 0.0)
        made = operator.write_bytes if read_bytes is None else None
        collective = operator.kind in COLLECTIVES
        task = Task(
            operator.name,
            operator.family,
            priced.bounds[index],
            (unit.lane("communication" if collective else "compute"),),
            seconds=float(priced.time_s[index]),
            flow=collective_flow(operator, unit) if collective else None,
            dynamic_j=max(0.0, float(priced.energy_j[index]) - static_w(unit) * float(priced.time_s[index])),
            amount=operator.message_bytes if collective else operator.flops,
            depends_on=waits,
        )
        return Product(self._add(task), unit, made)

    def host(self, unit: Unit, seconds: float, after: Iterable[Product]) -> Product:
        """Host time of one step; nothing is moved for it."""
        waits = tuple(product.task for product in after)
        return Product(
            self._add(Task("host", "host", "overhead", (unit.lane(HOST),), seconds, depends_on=waits)), unit, 0.0
        )

    def exchange(self, unit: Unit, name: str, seconds: float) -> Product:
        """A collective of the devices of a unit whose time is known, before anything else."""
        task = Task(name, "collective", "communication", (unit.lane("communication"),), seconds)
        return Product(self._add(task), unit, 0.0)

    def load(self, unit: Unit, size_bytes: float, after: Iterable[Product]) -> Product:
        """Input from the host to the devices of a unit."""
        waits = tuple(product.task for product in after)
        lane = Lane(f"{unit.prepared.network.host.id} host > {unit.name}", "transfer")
        return Product(self._flow("input", lane, load_flow(size_bytes, unit), waits), unit, size_bytes)

    def arrived(self, products: Iterable[Product], unit: Unit, read_bytes: float) -> tuple[int, ...]:
        """Tasks to wait for until all ``products`` lie on ``unit``; adds the transfers that are needed."""
        return tuple(dict.fromkeys(self.bring(product, unit, read_bytes).task for product in products))

    def bring(self, product: Product, unit: Unit, read_bytes: float, name: str = "transfer") -> Product:
        """``product`` on ``unit``: itself, or a transfer, made once for each destination."""
        size = read_bytes if product.size_bytes is None else product.size_bytes
        if product.unit.name == unit.name or size == 0.0:
            return Product(product.task, unit, product.size_bytes)
        key = (product.task, f"{unit.name} {name}")
        if key not in self._moved:
            self._moved[key] = self.send(product.unit, unit, size, (product,), name).task
        return Product(self._moved[key], unit, product.size_bytes)

    def send(self, source: Unit, target: Unit, size_bytes: float, after: Iterable[Product], name: str) -> Product:
        """``size_bytes`` in all from one unit to another: between stages of a pool, or over the host links."""
        if source.prepared.pool.name == target.prepared.pool.name:
            each = size_bytes / target.prepared.pool.plan.tp
            send = op.collective(name, OpKind.SEND_RECV, each, 2, "pp")
            flow, link = collective_flow(send, source, target), target.prepared.network.link.id
        else:
            flow, link = transfer_flow(size_bytes, source, target), transfer_link(source, target).id
        lane = Lane(f"{link} {source.name} > {target.name}", "transfer")
        return Product(self._flow(name, lane, flow, tuple(p.task for p in after)), target, size_bytes)

    def _flow(self, name: str, lane: Lane, flow: Flow, waits: tuple[int, ...]) -> int:
        return self._add(
            Task(name, "transfer", "communication", (lane,), flow=flow, amount=flow.size_bytes, depends_on=waits)
        )

    def _add(self, task: Task) -> int:
        self._tasks.append(task)
        return len(self._tasks) - 1
