"""What the log error of a predicted metric consists of, by source, so that predictions of several scenarios compare.

A source is what errs as one: an entry of a calibration, or the class prior, that prices operators of one family on one
device under one runtime. Scenarios that use the same source share its error, and of an operator that both run also that
operator's own; what a run errs beyond its operators is the same under one runtime on one device. Errors of different
sources correlate as in ``simulator.uncertainty.intervals``: of one device by ``FAMILY_CORRELATION``, of two by
``DEVICE_CORRELATION``. The terms of a metric are scaled to spread together exactly as its interval does, which takes
all errors of a family for one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, clipped, nearest
from simulator.assemble import ENERGY_METRICS, parts_of
from simulator.devices.calibrated import PLAIN, WEIGHTS, weights_of
from simulator.metrics import BY_NAME
from simulator.prepared import Prepared, prepare
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.inference_result import PHASE_METRICS, POWERS, breakdowns
from simulator.steps.pricing import PricedGraph, joined_steps
from simulator.steps.static_batch import BatchCost, price_batch
from simulator.uncertainty.intervals import DEVICE_CORRELATION, FAMILY_CORRELATION, POWER, WHOLE_RUN, Z80
from workloads.graph import Graph
from workloads.operators import FAMILIES, Operator

Floats = npt.NDArray[np.float64]
Steps = list[tuple[PricedGraph, float]]

METRICS: Final = tuple(name for name in BY_NAME if name in {*POWERS, *ENERGY_METRICS})
"""Metrics of a static batch that are uncertain."""
BEYOND: Final = "beyond operators"
"""Family of what a whole run errs beyond its operators."""
POWER_MODEL: Final = "power model"


class Source(NamedTuple):
    """What errs as one. ``entry`` is the id of a calibration, "" for the class prior; ``dtype`` what that is of."""

    device: str
    device_class: str
    runtime: str
    family: str
    dtype: str = ""
    entry: str = ""


class Term(NamedTuple):
    """A part of the log error: what a source has for all its operators (``operator`` None), or one operator's own."""

    source: Source
    operator: Operator | None
    sd: float


Loads = Mapping[Term, float]
"""By how much a metric's log error grows with each term."""


def check_metric(name: str, place: str) -> None:
    """Refuse what is no uncertain metric of a static batch.

    Raises:
        InputError: with the nearest and all that are allowed.
    """
    if name not in METRICS:
        close = nearest(name, METRICS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: {clipped(name)!r} is not allowed{hint} (allowed: {', '.join(METRICS)})")


def terms_of(scenario: Scenario, result: Result, metric: str) -> dict[Term, float]:
    """The log error of ``metric`` in the result of a static batch on one pool, as terms and their loads.

    A higher time counts as positive whether the metric is a time or a rate: all loads are positive.

    Raises:
        InputError: several pools, or another kind of workload.
    """
    work = scenario.workload
    if not isinstance(work, StaticBatch):
        raise InputError("terms of an error are known for static batches only")
    prepared = prepare(scenario)
    value, band = result.metrics[metric], result.intervals[metric]
    assert value is not None
    sd = math.log(value / band.p10) / Z80
    raw = _time_terms(prepared, work, metric)
    device = prepared.pool.device
    known: dict[Term, float] = {}
    if metric in ENERGY_METRICS:
        known[Term(Source(device.id, device.device_class, "", POWER_MODEL), None, POWER)] = 1.0
        sd = math.sqrt(max(sd**2 - POWER**2, 0.0))
    terms = tuple(raw)
    loads = np.array([raw[term] for term in terms])
    scale = sd / math.sqrt(loads @ covariance_of(terms) @ loads)
    return {term: load * scale for term, load in raw.items()} | known


def joined_terms(loads: Sequence[Loads]) -> tuple[tuple[Term, ...], Floats]:
    """The terms of several alternatives and the loads of each, shapes [K] and [A, K].

    What is operators' own is independent and of one size in a source, so that as many terms of it as there are
    alternatives spread as all of them do: X [A, n] and the triangle R of its QR decomposition have X X^T = R^T R.
    """
    every = tuple(dict.fromkeys(term for each in loads for term in each))
    matrix = np.array([[each.get(term, 0.0) for term in every] for each in loads])
    groups: dict[tuple[Source, bool], list[int]] = {}
    for place, term in enumerate(every):
        groups.setdefault((term.source, term.operator is not None), []).append(place)
    terms: list[Term] = []
    columns: list[Floats] = []
    for (_, own), places in groups.items():
        block = matrix[:, places]
        users = np.flatnonzero(block.any(axis=1))
        if own and len(places) > len(users):
            fewer = np.zeros((len(matrix), len(users)))
            fewer[users] = np.asarray(np.linalg.qr(block[users].T, mode="r")).T
            block = fewer
        terms += [every[place] for place in places[: block.shape[1]]]
        columns.append(block)
    return tuple(terms), np.concatenate(columns, axis=1)


def covariance_of(terms: Sequence[Term]) -> Floats:
    """Covariance of the terms' errors, shape [K, K]."""
    sds = np.array([term.sd for term in terms])
    devices = np.array([term.source.device for term in terms])
    shared = np.array([term.operator is None and term.source.family not in (BEYOND, POWER_MODEL) for term in terms])
    correlation = np.where(devices[:, None] == devices, FAMILY_CORRELATION, DEVICE_CORRELATION)
    correlation = np.where(shared[:, None] & shared, correlation, 0.0)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation * np.outer(sds, sds))


