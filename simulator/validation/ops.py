"""Predictions of measured operators: all rows of one device under one software are priced in one call.

A row is the time of a kernel, as events around it or an in-situ profile give it: from the start of the kernel to its
end. So a prediction is the law's time under the kernel factors of the runtime, without the launch of the runtime and
without the gap to the next kernel, which belong to the graph around it. The shortest kernel (``floor_s`` of the law)
belongs to the kernel. A collective is what the network says of the library that the row names, or else of that of the
runtime, divided by its factor; the launch that every collective begins with is part of it, as in nccl-tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark, fits_in, group_digest
from hardware_specs.records import DeviceSpec, LinkSpec, SystemSpec
from hardware_specs.systems import links_of, system_for
from simulator.devices.calibrated import Chosen
from simulator.devices.model import compile_device, cost_on_devices
from simulator.kernels import collectives
from simulator.kernels.roofline import COMPUTE, MEMORY, OVERHEAD, TIME
from simulator.network.communicator import Communicator
from simulator.network.topology import Network
from simulator.uncertainty.intervals import Z80, Z95, Error, collective_error, interval, prior_error
from simulator.validation.cells import reason_of
from simulator.validation.groups import group_keys
from simulator.validation.op_checks import complete, faults_of
from simulator.validation.operators import COLLECTIVES, OPS, SIZES, Numbers, Sizes, numbers_of
from simulator.validation.outcome import Floats, Outcome, Words, blank, is_fitted, provenance_of
from simulator.validation.points import Points, numbers
from workloads.collectives.catalogue import library_named_in, load_library
from workloads.collectives.record import CollectiveLibrary
from workloads.graph import OpColumns, columns_of
from workloads.operators import FAMILY
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

Rows = npt.NDArray[np.int64]

DEVICES = {"p4": "p4-pcie-8gb"}
"""Device names of some files that stand for a device of the catalogue."""

_REGIMES = np.array(["compute", "memory", "overhead"], object)
_NOTHING = Fact(0.0, "s", "0 s", Mark.ASSUMED, "the time of a kernel alone")
_FAMILY = {int(kind): family for kind, family in FAMILY.items()}


class OpTable:
    """The columns that pricing reads, shape [n] each, and the outcome that it fills."""

    def __init__(self, points: Points) -> None:
        self.words: Words = np.array([word.lower() for word in points.text("op")], object)
        cells = {name: points.text(name) for name in (*SIZES, "device", "measured_s")}
        sizes = {name: numbers(texts) for name, texts in cells.items() if name != "device"}
        complete(sizes)
        self.sizes: Floats = np.column_stack([sizes[name] for name in SIZES])
        self.dtypes: Words = np.array([text.lower() for text in points.text("dtype")], object)
        self.notes: Words = np.array(points.text("note"), object)
        self.sources: Words = np.array(points.sources(), object)
        self.name = points.name
        self.outcome = blank(len(self.words))
        self.outcome.observed[:] = sizes["measured_s"]
        self.outcome.skip_reason[:] = faults_of(self.words, cells, sizes)


def predict_ops(points: Points, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Predictions of operator rows; ``progress`` is told how many are done."""
    table = OpTable(points)
    usable = table.outcome.skip_reason == ""
    done = 0
    for pair, rows in rows_by_pair(points.text("device"), points.text("software")).items():
        _predict(table, *pair, rows[usable[rows]])
        done += len(rows)
        progress(done)
    return table.outcome


def rows_by_pair(devices: list[str], softwares: list[str]) -> dict[tuple[str, str], Rows]:
    """The rows of each device under each software."""
    rows: dict[tuple[str, str], list[int]] = {}
    for i, pair in enumerate(zip(devices, softwares, strict=True)):
        rows.setdefault(pair, []).append(i)
    return {pair: np.array(members, np.int64) for pair, members in rows.items()}


