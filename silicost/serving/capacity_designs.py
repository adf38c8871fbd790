"""The capacity of many designs: a table over axes of a pool's keys, computed in parts that are kept.

Each point is a fleet of one pool (or of one for prompts and one for answers) whose keys have the values of the point.
Its row has the highest rate that holds the objectives and what it costs there; where a rate is to be served, the fewest
replicas that hold them at that rate and what these cost. A design without an answer says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.calibrations import use_calibration
from hardware_specs.catalogue import user_directory
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.files import is_path
from hardware_specs.systems import load_system
from silicost.serving.capacity import Capacity, Needed, capacity_of, check_sizable, devices_of, figures_of, replicas_for
from silicost.serving.tables import FleetTable, PoolTable
from silicost.studies.evaluator import Reasons
from silicost.studies.work import Prepared, _catalogues
from simulator.checks import check_count
from simulator.explore.columns import Table
from simulator.explore.conditions import parse_condition
from simulator.explore.manifest import Definition
from simulator.explore.points import Column, Points, Value
from simulator.explore.samplers import Grid, sampler_of
from simulator.explore.space import Axis, Space
from simulator.explore.work import Recipe, Work
from simulator.identity import content_hash, laws_hash
from simulator.serving.fleet import ROUTERS, SCHEDULES
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

BUILDER: Final = "silicost.serving.capacity_designs:work_from_text"
PART_POINTS: Final = 4
"""Designs of a part: seconds of one core."""
TEXTS: Final = (
    "model", "device", "runtime", "dtype", "weight_dtype", "kv_dtype", "system", "price", "scheduler", "router",
    "activation_dtype", "prune", "sparsity",
)  # fmt: skip
NUMBERS: Final = ("count", "tp", "pp", "ep", "max_num_seqs", "max_batched_tokens", "block_size", "kv_blocks")
SHARES: Final = ("memory_utilization", "low_rank")
AXES: Final = (*TEXTS, *NUMBERS, *SHARES)
"""Keys of a pool that may be axes; paths of specs (``--set``) may as well."""
COLUMNS: Final = (
    "rate_per_s", "rate_per_s_per_replica", "rate_per_s_per_device", "replicas", "devices", "usd_per_hour",
    "usd_per_million_output_tokens", "usd_per_thousand_requests", "j_per_output_token", "j_per_request", "ttft_s.p50",
    "ttft_s.p99", "tpot_s.p50", "tpot_s.p99", "e2e_s.p50", "e2e_s.p99", "requests_per_s", "goodput_requests_per_s",
    "output_tokens_per_s", "utilisation", "running_mean", "kv_peak_fraction",
)  # fmt: skip
ENDS: Final = ("rate_per_s.p10", "rate_per_s.p90")
_LOADERS: Final[dict[str, Callable[[str], object]]] = {
    "model": load_model, "device": load_device, "runtime": load_runtime, "system": load_system,
}  # fmt: skip
_SOURCES: Final = ("answer", "capacity", "capacity_designs", "capacity_runs", "pools", "stages", "tables")
"""Files of this room that numbers depend on."""
_NAMES: Final = {"scheduler": tuple(SCHEDULES), "router": tuple(ROUTERS)}


class AxisTable(msgspec.Struct, frozen=True):
    """An axis as text: the names that it sets, and its choices, a value for each name."""

    names: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]


class Order(msgspec.Struct, frozen=True):
    """What is asked of many designs.

    Args:
        fleet: what all designs share.
        rate_per_s: to be served; None: each has its highest.
        intervals: with the ends of the 80% interval of the highest rate.
        calibrations: files of one's own.
    """

    fleet: FleetTable
    axes: tuple[AxisTable, ...]
    conditions: tuple[str, ...] = ()
    rate_per_s: float | None = None
    intervals: bool = False
    calibrations: tuple[str, ...] = ()


class Found(NamedTuple):
    """A design's highest rate, and the replicas that the rate to be served needs, where there is one."""

    capacity: Capacity
    needed: Needed | None


