"""What a predicted time consists of adds up to it, in every kind of run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.validation.explain.parts import PARTS, by_family, by_part, split
from workloads.operators import OpKind

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("run", {}),
    ("run", {"metric": "ttft_s"}),
    ("run", {"metric": "e2e_s", "batch": 3}),
    ("run", {"metric": "decode_tokens_per_s", "n_devices": 4, "tp": 4}),
    ("run", {"metric": "output_tokens_per_s", "n_devices": 4, "pp": 4}),
    ("run", {"metric": "ttft_s", "n_devices": 2, "pp": 2, "batch": 1}),
    ("run", {"metric": "e2e_s", "engine": "torch eager"}),
    ("run", {"engine": "llama.cpp CPU", "device": "epyc-9654", "batch": 1}),
    ("step", {}),
    ("step", {"n_devices": 8, "tp": 8, "pp": 1}),
    ("step", {"recompute": "full", "tp": 1, "pp": 4}),
    ("gemm", {}),
    ("gemm", {"op": "rmsnorm", "rows": 4096, "cols": 4096}),
    ("reduce", {}),
]


@pytest.mark.parametrize(("base", "cells"), RUNS, ids=str)
def test_parts_add_up_to_the_prediction(
    known: Callable[..., Any], row_of: Callable[..., Any], base: str, cells: dict[str, Any]
) -> None:
    subject, predicted, dimension = known(row_of(base, **cells))
    case = subject.case
    seconds, found = case.seconds(case.setup), case.parts()
    assert sum(found.values()) == pytest.approx(seconds, rel=1e-9)
    assert min(found.values()) > 0.0
    if dimension == "s":
        assert seconds == pytest.approx(predicted, rel=1e-9)
    parts = by_part(found)
    assert set(parts) <= set(PARTS)
    assert sum(parts.values()) == pytest.approx(seconds, rel=1e-9)
    assert sum(sum(own.values()) for own in by_family(found).values()) == pytest.approx(seconds, rel=1e-9)


def test_parts_are_where_they_belong(known: Callable[..., Any], row_of: Callable[..., Any]) -> None:
    def of(base: str, **cells: Any) -> dict[str, float]:
        return by_part(known(row_of(base, **cells)).subject.case.parts())

    prompt, decode = of("run", metric="ttft_s", batch=4), of("run", batch=1)
    assert max(prompt, key=prompt.__getitem__) == "compute"
    assert max(decode, key=decode.__getitem__) == "memory"
    assert "communication" not in decode
    assert "communication" in of("run", n_devices=4, tp=4)
    assert "bubble" not in of("step", n_devices=8, tp=8, pp=1)
    assert of("step", global_batch=8)["bubble"] > 0.0
    assert of("run", engine="torch eager", batch=1)["launch"] > decode["launch"]


SECONDS = st.floats(1e-9, 1.0)


@given(math=SECONDS, moving=SECONDS, overhead=SECONDS, overlap=st.floats(1.0, 20.0), times=st.floats(1.0, 100.0))
def test_the_shorter_of_two_takes_what_is_not_hidden(
    math: float, moving: float, overhead: float, overlap: float, times: float
) -> None:
    body = (math**overlap + moving**overlap) ** (1.0 / overlap)
    columns = [np.array([value]) for value in (times, body + overhead, math, moving, overhead, 0.0)]
    found = split(np.array([int(OpKind.GEMM)]), *columns)
    assert sum(found.values()) == pytest.approx((body + overhead) * times, rel=1e-9)
    assert found.get(("gemm", "launch"), 0.0) == pytest.approx(overhead * times)
    longer, shorter = ("compute", "memory") if math >= moving else ("memory", "compute")
    assert found["gemm", longer] >= max(math, moving) * times * (1.0 - 1e-6)
    assert found.get(("gemm", shorter), 0.0) <= min(math, moving) * times * (1.0 + 1e-6)
