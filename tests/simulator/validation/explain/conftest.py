"""Runs as rows, and what they would measure if one number were another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from simulator.validation.explain.candidates import candidates_of
from simulator.validation.explain.explain import Explained, explain
from simulator.validation.explain.rows import Subject, subject_of
from simulator.validation.explain.setup import changed
from simulator.validation.outliers import dimension_of
from simulator.validation.validate import predict

Row = dict[str, Any]

BASES: Final[dict[str, Row]] = {
    "run": {
        "engine": "vLLM 0.19", "device": "h100-sxm-80gb", "model": "llama-3.1-8b", "weight_dtype": "bf16", "batch": 8,
        "input_len": 1024, "output_len": 64, "metric": "tpot_s", "measured": 1.0,
    },
    "step": {
        "framework": "Megatron-Core 2025", "device": "a100-sxm-80gb", "n_devices": 16, "model": "llama-3.1-8b",
        "seq_len": 2048, "global_batch": 16, "micro_batch": 1, "tp": 4, "pp": 2, "recompute": "none",
        "precision": "bf16", "metric": "step_time_s", "measured": 1.0,
    },
    "gemm": {
        "device": "h100-sxm-80gb", "op": "gemm", "dtype": "bf16", "m": 512, "n": 4096, "k": 4096, "measured_s": 1.0,
        "software": "vLLM 0.19",
    },
    "reduce": {
        "device": "h100-sxm-80gb", "op": "all_reduce", "n_devices": 8, "nodes": 1, "message_bytes": 2**28,
        "measured_s": 1.0, "software": "NCCL 2.27",
    },
}  # fmt: skip


def kind_of(row: Row) -> str:
    return "ops" if "op" in row else "training" if "seq_len" in row else "inference"


@pytest.fixture(scope="session")
def row_of() -> Callable[..., Row]:
    """``row_of("run", batch=1)``: a row of one of ``BASES`` with other cells."""
    return lambda base, **cells: {**BASES[base], **cells}


@pytest.fixture
def explained(points: Callable[..., Any]) -> Callable[..., Explained]:
    """``explained(row, ...)``: rows of one kind."""
    return lambda *rows: explain(predict([points(kind_of(rows[0]), rows)], {}), {})


class Known(NamedTuple):
    """A row as something to be priced, and what is predicted of it."""

    subject: Subject
    predicted: float
    dimension: str


@pytest.fixture
def known(points: Callable[..., Any]) -> Callable[[Row], Known]:
    """``known(row)``: what ``explain`` works on."""

    def make(row: Row) -> Known:
        table = points(kind_of(row), [row])
        outcome = predict([table], {})[0].outcome
        predicted, runtime = float(outcome.predicted[0]), outcome.runtime[0]
        assert predicted > 0.0, outcome.skip_reason[0]
        (record,) = table.records()
        subject = subject_of(table, 0, record, runtime, predicted, {})
        return Known(subject, predicted, dimension_of(table.kind, record))

    return make


@pytest.fixture
def as_if(known: Callable[[Row], Known]) -> Callable[..., Row]:
    """``as_if(row, path, factor)``: the row as it would be measured if the number at ``path`` were so many times it."""

    def make(row: Row, path: str, factor: float) -> Row:
        subject, predicted, _ = known(row)
        case = subject.case
        (candidate,) = (each for each in candidates_of(case) if each.path == path)
        ratio = case.seconds(changed(case.setup, candidate, candidate.now * factor)) / case.seconds(case.setup)
        return {**row, "measured_s" if "op" in row else "measured": predicted * ratio**subject.power}

    return make
