"""Vector operators in numpy, each as the expression that people write for it; numpy runs them on one thread.

The expressions follow common decoders in numpy: GELU by its tanh approximation (GPT-2), SiLU times the up projection
(Llama), rotary embedding by halves. The cube in GELU is two products, since x**3 takes numpy some 60 ns a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from simulator.calibration.probes.numpy_calls import RUNTIMES, Array, filled, missing
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator

_SIZES: Final = ((1, 1024), (16, 896), (64, 2048), (512, 1024), (1024, 2048))
_QUICK: Final = ((1, 1024), (32, 1024), (256, 768))
_MORE: Final = ((4, 576), (32, 4096), (160, 768), (256, 1536), (1024, 5632))
_VOCABULARIES: Final = ((1, 32000), (4, 50257), (1, 151936))
_HEAD: Final = 64
_TABLE: Final = 1 << 23
"""Numbers in a table of embeddings."""
_EPSILON: Final = 1e-5
_GELU: Final = math.sqrt(2.0 / math.pi)


def rms_norm(x: Array, weight: Array) -> Array:
    """x / sqrt(mean(x^2)) weight, over the last axis."""
    y: Array = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + _EPSILON) * weight
    return y


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """(x - mean(x)) / sqrt(var(x)) weight + bias, over the last axis."""
    mean, variance = np.mean(x, axis=-1, keepdims=True), np.var(x, axis=-1, keepdims=True)
    y: Array = (x - mean) / np.sqrt(variance + _EPSILON) * weight + bias
    return y


def silu(gate: Array, up: Array) -> Array:
    """gate sigmoid(gate) up."""
    return gate * (1.0 / (1.0 + np.exp(-gate))) * up


def gelu(x: Array) -> Array:
    """GELU by its tanh approximation (Hendrycks and Gimpel, arXiv:1606.08415)."""
    return 0.5 * x * (1.0 + np.tanh(_GELU * (x + 0.044715 * x * x * x)))


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    y: Array = e / np.sum(e, axis=-1, keepdims=True)
    return y


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotary embedding of x, shape [rows, heads, head]; halves are swapped (Su et al., arXiv:2104.09864)."""
    half = x.shape[-1] // 2
    y: Array = x * cos + np.concatenate((-x[..., half:], x[..., :half]), axis=-1) * sin
    return y


def look_up(tokens: Array, table: Array) -> Array:
    """Rows of ``table``."""
    return np.take(table, tokens, axis=0)


def most_likely(logits: Array) -> Array:
    """The token of each row."""
    y: Array = np.argmax(logits, axis=-1)
    return y


EXPRESSIONS: Final[dict[str, Callable[..., Array]]] = {
    "rms": rms_norm, "layer": layer_norm, "silu": silu, "gelu": gelu, "add": np.add, "softmax": softmax,
    "rope": rotate, "take": look_up, "argmax": most_likely,
}  # fmt: skip
"""The expression of each variant."""


def cases(machine: Machine) -> Iterator[Case]:
    """All vector operators of inference."""
    yield from _sized(_QUICK if machine.quick else _SIZES)
    for rows, vocabulary in _VOCABULARIES[:: 2 if machine.quick else 1]:
        yield _case(op.sampling("sampling", rows, vocabulary), "argmax")


def more(machine: Machine) -> Iterator[Case]:
    """Sizes that a design may add."""
    return _sized(_MORE)


def _sized(sizes: tuple[tuple[int, int], ...]) -> Iterator[Case]:
    for rows, cols in sizes:
        yield _case(op.norm("norm", rows, cols, "fp32"), "rms")
        yield _case(op.norm("norm", rows, cols, "fp32", bias=True), "layer")
        yield _case(op.activation("activation", rows, cols, "fp32", gated=True), "silu")
        yield _case(op.activation("activation", rows, cols, "fp32"), "gelu")
        yield _case(op.elementwise("add", rows, cols, "fp32"), "add")
        yield _case(op.softmax("softmax", rows, cols, "fp32"), "softmax")
        yield _case(op.rope("rope", rows, cols, "fp32"), "rope")
        yield _case(op.embedding("embedding", rows, cols, "fp32"), "take")


def _case(operator: Operator, variant: str) -> Case:
    table = 4.0 * _TABLE if variant == "take" else 0.0
    return Case(operator, partial(_prepare, operator, variant), 4.0 * operator.moved_bytes + table, variant)


def operands(operator: Operator, variant: str) -> tuple[Array, ...]:
    """What the expression of a variant is called with."""
    rows, cols = int(operator.m), int(operator.n)
    if variant == "take":
        words = max(1000, _TABLE // cols)
        return np.random.default_rng(0).integers(0, words, rows), filled(words, cols)
    if variant == "rope":
        return filled(rows, cols // _HEAD, _HEAD), filled(rows, 1, _HEAD), filled(rows, 1, _HEAD)
    x = filled(rows, cols)
    others = {"rms": ((cols,),), "layer": ((cols,), (cols,)), "silu": (x.shape,), "add": (x.shape,)}
    return (x, *(filled(*shape) for shape in others.get(variant, ())))


def _prepare(operator: Operator, variant: str) -> Call:
    return partial(EXPRESSIONS[variant], *operands(operator, variant))


register(Probe("numpy.vector", ("cpu",), RUNTIMES, missing, cases, more))
