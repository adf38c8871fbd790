"""Attention in torch: prefill of whole prompts, decode against static buffers of keys and values, and its backward.

Decode includes what belongs to it in a model: the new keys and values are written into the buffers first. Buffers take
turns so that they come from memory. On a GPU torch chooses among kernels by device, dtype and shape; the variant says
which one it takes ("flash", "cudnn", "efficient", or "math", which writes the scores to memory), and the calls are
captured into a graph, but for the backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from simulator.calibration.cuda_clock import Uncapturable
from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, OpKind, element_bytes

_HEADS: Final = ((12, 12, 64), (32, 4, 64), (16, 16, 128), (14, 2, 64))
_PREFILL: Final = ((1, 32), (1, 96), (4, 160), (1, 256), (1, 640), (1, 1024), (2, 300))
_DECODE: Final = ((1, 64), (1, 512), (1, 2048), (4, 256), (16, 96), (8, 1024))
_QUICK_PREFILL: Final = ((1, 64), (1, 256), (1, 800))
_QUICK_DECODE: Final = ((1, 128), (1, 1024), (8, 256))
_MORE_HEADS: Final = ((9, 3, 64), (15, 5, 64), (16, 16, 64), (32, 8, 64), (12, 2, 128))
_GPU_HEADS: Final = ((32, 8, 128), (16, 16, 64), (64, 8, 128), (32, 32, 128), (14, 2, 64))
_GPU_PREFILL: Final = ((1, 128), (1, 512), (1, 2048), (1, 8192), (4, 1024), (16, 512), (3, 4096), (64, 96))
_GPU_DECODE: Final = (
    (1, 512), (1, 4096), (1, 32768), (8, 2048), (32, 1024), (64, 4096), (128, 512), (16, 8192), (256, 256)
)  # fmt: skip
_GPU_QUICK_PREFILL: Final = ((1, 512), (1, 4096), (8, 1024))
_GPU_QUICK_DECODE: Final = ((1, 2048), (32, 1024), (64, 4096))
_GPU_MORE_HEADS: Final = ((8, 8, 128), (16, 2, 128), (40, 8, 128), (12, 12, 64), (4, 1, 128))
_GPU_BACKWARD: Final = (((32, 8, 128), (16, 16, 64)), ((1, 2048), (4, 1024), (2, 4096)))
_BACKWARD: Final = (((12, 12, 64), (9, 3, 64)), ((1, 128), (2, 256), (1, 512)))
_MOST_FLOPS: Final = {"cpu": 8.0e9, "gpu": 2.0e12}
_BACKENDS: Final = {
    "MATH": "math", "FLASH_ATTENTION": "flash", "EFFICIENT_ATTENTION": "efficient", "CUDNN_ATTENTION": "cudnn"
}  # fmt: skip
"""What torch calls kernels of scaled_dot_product_attention, and we."""
_ROOM: Final = 8
"""Places of the buffers behind the visible context."""


def prefills(machine: Machine, heads: tuple[tuple[int, int, int], ...]) -> Iterator[Case]:
    """Causal attention of whole prompts."""
    for dtype in _dtypes(machine):
        for number, (h, kv, d) in enumerate(heads[:: 2 if machine.quick else 1]):
            for batch, length in _every_second(machine, _prompts(machine), number):
                yield from _prefill(machine, dtype, (h, kv, d), batch, length)


def decodes(machine: Machine, heads: tuple[tuple[int, int, int], ...]) -> Iterator[Case]:
    """One new token of each sequence against its context."""
    for dtype in _dtypes(machine):
        for number, (h, kv, d) in enumerate(heads[:: 2 if machine.quick else 1]):
            for batch, context in _every_second(machine, _contexts(machine), number):
                operator = _attention(1, context, (h, kv, d), batch, dtype)
                turns = torch_calls.copies(machine, operator.read_bytes)
                if operator.read_bytes * turns < 0.6 * machine.memory_bytes:
                    prepare, gpu = partial(_prepare_decode, machine, operator), machine.target == "gpu"
                    yield Case(operator, prepare, operator.read_bytes * turns, _variant(machine, operator), graph=gpu)


def backwards(machine: Machine) -> Iterator[Case]:
    """The gradients of causal attention."""
    for dtype in _dtypes(machine):
        heads, prompts = _GPU_BACKWARD if machine.target == "gpu" else _BACKWARD
        for h, kv, d in heads:
            for batch, length in prompts:
                forward = _attention(length, length, (h, kv, d), batch, dtype)
                operator = op.attention_backward(forward)
                prepare, variant = partial(_prepare_backward, machine, operator), _variant(machine, operator, "queued")
                yield Case(operator, prepare, 3.0 * operator.moved_bytes, variant, graph=machine.target == "gpu")


def _every_second(
    machine: Machine, sizes: tuple[tuple[int, int], ...], number: int
) -> tuple[tuple[int, int], ...]:  # fmt: skip
    """On a CPU, whose time is short, every second of ``sizes``, by turns for one set of heads after the other."""
    return sizes if machine.quick or machine.target == "gpu" else sizes[number % 2 :: 2]


def _prompts(machine: Machine) -> tuple[tuple[int, int], ...]:
    """Sequences and tokens of each."""
    if machine.target == "gpu":
        return _GPU_QUICK_PREFILL if machine.quick else _GPU_PREFILL
    return _QUICK_PREFILL if machine.quick else _PREFILL


def _contexts(machine: Machine) -> tuple[tuple[int, int], ...]:
    """Sequences and tokens that each one sees."""
    if machine.target == "gpu":
        return _GPU_QUICK_DECODE if machine.quick else _GPU_DECODE
    return _QUICK_DECODE if machine.quick else _DECODE


def _variant(machine: Machine, operator: Operator, clock: str = "graph") -> str:
    """On a GPU, the kernel that torch chooses where it can be asked, and how its calls are timed."""
    if machine.target == "cpu":
        return ""
    return f"{'' if torch_calls.missing(machine) else kernel_of(machine, operator)} {clock}".lstrip()


def kernel_of(machine: Machine, operator: Operator) -> str:
    """Which kernel torch takes for the call of ``operator``: it decides by shapes and strides, not by values."""
    import torch
    from torch.nn.attention import SDPBackend

    batch, h, kv, d = (int(x) for x in (operator.batch, operator.heads, operator.kv_heads, operator.k))
    new, seen = int(operator.m), int(operator.n)
    backward = operator.kind == OpKind.ATTENTION_BACKWARD
    about = {"dtype": torch_calls.torch_dtype(operator.dtype), "device": machine.torch_device}
    q = torch.empty(batch, new, h, d, **about).transpose(1, 2).requires_grad_(backward)
    cache = torch.empty(batch, kv, seen if backward else seen + _ROOM, d, **about).requires_grad_(backward)
    k = cache[:, :, :seen]
    with torch.set_grad_enabled(backward):
        chosen = torch._fused_sdp_choice(q, k, k, None, 0.0, new > 1, enable_gqa=h != kv)
    return _BACKENDS.get(SDPBackend(chosen).name, "other")


def _dtypes(machine: Machine) -> list[str]:
    return [dtype for dtype in machine.dtypes if element_bytes(dtype) >= 2.0]


def _attention(new: int, seen: int, heads: tuple[int, int, int], batch: int, dtype: str) -> Operator:
    h, kv, d = heads
    bits = 8.0 * element_bytes(dtype)
    return op.attention("attention", new, seen, h, kv, d, batch=batch, dtype=dtype, kv_bits=bits)


def _prefill(machine: Machine, dtype: str, heads: tuple[int, int, int], batch: int, length: int) -> Iterator[Case]:
    operator = _attention(length, length, heads, batch, dtype)
    if operator.flops <= _MOST_FLOPS[machine.target]:
        prepare, gpu = partial(_prepare_prefill, machine, operator), machine.target == "gpu"
        yield Case(operator, prepare, 2.0 * operator.moved_bytes, _variant(machine, operator), graph=gpu)


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
    batch, h, kv, d = (int(x) for x in (operator.batch, operator.heads, operator.kv_heads, operator.k))
    q = torch_calls.filled(machine, operator.dtype, batch, 1, h, d).transpose(1, 2)
    buffers = torch_calls.cold(machine, operator.dtype, batch, kv, seen + _ROOM, d)
    if len(buffers) < 2:
        buffers = [*buffers, torch_calls.filled(machine, operator.dtype, batch, kv, seen + _ROOM, d)]
    new = buffers[0][:, :, :1].clone()  # of the block: what is written to it is a number in every dtype
    attend = _attend(operator, causal=False)

    def call(keys_and_values: tuple[Any, Any]) -> object:
        k, v = keys_and_values
        k[:, :, seen - 1 : seen] = new
        v[:, :, seen - 1 : seen] = new
        return attend(q, k[:, :, :seen], v[:, :, :seen])

    return torch_calls.in_turn(list(zip(buffers[::2], buffers[1::2], strict=False)), call)


def _prepare_backward(machine: Machine, operator: Operator) -> Call:
    import torch

    length = int(operator.m)
    q, k, v = (x.requires_grad_(True) for x in _inputs(machine, operator, length, length))
    with torch.enable_grad():
        y = _attend(operator, causal=True)(q, k, v)
    gradient = torch.ones_like(y)

    def call() -> object:
        return torch.autograd.grad(y, (q, k, v), gradient, retain_graph=True)

    # The backward runs in the stream of the forward, which is none that is captured.
    return Uncapturable(call, "gradients are computed in the stream of the forward") if y.is_cuda else call


def prefill_cases(machine: Machine) -> Iterator[Case]:
    """Prompts of the first design."""
    return prefills(machine, _GPU_HEADS if machine.target == "gpu" else _HEADS)


def decode_cases(machine: Machine) -> Iterator[Case]:
    """Decode of the first design."""
    return decodes(machine, _GPU_HEADS if machine.target == "gpu" else _HEADS)


def _more_prefills(machine: Machine) -> Iterator[Case]:
    return prefills(machine, _GPU_MORE_HEADS if machine.target == "gpu" else _MORE_HEADS)


def _more_decodes(machine: Machine) -> Iterator[Case]:
    return decodes(machine, _GPU_MORE_HEADS if machine.target == "gpu" else _MORE_HEADS)


_BOTH: Final = ("cpu", "gpu")
register(Probe("torch.prefill", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, prefill_cases, _more_prefills))
register(Probe("torch.decode", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, decode_cases, _more_decodes))
register(Probe("torch.attention_backward", _BOTH, torch_calls.RUNTIMES, torch_calls.missing, backwards))
