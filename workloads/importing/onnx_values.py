"""Values of the small tensors that shapes of an ONNX graph are computed from, so that shape inference can go on.

Exporters write reshapes as arithmetic on shapes. What is listed here is computed on at most ``MOST`` values; nothing
else is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, clipped

MOST: Final = 4096
MOST_ROUNDS: Final = 40
Values = npt.NDArray[Any]

_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Min": np.minimum, "Max": np.maximum, "Equal": np.equal,
    "Less": np.less, "Greater": np.greater, "And": np.logical_and, "Or": np.logical_or, "Not": np.logical_not,
    "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Sqrt": np.sqrt, "Mod": np.mod,
    "Where": np.where, "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal,
}  # fmt: skip
_CASTS: Final = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def infer_shapes(onnx: Any, model: Any, place: str) -> Any:
    """The graph of ``model`` with the shapes of its tensors, as far as they can be found.

    Raises:
        InputError: shapes that contradict each other.
    """
    working = onnx.ModelProto()
    working.CopyFrom(model)
    known: dict[str, Values] = {}
    for tensor in working.graph.initializer:
        _keep(known, tensor.name, _read(onnx, tensor))
    for _ in range(MOST_ROUNDS):
        inferred = _infer(onnx, working, place)
        shapes = _shapes(inferred.graph)
        new = _evaluate(onnx, working.graph, known, shapes)
        if not new:
            return inferred.graph
        _replace(onnx, working.graph, new, known)
    return _infer(onnx, working, place).graph


def _infer(onnx: Any, model: Any, place: str) -> Any:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:
        words = clipped(" ".join(str(error).split()))
        raise InputError(f"{place}: its shapes contradict each other ({words})") from None


def _read(onnx: Any, tensor: Any) -> Values | None:
    """Values of a small tensor that lies in the file."""
    if math.prod(tensor.dims) > MOST or tensor.data_location == 1:
        return None
    try:
        values: Values = onnx.numpy_helper.to_array(tensor)
    except Exception:
        return None
    return values


def _keep(known: dict[str, Values], name: str, values: Values | None) -> None:
    if values is not None and values.size <= MOST:
        known[name] = values


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Shapes without symbols."""
    found: dict[str, tuple[int, ...]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            found[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    for tensor in graph.initializer:
        found[tensor.name] = tuple(tensor.dims)
    return found


def _evaluate(onnx: Any, graph: Any, known: dict[str, Values], shapes: dict[str, tuple[int, ...]]) -> dict[str, Values]:
    """Results that can be computed now, by name; ``known`` is extended by them."""
    new: dict[str, Values] = {}
    for node in graph.node:
        if len(node.output) != 1 or node.output[0] in known or node.domain not in ("", "ai.onnx"):
            continue
        name = node.output[0]
        try:
            with np.errstate(all="ignore"):
                values = _value(onnx, node, known, shapes)
        except (ArithmeticError, ValueError, IndexError, TypeError, KeyError, MemoryError):
            continue
        if values is not None and 0 < values.size <= MOST:
            new[name] = known[name] = np.asarray(values)
    return new


def _value(onnx: Any, node: Any, known: dict[str, Values], shapes: dict[str, tuple[int, ...]]) -> Values | None:
    kind = node.op_type
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if kind == "Shape":
        shape = shapes.get(node.input[0])
        end = found.get("end")
        return None if shape is None else np.array(shape[found.get("start", 0) : end], np.int64)
    if kind == "Constant":
        tensor = found.get("value")
        return _read(onnx, tensor) if tensor is not None else _literal(found)
    if any(name and name not in known for name in node.input):
        return None
    inputs = [known[name] if name else None for name in node.input]
    if kind in _PLAIN:
        small = all(each is not None and each.size <= MOST for each in inputs)
        return _PLAIN[kind](*inputs) if small and _broadcast_size(inputs) <= MOST else None
    maker = _MAKERS.get(kind)
    return None if maker is None else maker(inputs, found)


def _literal(found: dict[str, Any]) -> Values | None:
    for name, kind in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32)):
        if name in found:
            return np.array(found[name], kind)
    return None


