"""Predictions of measured training steps.

Scored is the step time: ``step_time_s_derived`` where a row has it, else what ``measured`` says as step_time_s or
tokens_per_s_per_device. A run that several rows report is scored once, by the row with ``primary`` = 1; the other rows
and those of other metrics are left out. An unstated recomputation is none; a stated layout decides, data parallelism is
the rest; where sequence parallelism is unstated, the runtime's habit. What else a row does not state is assumed (see
``step_assumptions``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from simulator.result import Result
from simulator.scenario import Formats, Plan, Scenario, TrainStep
from simulator.simulate import simulate
from simulator.validation.architectures import architecture_of
from simulator.validation.assumptions import Assumption, added_sd
from simulator.validation.cells import MOST_DEVICES, Row, Unpredictable, measured_value, reason_of, whole
from simulator.validation.one_pool import Models, device_of, model_of, one_pool
from simulator.validation.outcome import Outcome, Prediction, filled, is_fitted, outcome_of, provenance_of, widened
from simulator.validation.points import Points
from simulator.validation.step_assumptions import complete_step, stated_sequence
from workloads.runtimes.catalogue import default_runtime
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

METRIC = "step_time_s"
"""What training rows are scored on."""
MEMORY = "memory_bytes"
"""The metric of rows that say what the allocator of a device had reserved at its peak [B]."""
PUBLISHED = {"megatron2021": "2021-04", "megatron2022": "2022-05", "megatron_v100": "2019-10"}
"""Months of the tables whose frameworks have no version."""
STATED = ("micro_batch", "global_batch", "seq_len", "tp", "pp")
"""Columns that a prediction needs."""


def predict_memory(points: Points, models: Models) -> Outcome:
    """Predictions of the memory that training rows report [B]; rows of other metrics are left out.

    Reserved is what lies in memory over the share of its memory that a runtime can fill: an allocator keeps more than
    it has handed out. What the runtime holds beside the allocator (context, buffers of communication) is not in it.
    """
    return outcome_of(
        [
            _memory(row, (source, points.name), models)
            for row, source in zip(points.records(), points.sources(), strict=True)
        ]
    )


def _memory(row: Row, tables: tuple[str, str], models: Models) -> Prediction:
    if row.get("metric") != MEMORY:
        return Prediction(left_out="another metric")
    known = Prediction()
    try:
        known = known._replace(observed=measured_value(row, "measured"))
        spec, runtime, known = _software(row, tables, known)
        known, usual = known._replace(fitted=False), _usual_micro_batch(row)

        def result_of(row: Row) -> Result:
            return simulate(scenario_of(row, spec, runtime, models))

        row, found = complete_step({**row, **usual}, spec, result_of, runtime)
        result = result_of(row)
    except InputError as error:
        return known._replace(skip_reason=reason_of(error))
    reserved = (result.memory.total - result.memory.overhead) / runtime.memory_utilisation.value
    known = filled(known, reserved, None, 1.0, "memory")
    return known._replace(assumed="+".join(sorted({*usual, *(each.column for each in found)})))


def _usual_micro_batch(row: Row) -> dict[str, str]:
    """The micro-batch of a row that states none, as its framework takes it unless told otherwise; nothing where that is
    not known.

    torchtitan cut the batch of a replica into as many micro-batches as there were pipeline stages
    (``experimental.pipeline_parallel_microbatches`` of 2024; later micro-batches are of one sequence).
    """
    count, tp, pp, cp = (whole(row, name, 1, MOST_DEVICES) for name in ("n_devices", "tp", "pp", "cp"))
    if row.get("micro_batch") or pp == 1 or not row.get("framework", "").startswith("torchtitan"):
        return {}
    replicas = max(count // (tp * pp * cp), 1)
    return {"micro_batch": str(max(whole(row, "global_batch", 1) // (replicas * pp), 1))}


def _software(row: Row, tables: tuple[str, str], known: Prediction) -> tuple[DeviceSpec, Runtime, Prediction]:
    """Device and runtime of a row, and what ``known`` says of them."""
    spec = device_of(row.get("device", ""))
    published = next((PUBLISHED[table] for table in tables if table in PUBLISHED), "")
    runtime, named = match_runtime(row.get("framework", ""), spec, published)
    if not named:
        runtime = default_runtime(spec, training=True)
    return spec, runtime, known._replace(
        runtime=runtime.id, device_class=spec.device_class, provenance=provenance_of(spec, runtime, named),
        fitted=is_fitted(runtime.id, spec.id, *tables, model=row.get("model", "")),
    )  # fmt: skip


def predict_training(points: Points, models: Models, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Predictions of training rows; ``progress`` is told how many are done.

    Args:
        models: architectures by name, for rows without columns of their own.
    """
    predictions = []
    for row, source in zip(points.records(), points.sources(), strict=True):
        predictions.append(_predict(row, (source, points.name), models))
        progress(len(predictions))
    return outcome_of(predictions)


