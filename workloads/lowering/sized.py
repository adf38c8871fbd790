"""Operators of a dataflow whose sizes are written out: what an imported model has beside plain products.

All sizes are of one sample; the size in ``SCALED`` grows with the samples of a step. Such operators are lowered forward
only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from hardware_specs.errors import InputError, nearest
from workloads import operators as op
from workloads.operators import Operator

Sizes = Mapping[str, float]

SIZES: Final[dict[str, tuple[tuple[str, ...], dict[str, float]]]] = {
    "gemm": (("m", "n", "k"), {"count": 1.0, "bias": 0.0, "weight_bits": 0.0}),
    "matmul": (("m", "n", "k"), {"count": 1.0}),
    "convolution": (
        ("out_pixels", "in_channels", "out_channels", "kernel"),
        {"in_pixels": 0.0, "groups": 1.0, "bias": 0.0, "batch": 1.0, "weight_bits": 0.0},
    ),
    "attention": (
        ("q_len", "kv_len", "heads", "kv_heads", "head_dim"),
        {"value_dim": 0.0, "causal": 0.0, "window": 0.0, "batch": 1.0},
    ),
    "norm": (("rows", "cols"), {"bias": 0.0}),
    "rope": (("rows", "cols"), {}),
    "activation": (("rows", "cols"), {"gated": 0.0}),
    "elementwise": (("rows", "cols"), {"inputs": 1.0}),
    "softmax": (("rows", "cols"), {}),
    "embedding": (("rows", "cols"), {}),
    "copy": (("rows", "cols"), {}),
    "experts": (("tokens", "width", "hidden", "experts", "top_k"), {"projections": 3.0}),
}  # fmt: skip
"""Sizes of each kind: those that are needed, and the others with what they are where they are left out."""

SCALED: Final = {
    "gemm": "m", "matmul": "count", "convolution": "batch", "attention": "batch", "experts": "tokens",
}  # fmt: skip
"""The size that grows with the batch; of all other kinds the rows."""

MOST: Final = 1e15
"""Upper bound of every size."""


def scaled_size(kind: str) -> str:
    """The size of an operator of this kind that grows with the batch."""
    return SCALED.get(kind, "rows")


def check_sizes(kind: str, sizes: Sizes, place: str) -> None:
    """Refuse sizes that an operator of this kind does not have, lacks, or cannot have.

    Raises:
        InputError: with ``place``, the size, its value and what is allowed.
    """
    if kind not in SIZES:
        raise InputError(f"{place}: kind {kind!r} takes no sizes (kinds that do: {', '.join(SIZES)})")
    needed, optional = SIZES[kind]
    for name in needed:
        if name not in sizes:
            raise InputError(f"{place}: sizes: missing {name!r}; {kind} needs {', '.join(needed)}")
    for name, value in sizes.items():
        if name not in needed and name not in optional:
            close = nearest(name, (*needed, *optional))
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: sizes: unknown {name!r}{hint} (allowed: {', '.join((*needed, *optional))})")
        least = 1.0 if optional.get(name, 1.0) else 0.0
        if not least <= value <= MOST:
            raise InputError(f"{place}: sizes.{name} = {value:g}: must be from {least:g} to {MOST:g}")
    heads, shared = sizes.get("heads", 1.0), sizes.get("kv_heads", 1.0)
    if math.fmod(heads, shared):
        raise InputError(f"{place}: sizes.kv_heads = {shared:g}: must divide heads = {heads:g}")


def result_shape(kind: str, sizes: Sizes, batch: float) -> tuple[float, float]:
    """Rows and columns of the result for ``batch`` samples."""
    s = _whole(kind, sizes, batch)
    if kind in ("gemm", "matmul"):
        return s["count"] * s["m"], s["n"]
    if kind == "convolution":
        return s["batch"] * s["out_pixels"], s["out_channels"]
    if kind == "attention":
        return s["batch"] * s["q_len"], s["heads"] * (s["value_dim"] or s["head_dim"])
    if kind == "experts":
        return s["tokens"] * s["top_k"], s["width"] if s["projections"] == 1.0 else s["hidden"]
    return s["rows"], s["cols"]


def sized_operator(name: str, kind: str, sizes: Sizes, dtype: str, batch: float) -> Operator:
    """The operator for ``batch`` samples.

    Args:
        sizes: of one sample, as ``check_sizes`` accepts them.
        dtype: compute dtype; activations lie in memory in it, in 16 bits where it has fewer.
    """
    return _MAKERS[kind](name, _whole(kind, sizes, batch), dtype)


def weights_of(kind: str, sizes: Sizes) -> float:
    """Parameters that an operator of these sizes reads; of an embedding none, for its table is not in the sizes."""
    s = _whole(kind, sizes, 1.0)
    if kind == "gemm":
        return s["count"] * s["n"] * (s["k"] + s["bias"])
    if kind == "convolution":
        return s["out_channels"] * (s["kernel"] * s["in_channels"] / s["groups"] + s["bias"])
    if kind == "norm":
        return s["cols"] * (1.0 + s["bias"])
    return s["experts"] * s["projections"] * s["width"] * s["hidden"] if kind == "experts" else 0.0


def _whole(kind: str, sizes: Sizes, batch: float) -> dict[str, float]:
    """All sizes, those left out included, of ``batch`` samples."""
    s = SIZES[kind][1] | dict(sizes)
    s[scaled_size(kind)] *= batch
    return s


def _gemm(name: str, s: Sizes, dtype: str) -> Operator:
    bits = s["weight_bits"] or None
    unpacked = bits is not None and bits < 8.0 * op.element_bytes(dtype)
    product = op.gemm(name, s["m"], s["n"], s["k"], dtype, batch=s["count"], weight_bits=bits, dequantize=unpacked)
    return _with_bias(product, s, s["count"] * s["m"] * s["n"], s["count"] * s["n"], dtype)


def _convolution(name: str, s: Sizes, dtype: str) -> Operator:
    """Groups are convolutions of their own on fewer channels; the input is read once all the same."""
    own = s["in_channels"] / s["groups"]
    made = op.convolution(
        name, s["out_pixels"], own, s["out_channels"], s["kernel"], dtype, batch=s["batch"], in_pixels=s["in_pixels"]
    )
    whole = replace(made, read_bytes=made.read_bytes * s["groups"])
    if s["weight_bits"]:
        bits = s["weight_bits"]
        unpacked = bits < 8.0 * op.element_bytes(dtype)
        stored = s["out_channels"] * own * s["kernel"]
        whole = replace(
            whole, weight_bytes=stored * bits / 8.0, weight_bits=bits, dequantize=unpacked,
            vector_flops=stored if unpacked else 0.0,
        )  # fmt: skip
    return _with_bias(whole, s, s["batch"] * s["out_pixels"] * s["out_channels"], s["out_channels"], dtype)


def _with_bias(product: Operator, s: Sizes, results: float, values: float, dtype: str) -> Operator:
    """``product`` that adds a row of ``values`` values to its ``results``, where there is a bias."""
    if not s["bias"]:
        return product
    extra = values * op.activation_bytes(dtype)
    return replace(product, vector_flops=product.vector_flops + results, weight_bytes=product.weight_bytes + extra)


def _matmul(name: str, s: Sizes, dtype: str) -> Operator:
    return op.gemm(name, s["m"], s["n"], s["k"], dtype, batch=s["count"], weights=False)


def _attention(name: str, s: Sizes, dtype: str) -> Operator:
    return op.attention(
        name, s["q_len"], s["kv_len"], s["heads"], s["kv_heads"], s["head_dim"], batch=s["batch"],
        value_dim=s["value_dim"], dtype=dtype, kv_bits=8.0 * op.activation_bytes(dtype), causal=bool(s["causal"]),
        window=s["window"],
    )  # fmt: skip


def _experts(name: str, s: Sizes, dtype: str) -> Operator:
    return op.moe_gemm(
        name, s["tokens"], s["width"], s["hidden"], s["experts"], s["top_k"], dtype, projections=int(s["projections"])
    )


def _elementwise(name: str, s: Sizes, dtype: str) -> Operator:
    return op.elementwise(name, s["rows"], s["cols"], dtype, inputs=int(s["inputs"]))


_MAKERS: Final[dict[str, Callable[[str, Sizes, str], Operator]]] = {
    "gemm": _gemm,
    "matmul": _matmul,
    "convolution": _convolution,
    "attention": _attention,
    "experts": _experts,
    "norm": lambda name, s, d: op.norm(name, s["rows"], s["cols"], _wide(d), bias=bool(s["bias"])),
    "rope": lambda name, s, d: op.rope(name, s["rows"], s["cols"], _wide(d)),
    "activation": lambda name, s, d: op.activation(name, s["rows"], s["cols"], _wide(d), gated=bool(s["gated"])),
    "elementwise": lambda name, s, d: _elementwise(name, s, _wide(d)),
    "softmax": lambda name, s, d: op.softmax(name, s["rows"], s["cols"], _wide(d)),
    "embedding": lambda name, s, d: op.embedding(name, s["rows"], s["cols"], _wide(d)),
    "copy": lambda name, s, d: op.stream_copy(name, 2.0 * s["rows"] * s["cols"] * op.activation_bytes(d)),
}


def _wide(dtype: str) -> str:
    """dtype of activations beside math in ``dtype``."""
    return dtype if op.element_bytes(dtype) >= 2.0 else "bf16"
