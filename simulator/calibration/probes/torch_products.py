"""Matrix products in torch: activations times weights that lie in memory, plain products of a batch, gradients.

The (n, k) and m of the first cases span what decoders of 20M to 70B parameters ask for: few rows as in decode, many as
in prefill. Weights take turns, so that each call reads them from memory as a model does; activations stay in cache. On
a GPU the calls are captured into a graph, and products of 8-bit numbers are measured by ``torch_fp8``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, element_bytes

_WEIGHTS: Final = ((1024, 1024), (3072, 768), (2048, 2048), (640, 3584), (5632, 2048), (2048, 8192), (192, 576))
_VOCABULARY: Final = ((32000, 768),)
_ROWS: Final = (1, 2, 3, 4, 8, 24, 64, 192, 512, 1024)
_QUICK: Final = (((1024, 1024), (5632, 2048), (640, 3584)), (1, 4, 16, 64, 256, 1024))
_MORE_WEIGHTS: Final = ((768, 768), (896, 4864), (1536, 8960), (4096, 1024), (8192, 1536), (320, 960), (50000, 1024))
_MORE_ROWS: Final = (1, 3, 6, 12, 24, 32, 64, 96, 192, 512, 768)
_GPU_WEIGHTS: Final = (
    (4096, 4096), (14336, 4096), (2048, 2048), (8192, 8192), (4096, 14336), (1408, 2048), (6144, 4096), (768, 2048),
    (28672, 8192), (1024, 8192), (2048, 1408), (5120, 1536), (1024, 1024),
)  # fmt: skip
"""(n, k) of projections and MLPs of 1B to 70B parameters, whole and sharded, and of experts (768 and 1408 wide)."""
_GPU_VOCABULARY: Final = ((128256, 4096), (32000, 2048))
_GPU_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_GPU_QUICK: Final = (((4096, 4096), (14336, 4096), (2048, 2048)), (1, 8, 64, 256, 1024, 4096))
_GPU_MORE_WEIGHTS: Final = (
    (3584, 3584), (18944, 3584), (5120, 5120), (10240, 8192), (8192, 3584), (2880, 2880), (151936, 2048), (768, 768)
)  # fmt: skip
_GPU_MORE_ROWS: Final = (1, 3, 6, 12, 24, 48, 96, 160, 384, 640, 1536, 3072)
_GPU_GRADIENTS: Final = (
    (4096, 4096, 2048), (2048, 2048, 4096), (14336, 4096, 4096), (1024, 1024, 8192), (4096, 14336, 2048),
    (32000, 2048, 4096),
)  # fmt: skip
"""(n, k, m) of products whose gradients are measured."""
_MOST_FLOPS: Final = {"cpu": 2.0e10, "gpu": 4.0e12}
"""FLOPs of the largest product by target: a tenth of a second or less."""


def cases(machine: Machine) -> Iterator[Case]:
    """Products of the first design, by dtype."""
    for dtype in _dtypes(machine):
        for m, n, k in shapes(machine):
            yield from _affordable(machine, dtype, m, n, k)


def more(machine: Machine) -> Iterator[Case]:
    """Products that a design may add."""
    for dtype in _dtypes(machine):
        for m, n, k in more_shapes(machine):
            yield from _affordable(machine, dtype, m, n, k)


def shapes(machine: Machine) -> Iterator[tuple[int, int, int]]:
    """(m, n, k) of the first design."""
    design: tuple[tuple[tuple[int, int], ...], tuple[int, ...]]
    if machine.target == "gpu":
        design = _GPU_QUICK if machine.quick else ((*_GPU_WEIGHTS, *_GPU_VOCABULARY), _GPU_ROWS)
    else:
        design = _QUICK if machine.quick else ((*_WEIGHTS, *_VOCABULARY), _ROWS)
    weights, rows = design
    for number, (n, k) in enumerate(weights):
        for place, m in enumerate(rows):
            # A Latin pattern: each pair of weights has the ends and every second of the other row counts.
            if machine.quick or m in (1, rows[-1]) or (place + number) % 2 == 0:
                yield m, n, k


def more_shapes(machine: Machine) -> Iterator[tuple[int, int, int]]:
    """(m, n, k) that a design may add."""
    gpu = machine.target == "gpu"
    for n, k in _GPU_MORE_WEIGHTS if gpu else _MORE_WEIGHTS:
        for m in _GPU_MORE_ROWS if gpu else _MORE_ROWS:
            yield m, n, k


def affordable(machine: Machine, operator: Operator) -> bool:
    """Whether a product is short enough, and its operands fit into the memory that may be filled."""
    return operator.flops <= _MOST_FLOPS[machine.target] and operator.moved_bytes < 0.5 * machine.memory_bytes


def bytes_in_turn(machine: Machine, operator: Operator) -> float:
    """Bytes of a product whose weights take turns [B]."""
    turns = torch_calls.copies(machine, operator.weight_bytes)
    return operator.moved_bytes + (turns - 1) * operator.weight_bytes


def _dtypes(machine: Machine) -> list[str]:
    return [dtype for dtype in machine.dtypes if machine.target == "cpu" or element_bytes(dtype) >= 2.0]


def _variant(machine: Machine, word: str = "") -> str:
    """``word``, and that a graph was replayed."""
    return " ".join(filter(None, (word, "graph" if machine.target == "gpu" else "")))


def _affordable(machine: Machine, dtype: str, m: int, n: int, k: int) -> Iterator[Case]:
    operator = op.gemm("product", m, n, k, dtype)
    if dtype == "int8":
        # The call reads bytes and writes its sums in 32 bits.
        operator = replace(operator, read_bytes=float(m * k), write_bytes=4.0 * m * n)
    if affordable(machine, operator):
        prepare, gpu = partial(_prepare, machine, operator), machine.target == "gpu"
        yield Case(operator, prepare, bytes_in_turn(machine, operator), _variant(machine), graph=gpu)


def _prepare(machine: Machine, operator: Operator) -> Call:
    import torch
    from torch.nn.functional import linear

    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    x = torch_calls.filled(machine, operator.dtype, m, k)
    weights = torch_calls.cold(machine, operator.dtype, n, k)
    if operator.dtype == "int8":
        return torch_calls.in_turn([w.t() for w in weights], lambda w: torch._int_mm(x, w))
    return torch_calls.in_turn(weights, lambda w: linear(x, w))


def gradients(machine: Machine) -> Iterator[Case]:
    """Products of the backward: dx = dy w and dw = dy^T x, whose result is added up in the weights' dtype."""
    triples: tuple[tuple[int, int, int], ...] = ((768, 768, 256), (2048, 1024, 512)) if machine.quick else (
        (768, 768, 256), (3072, 768, 512), (576, 1536, 256), (2048, 1024, 1024), (32000, 768, 128), (1024, 4096, 512)
    )  # fmt: skip
    if machine.target == "gpu":
        triples = _GPU_GRADIENTS[:: 2 if machine.quick else 1]
    for dtype in machine.dtypes:
        if element_bytes(dtype) < 2.0:
            continue
        for n, k, m in triples:
            forward = op.gemm("product", m, n, k, dtype)
            each = element_bytes(dtype)
            weight = op.gemm("product.wgrad", n, k, m, dtype, weights=False)
            dx, dw = partial(_prepare_dgrad, machine, forward), partial(_prepare_wgrad, machine, weight)
            gpu, dw_bytes = machine.target == "gpu", weight.moved_bytes + n * k * each
            dx_bytes = bytes_in_turn(machine, forward)
            yield Case(forward, dx, dx_bytes, _variant(machine, "dgrad"), graph=gpu)
            yield Case(weight, dw, dw_bytes, _variant(machine, "wgrad"), graph=gpu)


def _prepare_dgrad(machine: Machine, operator: Operator) -> Call:
    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    dy = torch_calls.filled(machine, operator.dtype, m, k)
    weights = torch_calls.cold(machine, operator.dtype, k, n)
    return torch_calls.in_turn(weights, lambda w: dy @ w)


def _prepare_wgrad(machine: Machine, operator: Operator) -> Call:
    n, k, m = int(operator.m), int(operator.n), int(operator.k)
    dy, x = torch_calls.filled(machine, operator.dtype, m, n), torch_calls.filled(machine, operator.dtype, m, k)
    return lambda: dy.t() @ x


register(Probe("torch.products", ("cpu", "gpu"), torch_calls.RUNTIMES, torch_calls.missing, cases, more))
register(Probe("torch.gradients", ("cpu", "gpu"), torch_calls.RUNTIMES, torch_calls.missing, gradients))
