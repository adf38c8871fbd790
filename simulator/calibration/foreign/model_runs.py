"""Runs of llama-bench as the operators that a device law prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.records import DeviceSpec
from simulator.calibration.foreign.models import architecture_of, format_of, has_experts
from simulator.calibration.foreign.reasons import Reasons
from simulator.calibration.foreign.record import ModelRow
from simulator.formats import precision_of
from simulator.scenario import Formats
from simulator.steps.prefill import prefill_steps
from simulator.steps.static_batch import decode_contexts
from workloads.formats import StorageFormat
from workloads.graph import Graph, GraphBuilder, OpColumns, columns_of
from workloads.lowering.inference import lower_contexts
from workloads.lowering.plan import Lowering, Precision
from workloads.models.architecture import Architecture
from workloads.operators import OpKind, gemm
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]
Weights = Literal["plain", "packed"]

DTYPE: Final = "bf16"
"""Compute dtype that a scenario has unless it says another."""
_BY_CPU: Final = frozenset({"CPU", "BLAS", "CPU_REPACK", "AMX"})
"""Names of backends that compute on the CPU."""


class ModelRun(NamedTuple):
    """A measured run: operators with how often each runs, seconds, what it is of ("qwen2 7B 7.62e+09"), its format.

    ``taken_for``: the architecture that gave the operators; "" where there was none, and parameters and bytes did.
    """

    columns: OpColumns
    repeat: Floats
    measured_s: float
    model: str
    format: str
    source: str
    taken_for: str
    weights: Weights


def usable_rows(rows: Sequence[ModelRow], formats: Sequence[str], reasons: Reasons) -> list[ModelRow]:
    """Rows of dense models that a CPU computed; why the others were left out goes to ``reasons``."""
    kept = []
    for row in rows:
        format = format_of(row)
        if not _BY_CPU.issuperset(row.backend.split(",")):
            reasons.add(f"computed by {row.backend}, not by the CPU")
        elif row.phase == "both":
            reasons.add("prompt and generation in one figure")
        elif has_experts(row):
            reasons.add("a mixture of experts: its expert products are a kernel of their own")
        elif formats and (format is None or format.id not in formats):
            reasons.add(f"format {row.quant!r} was not asked for")
        else:
            kept.append(row)
    return kept


def best_over_threads(rows: Sequence[ModelRow]) -> list[ModelRow]:
    """Of runs that differ in their threads the fastest: the device is all its cores."""
    best: dict[tuple[object, ...], ModelRow] = {}
    for row in rows:
        key = (row.model, row.params, row.quant, row.phase, row.tokens, row.depth, row.flash, row.chunk)
        if key not in best or best[key].tokens_per_s < row.tokens_per_s:
            best[key] = row
    return list(best.values())


def run_of(row: ModelRow, device: DeviceSpec, runtime: Runtime) -> ModelRun:
    """The operators of a run, without sampling, which llama-bench does not do."""
    arch = architecture_of(row)
    precision = _precision(row, format_of(row), device)
    steps = _steps_alone(row, runtime, precision) if arch is None else _steps(row, arch, runtime, precision)
    operators, repeat = [], []
    for graph, times in steps:
        for operator, count in zip(graph.operators, graph.repeat.tolist(), strict=True):
            if operator.kind != OpKind.SAMPLING:
                operators.append(operator)
                repeat.append(count * times)
    return ModelRun(
        columns_of(operators),
        np.array(repeat),
        row.tokens / row.tokens_per_s,
        f"{row.model} {row.params:.3g}",
        row.quant,
        row.source or "llama-bench",
        arch.id if arch else "",
        "packed" if precision.dequantize else "plain",
    )


def _steps(row: ModelRow, arch: Architecture, runtime: Runtime, precision: Precision) -> list[tuple[Graph, float]]:
    """Graphs of the steps of a run, and how many such steps there are."""
    fusions = {*runtime.fusions, "flash"} if row.flash else runtime.fusions
    how = Lowering(precision, fusions=frozenset(fusions))
    if row.phase == "generation":
        contexts, times = decode_contexts(row.depth, row.tokens + 1)
        return list(zip(lower_contexts(arch, "decode", 1, 1, tuple(map(float, contexts)), how), times, strict=True))
    steps = prefill_steps(1, row.tokens, _chunk(row, runtime))
    return [
        (
            lower_contexts(arch, "prefill", step.batch, step.q_len, (float(step.kv_len + row.depth),), how)[0],
            step.repeats,
        )
        for step in steps
    ]


def _steps_alone(row: ModelRow, runtime: Runtime, precision: Precision) -> list[tuple[Graph, float]]:
    """As ``_steps`` of a model of which parameters and bytes are all that is known."""
    if row.phase == "generation":
        return [(_squares(row, 1.0, precision), float(row.tokens))]
    steps = prefill_steps(1, row.tokens, _chunk(row, runtime))
    return [(_squares(row, step.batch * step.q_len, precision), step.repeats) for step in steps]


def _chunk(row: ModelRow, runtime: Runtime) -> int:
    return row.chunk or runtime.prefill_chunk or row.tokens


def _precision(row: ModelRow, format: StorageFormat | None, device: DeviceSpec) -> Precision:
    """As a scenario with this format has it; of an unknown format by the bytes of the file."""
    if format is not None:
        return precision_of(Formats(DTYPE, format.id, "fp16"), device)
    plain = precision_of(Formats(DTYPE, "", "fp16"), device)
    bits = 8.0 * row.size_bytes / row.params
    return replace(plain, weight_bits=bits, head_bits=bits, dequantize=bits < 15.0)


def _squares(row: ModelRow, rows: float, precision: Precision) -> Graph:
    """All parameters as square products as wide as a decoder of that size: 12 layers' worth of width^2 in width / 128
    layers (the shapes of Llama)."""
    width = 128.0 * max(round((row.params * 128.0 / 12.0) ** (1.0 / 3.0) / 128.0), 1)
    builder = GraphBuilder()
    with builder.block("weights", max(round(row.params / width**2), 1)):
        builder.add(
            gemm("weights", rows, width, width, precision.compute, weight_bits=8.0 * row.size_bytes / row.params,
                 dequantize=precision.dequantize)
        )  # fmt: skip
    return builder.build()
