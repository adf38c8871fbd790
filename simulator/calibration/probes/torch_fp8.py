"""Products of 8-bit numbers on a GPU: fp8 (e4m3) with scales of whole tensors or of rows, int8 with sums of 32 bits.

"tensor" and "row" multiply activations that are fp8 already; with "quantised" the activations come in 16 bits and are
scaled and rounded in the call, by rows, as models do that are not quantised ahead: a chain of kernels in eager torch.
Operators count the bytes that calls really move: 8-bit activations are read where they are given, 16-bit results of fp8
and 32-bit results of int8 are written.

Shapes: PyTorch 2.13, aten/src/ATen/native/cuda/ScaledBlas.cpp (k and n multiples of 16, the right operand column by
column, compute capability 8.9 or from 9.0 on, scales of rows as (m, 1) and (1, n)); Blas.cpp, ``_int_mm_out_cuda``
(more than 16 rows, k and n multiples of 8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from simulator.calibration.probes import torch_calls, torch_products
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator

_LARGEST: Final = 448.0
"""Largest e4m3 number. Source: Micikevicius et al., "FP8 formats for deep learning", arXiv:2209.05433, table 1."""
_LEAST_INT8_ROWS: Final = 17
_SCALES: Final = (("tensor", "row"), ("tensor", "row quantised"))
"""Ways that shapes are measured in by turns."""


def fp8_cases(machine: Machine) -> Iterator[Case]:
    """fp8 products of the first design."""
    yield from _fp8(machine, torch_products.shapes(machine))


def more_fp8(machine: Machine) -> Iterator[Case]:
    """fp8 products that a design may add."""
    yield from _fp8(machine, torch_products.more_shapes(machine))


def int8_cases(machine: Machine) -> Iterator[Case]:
    """int8 products of the first design."""
    yield from _int8(machine, torch_products.shapes(machine))


def more_int8(machine: Machine) -> Iterator[Case]:
    """int8 products that a design may add."""
    yield from _int8(machine, torch_products.more_shapes(machine))


def missing_fp8(machine: Machine) -> str:
    """Why fp8 products cannot run on ``machine``; "" where they can."""
    reason = _missing(machine, "fp8")
    if reason:
        return reason
    import torch

    if torch.version.hip:
        return "fp8 products are measured on NVIDIA GPUs alone: AMD's first ones have another e4m3"
    major, minor = torch.cuda.get_device_capability()
    if (major, minor) < (8, 9):
        return f"fp8 products need compute capability 8.9 or later; this GPU has {major}.{minor}"
    return ""


def missing_int8(machine: Machine) -> str:
    """Why int8 products cannot run on ``machine``; "" where they can."""
    return _missing(machine, "int8")


def _missing(machine: Machine, dtype: str) -> str:
    if dtype not in machine.dtypes:
        return f"{dtype} is none of the dtypes that are measured on this machine"
    return torch_calls.missing(machine)


def _fp8(machine: Machine, shapes: Iterator[tuple[int, int, int]]) -> Iterator[Case]:
    for number, (m, n, k) in enumerate(shapes):
        outside = op.gemm("product", m, n, k, "fp8")
        if n % 16 or k % 16 or not torch_products.affordable(machine, outside):
            continue
        inside = replace(outside, read_bytes=float(m * k))
        for way in _SCALES[number % len(_SCALES)]:
            operator = outside if way.endswith("quantised") else inside
            bytes_ = torch_products.bytes_in_turn(machine, operator)
            yield Case(operator, partial(prepare_fp8, machine, operator, way), bytes_, f"{way} graph", graph=True)


def _int8(machine: Machine, shapes: Iterator[tuple[int, int, int]]) -> Iterator[Case]:
    for m, n, k in shapes:
        operator = op.gemm("product", m, n, k, "int8")
        operator = replace(operator, read_bytes=float(m * k), write_bytes=4.0 * m * n)
        if m >= _LEAST_INT8_ROWS and n % 8 == 0 and k % 8 == 0 and torch_products.affordable(machine, operator):
            bytes_ = torch_products.bytes_in_turn(machine, operator)
            yield Case(operator, partial(prepare_int8, machine, operator), bytes_, "graph", graph=True)


def prepare_fp8(machine: Machine, operator: Operator, way: str) -> Call:
    """A call of ``operator`` with scales of whole tensors ("tensor") or of rows ("row", "row quantised")."""
    import torch

    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    rows = way.startswith("row")
    scale_x = torch.ones((m, 1) if rows else (), device=machine.torch_device)
    scale_w = torch.ones((1, n) if rows else (), device=machine.torch_device)
    turns = range(torch_calls.copies(machine, operator.weight_bytes))
    weights = [torch_calls.filled(machine, "fp8", n, k).t() for _ in turns]
    product = partial(torch._scaled_mm, scale_b=scale_w, out_dtype=torch.bfloat16, use_fast_accum=True)
    if way.endswith("quantised"):
        wide = torch_calls.filled(machine, "bf16", m, k)

        def call(w: Any) -> object:
            x, scale = _quantised(wide)
            return product(x, w, scale_a=scale)

        return torch_calls.in_turn(weights, call)
    x = torch_calls.filled(machine, "fp8", m, k)
    return torch_calls.in_turn(weights, lambda w: product(x, w, scale_a=scale_x))


def _quantised(x: Any) -> tuple[Any, Any]:
    """Rows of ``x`` [m, k] as fp8 numbers, and the scale of each [m, 1]."""
    import torch

    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / _LARGEST
    return (x / scale).to(torch.float8_e4m3fn), scale


def prepare_int8(machine: Machine, operator: Operator) -> Call:
    """A call of ``operator`` in int8."""
    import torch

    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    x = torch_calls.filled(machine, "int8", m, k)
    turns = range(torch_calls.copies(machine, operator.weight_bytes))
    weights = [torch_calls.filled(machine, "int8", n, k).t() for _ in turns]
    return torch_calls.in_turn(weights, lambda w: torch._int_mm(x, w))


register(Probe("torch.fp8", ("gpu",), torch_calls.RUNTIMES, missing_fp8, fp8_cases, more_fp8))
register(Probe("torch.int8", ("gpu",), torch_calls.RUNTIMES, missing_int8, int8_cases, more_int8))