def _time_terms(prepared: Prepared, work: StaticBatch, metric: str) -> dict[Term, float]:
    """Terms of the seconds that ``metric`` depends on, each with its share of them."""
    cost = price_batch(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)
    seconds = breakdowns(cost)
    phases = [phase for phase, metrics in PHASE_METRICS.items() if metric in metrics and phase in seconds] or seconds
    total = sum(sum(seconds[phase].values()) for phase in phases)
    found: dict[Term, float] = {}
    for phase in phases:
        host_s = seconds[phase].get("host", 0.0)
        if host_s > 0.0:
            _add(found, _whole_family(prepared, "host"), host_s / total)
        steps = _steps(cost, phase)
        scale = (sum(seconds[phase].values()) - host_s) / sum(priced.total_s * times for priced, times in steps)
        for graph, spent in joined_steps(steps):
            for term, share in _operator_terms(prepared, graph, (spent * (scale / total)).tolist()):
                _add(found, term, share)
    device, runtime = prepared.pool.device, prepared.pool.runtime
    beyond = Source(device.id, device.device_class, runtime.id, BEYOND)
    found[Term(beyond, None, WHOLE_RUN[device.device_class])] = 1.0
    return found


def _steps(cost: BatchCost, phase: str) -> Steps:
    return [(step.priced, step.times) for step in (cost.prefill if phase == "prefill" else cost.decode)]


def _operator_terms(prepared: Prepared, graph: Graph, shares: Iterable[float]) -> Iterator[tuple[Term, float]]:
    """What operators share and what is each one's own; collectives err as one."""
    model, pool = prepared.model, prepared.pool
    columns = graph.columns
    records, weights = model.which(columns), weights_of(columns)
    for operator, record, kind, share in zip(graph.operators, records.tolist(), weights.tolist(), shares, strict=True):
        if share <= 0.0:
            continue
        if operator.family == "collective":
            yield _whole_family(prepared, "collective"), share
            continue
        dtype, entry = operator.dtype + ("" if kind == PLAIN else f", {WEIGHTS[kind]} weights"), ""
        if record:
            calibration = model.choice.entries[record - 1].entry
            plain = calibration.weights == WEIGHTS[PLAIN]
            dtype = "+".join(calibration.dtypes) + ("" if plain else f", {calibration.weights} weights")
            entry = calibration.fit.id
        source = Source(pool.device.id, pool.device.device_class, pool.runtime.id, operator.family, dtype, entry)
        shared, own = model.errors[record, FAMILIES.index(operator.family)].tolist()
        yield Term(source, None, shared), share
        yield Term(source, operator, own), share


def _whole_family(prepared: Prepared, family: str) -> Term:
    """The one term of a family that has no operators of its own, or whose operators err as one."""
    pool = prepared.pool
    (part,) = parts_of(prepared, {family: 1.0}, {})
    software = pool.runtime.collectives if family == "collective" else pool.runtime.id
    source = Source(pool.device.id, pool.device.device_class, software, family)
    return Term(source, None, math.hypot(*part.error))


def _add(found: dict[Term, float], term: Term, share: float) -> None:
    found[term] = found.get(term, 0.0) + share
