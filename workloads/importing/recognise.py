"""From a program to calls of operators: what is constant, what is free, what is one operator together, and the rest."""

from __future__ import annotations

import math

from workloads.importing.attention_patterns import find_attention
from workloads.importing.calls import Call, Mapping, compute_dtype
from workloads.importing.patterns import find_activations, find_norms, find_rope, join_ropes, rows_and_cols
from workloads.importing.program import Node, Program
from workloads.importing.wiring import Wiring

_ELEMENTWISE = frozenset({
    "add", "sub", "mul", "div", "pow", "sqrt", "rsqrt", "reciprocal", "exp", "erf", "neg", "relu", "pointwise",
    "tanh", "sigmoid", "reduce", "mean", "topk", "cast", "dequantize",
})  # fmt: skip
_NORMS = frozenset({"layer_norm", "rms_norm", "batch_norm", "group_norm"})


def recognise(program: Program) -> Mapping:
    """Map every node of ``program``; sizes are those of the whole batch that it is bound to."""
    mapping = Mapping(Wiring(program))
    _free(mapping)
    find_attention(mapping)
    find_norms(mapping)
    find_rope(mapping)
    find_activations(mapping)
    join_ropes(mapping)
    for i, node in enumerate(program.nodes):
        if i not in mapping.states:
            _one(mapping, i, node)
    return mapping


def _free(mapping: Mapping) -> None:
    """Mark what costs nothing: constants, views, checks; a cast that changes nothing."""
    wiring = mapping.wiring
    for i, node in enumerate(wiring.nodes):
        if node.op == "none":
            mapping.free(i, "a check")
        elif i in wiring.constant_nodes:
            mapping.free(i, "constant: no input decides it")
        elif node.op == "view":
            mapping.free(i, "a view")
        elif node.op == "repeat":
            mapping.free(i, "a view that repeats")
        elif node.op == "cast" and wiring.tensor(node.inputs[0]).dtype == wiring.tensor(node.outputs[0]).dtype:
            mapping.free(i, "a cast that changes nothing")
        elif node.op == "copy" and node.source.startswith("aten.clone"):
            mapping.free(i, "a copy that stacks elide")


def _one(mapping: Mapping, i: int, node: Node) -> None:
    """A node that is part of no pattern."""
    wiring = mapping.wiring
    if node.op == "unknown":
        mapping.lose(i, f"operator {node.source} is not known")
        return
    if any(wiring.tensor(name).shape is None for name in (*node.outputs[:1], *(n for n in node.inputs if n))):
        mapping.lose(i, "shapes of its tensors are not known")
        return
    if node.op == "product":
        _product(mapping, i, node)
    elif node.op == "grouped_product":
        _grouped(mapping, i, node)
    elif node.op == "convolution":
        _convolution(mapping, i, node)
    elif node.op in _NORMS:
        _norm(mapping, i, node)
    elif node.op == "embedding" or (node.op == "gather" and wiring.weight_of(node.inputs[0])):
        _embedding(mapping, i, node)
    elif node.op == "softmax":
        _vector(mapping, i, node, "softmax", {})
    elif node.op == "rope":
        _vector(mapping, i, node, "rope", {})
    elif node.op in ("concat", "copy", "gather"):
        _vector(mapping, i, node, "copy", {})
    elif node.op in _ELEMENTWISE:
        _elementwise(mapping, i, node)
    else:
        mapping.lose(i, f"no operator here for {node.op} ({node.source})")


def _weight_bits(mapping: Mapping, name: str, dtype: str) -> float:
    """Bits that a weight is stored in, where these are others than those of ``dtype``; else 0."""
    wiring = mapping.wiring
    stored = wiring.tensor(wiring.weight_of(name)).bytes / max(wiring.tensor(wiring.weight_of(name)).elements, 1.0)
    own = wiring.tensor(name).bytes / max(wiring.tensor(name).elements, 1.0)
    return 8.0 * stored if stored and stored < own else 0.0


def _label(mapping: Mapping, weight: str, node: Node) -> str:
    """What a call with a weight is called: as the weight, without its last word where that is common."""
    labels = mapping.wiring.program.labels
    name = labels.get(weight, weight)
    for ending in (".weight", ".bias"):
        name = name.removesuffix(ending)
    opaque = "::" in name or not name or name.startswith(("val_", "_"))
    return (node.place or node.name) if opaque else name


