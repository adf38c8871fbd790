"""Runs of a real server, request by request: the same requests on the same hardware, simulated."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from hardware_specs.errors import InputError
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared, prepare
from simulator.scenario import Formats, Plan, StaticBatch
from simulator.serving.cluster import Limits, Served, cache_blocks, serve
from simulator.serving.requests import Asked
from simulator.serving.step_tables import StepTables, step_tables
from simulator.serving.uncertain import factors, scaled
from simulator.uncertainty.intervals import Z80, Z95
from simulator.validation.cells import reason_of
from simulator.validation.one_pool import Models, device_of, model_of, one_pool
from simulator.validation.outcome import Outcome, Prediction, is_fitted, outcome_of, provenance_of
from simulator.validation.points import Points
from simulator.validation.serving_runs import RUN, Figures, Meta, Stamps, figures_of_run, read_meta, stamps_of
from workloads.models.architecture import Architecture
from workloads.runtimes.match import match_runtime

NO_RUN: Final = "no run: it needs a folder with requests.csv and meta.json"
CONTEXT: Final = 32_768
"""Longest sequence of a server that states none."""
BLOCK_TOKENS, SEQUENCES, BATCHED = 16, 256, 2048
"""What vLLM does where nothing is stated."""


def predict_serving(points: Points, models: Models, progress: Callable[[int], None]) -> Outcome:
    """Predictions of the figures of a run, [rows].

    Args:
        models: architectures by name, for models that the catalogue lacks.
        progress: is told how many rows are done.
    """
    rows = points.records()
    answers: dict[str, _Answer | str] = {}
    found = []
    for row in rows:
        run = row.get(RUN, "")
        if run not in answers:
            answers[run] = _answer(Path(run), points.name, models) if run else NO_RUN
        found.append(_prediction(row, answers[run]))
        progress(len(found))
    return outcome_of(found)


class _Answer(NamedTuple):
    """A simulated run: its figures, those at both ends of the 80% interval of times, and what is said of it."""

    figures: Figures
    fast: Figures
    slow: Figures
    known: Prediction


def _prediction(row: dict[str, str], answer: _Answer | str) -> Prediction:
    observed = float(row.get("measured", "nan"))
    if isinstance(answer, str):
        return Prediction(observed=observed, skip_reason=answer)
    metric = row["metric"]
    middle = answer.figures[metric]
    low, high = sorted((answer.fast[metric], answer.slow[metric]))
    wider = Z95 / Z80
    return answer.known._replace(
        observed=observed, predicted=middle, low_80=low, high_80=high,
        low_95=middle * math.exp(wider * math.log(low / middle)),
        high_95=middle * math.exp(wider * math.log(high / middle)),
    )  # fmt: skip


def _answer(folder: Path, name: str, models: Models) -> _Answer | str:
    """Simulate a run, or say why it cannot be."""
    try:
        meta = read_meta(folder)
        spec = device_of(meta.device)
        runtime, named = match_runtime(f"{meta.engine} {meta.engine_version or ''}".strip(), spec)
        arch = model_of(meta.model, models)
        tp = meta.tp or 1
        formats = Formats(_dtype(meta.dtype), "", "" if meta.kv_dtype in (None, "auto") else _dtype(meta.kv_dtype))
        prepared = prepare(one_pool(StaticBatch(arch, 1, 1, 1), spec, runtime, Plan(tp=tp), formats, tp))
        limits = limits_of(meta, prepared, arch)
        stamps = stamps_of(folder, pd.read_csv(folder / "requests.csv", dtype=str))
        asked = Asked(stamps.queued_s, stamps.input, stamps.output)
        tables = step_tables(prepared, arch, limits.batched_tokens, limits.sequences, limits.context)

        def run(prices: StepTables) -> Served:
            return serve(
                prepared, arch, asked, limits, tables=prices, replicas=meta.dp or 1, router="least-outstanding"
            )

        served = run(tables)
        figures = _simulated(served)
        running = max(float(served.replicas[:, kernel.RUNNING_S].sum() / served.replicas[:, kernel.BUSY_S].sum()), 1.0)
        both = factors(prepared, running, float(stamps.input.mean()), float(stamps.output.mean()))
        fast, slow = (_simulated(run(scaled(tables, one))) for one in both)
    except InputError as error:
        return reason_of(error)
    known = Prediction(
        runtime=runtime.id, device_class=spec.device_class, provenance=provenance_of(spec, runtime, named),
        fitted=is_fitted(runtime.id, spec.id, name, model=arch.id), regime="queue",
        assumed="" if meta.kv_blocks else "kv_blocks",
    )  # fmt: skip
    return _Answer(figures, fast, slow, known)


def limits_of(meta: Meta, prepared: Prepared, arch: Architecture) -> Limits:
    """What the server of a run allows; blocks that are not stated are those that the memory has room for."""
    size = meta.block_size or BLOCK_TOKENS
    sequences, batched = meta.max_num_seqs or SEQUENCES, meta.max_num_batched_tokens or BATCHED
    blocks = meta.kv_blocks or cache_blocks(prepared, arch, size, batched, sequences)
    context = min(meta.max_model_len or CONTEXT, arch.max_positions or CONTEXT)
    return Limits(batched, sequences, size, blocks, context)


def _simulated(served: Served) -> Figures:
    """The figures of a simulated run, of the requests that it answered."""
    q = served.requests
    done = q.status == kernel.DONE
    if not done.any():
        raise InputError("no request can be served: all are longer than the context or the cache")
    return figures_of_run(Stamps(q.arrival_s[done], q.first_s[done], q.last_s[done], q.input[done], q.output[done]))


def _dtype(text: str | None) -> str:
    """The name of a number format as vLLM writes it."""
    return {None: "bf16", "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32"}.get(
        text, text or ""
    )
