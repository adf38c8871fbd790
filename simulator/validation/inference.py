"""Predictions of measured inference: a static batch for each row.

A throughput whose batch is what fits is that of a server whose queue never empties, request by request (``saturated``).
What a row does not state is assumed (see ``assumptions``), said in its provenance, and widens its interval. Of a server
whose batch follows from a limit or from arrivals (see ``predictor``), tokens of one request come at the interval of a
whole run, e2e / osl, and its first token after one such interval and a prompt alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hardware_specs.errors import InputError, UnknownName
from simulator.devices.priors import idle_w
from simulator.result import Result
from simulator.validation import logged_power
from simulator.validation.assumptions import Assumption, added_sd, complete
from simulator.validation.cells import Row, Unpredictable, measured_value, number, reason_of
from simulator.validation.inference_point import DECODE_METRICS as DECODE_METRICS
from simulator.validation.inference_point import METRICS as METRICS
from simulator.validation.inference_point import PROMPT_METRICS as PROMPT_METRICS
from simulator.validation.inference_point import WHAT_FITS, Limits, Point
from simulator.validation.inference_point import point_of as point_of
from simulator.validation.one_pool import Models, device_of
from simulator.validation.outcome import Outcome, Prediction, filled, is_fitted, outcome_of, provenance_of, widened
from simulator.validation.points import Points
from simulator.validation.predictor import Predictor as Predictor
from workloads.runtimes.match import match_runtime

SERVED: Final = ("output_tokens_per_s", "total_tokens_per_s")
"""Metrics of a server whose queue never empties that are simulated request by request."""

PUBLISHED: Final = {
    "argonne_llm_inference_bench": "2024-10",  # arXiv:2411.00136, runs of 2024
    "openvino": "2025-04",
    "optimum_habana_gaudi": "2024-12",
    "tenstorrent": "2024-07",  # models as seen from the host; those of later demos are named so
    "gaudi_intel_page": "2024-10",
}
"""Month of the measurements of a source whose engine text has no version, for the choice of the runtime."""


def predict_inference(points: Points, models: Models, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Predictions of inference rows; ``progress`` is told how many are done.

    Args:
        models: architectures by name, for models that the catalogue lacks.
    """
    predictor = Predictor(models)
    predictions = []
    for row, source in zip(points.records(), points.sources(), strict=True):
        predictions.append(_predict(row, (source, points.name), predictor))
        progress(len(predictions))
    return outcome_of(predictions)


def _predict(row: Row, tables: tuple[str, str], predictor: Predictor) -> Prediction:
    """Predict one row; what cannot be predicted says why. ``tables`` are what fits may call its table."""
    known = Prediction()
    try:
        metric = row.get("metric", "")
        known = known._replace(observed=measured_value(row, "measured"))
        if metric not in METRICS:
            raise UnknownName("metric", metric, METRICS, "allowed: " + ", ".join(METRICS))
        spec = device_of(row.get("device", ""))
        runtime, named = match_runtime(row.get("engine", ""), spec, published_of(tables))
        known = known._replace(
            runtime=runtime.id, device_class=spec.device_class, provenance=provenance_of(spec, runtime, named),
            fitted=is_fitted(runtime.id, spec.id, *tables, model=row.get("model", ""), tp=row.get("tp", "")),
        )  # fmt: skip
        row, found = complete(row, spec, runtime, predictor.models)
        asked = point_of(row, spec.id, runtime.id)
        if is_served(asked, row["metric"]):
            point = asked._replace(batch=predictor.rate(asked).sequences, limits=Limits())
            predicted = _served(row, asked, predictor)
            log_sd = added_sd(found, predicted, lambda each: _others_served(row, each, asked, predictor))
        else:
            point = predictor.settled(asked)
            predicted = _value(row, point, asked.limits, predictor)
            log_sd = added_sd(found, predicted, lambda each: _others(row, each, point, asked.limits, predictor))
    except InputError as error:
        return known._replace(skip_reason=reason_of(error))
    result = predictor.result(point)
    scale = predicted / (result.metrics[metric] or 1.0)
    known = filled(known, predicted, result.intervals.get(metric), scale, regime_of(result, metric))
    return widened(known, [(each.column, each.words) for each in found], log_sd)


def is_served(asked: Point, metric: str) -> bool:
    """Whether a row is of a server whose queue never empties, and asks what it gives in all."""
    return asked.batch == WHAT_FITS and not asked.limits.serves and metric in SERVED and asked.plan.pp == 1


