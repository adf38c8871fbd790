"""Vector operators in torch: norms, activations, rotary embedding, sums, softmax, look-ups, drawing, optimizer steps.

Each call is what eager models do for the operator; rotary embedding is the chain of calls that they are written in.
Sizes go from one row to what no cache holds. On a GPU the calls are captured into a graph, but for optimizer steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from simulator.calibration.cuda_clock import Uncapturable
from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, element_bytes

_SIZES: Final = (
    (1, 1024), (4, 576), (8, 2048), (16, 896), (32, 1024), (64, 2048), (160, 768), (256, 1024), (512, 1024),
    (512, 4096), (1024, 2048), (1024, 5632), (2048, 6144),
)  # fmt: skip
_QUICK: Final = ((1, 1024), (32, 1024), (256, 768), (1024, 2048))
_VOCABULARIES: Final = ((1, 32000), (4, 50257), (24, 49152), (1, 151936))
_LOSSES: Final = ((128, 50304), (256, 32000), (64, 151936))
_UPDATES: Final = ((768, 768), (3072, 768), (4096, 1024), (12000, 768), (16000, 768), (20000, 768))
_COLD: Final = 3.0
"""Weights, gradients and moments that take turns fill the cache so many times over."""
_HEAD: Final = 64
_TABLE: Final = 1 << 24
"""Numbers in a table of embeddings."""
_GPU_SIZES: Final = (
    (1, 4096), (8, 1024), (32, 4096), (128, 8192), (512, 2048), (1024, 4096), (4096, 1024), (2048, 8192), (8192, 5632),
)  # fmt: skip
_GPU_QUICK: Final = ((1, 4096), (128, 4096), (2048, 2048), (4096, 8192))
_GPU_VOCABULARIES: Final = ((1, 32000), (8, 128256), (64, 151936), (256, 32000))
_GPU_LOSSES: Final = ((2048, 32000), (1024, 128256), (512, 50304))
_GPU_UPDATES: Final = ((2048, 2048), (4096, 4096), (14336, 4096))
_GPU_TABLE: Final = 1 << 28
"""As ``_TABLE``, on a GPU: a cache holds some 50 MB."""
_TABLE_SHARE: Final = 0.25
"""Part of the memory that a table takes at most."""


def cases(machine: Machine) -> Iterator[Case]:
    """All vector operators of inference."""
    for dtype in (d for d in machine.dtypes if element_bytes(d) >= 2.0):
        for place, (rows, cols) in enumerate(_sizes(machine)):
            listed = [
                (op.norm("norm", rows, cols, dtype), "rms"),
                (op.norm("norm", rows, cols, dtype, bias=True), "layer"),
                (op.activation("activation", rows, cols, dtype, gated=True), "silu"),
                (op.activation("activation", rows, cols, dtype), "gelu"),
                (op.elementwise("add", rows, cols, dtype), "add"),
                (op.embedding("embedding", rows, cols, dtype), ""),
                (op.softmax("softmax", rows, cols, dtype), ""),
                *([(op.rope("rope", rows, cols, dtype), "")] if cols % _HEAD == 0 else []),
            ]
            for number, (operator, variant) in enumerate(listed):
                # On a CPU, whose time is short, one operator in three passes a size over, by turns.
                if machine.target == "gpu" or machine.quick or (place + number) % 3:
                    yield _case(machine, operator, variant)
        vocabularies = _GPU_VOCABULARIES if machine.target == "gpu" else _VOCABULARIES
        for rows, vocabulary in vocabularies[:: 3 if machine.quick else 1]:
            yield _case(machine, op.sampling("sampling", rows, vocabulary), dtype)


def training(machine: Machine) -> Iterator[Case]:
    """Loss and optimizer."""
    gpu = machine.target == "gpu"
    for rows, cols in (_GPU_LOSSES if gpu else _LOSSES)[:: 2 if machine.quick else 1]:
        yield _case(machine, op.softmax("loss", rows, cols, "fp32"), "loss")
    for rows, cols in _GPU_UPDATES if gpu else _UPDATES:
        operator = op.optimizer_update("adamw", float(rows * cols), state_bytes=8.0, weight_bytes=4.0)
        prepare, variant = partial(_prepare_update, machine, rows, cols), "adamw queued" if gpu else "adamw"
        yield Case(operator, prepare, 5.0 * 4.0 * rows * cols, variant, graph=gpu)


def _sizes(machine: Machine) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the first design."""
    if machine.target == "gpu":
        return _GPU_QUICK if machine.quick else _GPU_SIZES
    return _QUICK if machine.quick else _SIZES


