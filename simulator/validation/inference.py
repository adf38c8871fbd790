"""Predictions of measured inference: a static batch for each row.

A first-token row needs no output length; a decode row without one is a single step. An input length of 0 is an empty
context: the first token is there and all ``output_len`` tokens are decode steps. A saturated engine runs as many
sequences as fit. Devices beyond the stated ways hold layers one after another, as llama.cpp splits them over cards and
sockets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from simulator.result import Result
from simulator.scenario import Formats, Plan, Scenario, StaticBatch
from simulator.simulate import simulate
from simulator.validation.cells import MOST_DEVICES, Row, Unpredictable, mean, measured_value, number, reason_of, whole
from simulator.validation.one_pool import Models, device_of, model_of, one_pool
from simulator.validation.outcome import Outcome, Prediction, filled, is_fitted, outcome_of, provenance_of
from simulator.validation.points import Points
from workloads.formats import format_names, load_format
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.match import match_runtime

METRICS: Final = (
    "ttft_s", "tpot_s", "e2e_s", "decode_tokens_per_s", "prefill_tokens_per_s", "output_tokens_per_s",
    "total_tokens_per_s", "j_per_output_token",
)  # fmt: skip
PROMPT_METRICS: Final = ("ttft_s", "prefill_tokens_per_s")
DECODE_METRICS: Final = ("tpot_s", "decode_tokens_per_s")
PLAIN: Final = {"fp32": "fp32", "float32": "fp32", "fp16": "fp16", "f16": "fp16", "float16": "fp16", "bf16": "bf16"}

PUBLISHED: Final = {
    "argonne_llm_inference_bench": "2024-10",  # arXiv:2411.00136, runs of 2024
    "openvino": "2025-04",
    "optimum_habana_gaudi": "2024-12",
    "gaudi_intel_page": "2024-10",
}
"""Month of the measurements of a source whose engine text has no version, for the choice of the runtime."""

WHAT_FITS: Final = 0


class Point(NamedTuple):
    """One configuration; equal points have equal predictions. A ``batch`` of ``WHAT_FITS`` stands for the largest that
    the memory holds."""

    model: str
    device: str
    batch: int
    isl: int
    osl: int
    plan: Plan
    runtime: str
    formats: Formats


class Predictor:
    """Predictions of points, each distinct one simulated once."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.known: dict[Point, Result | InputError] = {}

    def result(self, point: Point) -> Result:
        """The result of ``point``.

        Raises:
            InputError: the point cannot be simulated.
        """
        if point not in self.known:
            try:
                self.known[point] = self._simulated(point)
            except InputError as error:
                self.known[point] = error
        answer = self.known[point]
        if isinstance(answer, InputError):
            raise answer
        return answer

    def _simulated(self, point: Point) -> Result:
        if point.batch != WHAT_FITS:
            return simulate(self._scenario(point))
        most = self.result(point._replace(batch=point.plan.dp)).metrics["max_batch"]
        if not most:
            raise InputError("not even one sequence fits")
        return self.result(point._replace(batch=int(most)))

    def _scenario(self, point: Point) -> Scenario:
        work = StaticBatch(model_of(point.model, self.models), point.batch, point.isl, point.osl)
        spec, runtime = load_device(point.device), load_runtime(point.runtime)
        return one_pool(work, spec, runtime, point.plan, point.formats, point.plan.devices)


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
        runtime, named = match_runtime(row.get("engine", ""), spec, _published(tables))
        known = known._replace(
            runtime=runtime.id, device_class=spec.device_class, provenance=provenance_of(spec, runtime, named),
            fitted=is_fitted(runtime.id, spec.id, *tables),
        )  # fmt: skip
        result = predictor.result(point_of(row, spec.id, runtime.id))
    except InputError as error:
        return known._replace(skip_reason=reason_of(error))
    predicted = energy_per_token(result, row) if metric == "j_per_output_token" else result.metrics[metric]
    if predicted is None:
        return known._replace(skip_reason=result.reasons.get(metric, "no value"))
    scale = predicted / (result.metrics[metric] or 1.0)
    return filled(known, predicted, result.intervals.get(metric), scale, regime_of(result, metric))


def _published(tables: tuple[str, str]) -> str:
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
    """Joules per token inside the boundary that was measured: the wall is the node, all else the devices."""
    value = result.metrics["j_per_output_token"]
    if value is None or not row.get("energy_scope", "").startswith("wall"):
        return value
    return value * result.energy.node / result.energy.device


def point_of(row: Row, device: str, runtime: str) -> Point:
    """The configuration of a row.

    Raises:
        Unpredictable: batch or length unpublished, or no number.
        UnknownName: an unknown number format.
    """
    if row.get("batch"):
        batch = mean(row, "batch", 1)
    elif row.get("batch_kind") == "saturated":
        batch = WHAT_FITS
    else:
        raise Unpredictable("batch unpublished")
    isl, osl = _lengths(row)
    dtype, weights = weight_format(row.get("weight_dtype", ""), number(row, "weight_bytes_per_param"))
    kv = row.get("kv_dtype", "")
    kv = "" if kv.lower() in ("", *PLAIN) else load_format(kv).id
    return Point(row["model"], device, batch, isl, osl, _plan(row), runtime, Formats(dtype, weights, kv))


def _plan(row: Row) -> Plan:
    """How the devices share the work: as stated; the first of tp, pp, dp that is not takes the rest of the devices.

    Raises:
        Unpredictable: the stated ways do not multiply to the devices, or do not divide them.
    """
    count = whole(row, "n_devices", 1, MOST_DEVICES)
    ways = {name: whole(row, name, 1, MOST_DEVICES) for name in ("tp", "pp", "dp")}
    open_ways = [name for name in ways if not row.get(name)]
    if open_ways:
        stated = math.prod(ways[name] for name in ways if name not in open_ways)
        ways[open_ways[0]] = max(count // stated, 1)
    if math.prod(ways.values()) != count:
        words = " x ".join(f"{name} {value}" for name, value in ways.items())
        raise Unpredictable(f"{words} are not the {count} devices")
    return Plan(ways["tp"], ways["pp"], ways["dp"], whole(row, "ep", 1, MOST_DEVICES))


def _lengths(row: Row) -> tuple[int, int]:
    """Prompt and answer tokens of a row."""
    isl, osl = number(row, "input_len"), number(row, "output_len")
    if isl is None:
        raise Unpredictable("input length unpublished")
    if row["metric"] in PROMPT_METRICS and not osl:
        osl = 1.0
    if row["metric"] in DECODE_METRICS and (not osl or not isl):
        osl = (osl or 1.0) + 1.0
    if not osl:
        raise Unpredictable("output length unpublished")
    return max(round(isl), 1), max(round(osl), 1)


def weight_format(name: str, bytes_per_weight: float | None) -> tuple[str, str]:
    """Compute dtype and storage format of weights; a name that is not known is taken as the nearest width.

    Raises:
        Unpredictable: no name.
        UnknownName: neither the name nor the width is known.
    """
    key = name.lower().strip()
    if not key:
        raise Unpredictable("weight format unpublished")
    if key in PLAIN:
        return PLAIN[key], PLAIN[key]
    words = key.replace(" - small", "_s").replace(" - medium", "_m").split(" - ")[0]
    try:
        return "bf16", load_format(words).id
    except UnknownName:
        if bytes_per_weight is None:
            raise
    narrow = [f for f in map(load_format, format_names()) if f.weight_only]
    return "bf16", min(narrow, key=lambda f: abs(f.bytes_per_weight - bytes_per_weight)).id