def _broadcast_size(inputs: list[Any]) -> int:
    return math.prod(np.broadcast_shapes(*(each.shape for each in inputs)))


def _divide(inputs: list[Any], found: dict[str, Any]) -> Values:
    a, b = inputs
    if np.issubdtype(a.dtype, np.integer):
        return np.asarray(np.trunc(a / b)).astype(a.dtype)
    return np.asarray(a / b)


def _range(inputs: list[Any], found: dict[str, Any]) -> Values | None:
    start, stop, step = (float(each) for each in inputs)
    if step == 0.0 or not 0.0 <= (stop - start) / step <= MOST:
        return None
    return np.arange(inputs[0], inputs[1], inputs[2], dtype=inputs[0].dtype)


def _filled(inputs: list[Any], found: dict[str, Any]) -> Values | None:
    shape = [int(size) for size in inputs[0]]
    if not 0 < math.prod(shape) <= MOST:
        return None
    value = found.get("value")
    if value is None:
        return np.zeros(shape, np.float32)
    from onnx import numpy_helper

    return np.full(shape, numpy_helper.to_array(value).reshape(-1)[0])


def _slice(inputs: list[Any], found: dict[str, Any]) -> Values:
    data, starts, ends = inputs[0], inputs[1], inputs[2]
    axes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else np.arange(len(starts))
    steps = inputs[4] if len(inputs) > 4 and inputs[4] is not None else np.ones(len(starts), np.int64)
    cut = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return np.asarray(data[tuple(cut)])


def _unsqueeze(inputs: list[Any], found: dict[str, Any]) -> Values:
    axes = inputs[1] if len(inputs) > 1 else found["axes"]
    return np.expand_dims(inputs[0], tuple(int(axis) for axis in axes))


def _squeeze(inputs: list[Any], found: dict[str, Any]) -> Values:
    axes = inputs[1] if len(inputs) > 1 else found.get("axes")
    return np.asarray(np.squeeze(inputs[0], None if axes is None else tuple(int(axis) for axis in axes)))


def _expand(inputs: list[Any], found: dict[str, Any]) -> Values | None:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(size) for size in inputs[1]))
    return np.broadcast_to(inputs[0], shape).copy() if math.prod(shape) <= MOST else None


_MAKERS: Final[dict[str, Callable[[list[Any], dict[str, Any]], Values | None]]] = {
    "Div": _divide,
    "Range": _range,
    "ConstantOfShape": _filled,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Expand": _expand,
    "Identity": lambda inputs, found: inputs[0],
    "Gather": lambda inputs, found: np.take(inputs[0], inputs[1].astype(np.int64), axis=int(found.get("axis", 0))),
    "Concat": lambda inputs, found: np.concatenate(inputs, axis=int(found["axis"])),
    "Cast": lambda inputs, found: inputs[0].astype(_CASTS[found["to"]]),
    "Reshape": lambda inputs, found: inputs[0].reshape([int(size) for size in inputs[1]]),
    "Transpose": lambda inputs, found: np.transpose(inputs[0], found.get("perm")),
    "ReduceProd": lambda inputs, found: np.prod(inputs[0], keepdims=bool(found.get("keepdims", 1))),
    "Size": lambda inputs, found: np.array(inputs[0].size, np.int64),
}


def _replace(onnx: Any, graph: Any, new: dict[str, Values], known: dict[str, Values]) -> None:
    """Put initialisers for the nodes whose results are known, so that the next inference reads them."""
    kept = [node for node in graph.node if not (len(node.output) == 1 and node.output[0] in new)]
    del graph.node[:]
    graph.node.extend(kept)
    results = {value.name for value in graph.output}
    graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in new.items())
    lost = [value for value in graph.value_info if value.name in new and value.name not in results]
    for value in lost:
        graph.value_info.remove(value)