def prepare_designs(order: Order, part_points: int = PART_POINTS) -> Prepared:
    """Make the search of many designs ready.

    Raises:
        InputError: unknown names or keys, values that cannot be, conditions that leave nothing, too many points.
    """
    check_axes(order)
    space = space_of(order)
    space.check()
    sampler = sampler_of("grid", space, None, 0, "axes")
    work = Work(sampler, evaluator_of(order))
    text = msgspec.json.encode(order).decode()
    definition = Definition(
        title="capacity", text=text, axes=space.names,
        space=content_hash([[list(each.names), [list(v) for v in each.values]] for each in order.axes],
                           list(order.conditions)),
        sampler="grid", evaluator=work.evaluator.fingerprint, points=sampler.count, part_points=part_points,
        seed=order.fleet.seed,
        facts={"laws": laws_hash(), "calibrations": tuple(Path(path).name for path in order.calibrations)},
    )  # fmt: skip
    return Prepared(work, Recipe(BUILDER, text), definition)


def work_from_text(text: str) -> Work:
    """The work that ``Prepared.recipe`` says."""
    order = msgspec.json.decode(text, type=Order)
    for path in order.calibrations:
        use_calibration(path)
    return Work(Grid(space_of(order)), evaluator_of(order))


def space_of(order: Order) -> Space:
    """The designs."""
    conditions = tuple(parse_condition(text, "--where") for text in order.conditions)
    return Space(tuple(Axis(each.names, each.values) for each in order.axes), conditions)


def check_axes(order: Order) -> None:
    """Refuse axes that no pool has, and names that no catalogue holds, before anything is computed.

    Raises:
        InputError, UnknownName: with what is allowed.
    """
    if not order.axes:
        raise InputError("nothing varies: give one of the flags several values, for example --tp 1,2,4")
    for axis in order.axes:
        for place, name in enumerate(axis.names):
            if "." not in name and name not in AXES:
                raise UnknownName("axis", name, AXES, f"allowed: {', '.join(AXES)}, and paths of --set")
            if name == "device" and len(order.fleet.pool) > 1:
                raise InputError("--device: a fleet of several pools has a device for each; use --find disaggregated")
            for value in dict.fromkeys(choice[place] for choice in axis.values):
                key_value(name, value)


def key_value(name: str, value: Value) -> Any:
    """The value of a key of a pool, as its table has it.

    Raises:
        InputError, UnknownName: no name or number that it may have.
    """
    flag = f"--{name.replace('_', '-')}"
    if "." in name:
        return value if isinstance(value, str) else repr(value)
    if name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{flag} {value!r}: must be a whole number")
        check_count(flag, value, 1_000_000_000)
        return value
    if name in SHARES:
        if isinstance(value, (bool, str)):
            raise InputError(f"{flag} {value!r}: must be a number")
        return float(value)
    text = str(value)
    if name in _LOADERS and text:
        _LOADERS[name](text)
    if name in _NAMES and text and text not in _NAMES[name]:
        raise UnknownName(name, text, _NAMES[name], f"allowed: {', '.join(_NAMES[name])}")
    return text


def designed(fleet: FleetTable, row: Mapping[str, Value]) -> FleetTable:
    """``fleet`` with the values of a point in all of its pools."""
    own = {name: key_value(name, value) for name, value in row.items() if "." not in name}
    changes = {name: key_value(name, value) for name, value in row.items() if "." in name}

    def changed(pool: PoolTable) -> PoolTable:
        return msgspec.structs.replace(pool, **own, set={**pool.set, **changes})

    return msgspec.structs.replace(fleet, pool=tuple(changed(pool) for pool in fleet.pool))


def find(fleet: FleetTable, rate_per_s: float | None, intervals: bool, place: str = "flags") -> Found:
    """The capacity of a fleet, and the replicas that a rate needs.

    Raises:
        InputError: a fleet that cannot be.
    """
    if rate_per_s is not None:
        check_sizable(fleet)
    capacity = capacity_of(fleet, place, intervals=intervals)
    needed = replicas_for(capacity, rate_per_s) if rate_per_s is not None else None
    return Found(capacity, needed)


