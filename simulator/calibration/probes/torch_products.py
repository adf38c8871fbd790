"""Matrix products in torch: activations times weights that lie in memory, plain products of a batch, gradients.

The (n, k) and m of the first cases span what decoders of 20M to 70B parameters ask for: few rows as in decode, many as
in prefill. Weights take turns, so that each call reads them from memory as a model does; activations stay in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, element_bytes

_WEIGHTS: Final = ((1024, 1024), (3072, 768), (2048, 2048), (640, 3584), (5632, 2048), (2048, 8192), (192, 576))
_VOCABULARY: Final = ((32000, 768),)
_ROWS: Final = (1, 2, 4, 8, 16, 48, 128, 320, 1024)
_QUICK: Final = (((1024, 1024), (5632, 2048), (640, 3584)), (1, 4, 16, 64, 256, 1024))
_MORE_WEIGHTS: Final = ((768, 768), (896, 4864), (1536, 8960), (4096, 1024), (8192, 1536), (320, 960), (50000, 1024))
_MORE_ROWS: Final = (1, 3, 6, 12, 24, 32, 64, 96, 192, 512, 768)
_MOST_FLOPS: Final = {"cpu": 2.0e10, "gpu": 4.0e12}
"""FLOPs of the largest product by target: a tenth of a second or less."""


def cases(machine: Machine) -> Iterator[Case]:
    """Products of the first design, by dtype."""
    weights, rows = _QUICK if machine.quick else ((*_WEIGHTS, *_VOCABULARY), _ROWS)
    for dtype in machine.dtypes:
        for number, (n, k) in enumerate(weights):
            for place, m in enumerate(rows):
                # A Latin pattern: each pair of weights has the ends and every second of the other row counts.
                if machine.quick or m in (1, rows[-1]) or (place + number) % 2 == 0:
                    yield from _affordable(machine, dtype, m, n, k)


def more(machine: Machine) -> Iterator[Case]:
    """Products that a design may add."""
    for dtype in machine.dtypes:
        for n, k in _MORE_WEIGHTS:
            for m in _MORE_ROWS:
                yield from _affordable(machine, dtype, m, n, k)


def _affordable(machine: Machine, dtype: str, m: int, n: int, k: int) -> Iterator[Case]:
    operator = op.gemm("product", m, n, k, dtype)
    if operator.flops <= _MOST_FLOPS[machine.target] and operator.moved_bytes < 0.5 * machine.memory_bytes:
        turns = torch_calls.copies(machine, operator.weight_bytes)
        bytes_ = operator.moved_bytes + (turns - 1) * operator.weight_bytes
        yield Case(operator, partial(_prepare, machine, operator), bytes_)


def _prepare(machine: Machine, operator: Operator) -> Call:
    import torch
    from torch.nn.functional import linear

    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    x = torch_calls.filled(machine, operator.dtype, m, k)
    turns = range(torch_calls.copies(machine, operator.weight_bytes))
    weights = [torch_calls.filled(machine, operator.dtype, n, k) for _ in turns]
    if operator.dtype == "int8":
        return torch_calls.in_turn([w.t() for w in weights], lambda w: torch._int_mm(x, w))
    return torch_calls.in_turn(weights, lambda w: linear(x, w))


def gradients(machine: Machine) -> Iterator[Case]:
    """Products of the backward: dx = dy w and dw = dy^T x, whose result is added up in the weights' dtype."""
    shapes = ((768, 768, 256), (2048, 1024, 512)) if machine.quick else (
        (768, 768, 256), (3072, 768, 512), (576, 1536, 256), (2048, 1024, 1024), (32000, 768, 128), (1024, 4096, 512)
    )  # fmt: skip
    for dtype in machine.dtypes:
        if element_bytes(dtype) < 2.0:
            continue
        for n, k, m in shapes:
            forward = op.gemm("product", m, n, k, dtype)
            each = element_bytes(dtype)
            weight = op.gemm("product.wgrad", n, k, m, dtype, weights=False)
            yield Case(forward, partial(_prepare_dgrad, machine, forward), forward.moved_bytes, "dgrad")
            yield Case(weight, partial(_prepare_wgrad, machine, weight), weight.moved_bytes + n * k * each, "wgrad")


def _prepare_dgrad(machine: Machine, operator: Operator) -> Call:
    m, n, k = int(operator.m), int(operator.n), int(operator.k)
    dy = torch_calls.filled(machine, operator.dtype, m, k)
    turns = range(torch_calls.copies(machine, operator.weight_bytes))
    weights = [torch_calls.filled(machine, operator.dtype, k, n) for _ in turns]
    return torch_calls.in_turn(weights, lambda w: dy @ w)


def _prepare_wgrad(machine: Machine, operator: Operator) -> Call:
    n, k, m = int(operator.m), int(operator.n), int(operator.k)
    dy, x = torch_calls.filled(machine, operator.dtype, m, n), torch_calls.filled(machine, operator.dtype, m, k)
    return lambda: dy.t() @ x


register(Probe("torch.products", ("cpu", "gpu"), torch_calls.RUNTIMES, torch_calls.missing, cases, more))
register(Probe("torch.gradients", ("cpu", "gpu"), torch_calls.RUNTIMES, torch_calls.missing, gradients))