def _predict(table: OpTable, device: str, software: str, rows: Rows) -> None:
    """Fill in ``rows``, which are of one device under one software."""
    out = table.outcome
    try:
        spec = load_device(DEVICES.get(device, device))
    except InputError as error:
        out.skip_reason[rows] = reason_of(error)
        return
    runtime, named = match_runtime(software, spec)
    out.runtime[rows], out.device_class[rows] = runtime.id, spec.device_class
    out.provenance[rows] = provenance_of(spec, runtime, named)
    for source in dict.fromkeys(table.sources[rows].tolist()):
        out.fitted[rows[table.sources[rows] == source]] = is_fitted(runtime.id, spec.id, source, table.name)
    together = np.isin(table.words[rows], list(COLLECTIVES))
    _price_kernels(table, spec, runtime, rows[~together])
    if together.any():
        library = library_named_in(software)
        _price_collectives(table, spec, runtime, library.id if library else "", rows[together])


def _price_kernels(table: OpTable, spec: DeviceSpec, runtime: Runtime, rows: Rows) -> None:
    """What one device does alone: one call to the law."""
    columns, priced = operators_in(table, spec, rows)
    if not len(priced):
        return
    model = compile_device(spec, kernels_alone(runtime), timed_alone=True)
    cost = cost_on_devices((model,), columns)[0]
    regimes = _REGIMES[cost[[COMPUTE, MEMORY, OVERHEAD]].argmax(axis=0)]
    families = np.array([_FAMILY[kind] for kind in columns.kind.tolist()], object)
    which = model.which(columns)
    _fill(table.outcome, priced[which == 0], cost[TIME][which == 0], regimes[which == 0], families[which == 0], spec)
    for number, chosen in enumerate(model.choice.entries, start=1):
        here = which == number
        _fill_calibrated(table, priced[here], cost[TIME][here], regimes[here], chosen, spec)


def operators_in(table: OpTable, spec: DeviceSpec, rows: Rows) -> tuple[OpColumns, Rows]:
    """The operators of ``rows`` as columns, and which rows they are: the others get a reason and are skipped."""
    numbers_on = cache(lambda dtype, note: numbers_of(dtype, note, spec))
    priced, operators = [], []
    for i in rows.tolist():
        word, note = table.words[i], table.notes[i]
        try:
            formats = Numbers("fp32") if word == "stream_copy" else numbers_on(table.dtypes[i], note)
        except InputError as error:
            table.outcome.skip_reason[i] = reason_of(error)
            continue
        operators.append(OPS[word].make(Sizes._make(table.sizes[i].tolist()), formats, note))
        priced.append(i)
    return columns_of(operators), np.array(priced, np.int64)


def _fill_calibrated(
    table: OpTable, rows: Rows, seconds: Floats, regimes: Words, chosen: Chosen, spec: DeviceSpec
) -> None:
    """Times, intervals from the residuals of the fit, what they rest on, and which rows the fit has seen.

    An entry that does not say how its rows were grouped has seen all rows of its tables and devices.
    """
    out, entry = table.outcome, chosen.entry
    out.predicted[rows], out.regime[rows] = seconds, regimes
    names, levels = ("low_95", "low_80", "high_80", "high_95"), (-Z95, -Z80, Z80, Z95)
    for name, level, end in zip(names, levels, entry.residuals.quantiles, strict=True):
        borrowed = math.copysign(math.hypot(end, level * chosen.doubt), level) if chosen.doubt else end
        getattr(out, name)[rows] = seconds * np.exp(borrowed)
    keys = group_keys(table.sizes[rows], table.notes[rows], entry.fit.split_by)
    used, whole = entry.fit.digests, not entry.fit.split_by
    seen = [whole or group_digest(key) in used for key in keys]
    covered = [entry.fit.covers(source, spec.id) for source in table.sources[rows].tolist()]
    out.fitted[rows] = np.array(covered, bool) & np.array(seen, bool)
    out.provenance[rows] = [f"{text}; fit {entry.fit.id}" for text in out.provenance[rows].tolist()]


def kernels_alone(runtime: Runtime) -> Runtime:
    """``runtime`` with its kernels and their factors, but nothing between them."""
    return msgspec.structs.replace(runtime, graph_mode=True, graph_launch=_NOTHING)


