"""Matrix products in numpy: activations times weights that lie in memory, products of a batch, parts of attention.

Weights are stored as torch stores them, [n, k], and take turns, so that each call reads them from memory as a model
does. Attention has no fused call: scores, softmax and values are one call each, and heads that share keys and values
read the same ones by broadcasting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.cold_block import block_bytes, numpy_block
from simulator.calibration.probes.numpy_calls import RUNTIMES, Array, filled, missing
from simulator.calibration.probes.numpy_vector import softmax
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from simulator.calibration.probes.threads import blas_threads
from workloads import operators as op
from workloads.operators import Operator, OpKind

_WEIGHTS: Final = ((1024, 1024), (5632, 2048), (640, 3584), (3072, 768), (2048, 8192))
_ROWS: Final = (1, 4, 16, 64, 256, 1024)
_QUICK_WEIGHTS: Final = ((1024, 1024), (5632, 2048))
_QUICK_ROWS: Final = (1, 16, 256)
_MORE_WEIGHTS: Final = ((768, 768), (896, 4864), (192, 576), (32000, 768), (4096, 1024))
_MORE_ROWS: Final = (1, 2, 8, 32, 128, 512)
_BATCHED: Final = ((8, 64, 64, 64), (4, 256, 256, 256), (32, 16, 128, 64), (2, 512, 512, 512))
"""Batch, m, n and k."""
_HEADS: Final = ((12, 12, 64), (16, 4, 64))
_LENGTHS: Final = ((1, 1, 512), (1, 1, 2048), (4, 1, 256), (1, 64, 64), (1, 256, 256), (1, 640, 640))
"""Sequences, new tokens of each, and visible ones."""
_QUICK_LENGTHS: Final = ((1, 1, 512), (1, 256, 256))
_MOST_FLOPS: Final = 1.0e10


def cases(machine: Machine) -> Iterator[Case]:
    """Products of activations with weights."""
    return _products(machine, *((_QUICK_WEIGHTS, _QUICK_ROWS) if machine.quick else (_WEIGHTS, _ROWS)))


def more(machine: Machine) -> Iterator[Case]:
    """Products that a design may add."""
    return _products(machine, _MORE_WEIGHTS, _MORE_ROWS)


def _products(machine: Machine, weights: tuple[tuple[int, int], ...], rows: tuple[int, ...]) -> Iterator[Case]:
    for n, k in weights:
        for m in rows:
            operator = op.gemm("product", m, n, k, "fp32")
            if operator.flops <= _MOST_FLOPS and operator.moved_bytes < 0.5 * machine.memory_bytes:
                turns = torch_calls.copies(machine, operator.weight_bytes)
                bytes_ = operator.moved_bytes + (turns - 1) * operator.weight_bytes
                yield Case(operator, partial(_prepare, machine, operator), bytes_, threads=blas_threads(machine))


def operands(machine: Machine, operator: Operator) -> tuple[Array, list[Array]]:
    """Activations [m, k], and weights [n, k] that take turns."""
    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    each = 4 * n * k
    if each > block_bytes(machine):
        return filled(m, k), [filled(n, k)]
    whole = numpy_block(machine)
    turns = range(torch_calls.copies(machine, float(each)))
    return filled(m, k), [whole[place * each : (place + 1) * each].view(np.float32).reshape(n, k) for place in turns]


def _prepare(machine: Machine, operator: Operator) -> Call:
    x, weights = operands(machine, operator)
    return torch_calls.in_turn(weights, lambda w: x @ w.T)


def batched(machine: Machine) -> Iterator[Case]:
    """Products whose operands are both activations."""
    for batch, m, n, k in _BATCHED[:: 2 if machine.quick else 1]:
        operator = op.gemm("batched", m, n, k, "fp32", batch=batch, weights=False)
        yield _pair(machine, operator, (batch, m, k), (batch, k, n))


def attention(machine: Machine) -> Iterator[Case]:
    """Scores, softmax and values of attention, as ``workloads.lowering`` writes attention that is not fused."""
    lengths = (_QUICK_LENGTHS,) if machine.quick else (_LENGTHS, _LENGTHS[::2])
    for (heads, kv_heads, width), chosen in zip(_HEADS, lengths, strict=False):
        for batch, new, seen in chosen:
            each, group = batch * heads, heads // kv_heads
            queries, keys = (batch, kv_heads, group, new, width), (batch, kv_heads, 1, seen, width)
            scores = op.gemm("attention.qk", new, seen, width, "fp32", batch=each, weights=False)
            yield _pair(machine, scores, queries, keys, transposed=True)
            rows = op.softmax("attention.softmax", each * new, seen, "fp32")
            yield Case(rows, partial(_prepare_softmax, each * new, seen), 2.0 * rows.moved_bytes, "softmax")
            values = op.gemm("attention.pv", new, width, seen, "fp32", batch=each, weights=False)
            yield _pair(machine, values, (*queries[:-1], seen), keys)


def _pair(
    machine: Machine, product: Operator, x: tuple[int, ...], y: tuple[int, ...], transposed: bool = False
) -> Case:
    """A product of two activations, ``y`` read transposed or not; what broadcasting repeats is read once."""
    read_bytes = 4.0 * (math.prod(x) + math.prod(y))
    operator = replace(product, kind=OpKind.BATCHED_GEMM, read_bytes=read_bytes)
    return Case(operator, partial(_prepare_pair, x, y, transposed), operator.moved_bytes, threads=blas_threads(machine))


def _prepare_pair(x: tuple[int, ...], y: tuple[int, ...], transposed: bool) -> Call:
    right = filled(*y)
    return partial(np.matmul, filled(*x), right.swapaxes(-1, -2) if transposed else right)


def _prepare_softmax(rows: int, cols: int) -> Call:
    return partial(softmax, filled(rows, cols))


register(Probe("numpy.products", ("cpu",), RUNTIMES, missing, cases, more))
register(Probe("numpy.batched", ("cpu",), RUNTIMES, missing, batched))
register(Probe("numpy.attention", ("cpu",), RUNTIMES, missing, attention))
