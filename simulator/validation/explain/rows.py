"""From a row of a points file to a case that can be priced under changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from hardware_specs.systems import links_of, system_for
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.validation.assumptions import Assumption, complete
from simulator.validation.cells import Row, Unpredictable
from simulator.validation.explain.cases import Case, CollectiveCase, OperatorCase, RunCase
from simulator.validation.explain.setup import Setup
from simulator.validation.inference_point import Limits, point_of
from simulator.validation.one_pool import Models, device_of
from simulator.validation.operators import COLLECTIVES, SIZES
from simulator.validation.ops import OpTable, operators_in, system_of
from simulator.validation.points import Points
from simulator.validation.predictor import Predictor
from simulator.validation.reasons import SOFTWARE
from simulator.validation.step_assumptions import complete_step
from simulator.validation.training import METRIC, scenario_of
from workloads.collectives.catalogue import library_named_in, load_library
from workloads.operators import OpKind
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

NO_ENERGY: Final = "an energy is no time: only times and rates are explained"
NO_FIRST_TOKEN: Final = "the first token of a server under load waits for others: it is no time of one run"
ARRIVALS: Final = "what leaves the server is what arrives: no time decides"


ASSUMED: Final = "instead of what was assumed"
TIMES: Final = ("ttft_s", "tpot_s", "e2e_s")
"""Metrics that are times; the others are rates."""


class Subject(NamedTuple):
    """A row that can be explained.

    ``power`` says how what was measured depends on the time of ``case``: 1 for times, -1 for rates. ``named``: the row
    names its runtime. ``variants`` are scenarios as plausible as the one that was predicted, where the row left
    something open, and in words what they take.
    """

    case: Case
    power: float
    named: bool
    variants: tuple[tuple[str, Scenario], ...] = ()


def subject_of(points: Points, i: int, row: Row, runtime: str, predicted: float, models: Models) -> Subject:
    """Row ``i`` of ``points``, which was ``predicted`` under ``runtime``.

    Raises:
        InputError: a row that cannot be predicted, or measures no time.
    """
    spec, software = device_of(row["device"]), load_runtime(runtime)
    named = match_runtime(row.get(SOFTWARE[points.kind], ""), spec).exact
    if points.kind == "ops":
        return Subject(_operator(points, i, row, Setup(spec, software, system_for(spec, 1), {})), 1.0, named)
    if points.kind == "training":
        return _training(row, spec, software, named, models)
    if row["metric"] == "j_per_output_token":
        raise Unpredictable(NO_ENERGY)
    return _inference(row, spec, software, named, predicted, models)


def _training(row: Row, spec: DeviceSpec, runtime: Runtime, named: bool, models: Models) -> Subject:
    """A step."""

    def scenario(cells: Row) -> Scenario:
        return scenario_of(cells, spec, runtime, models)

    cells, assumed = complete_step(row, spec, lambda cells: simulate(scenario(cells)), runtime)
    case = RunCase(scenario(cells), METRIC, 1.0)
    return Subject(case, 1.0, named, tuple(_variants(assumed, lambda other: scenario({**cells, **other}))))


def _inference(row: Row, spec: DeviceSpec, runtime: Runtime, named: bool, predicted: float, models: Models) -> Subject:
    """A static batch; of a server whose batch follows from limits, tokens come at the interval of whole runs."""
    predictor, metric = Predictor(models), row["metric"]
    cells, assumed = complete(row, spec, runtime, models)
    asked = point_of(cells, spec.id, runtime.id)
    point = predictor.settled(asked)
    if asked.limits.serves:
        if metric == "ttft_s":
            raise Unpredictable(NO_FIRST_TOKEN)
        metric = {"tpot_s": "e2e_s", "decode_tokens_per_s": "output_tokens_per_s"}.get(metric, metric)
    case = RunCase(predictor.scenario(point), metric)
    power = 1.0 if row["metric"] in TIMES else -1.0
    alone = case.value_of(metric, case.scenario) or 0.0
    if asked.limits.serves and power < 0.0 and predicted < alone * (1.0 - 1e-6):
        raise Unpredictable(ARRIVALS)

    def scenario(other: Row) -> Scenario:
        varied = point_of({**cells, **other}, spec.id, runtime.id)
        return predictor.scenario(varied._replace(batch=varied.batch or point.batch, limits=Limits()))

    found = [*_variants(assumed, scenario)]
    for each in assumed:
        for batch in (max(round(point.batch * factor), 1) for factor in each.batches):
            found.append((f"batch {batch} ({ASSUMED}: {each.words})", predictor.scenario(point._replace(batch=batch))))
    return Subject(case, power, named, tuple(found))


def _variants(assumed: Sequence[Assumption], scenario: Callable[[Row], Scenario]) -> Iterator[tuple[str, Scenario]]:
    """The values that assumptions might have given as well, one at a time.

    Args:
        scenario: that of a row in which these cells are other ones.
    """
    for each in assumed:
        for cells in each.others:
            try:
                yield f"{_in_words(cells)} ({ASSUMED}: {each.words})", scenario(cells)
            except InputError:
                continue


def _in_words(cells: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in cells.items())


def _operator(points: Points, i: int, row: Row, setup: Setup) -> Case:
    """A kernel or a collective."""
    table = OpTable(Points(points.kind, points.name, points.table.iloc[[i]].reset_index(drop=True)))
    word = table.words[0]
    if word in COLLECTIVES:
        return _collective(table, row, setup)
    columns, _ = operators_in(table, setup.device, np.array([0]))
    if not len(columns.kind):
        raise Unpredictable(table.outcome.skip_reason[0])
    return OperatorCase(setup, columns)


def _collective(table: OpTable, row: Row, setup: Setup) -> Case:
    """As ``simulator.validation.ops`` takes it: a library that the row names runs without the runtime's factor."""
    sizes = dict(zip(SIZES, table.sizes[0].tolist(), strict=True))
    count, nodes = round(sizes["n_devices"]), round(sizes["nodes"])
    kind, message = COLLECTIVES[table.words[0]], sizes["message_bytes"]
    named = library_named_in(row.get("software", ""))
    library = named or load_library(setup.runtime.collectives)
    if library.counts_one_rank and kind == OpKind.ALL_GATHER:
        message *= count
    runtime = setup.runtime
    if named is not None:
        one = msgspec.structs.replace(runtime.factors.collective, value=1.0, text="1")
        runtime = msgspec.structs.replace(runtime, factors=msgspec.structs.replace(runtime.factors, collective=one))
    system = system_of(setup.device, count, nodes)
    return CollectiveCase(
        Setup(setup.device, runtime, system, links_of(system)),
        kind,
        message,
        count,
        nodes,
        library.id,
        named is not None,
    )