def _price_collectives(table: OpTable, spec: DeviceSpec, runtime: Runtime, named: str, rows: Rows) -> None:
    """What several devices do together, by the size of the group.

    ``named`` is the library that the row names: its kernels are measured as they are. Otherwise it is that of the
    runtime, under the runtime's factor.
    """
    library = load_library(named or runtime.collectives)
    factor = 1.0 if named else runtime.factors.collective.value
    kinds = np.array([int(COLLECTIVES[word]) for word in table.words[rows]], np.int64)
    message = table.sizes[rows, SIZES.index("message_bytes")]
    sizes = table.sizes[rows][:, [SIZES.index("n_devices"), SIZES.index("nodes")]].round().astype(np.int64)
    if library.counts_one_rank:
        message = np.where(kinds == collectives.ALL_GATHER, message * sizes[:, 0], message)
    for count, nodes in sorted(set(map(tuple, sizes.tolist()))):
        here = (sizes == (count, nodes)).all(axis=1)
        try:
            group = group_of(spec, count, nodes, library.id)
        except InputError as error:
            table.outcome.skip_reason[rows[here]] = reason_of(error)
            continue
        seconds = collectives.collective_seconds(kinds[here], message[here], group.inner, group.outer, group.library)
        doubt = collective_error(bool(fits_in(library)), nodes)
        _fill_family(table.outcome, rows[here], seconds / factor, doubt)
        table.outcome.regime[rows[here]] = "communication"
    _mark_collectives(table, spec, library, rows)


def _mark_collectives(table: OpTable, spec: DeviceSpec, library: CollectiveLibrary, rows: Rows) -> None:
    """What rows rest on, and which the fits of their library have seen: by device, operator and size of the group."""
    out, fits = table.outcome, fits_in(library)
    out.provenance[rows] = [f"{text}; collectives {library.id}" for text in out.provenance[rows].tolist()]
    keys = group_keys(table.sizes[rows], table.notes[rows], ("n_devices", "nodes"))
    for row, key in zip(rows.tolist(), keys, strict=True):
        digest = group_digest(collective_group(spec.id, table.words[row], key))
        seen = (
            digest in fit.digests and any(fit.covers(named, spec.id) for named in (table.sources[row], table.name))
            for fit in fits
        )
        out.fitted[row] = any(seen)


def collective_group(device: str, op: str, key: str) -> str:
    """Key of the rows of a collective that a fit leaves out together; ``key`` as "n_devices=8 nodes=1"."""
    return f"device={device} op={op} {key}"


def group_of(spec: DeviceSpec, count: int, nodes: int, library: str) -> Communicator:
    """``count`` devices, spread evenly over ``nodes`` of their usual system or over more.

    Raises:
        InputError: fewer than two devices, or a number of nodes that does not divide them.
    """
    system = system_of(spec, count, nodes)
    return group_in(system, links_of(system), spec, count, nodes, library)


def system_of(spec: DeviceSpec, count: int, nodes: int) -> SystemSpec:
    """The usual system of ``count`` devices, with at least ``nodes`` nodes.

    Raises:
        InputError: as ``group_of``.
    """
    if count < 2:
        raise InputError(f"n_devices {count}: must be at least 2")
    if nodes < 1 or count % nodes:
        raise InputError(f"nodes {nodes}: must divide the {count} devices")
    system = system_for(spec, count)
    return msgspec.structs.replace(system, nodes=nodes) if nodes > system.nodes else system


def group_in(
    system: SystemSpec, links: Mapping[str, LinkSpec], spec: DeviceSpec, count: int, nodes: int, library: str
) -> Communicator:
    """As ``group_of``, in a system whose links are given."""
    group = system.groups[0]
    stride = max(1, group.count * nodes // count) if nodes > 1 else 1
    network = Network(system, links, spec, group, range(group.count * system.nodes))
    return network.communicator(count, stride, library)


def _fill(out: Outcome, rows: Rows, seconds: Floats, regimes: Words, families: Words, spec: DeviceSpec) -> None:
    """Times and intervals where no calibration holds."""
    out.regime[rows] = regimes
    for family in dict.fromkeys(families.tolist()):
        here = families == family
        _fill_family(out, rows[here], seconds[here], prior_error(spec.device_class, family))


def _fill_family(out: Outcome, rows: Rows, seconds: Floats, error: Error) -> None:
    """Times and intervals of single operators: what errors share and what is their own add up."""
    spread = interval(1.0, math.hypot(*error))
    out.predicted[rows] = seconds
    out.low_80[rows], out.high_80[rows] = seconds * spread.p10, seconds * spread.p90
    out.low_95[rows], out.high_95[rows] = seconds * spread.p2_5, seconds * spread.p97_5
