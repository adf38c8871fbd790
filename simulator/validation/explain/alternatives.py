"""What else may be different than a number: software, its launches, the batch, recomputation, a power limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError
from hardware_specs.units import format_quantity
from simulator.scenario import RECOMPUTE, Scenario, StaticBatch, TrainStep
from simulator.validation.cells import Row
from simulator.validation.explain.cases import Case, CollectiveCase, OperatorCase, RunCase
from simulator.validation.explain.closing import closing_of
from simulator.validation.explain.rows import Subject
from simulator.validation.explain.setup import Candidate, Setup
from workloads.runtimes.catalogue import load_all_runtimes, runs_on
from workloads.runtimes.record import Runtime

POWER_SD: Final = 0.3
"""Uncertainty of a power limit, as ``Candidate.sd``. Assumed: clouds and laptops set 60% to 100% of the rated power."""


CLOSER: Final = 0.9
"""What comes closer leaves at most this share of the gap."""


class Alternative(NamedTuple):
    """A change in words, and ln(predicted / measured time) under it."""

    words: str
    left: float


def alternatives_of(subject: Subject, row: Row, measured_s: float) -> list[Alternative]:
    """The changes that come closer to the measured time than the prediction does, the closest first, and last a power
    limit, which is chosen to.

    Args:
        row: what was measured; says what it left open.
        measured_s: the measured time [s]; of a rate, that of a run as it was predicted.
    """
    case = subject.case
    before = abs(math.log(case.seconds(case.setup) / measured_s))
    found: list[Alternative] = []
    limits: list[Alternative] = []
    if not isinstance(case, CollectiveCase):
        found += _of_runtime(case, subject.named, measured_s)
        limits += _power_limit(case, measured_s)
    if isinstance(case, RunCase):
        others = [*_of_work(case, row), *subject.variants]
        found += [each for words, other in others for each in _in(subject, words, other, measured_s)]
    ranked = [*sorted(found, key=lambda each: abs(each.left)), *limits]
    return [each for each in ranked if abs(each.left) < CLOSER * before]


def _of_runtime(case: Case, named: bool, measured_s: float) -> Iterator[Alternative]:
    """Other versions and variants of the software (of a row that names none: any), and the other way to launch."""
    setup = case.setup
    training = isinstance(case, RunCase) and isinstance(case.scenario.workload, TrainStep)
    own = setup.runtime
    for runtime in load_all_runtimes():
        alike = software_of(runtime) == software_of(own) or not named
        if runtime.id != own.id and alike and runs_on(runtime, setup.device) and (runtime.trains or not training):
            yield from _under(case, f"runtime {runtime.id} instead of {own.id}", _with(setup, runtime), measured_s)
    if isinstance(case, RunCase):
        words = "eager launches instead of graphs" if own.graph_mode else "graphs instead of eager launches"
        other = msgspec.structs.replace(own, graph_mode=not own.graph_mode)
        yield from _under(case, words, _with(setup, other), measured_s)
    if isinstance(case, OperatorCase):
        seconds = case.seconds(setup) + own.launch.value
        words = f"the measurement includes the launch ({format_quantity(own.launch.value, 's', 3)})"
        yield Alternative(words, math.log(seconds / measured_s))


def software_of(runtime: Runtime) -> str:
    """The software of a runtime without version and variant: "torch-eager-2.4" -> "torch"."""
    return runtime.id.partition("-")[0]


def _with(setup: Setup, runtime: Runtime) -> Setup:
    return msgspec.structs.replace(setup, runtime=runtime)


def _under(case: Case, words: str, setup: Setup, measured_s: float) -> Iterator[Alternative]:
    """The alternative of another setup; nothing where it cannot be simulated."""
    try:
        yield Alternative(words, math.log(case.seconds(setup) / measured_s))
    except InputError:
        return


def _power_limit(case: Case, measured_s: float) -> Iterator[Alternative]:
    """A power limit below the rated power, where one makes the prediction as slow as the measurement."""
    used = case.used()
    if not used:
        return
    record = next(iter(used.values())).record
    now, low = float(record["cap_w"]), 1.01 * float(record["static_w"])
    if not 0.0 < low < now:
        return
    limit = Candidate("device.parameters.cap_w", case.setup.device.id, "power limit", "w", now, low, now, POWER_SD)
    found = closing_of(case, limit, measured_s)
    if found is not None and found.nearest < now:
        watts = [format_quantity(value, "w", 3) for value in (found.nearest, now)]
        yield Alternative(f"a power limit of {watts[0]} instead of {watts[1]}", found.left)


def _of_work(case: RunCase, row: Row) -> Iterator[tuple[str, Scenario]]:
    """Another batch, whole prompts instead of chunks, recomputation that the row does not state."""
    work, pool = case.scenario.workload, case.scenario.pools[0]
    if isinstance(work, TrainStep) and row.get("recompute", "") not in RECOMPUTE:
        for recompute in RECOMPUTE:
            if recompute != pool.plan.recompute:
                plan = msgspec.structs.replace(pool.plan, recompute=recompute)
                yield f"recomputation {recompute}", _with_pool(case.scenario, plan=plan)
    if isinstance(work, StaticBatch):
        for words, batch in _batches(case, work):
            other = msgspec.structs.replace(work, batch=batch)
            yield f"batch {batch}: {words}", msgspec.structs.replace(case.scenario, workload=other)
        if pool.runtime.prefill_chunk:
            runtime = msgspec.structs.replace(pool.runtime, prefill_chunk=0)
            words = f"whole prompts instead of chunks of {pool.runtime.prefill_chunk} tokens"
            yield words, _with_pool(case.scenario, runtime=runtime)


def _batches(case: RunCase, work: StaticBatch) -> Iterator[tuple[str, int]]:
    """What else a batch may mean."""
    largest, dp = case.value_of("max_batch", case.scenario), case.scenario.pools[0].plan.dp
    others = {1: "one sequence at a time"}
    if dp > 1:
        others[work.batch * dp] = "as stated on each replica"
    if largest:
        others[int(largest)] = "as many sequences as fit"
    yield from ((words, batch) for batch, words in others.items() if batch != work.batch)


def _with_pool(scenario: Scenario, **changes: object) -> Scenario:
    pool = msgspec.structs.replace(scenario.pools[0], **changes)
    return msgspec.structs.replace(scenario, pools=(pool,))


def _in(subject: Subject, words: str, scenario: Scenario, measured_s: float) -> Iterator[Alternative]:
    """The alternative of another scenario, by the metric itself: other work has another time of the same rate."""
    case = subject.case
    assert isinstance(case, RunCase)
    try:
        before, after = case.value_of(case.metric, case.scenario), case.value_of(case.metric, scenario)
    except InputError:
        return
    if before and after:
        predicted_s = case.seconds(case.setup) * (after / before) ** subject.power
        yield Alternative(words, math.log(predicted_s / measured_s))