def _predict(row: Row, tables: tuple[str, str], models: Models) -> Prediction:
    """Predict one row; what cannot be predicted says why. ``tables`` are what fits may call its table."""
    if row.get("primary") in ("0", "0.0"):
        return Prediction(left_out="another row is the primary one of this run")
    known = Prediction()
    try:
        observed = step_time_s(row)
        if observed is None:
            return Prediction(left_out="no step time")
        known = known._replace(observed=observed)
        spec, runtime, known = _software(row, tables, known)

        def result_of(row: Row) -> Result:
            return simulate(scenario_of(row, spec, runtime, models))

        row, found = complete_step(row, spec, result_of, runtime)
        result = result_of(row)
        time_s = result.metrics[METRIC]
        if time_s is None:
            raise Unpredictable(result.reasons.get(METRIC, "no value"))
        log_sd = added_sd(found, time_s, lambda each: _others(row, each, result_of))
    except InputError as error:
        return known._replace(skip_reason=reason_of(error))
    known = filled(known, time_s, result.intervals.get(METRIC), 1.0, next(iter(result.bound.values())))
    return widened(known, [(each.column, each.words) for each in found], log_sd)


def _others(row: Row, each: Assumption, result_of: Callable[[Row], Result]) -> Iterator[float]:
    """Step times of values that are as plausible as what was assumed [s]."""
    for cells in each.others:
        try:
            yield result_of({**row, **cells}).metrics[METRIC] or 0.0
        except InputError:
            continue


def step_time_s(row: Row) -> float | None:
    """The measured step [s]; None where the row has none.

    Raises:
        Unpredictable: a number that is none, or not positive.
    """
    if row.get("step_time_s_derived"):
        return measured_value(row, "step_time_s_derived")
    if "step_time_s_derived" in row or row.get("metric") not in (METRIC, "tokens_per_s_per_device"):
        return None
    measured = measured_value(row, "measured")
    if row["metric"] == METRIC:
        return measured
    tokens = whole(row, "global_batch", 0) * whole(row, "seq_len", 0)
    return tokens / (measured * whole(row, "n_devices", 1, MOST_DEVICES)) if tokens else None


def scenario_of(row: Row, spec: DeviceSpec, runtime: Runtime, models: Models) -> Scenario:
    """The scenario of a row.

    Raises:
        Unpredictable: something that the prediction needs is unpublished or not modelled.
        InputError: a plan that is impossible.
    """
    for name in STATED:
        if not row.get(name):
            raise Unpredictable(f"{name} unpublished")
    if row.get("task") == "lora" and not row.get("lora_rank"):
        raise Unpredictable("rank of the adapters unpublished")
    count, tp, pp, cp = (whole(row, name, 1, MOST_DEVICES) for name in ("n_devices", "tp", "pp", "cp"))
    recompute = row.get("recompute", "")
    stages = row.get("zero_stage", "")
    plan = Plan(
        tp, pp, max(count // (tp * pp * cp), 1), whole(row, "ep", 1, MOST_DEVICES), whole(row, "micro_batch", 1),
        recompute if recompute in ("selective", "full") else "none", cp, whole(row, "vpp", 1) if pp > 1 else 1,
        tp > 1 and stated_sequence(row, runtime),
        int(float(stages)) if stages in ("0", "1", "2", "3", "0.0", "1.0", "2.0", "3.0") else -1,
    )  # fmt: skip
    own = bool(row.get("layers") and row.get("hidden"))
    model = architecture_of(row, row.get("model", "")) if own else model_of(row.get("model", ""), models)
    precision = row.get("precision", "") or "bf16"
    formats = Formats(precision, recipe=_recipe(row) if precision == "fp8" else "")
    rank = whole(row, "lora_rank", 1) if row.get("task") == "lora" else 0
    work = TrainStep(model, whole(row, "global_batch", 1), whole(row, "seq_len", 1), rank)
    return one_pool(work, spec, runtime, plan, formats, count)


def _recipe(row: Row) -> str:
    """How a run of 8 bits scales, where its variant says so; else as its runtime usually does."""
    said = row.get("variant", "")
    return next((f"fp8-{scales}" for scales in ("rowwise", "tensorwise", "blockwise") if scales in said), "")