def _case(machine: Machine, operator: Operator, variant: str) -> Case:
    prepare, bytes_ = partial(_prepare, machine, operator, variant), 3.0 * operator.moved_bytes
    if machine.target == "cpu":
        return Case(operator, prepare, bytes_, variant)
    if operator.name == "embedding":
        bytes_ += _table_numbers(machine, operator.dtype) * element_bytes(operator.dtype)
    return Case(operator, prepare, bytes_, f"{variant} graph".lstrip(), graph=True)


def _table_numbers(machine: Machine, dtype: str) -> int:
    """Numbers in a table of embeddings."""
    if machine.target == "cpu":
        return _TABLE
    return min(_GPU_TABLE, int(_TABLE_SHARE * machine.memory_bytes / element_bytes(dtype)))


def _prepare(machine: Machine, operator: Operator, variant: str) -> Call:
    import torch
    from torch.nn import functional as F  # noqa: N812

    rows, cols = int(operator.m), int(operator.n)
    dtype = variant if operator.name == "sampling" else operator.dtype
    x = torch_calls.filled(machine, dtype, rows, cols)
    if operator.name == "norm":
        weight = torch_calls.filled(machine, dtype, cols)
        if variant == "rms":
            return lambda: F.rms_norm(x, (cols,), weight, 1e-5)
        return lambda: F.layer_norm(x, (cols,), weight, weight)
    if operator.name == "loss":
        targets = torch.randint(0, cols, (rows,), device=x.device)
        return lambda: F.cross_entropy(x, targets)
    if operator.name == "embedding":
        words = max(1000, _table_numbers(machine, dtype) // cols)
        table = torch_calls.filled(machine, dtype, words, cols)
        tokens = torch.randint(0, words, (rows,), device=x.device)
        return lambda: F.embedding(tokens, table)
    if operator.name == "rope":
        return _rotation(machine, operator)
    y = torch_calls.filled(machine, dtype, rows, cols)
    calls: dict[str, Call] = {
        "silu": lambda: F.silu(x) * y,
        "gelu": lambda: F.gelu(x),
        "add": lambda: x + y,
        "softmax": lambda: F.softmax(x, -1),
        "sampling": lambda: x.argmax(-1),
    }
    return calls[variant if operator.name in ("activation", "add") else operator.name]


def _rotation(machine: Machine, operator: Operator) -> Call:
    """Halves are swapped, then two products and a sum: queries and keys as projections leave them."""
    import torch

    rows, heads, half = int(operator.m), int(operator.n) // _HEAD, _HEAD // 2
    x = torch_calls.filled(machine, operator.dtype, 1, rows, heads, _HEAD).transpose(1, 2)
    cos, sin = (torch_calls.filled(machine, operator.dtype, rows, _HEAD) for _ in range(2))
    queries, keys = x[:, : max(1, heads * 3 // 4)], x[:, max(1, heads * 3 // 4) :]

    def rotate(part: Any) -> Any:
        return part * cos + torch.cat((-part[..., half:], part[..., :half]), -1) * sin

    return lambda: (rotate(queries), rotate(keys))


def _prepare_update(machine: Machine, rows: int, cols: int) -> Call:
    import torch

    turns = 1 + int(_COLD * machine.cache_bytes / (16.0 * rows * cols))
    weights = [torch_calls.filled(machine, "fp32", rows, cols).requires_grad_(True) for _ in range(turns)]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizers = [torch.optim.AdamW([weight], lr=1e-6) for weight in weights]
    step = torch_calls.in_turn(optimizers, lambda optimizer: optimizer.step())
    return Uncapturable(step, "the step counts of AdamW lie on the host") if machine.target == "gpu" else step


_BOTH: Final = ("cpu", "gpu")
register(Probe("torch.vector", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, cases))
register(Probe("torch.training", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, training))
