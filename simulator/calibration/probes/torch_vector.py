"""Vector operators in torch: norms, activations, rotary embedding, sums, softmax, look-ups, drawing, optimizer steps.

Each call is what eager models do for the operator; rotary embedding is the chain of calls that they are written in.
Sizes go from one row to what no cache holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, element_bytes

_SIZES: Final = ((1, 1024), (4, 576), (16, 896), (64, 2048), (160, 768), (512, 1024), (1024, 2048), (1024, 5632))
_QUICK: Final = ((1, 1024), (32, 1024), (256, 768), (1024, 2048))
_VOCABULARIES: Final = ((1, 32000), (4, 50257), (24, 49152), (1, 151936))
_LOSSES: Final = ((128, 50304), (256, 32000), (64, 151936))
_UPDATES: Final = ((768, 768), (3072, 768), (32000, 768))
_HEAD: Final = 64
_TABLE: Final = 1 << 24
"""Numbers in a table of embeddings."""
_LARGE: Final = {"cpu": 1, "gpu": 8}


def cases(machine: Machine) -> Iterator[Case]:
    """All vector operators of inference."""
    for dtype in (d for d in machine.dtypes if element_bytes(d) >= 2.0):
        for rows, cols in _QUICK if machine.quick else _SIZES:
            rows *= _LARGE[machine.target]
            yield _case(machine, op.norm("norm", rows, cols, dtype), "rms")
            yield _case(machine, op.norm("norm", rows, cols, dtype, bias=True), "layer")
            yield _case(machine, op.activation("activation", rows, cols, dtype, gated=True), "silu")
            yield _case(machine, op.activation("activation", rows, cols, dtype), "gelu")
            yield _case(machine, op.elementwise("add", rows, cols, dtype), "add")
            yield _case(machine, op.embedding("embedding", rows, cols, dtype), "")
            yield _case(machine, op.softmax("softmax", rows, cols, dtype), "")
            if cols % _HEAD == 0:
                yield _case(machine, op.rope("rope", rows, cols, dtype), "")
        for rows, vocabulary in _VOCABULARIES[:: 3 if machine.quick else 1]:
            yield _case(machine, op.sampling("sampling", rows, vocabulary), dtype)


def training(machine: Machine) -> Iterator[Case]:
    """Loss and optimizer."""
    for rows, cols in _LOSSES[:: 2 if machine.quick else 1]:
        yield _case(machine, op.softmax("loss", rows, cols, "fp32"), "loss")
    for rows, cols in _UPDATES:
        operator = op.optimizer_update("adamw", float(rows * cols), state_bytes=8.0, weight_bytes=4.0)
        yield Case(operator, partial(_prepare_update, machine, rows, cols), 5.0 * 4.0 * rows * cols, "adamw")


def _case(machine: Machine, operator: Operator, variant: str) -> Case:
    return Case(operator, partial(_prepare, machine, operator, variant), 3.0 * operator.moved_bytes, variant)


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
        words = max(1000, _TABLE // cols)
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

    turns = torch_calls.copies(machine, 16.0 * rows * cols)
    weights = [torch_calls.filled(machine, "fp32", rows, cols).requires_grad_(True) for _ in range(turns)]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizers = [torch.optim.AdamW([weight], lr=1e-6) for weight in weights]
    return torch_calls.in_turn(optimizers, lambda optimizer: optimizer.step())


_BOTH: Final = ("cpu", "gpu")
register(Probe("torch.vector", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, cases))
register(Probe("torch.training", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, training))