class CapacityEvaluator:
    """Answers the points of one search over designs; see the module."""

    def __init__(self, order: Order, fingerprint: str) -> None:
        self.order, self.fingerprint = order, fingerprint

    def __call__(self, points: Points) -> Table:
        """A row for each of ``points``."""
        count = len(points)
        names = (*COLUMNS, *(ENDS if self.order.intervals else ()))
        values = {name: np.full(count, np.nan) for name in names}
        fits, reasons, binds, notes = np.zeros(count, np.bool_), Reasons(count), [""] * count, [""] * count
        for row in range(count):
            try:
                found = find(designed(self.order.fleet, points.row(row)), self.order.rate_per_s, self.order.intervals)
            except InputError as error:
                if not error.code:
                    raise  # what all designs share is wrong
                reasons.put(row, _code(error), str(error))
                continue
            fits[row] = True
            capacity, needed = found
            binds[row] = ", ".join(capacity.highest.binds)
            notes[row] = "; ".join(dict.fromkeys((*capacity.notes, *(needed.notes if needed else ()))))
            for name, value in row_of(found).items():
                if name in values:
                    values[name][row] = np.nan if value is None else value
            if capacity.why[0]:
                reasons.put(row, *capacity.why)
            elif self.order.rate_per_s is not None and needed is None:
                reasons.put(row, "replicas", f"no number of replicas up to 10,000 serves {self.order.rate_per_s:g}/s")
        reason, detail = reasons.columns()
        return {
            **values, "binds": Column.of_values(binds), "notes": Column.of_values(notes), "fits": fits,
            "feasible": fits & (reasons.codes == 0), "reason": reason, "detail": detail,
        }  # fmt: skip


def row_of(found: Found) -> dict[str, float | None]:
    """Numbers of a design: its highest rate, and the figures of the fleet at the rate that is served."""
    capacity, needed = found
    fleet = capacity.subject.fleet
    rate = capacity.rate_per_s
    devices, replicas = devices_of(fleet), fleet.pools[0].table.replicas
    row: dict[str, float | None] = {"rate_per_s": rate}
    if rate:
        row |= {"rate_per_s_per_replica": rate / replicas, "rate_per_s_per_device": rate / devices}
    if capacity.interval:
        row |= dict(zip(ENDS, capacity.interval, strict=True))
    if needed:
        devices = devices * needed.replicas // replicas
        row |= figures_of(needed.answer, needed.latencies) | {"replicas": needed.replicas, "devices": devices}
    elif capacity.answer:
        row |= figures_of(capacity.answer, capacity.latencies) | {"replicas": replicas, "devices": devices}
    return row


def evaluator_of(order: Order) -> CapacityEvaluator:
    """The evaluator, with a hash of all that its numbers depend on besides the points."""
    named = [value for each in order.axes for choice in each.values for value in choice]
    pools = order.fleet.pool
    named += [getattr(pool, key) for pool in pools for key in ("model", "device", "runtime", "system")]
    traffic = order.fleet.traffic
    named += [traffic.trace, traffic.isl, traffic.osl]
    files = sorted({text for text in named if isinstance(text, str) and text and is_path(text)})
    own = [_digest(Path(name)) for name in (*files, *order.calibrations) if Path(name).is_file()]
    sources = [_digest(Path(__file__).with_name(f"{name}.py")) for name in _SOURCES]
    asked = msgspec.structs.replace(order, axes=(), conditions=())
    return CapacityEvaluator(order, content_hash(asked, _catalogues(user_directory()), own, sources))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _code(error: InputError) -> str:
    """A short code for why a design has no answer; places are none."""
    return error.code if " " not in error.code else "input"


def axis_tables(given: Mapping[str, str], links: Sequence[str], fixed: dict[str, Value]) -> tuple[AxisTable, ...]:
    """Axes of the flags that have several values; those with one go to ``fixed``.

    Args:
        given: text of each flag or path by its name.
        links: names that vary together, by commas.

    Raises:
        InputError: values that are none, links of what does not vary or of unequal length.
    """
    from simulator.explore.ranges import values_of

    axes: dict[str, tuple[Value, ...]] = {}
    for name, text in given.items():
        place = f"--set {name}" if "." in name else f"--{name.replace('_', '-')}"
        values = values_of(text, place)
        if len(values) > 1:
            axes[name] = values
        else:
            fixed[name] = values[0]
    found = []
    for link in links:
        names = [part.strip() if "." in part else part.strip().replace("-", "_") for part in link.split(",")]
        missing = [name for name in names if name not in axes]
        if missing or len(names) < 2:
            why = f"{missing[0]!r} is no axis of several values" if missing else "needs two names or more"
            raise InputError(f"--link {link!r}: {why}")
        columns = [axes.pop(name) for name in names]
        if len({len(column) for column in columns}) > 1:
            raise InputError(f"--link {link!r}: must have equally many values, not {[len(c) for c in columns]}")
        found.append(AxisTable(tuple(names), tuple(zip(*columns, strict=True))))
    return (*(AxisTable((name,), tuple((value,) for value in values)) for name, values in axes.items()), *found)
