"""A model as its file has it: nodes between tensors of known shapes, whatever tool wrote it. Nothing of it is executed.

Readers translate what a file calls its operators into the words of ``OPS``; what they do not know is "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hardware_specs.errors import InputError, clipped

OPS: Final = (
    "product", "grouped_product", "convolution", "attention", "softmax", "layer_norm", "rms_norm", "batch_norm",
    "group_norm", "embedding", "rope", "relu", "gelu", "silu", "sigmoid", "tanh", "erf", "exp", "neg", "add", "sub",
    "mul", "div", "pow", "sqrt", "rsqrt", "reciprocal", "mean", "pointwise", "reduce", "concat", "copy", "gather",
    "topk", "cast", "dequantize", "view", "repeat", "constant", "shape", "none", "unknown",
)  # fmt: skip
"""What a node can be. "view" moves nothing; "shape" gives sizes; no input decides a "constant"; "none" is a check."""

VIEWS: Final = frozenset({"view", "cast", "repeat", "dequantize"})
"""What may stand between two parts of a pattern, and between a product and its weights."""

DTYPE_BYTES: Final[dict[str, float]] = {
    "fp64": 8.0, "fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "uint8": 1.0, "int16": 2.0,
    "uint16": 2.0, "int32": 4.0, "uint32": 4.0, "int64": 8.0, "uint64": 8.0, "bool": 1.0, "int4": 0.5, "fp4": 0.5,
    "complex": 8.0, "text": 1.0,
}  # fmt: skip
"""Bytes of one element by dtype [B]."""

FEWEST_INPUTS: Final = {
    "product": 2, "grouped_product": 2, "convolution": 2, "attention": 3, "embedding": 2, "gather": 2,
    "constant": 0, "shape": 0, "none": 0, "unknown": 0,
}  # fmt: skip
"""Inputs that a node has at least, by what it is; all others 1."""

MOST_NODES: Final = 500_000
LARGEST_DIMENSION: Final = 2**40
MOST_ELEMENTS: Final = 10**15
"""Upper bounds of what a file may say."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape (None: the file does not say) and dtype of one tensor."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str

    @property
    def elements(self) -> float:
        """How many values it has; 0 where the shape is not known."""
        return float(math.prod(self.shape)) if self.shape is not None else 0.0

    @property
    def bytes(self) -> float:
        """What it takes in memory [B]; 0 where the shape is not known."""
        return self.elements * DTYPE_BYTES.get(self.dtype, 4.0)


@dataclass(frozen=True, slots=True)
class Node:
    """One node: ``op`` of ``OPS``, ``source`` as the file calls it, ``place`` the module that it belongs to.

    ``inputs`` that are left out are "". ``attributes``: "k" of a product (length of its sums), "groups" of a
    convolution, "causal" of an attention, "heads" and "kv_heads" where its tensors are not cut into heads, "scalar" of
    arithmetic with a number, "top_k".
    """

    name: str
    op: str
    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True)
class Program:
    """Nodes in topological order; ``weights`` are parameters and ``buffers`` constants that the file holds."""

    kind: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    buffers: tuple[str, ...] = ()
    symbols: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> float:
        """Values of all weights, each tensor once."""
        return math.fsum(self.tensors[name].elements for name in self.weights)


@dataclass(frozen=True, slots=True)
class Binding:
    """What symbolic dimensions are: those named, and the batch and the sequence (None: not said)."""

    batch: int
    seq: int | None = None
    named: Mapping[str, int] = field(default_factory=dict)


def check_program(program: Program, place: str) -> Program:
    """``program`` itself, if its nodes can be run in their order.

    Raises:
        InputError: too many nodes, none, two results of one name, a node that reads what nothing before it makes (a
            cycle), or sizes that no machine holds.
    """
    if not program.nodes:
        raise InputError(f"{place}: holds no operators")
    if len(program.nodes) > MOST_NODES:
        raise InputError(f"{place}: {len(program.nodes)} nodes; at most {MOST_NODES} are read")
    for tensor in program.tensors.values():
        sizes = tensor.shape or ()
        if any(not 0 <= size <= LARGEST_DIMENSION for size in sizes) or math.prod(sizes) > MOST_ELEMENTS:
            raise InputError(
                f"{place}: tensor {clipped(tensor.name)!r} of {clipped(str(list(sizes)))}: each size must be from 0 to "
                f"2^40, all together at most {MOST_ELEMENTS:.0e} values"
            )
    known = {*program.inputs, *program.weights, *program.buffers, ""}
    for node in program.nodes:
        _check_arity(node, place)
        missing = next((name for name in node.inputs if name not in known), None)
        if missing is not None:
            raise InputError(
                f"{place}: node {clipped(node.name)!r} reads {clipped(missing)!r}, which nothing before it makes; "
                "nodes must be in order and have no cycle"
            )
        twice = next((name for name in node.outputs if name and name in known), None)
        if twice is not None:
            raise InputError(f"{place}: node {clipped(node.name)!r}: {clipped(twice)!r} is made twice")
        known.update(node.outputs)
    lost = next((name for name in program.outputs if name not in known), None)
    if lost is not None:
        raise InputError(f"{place}: output {clipped(lost)!r} is made by no node")
    return program


def _check_arity(node: Node, place: str) -> None:
    """Refuse a node without what its kind needs."""
    fewest = FEWEST_INPUTS.get(node.op, 1)
    given = [name for name in node.inputs[:fewest] if name]
    if len(given) < fewest or (not node.outputs and node.op not in ("none", "unknown", "shape", "constant")):
        raise InputError(
            f"{place}: node {clipped(node.name)!r}: {clipped(node.source)} needs {fewest} inputs and a result; "
            f"it has {len(given)} and {len(node.outputs)}"
        )


def bind(names: Mapping[str, str], binding: Binding, place: str) -> dict[str, int]:
    """Sizes of symbolic dimensions.

    Args:
        names: what each symbol stands for: "batch", "seq" or "".

    Raises:
        InputError: a symbol without a size, or a size for a symbol that the file does not have.
    """
    unknown = next((name for name in binding.named if name not in names), None)
    if unknown is not None:
        has = ", ".join(names) or "none"
        raise InputError(f"--dim {clipped(unknown)}: {place} has no such symbolic dimension (it has {clipped(has)})")
    found: dict[str, int] = {}
    for name, meaning in names.items():
        if name in binding.named:
            found[name] = binding.named[name]
        elif meaning == "batch":
            found[name] = binding.batch
        elif meaning == "seq" and binding.seq is not None:
            found[name] = binding.seq
        else:
            flag = "--seq N" if meaning == "seq" else f"--dim {clipped(name)}=N"
            raise InputError(f"{place}: dimension {clipped(name)!r} is symbolic; say how large it is: {flag}")
    return found
