"""ONNX models: the graph, with shapes by ``onnx.shape_inference``; weights are not read beyond shape and dtype.

Files of external data need not be there. Source: the ONNX operator schemas, opset 26 (onnx 1.23).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hardware_specs.errors import InputError, clipped
from workloads.importing.onnx_values import infer_shapes
from workloads.importing.onnx_words import node_of
from workloads.importing.program import Binding, Node, Program, Tensor, bind, check_program

LARGEST_FILE: Final = 2**31 - 1
"""Most bytes of a file: what a protocol buffer can hold."""
_KEPT_ELEMENTS: Final = 1024
"""Larger initialisers are weights: shape inference needs no value of them."""

_DTYPES: Final = {
    1: "fp32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "text", 9: "bool", 10: "fp16",
    11: "fp64", 12: "uint32", 13: "uint64", 14: "complex", 15: "complex", 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8",
    20: "fp8", 21: "int4", 22: "int4", 23: "fp4", 24: "fp8",
}  # fmt: skip
"""``TensorProto.DataType``."""


def read_onnx(path: Path, binding: Binding) -> Program:
    """The program in an ONNX file.

    Raises:
        InputError: the package onnx is missing, the file is broken or too large, or a dimension has no size.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(f"{path.name}: reading ONNX needs the package onnx: pip install 'silicost[onnx]'") from None
    place = path.name
    model = _parsed(onnx, path)
    graph = model.graph
    if not graph.node:
        raise InputError(f"{place}: holds no operators, or is no ONNX model")
    _check_order(graph, place)
    sizes = bind(_symbols(graph), binding, place)
    _bind(graph, sizes)
    initializers = _without_values(graph)
    sparse = [tensor.values.name for tensor in graph.sparse_initializer]
    if sparse:
        raise InputError(f"{place}: sparse initialisers ({clipped(', '.join(sparse))}) are not read")
    shaped = infer_shapes(onnx, model, place)
    return check_program(_program(graph, shaped, initializers, sizes), place)


def _parsed(onnx: Any, path: Path) -> Any:
    """The protocol buffer, without external data."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise InputError(f"{path.name}: {size} bytes; an ONNX file has at most {LARGEST_FILE}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise InputError(f"{path.name}: not an ONNX model ({clipped(str(error))})") from None
    names = [
        text for node in model.graph.node
        for text in (node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute))
    ]  # fmt: skip
    names += [each.name for part in ("input", "output", "initializer") for each in getattr(model.graph, part)]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{path.name}: has names that are not UTF-8 text")
    return model


def _check_order(graph: Any, place: str) -> None:
    """Refuse cycles and unknown names before shape inference meets them."""
    known = {"", *(t.name for t in graph.initializer), *(t.name for t in graph.input)}
    known.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        lost = next((name for name in node.input if name not in known), None)
        if lost is not None:
            raise InputError(
                f"{place}: node {clipped(node.name or node.op_type)!r} reads {clipped(lost)!r}, which nothing before "
                "it makes; nodes must be in order and have no cycle"
            )
        known.update(node.output)


def _dimensions(value: Any) -> Iterator[tuple[int, Any]]:
    yield from enumerate(value.type.tensor_type.shape.dim)


def _true_inputs(graph: Any) -> list[Any]:
    """Inputs that are no weights (old files list both)."""
    held = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in held]


def _symbols(graph: Any) -> dict[str, str]:
    """Names of symbolic dimensions of inputs and what they stand for: by their names, else by their place."""
    found: dict[str, str] = {}
    for value in _true_inputs(graph):
        axes = list(_dimensions(value))
        for axis, dim in axes:
            name = dim.dim_param or ("" if dim.HasField("dim_value") else f"{value.name}.{axis}")
            if not name:
                continue
            low = name.lower()
            plain = "past" not in low and "total" not in low
            by_place = "batch" if axis == 0 else "seq" if axis == 1 and len(axes) in (2, 3) else ""
            meaning = "batch" if "batch" in low else "seq" if "seq" in low and plain else by_place if plain else ""
            found[name] = found.get(name) or meaning
    return found


def _bind(graph: Any, sizes: Mapping[str, int]) -> None:
    """Put numbers for symbols into the inputs; forget what the file says of other tensors, which inference finds."""
    for value in _true_inputs(graph):
        for axis, dim in _dimensions(value):
            name = dim.dim_param or ("" if dim.HasField("dim_value") else f"{value.name}.{axis}")
            if name in sizes:
                dim.dim_value = sizes[name]
    if sizes:
        del graph.value_info[:]
    for value in graph.output if sizes else ():
        value.type.tensor_type.ClearField("shape")


def _without_values(graph: Any) -> dict[str, Tensor]:
    """Shapes of initialisers; values of large ones are dropped."""
    found: dict[str, Tensor] = {}
    for tensor in graph.initializer:
        shape = tuple(int(size) for size in tensor.dims)
        found[tensor.name] = Tensor(tensor.name, shape, _DTYPES.get(tensor.data_type, "fp32"))
        if math.prod(shape) > _KEPT_ELEMENTS:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
    return found


def _program(graph: Any, shaped: Any, initializers: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Program:
    """Nodes and inputs of ``graph``, shapes of ``shaped``, in which nodes may have become initialisers."""
    tensors = dict(initializers)
    for value in (*_true_inputs(graph), *shaped.value_info, *shaped.output):
        tensors.setdefault(value.name, _tensor(value))
    for held in shaped.initializer:
        shape = tuple(int(size) for size in held.dims)
        tensors.setdefault(held.name, Tensor(held.name, shape, _DTYPES.get(held.data_type, "fp32")))
    nodes = tuple(_nodes(graph, tensors))
    # Numbers that only shape arithmetic reads are no weights: whole numbers, and single values.
    weights: list[str] = []
    buffers: list[str] = []
    for name, tensor in initializers.items():
        (weights if _is_weight(tensor, nodes, name) else buffers).append(name)
    inputs = tuple(value.name for value in _true_inputs(graph))
    outputs = tuple(value.name for value in graph.output)
    return Program("onnx", nodes, tensors, inputs, outputs, tuple(weights), tuple(buffers), sizes)


_DATA: Final = ("product", "convolution", "embedding", "gather", "grouped_product", "dequantize")


def _is_weight(tensor: Tensor, nodes: tuple[Node, ...], name: str) -> bool:
    """Whether an initialiser is a parameter: floats of more than one value; whole numbers that are multiplied."""
    if tensor.dtype.startswith(("fp", "bf")):
        return tensor.elements > 1
    return tensor.elements > 1 and any(
        name in node.inputs[:2] and node.op in _DATA for node in nodes if name in node.inputs
    )


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    known = kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
    shape = tuple(int(dim.dim_value) for dim in kind.shape.dim) if known else None
    return Tensor(value.name, shape, _DTYPES.get(kind.elem_type, "fp32"))


def _nodes(graph: Any, tensors: dict[str, Tensor]) -> Iterable[Node]:
    for node in graph.node:
        for name in node.output:
            tensors.setdefault(name, Tensor(name, None, "fp32"))
        yield node_of(node, tensors)