def _bias_behind(mapping: Mapping, i: int, cols: float) -> tuple[int, str, str] | None:
    """An addition of a stored row of ``cols`` values right behind node i: its place, its result, the row."""
    wiring = mapping.wiring
    after = wiring.only_reader(wiring.nodes[i].outputs[0])
    if after is None or wiring.nodes[after].op != "add" or not mapping.is_open(after):
        return None
    for name in wiring.nodes[after].inputs:
        weight = wiring.weight_of(name)
        if weight and wiring.tensor(weight).elements == cols and cols > 1:
            return after, wiring.nodes[after].outputs[0], weight
    return None


def _product(mapping: Mapping, i: int, node: Node) -> None:
    wiring = mapping.wiring
    first, second = node.inputs[:2]
    out, length = wiring.tensor(node.outputs[0]), float(node.attributes["k"])
    shape = out.shape or (1,)
    dtype = compute_dtype(out.dtype)
    left, right = wiring.is_constant(first), wiring.is_constant(second)
    if not left and not right:
        m, n = (float(shape[-2]) if len(shape) > 1 else 1.0), float(shape[-1])
        if len(wiring.shape(second)) <= 2:
            m, count = out.elements / n, 1.0
        else:
            count = math.prod(shape[:-2])
        sizes = {"m": max(m, 1.0), "n": n, "k": length, "count": float(count)}
        name = mapping.label(node)
        mapping.add(i, Call(name, "matmul", sizes, dtype, (first, second), node.outputs[0], (i,), (), node.place))
        return
    held = first if left else second
    weight = wiring.weight_of(held) or held
    many = len(wiring.shape(held)) > 2
    count = float(math.prod(wiring.shape(held)[:-2])) if many else 1.0
    n = float(shape[-2] if left and len(shape) > 1 else shape[-1])
    m = max(out.elements / n / count, 1.0)
    sizes = {"m": m, "n": n, "k": length, "count": count}
    bits = _weight_bits(mapping, held, dtype)
    if bits:
        sizes["weight_bits"] = bits
    nodes: tuple[int, ...] = (i,)
    last, result, weights = i, node.outputs[0], [weight]
    own = wiring.weight_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else ""
    behind = None if own or left else _bias_behind(mapping, i, n)
    if behind is not None:
        last, result, own = behind
        nodes = (i, last)
    if own:
        sizes["bias"] = 1.0
        weights.append(own)
    data = second if left else first
    inputs = (data, *(node.inputs[2:3] if len(node.inputs) > 2 and not own and node.inputs[2] else ()))
    name = _label(mapping, weight, node)
    mapping.add(last, Call(name, "gemm", sizes, dtype, inputs, result, nodes, tuple(weights), node.place))


def _grouped(mapping: Mapping, i: int, node: Node) -> None:
    """Rows sorted by expert times the matrix of each: as many rows a token as the router keeps."""
    wiring = mapping.wiring
    rows, held = wiring.shape(node.inputs[0]), wiring.shape(node.inputs[1])
    if len(rows) != 2 or len(held) != 3:
        mapping.lose(i, "grouped products of other than [rows, k] and [experts, k, n]")
        return
    kept = max(
        (n.attributes["top_k"] for n in wiring.nodes[:i] if n.op == "topk" and "top_k" in n.attributes), default=1
    )
    sizes = {
        "tokens": rows[0] / kept, "width": float(held[2]), "hidden": float(rows[1]), "experts": float(held[0]),
        "top_k": float(kept), "projections": 1.0,
    }  # fmt: skip
    weight = wiring.weight_of(node.inputs[1])
    call = Call(
        _label(mapping, weight, node), "experts", sizes, compute_dtype(wiring.tensor(node.outputs[0]).dtype),
        node.inputs[:1], node.outputs[0], (i,), (weight,) if weight else (), node.place,
    )  # fmt: skip
    mapping.add(i, call)


