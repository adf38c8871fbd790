"""Cycles of products on one systolic array: closed forms of plain arrays, and of arrays that load weights ahead.

C[m, n] = A[m, k] B[k, n] on an array of R rows and C columns, one multiply-add per cell and cycle. A plain array works
fold by fold, without anything of the next fold beside it:

    output-stationary  ceil(m/R) ceil(n/C) (k + R + C - 2) - 1        sums stay, both operands stream
    weight-stationary  ceil(k/R) ceil(n/C) (R + m + R + C - 2) - 1    R cycles of loading weights, m rows stream
    input-stationary   ceil(k/R) ceil(m/C) (R + n + R + C - 2) - 1    R cycles of loading inputs, n columns stream

Reference: Samajdar et al., "A Systematic Methodology for Characterizing Scalability of DNN Accelerators using
SCALE-Sim", ISPASS 2020, doi:10.1109/ISPASS48437.2020.00016 (compute cycles, memory not included).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from hardware_specs.errors import InputError, clipped
from simulator.kernels.jit import law_kernel


@law_kernel
def fill_and_drain(rows: float, columns: float) -> float:
    """Cycles between the first operand that enters an array of ``rows`` x ``columns`` and the last that leaves it."""
    return rows + columns - 2.0


@law_kernel
def tiles_cycles(tiles: float, streamed: float, load: float) -> float:
    """Cycles of ``tiles`` weight tiles past each of which ``streamed`` rows go while the next takes ``load`` cycles."""
    return tiles * max(streamed, load)


def streamed_cycles(m: int, n: int, k: int, rows: int, columns: int) -> int:
    """Cycles of a weight-stationary array of ``rows`` x ``columns`` that loads the next weights beside the current.

    ceil(k/R) ceil(n/C) max(m, R) + R + C - 2: what ``simulator.devices.systolic.gemm_share`` counts on one array whose
    loads take R cycles.
    """
    tiles = math.ceil(k / rows) * math.ceil(n / columns)
    cycles: float = tiles_cycles(float(tiles), float(m), float(rows)) + fill_and_drain(float(rows), float(columns))
    return round(cycles)


def array_cycles(dataflow: str, m: int, n: int, k: int, rows: int, columns: int) -> int:
    """Cycles of C[m, n] = A[m, k] B[k, n] on a plain array of ``rows`` x ``columns``, memory not included.

    Args:
        dataflow: "output-stationary", "weight-stationary" or "input-stationary".

    Raises:
        InputError: an unknown dataflow, or a size below one.
    """
    if dataflow not in DATAFLOWS:
        raise InputError(f"unknown dataflow {clipped(dataflow)!r}; allowed: {', '.join(DATAFLOWS)}", "dataflow")
    for name, size in (("m", m), ("n", n), ("k", k), ("rows", rows), ("columns", columns)):
        if size < 1:
            raise InputError(f"{name} of a product on an array must be 1 or more, not {size}", name)
    return DATAFLOWS[dataflow](m, n, k, rows, columns)


def _output_stationary(m: int, n: int, k: int, rows: int, columns: int) -> int:
    return math.ceil(m / rows) * math.ceil(n / columns) * (k + rows + columns - 2) - 1


def _weight_stationary(m: int, n: int, k: int, rows: int, columns: int) -> int:
    return math.ceil(k / rows) * math.ceil(n / columns) * (rows + m + rows + columns - 2) - 1


def _input_stationary(m: int, n: int, k: int, rows: int, columns: int) -> int:
    return math.ceil(k / rows) * math.ceil(m / columns) * (rows + n + rows + columns - 2) - 1


DATAFLOWS: Final[dict[str, Callable[[int, int, int, int, int], int]]] = {
    "output-stationary": _output_stationary,
    "weight-stationary": _weight_stationary,
    "input-stationary": _input_stationary,
}
"""Closed forms by what stays in the cells."""