def _served(row: Row, asked: Point, predictor: Predictor, factor: float = 1.0) -> float:
    """Tokens per second of a server whose queue never empties, at ``factor`` times its batch.

    Raises:
        InputError: the point cannot be simulated, or not even one sequence fits.
    """
    tokens = asked.osl if row["metric"] == "output_tokens_per_s" else asked.isl + asked.osl
    return predictor.rate(asked, factor).requests_per_s * tokens


def _others_served(row: Row, each: Assumption, asked: Point, predictor: Predictor) -> Iterator[float]:
    """As ``_others``, of a server whose queue never empties."""
    cases = [({**row, **cells}, 1.0) for cells in each.others] + [(dict(row), factor) for factor in each.batches]
    for cells, factor in cases:
        try:
            yield _served(cells, point_of(cells, asked.device, asked.runtime), predictor, factor)
        except InputError:
            continue


def _value(row: Row, point: Point, limits: Limits, predictor: Predictor) -> float:
    """What a row is scored on, of a point whose batch is settled.

    Raises:
        Unpredictable: the result has no such value; says why.
        InputError: the point cannot be simulated.
    """
    metric, result = row["metric"], predictor.result(point)
    value = energy_per_token(result, row) if metric == "j_per_output_token" else result.metrics[metric]
    if value is None:
        raise Unpredictable(result.reasons.get(metric, "no value"))
    if not limits.serves:
        return value
    interval_s = (result.metrics["e2e_s"] or 0.0) / point.osl
    if metric == "tpot_s":
        return interval_s
    if metric == "decode_tokens_per_s":
        return point.batch / interval_s
    if metric == "ttft_s":
        return interval_s + (predictor.result(point._replace(batch=point.plan.dp)).metrics["ttft_s"] or 0.0)
    if metric == "output_tokens_per_s":
        return min(value, limits.requests_per_s * point.osl)
    return min(value, limits.requests_per_s * (point.isl + point.osl)) if metric == "total_tokens_per_s" else value


def _others(row: Row, each: Assumption, point: Point, limits: Limits, predictor: Predictor) -> Iterator[float]:
    """Predictions at values that are as plausible as what was assumed; the batch stays as it was settled."""
    cases = [({**row, **cells}, 1.0) for cells in each.others] + [(dict(row), factor) for factor in each.batches]
    for cells, factor in cases:
        try:
            other = point_of(cells, point.device, point.runtime)
            batch = point.batch if other.batch == WHAT_FITS else other.batch
            other = other._replace(batch=max(round(batch * factor), 1), limits=Limits())
            yield _value(cells, other, limits, predictor)
        except InputError:
            continue


def published_of(tables: tuple[str, str]) -> str:
    """Month of the measurements of a table whose engines have no version; "" for others."""
    return next((PUBLISHED[table] for table in tables if table in PUBLISHED), "")


def regime_of(result: Result, metric: str) -> str:
    """What bounds a metric: its phase, or the longer phase where it covers both."""
    bound = result.bound
    if metric in PROMPT_METRICS or "decode" not in bound:
        return next(iter(bound.values()))
    if metric in DECODE_METRICS:
        return bound["decode"]
    first, whole_run = result.metrics["ttft_s"] or 0.0, result.metrics["e2e_s"] or 0.0
    return bound["decode"] if whole_run > 2.0 * first else next(iter(bound.values()))


def energy_per_token(result: Result, row: Row) -> float | None:
    """Joules per token inside the boundary that was measured: the wall is the node, all else the devices.

    Where they are the watts of a whole process over a rate, weights are loaded in these too (``logged_power``).
    """
    value, run_s = result.metrics["j_per_output_token"], result.metrics["e2e_s"]
    if value is None or not run_s:
        return value
    if logged_power.is_logged_whole(row):
        run_w = result.energy.device / run_s
        rest_w = sum(idle_w(device_of(pool.device)) * pool.count for pool in result.pools)
        size = sum(pool.memory.weights * pool.count for pool in result.pools)
        rate = number(row, logged_power.RATE) or logged_power.LOADED_BYTES_PER_S
        share = logged_power.loading_share(size, run_s, logged_power.GENERATION_RUNS, rate)
        return value * logged_power.logged_w(run_w, rest_w, share) / run_w
    if not row.get("energy_scope", "").startswith("wall"):
        return value
    return value * result.energy.node / result.energy.device
