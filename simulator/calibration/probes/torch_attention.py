"""Attention in torch: prefill of whole prompts, decode against static buffers of keys and values, and its backward.

Decode includes what belongs to it in a model: the new keys and values are written into the buffers first. Buffers take
turns so that they come from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, element_bytes

_HEADS: Final = ((12, 12, 64), (32, 4, 64), (16, 16, 128), (14, 2, 64))
_PREFILL: Final = ((1, 32), (1, 96), (4, 160), (1, 256), (1, 640), (1, 1024), (2, 300))
_DECODE: Final = ((1, 64), (1, 512), (1, 2048), (4, 256), (16, 96), (8, 1024))
_QUICK_PREFILL: Final = ((1, 64), (1, 256), (1, 800))
_QUICK_DECODE: Final = ((1, 128), (1, 1024), (8, 256))
_MORE_HEADS: Final = ((9, 3, 64), (15, 5, 64), (16, 16, 64), (32, 8, 64), (12, 2, 128))
_MOST_FLOPS: Final = {"cpu": 8.0e9, "gpu": 2.0e12}
_LARGE: Final = {"cpu": 1, "gpu": 4}
"""GPUs are asked for batches larger by this factor."""
_ROOM: Final = 8
"""Places of the buffers behind the visible context."""


def prefills(machine: Machine, heads: tuple[tuple[int, int, int], ...]) -> Iterator[Case]:
    """Causal attention of whole prompts."""
    for dtype in _dtypes(machine):
        for h, kv, d in heads[:: 2 if machine.quick else 1]:
            for batch, length in _QUICK_PREFILL if machine.quick else _PREFILL:
                yield from _prefill(machine, dtype, (h, kv, d), batch * _LARGE[machine.target], length)


def decodes(machine: Machine, heads: tuple[tuple[int, int, int], ...]) -> Iterator[Case]:
    """One new token of each sequence against its context."""
    for dtype in _dtypes(machine):
        for h, kv, d in heads[:: 2 if machine.quick else 1]:
            for batch, context in _QUICK_DECODE if machine.quick else _DECODE:
                operator = _attention(1, context, (h, kv, d), batch * _LARGE[machine.target], dtype)
                turns = torch_calls.copies(machine, operator.read_bytes)
                if operator.read_bytes * turns < 0.6 * machine.memory_bytes:
                    yield Case(operator, partial(_prepare_decode, machine, operator), operator.read_bytes * turns)


def backwards(machine: Machine) -> Iterator[Case]:
    """The gradients of causal attention."""
    for dtype in _dtypes(machine):
        for h, kv, d in ((12, 12, 64), (9, 3, 64)):
            for batch, length in ((1, 128), (2, 256), (1, 512)):
                forward = _attention(length, length, (h, kv, d), batch, dtype)
                operator = op.attention_backward(forward)
                yield Case(operator, partial(_prepare_backward, machine, operator), 3.0 * operator.moved_bytes)


def _dtypes(machine: Machine) -> list[str]:
    return [dtype for dtype in machine.dtypes if element_bytes(dtype) >= 2.0]


def _attention(new: int, seen: int, heads: tuple[int, int, int], batch: int, dtype: str) -> Operator:
    h, kv, d = heads
    bits = 8.0 * element_bytes(dtype)
    return op.attention("attention", new, seen, h, kv, d, batch=batch, dtype=dtype, kv_bits=bits)


def _prefill(machine: Machine, dtype: str, heads: tuple[int, int, int], batch: int, length: int) -> Iterator[Case]:
    operator = _attention(length, length, heads, batch, dtype)
    if operator.flops <= _MOST_FLOPS[machine.target]:
        yield Case(operator, partial(_prepare_prefill, machine, operator), 2.0 * operator.moved_bytes)


def _inputs(machine: Machine, operator: Operator, new: int, room: int) -> tuple[Any, Any, Any]:
    """Queries as a projection leaves them, keys and values as buffers hold them."""
    batch, h, kv, d = (int(x) for x in (operator.batch, operator.heads, operator.kv_heads, operator.k))
    q = torch_calls.filled(machine, operator.dtype, batch, new, h, d).transpose(1, 2)
    k, v = (torch_calls.filled(machine, operator.dtype, batch, kv, room, d) for _ in range(2))
    return q, k, v


def _attend(operator: Operator, causal: bool) -> Callable[..., Any]:
    from torch.nn.functional import scaled_dot_product_attention

    return partial(
        scaled_dot_product_attention, is_causal=causal, enable_gqa=operator.heads != operator.kv_heads
    )  # fmt: skip


def _prepare_prefill(machine: Machine, operator: Operator) -> Call:
    length = int(operator.m)
    q, k, v = _inputs(machine, operator, length, length + _ROOM)
    new_k, new_v = k[:, :, :length].clone(), v[:, :, :length].clone()
    attend = _attend(operator, causal=True)

    def call() -> object:
        k[:, :, :length] = new_k
        v[:, :, :length] = new_v
        return attend(q, k[:, :, :length], v[:, :, :length])

    return call


def _prepare_decode(machine: Machine, operator: Operator) -> Call:
    seen = int(operator.n)
    turns = range(torch_calls.copies(machine, operator.read_bytes))
    operands = [_inputs(machine, operator, 1, seen + _ROOM) for _ in turns]
    new = operands[0][1][:, :, :1].clone()
    attend = _attend(operator, causal=False)

    def call(inputs: tuple[Any, Any, Any]) -> object:
        q, k, v = inputs
        k[:, :, seen - 1 : seen] = new
        v[:, :, seen - 1 : seen] = new
        return attend(q, k[:, :, :seen], v[:, :, :seen])

    return torch_calls.in_turn(operands, call)


def _prepare_backward(machine: Machine, operator: Operator) -> Call:
    import torch

    length = int(operator.m)
    q, k, v = (x.requires_grad_(True) for x in _inputs(machine, operator, length, length))
    with torch.enable_grad():
        y = _attend(operator, causal=True)(q, k, v)
    gradient = torch.ones_like(y)
    return lambda: torch.autograd.grad(y, (q, k, v), gradient, retain_graph=True)


def _prefill_cases(machine: Machine) -> Iterator[Case]:
    return prefills(machine, _HEADS)


def _decode_cases(machine: Machine) -> Iterator[Case]:
    return decodes(machine, _HEADS)


def _more_prefills(machine: Machine) -> Iterator[Case]:
    return prefills(machine, _MORE_HEADS)


def _more_decodes(machine: Machine) -> Iterator[Case]:
    return decodes(machine, _MORE_HEADS)


_BOTH: Final = ("cpu", "gpu")
register(Probe("torch.prefill", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, _prefill_cases, _more_prefills))
register(Probe("torch.decode", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, _decode_cases, _more_decodes))
register(Probe("torch.attention_backward", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, backwards))