def _convolution(mapping: Mapping, i: int, node: Node) -> None:
    wiring = mapping.wiring
    data, held, out = wiring.shape(node.inputs[0]), wiring.shape(node.inputs[1]), wiring.shape(node.outputs[0])
    if len(held) < 3 or len(out) != len(held) or not wiring.is_constant(node.inputs[1]):
        mapping.lose(i, "a convolution without a batch, or with a kernel that is computed")
        return
    weight = wiring.weight_of(node.inputs[1]) or node.inputs[1]
    dtype = compute_dtype(wiring.tensor(node.outputs[0]).dtype)
    sizes = {
        "batch": float(out[0]), "out_pixels": float(math.prod(out[2:])), "in_channels": float(data[1]),
        "out_channels": float(held[0]), "kernel": float(math.prod(held[2:])), "in_pixels": float(math.prod(data[2:])),
        "groups": float(node.attributes.get("groups", 1)),
    }  # fmt: skip
    bits = _weight_bits(mapping, node.inputs[1], dtype)
    if bits:
        sizes["weight_bits"] = bits
    weights, nodes, last, result = [weight], [i], i, node.outputs[0]
    if len(node.inputs) > 2 and node.inputs[2]:
        sizes["bias"] = 1.0
        weights.append(wiring.weight_of(node.inputs[2]) or node.inputs[2])
    after = wiring.only_reader(result)
    if after is not None and wiring.nodes[after].op == "batch_norm":
        # Its scale and shift go into the weights and the bias before the model is run.
        sizes["bias"] = 1.0
        weights += [n for n in wiring.nodes[after].inputs[1:] if n]
        nodes, last, result = [i, after], after, wiring.nodes[after].outputs[0]
    name = _label(mapping, weight, node)
    mapping.add(
        last, Call(name, "convolution", sizes, dtype, node.inputs[:1], result, tuple(nodes), tuple(weights), node.place)
    )


def _norm(mapping: Mapping, i: int, node: Node) -> None:
    wiring = mapping.wiring
    out = wiring.tensor(node.outputs[0])
    weights = tuple(w for n in node.inputs[1:] if n and (w := wiring.weight_of(n)))
    rows, cols = rows_and_cols(out)
    if node.op in ("batch_norm", "group_norm") and len(out.shape or ()) > 2:
        cols = float((out.shape or (1, 1))[1])
        rows = out.elements / cols
    bias = len(node.inputs) > 2 and bool(node.inputs[2])
    place = node.place or node.name
    name = _label(mapping, weights[0], node) if weights else place
    sizes = {"rows": rows, "cols": cols, "bias": float(bias)}
    mapping.add(
        i, Call(name, "norm", sizes, compute_dtype(out.dtype), node.inputs[:1], node.outputs[0], (i,), weights, place)
    )


def _embedding(mapping: Mapping, i: int, node: Node) -> None:
    wiring = mapping.wiring
    weight, out = wiring.weight_of(node.inputs[0]) or node.inputs[0], wiring.tensor(node.outputs[0])
    rows, cols = rows_and_cols(out)
    call = Call(
        _label(mapping, weight, node), "embedding", {"rows": rows, "cols": cols}, compute_dtype(out.dtype),
        node.inputs[1:], node.outputs[0], (i,), (weight,), node.place,
    )  # fmt: skip
    mapping.add(i, call)


def _elementwise(mapping: Mapping, i: int, node: Node) -> None:
    """Inputs that no input of the model decides and smaller ones, which are repeated, weigh nothing."""
    wiring = mapping.wiring
    live = [name for name in node.inputs if name and not wiring.is_constant(name)]
    largest = max((wiring.tensor(name).elements for name in (*live, *node.outputs)), default=1.0)
    read = sum(2.0 * wiring.tensor(name).elements > largest for name in live)
    _vector(mapping, i, node, "elementwise", {"inputs": float(max(read, 1))})


def _vector(mapping: Mapping, i: int, node: Node, kind: str, more: dict[str, float]) -> None:
    """An operator of rows x columns: of its result, or of what it reads where that is more (sums, pooling)."""
    wiring = mapping.wiring
    live = tuple(name for name in node.inputs if name and not wiring.is_constant(name))
    tensors = [wiring.tensor(name) for name in (*node.outputs[:1], *(live if node.op in ("reduce", "mean") else ()))]
    largest = max(tensors, key=lambda tensor: tensor.elements)
    rows, cols = rows_and_cols(largest)
    axis = node.attributes.get("axis")
    if kind == "softmax" and axis is not None and largest.shape:
        cols = float(max(largest.shape[int(axis)], 1))
        rows = largest.elements / cols
    name = mapping.label(node)
    weights = tuple(w for n in node.inputs if (w := wiring.weight_of(n)) and w in wiring.program.weights)
    call = Call(
        name, kind, {"rows": rows, "cols": cols, **more}, compute_dtype(wiring.tensor(node.outputs[0]).dtype), live,
        node.outputs[0], (i,), weights, node.place,
    )  # fmt: skip
    mapping.add(i, call)
