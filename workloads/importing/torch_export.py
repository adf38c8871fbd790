"""Programs of ``torch.export.save`` (.pt2): a zip archive whose JSON is read; nothing in it is unpickled or executed.

The archive holds ``models/<name>.json`` (schema 8 of torch 2.8 and later), older ones
``serialized_exported_program.json``; weights lie beside it and are not read, for the JSON has their shapes.
Source: ``torch/_export/serde/schema.py`` and ``torch/export/pt2_archive/constants.py`` of torch 2.13.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hardware_specs.errors import InputError, clipped
from workloads.importing.dims import size_of, symbols_of
from workloads.importing.program import Binding, Node, Program, Tensor, bind, check_program
from workloads.importing.torch_words import attributes_of, op_of

LARGEST_JSON: Final = 256 * 2**20
"""Most bytes of the JSON, unpacked."""
MOST_ENTRIES: Final = 100_000

_DTYPES: Final = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "fp16", 7: "fp32", 8: "fp64", 9: "complex",
    10: "complex", 11: "complex", 12: "bool", 13: "bf16", 28: "uint16", 29: "fp8", 30: "fp8", 31: "fp8", 32: "fp8",
    33: "fp8", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""``ScalarType`` of the schema."""


def read_torch_export(path: Path, binding: Binding) -> Program:
    """The program in an archive of ``torch.export.save``.

    Raises:
        InputError: no such archive, one that is too large or broken, or a symbolic dimension without a size.
    """
    place = path.name
    document = _document(path)
    try:
        return check_program(_program(document, binding, place), place)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        what = f"{type(error).__name__} {clipped(str(error))}"
        raise InputError(f"{place}: not a torch.export program as torch 2.13 writes it ({what})") from None


def _document(path: Path) -> dict[str, Any]:
    """The JSON of the program."""
    place = path.name
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ENTRIES:
                raise InputError(f"{place}: {len(entries)} files inside; at most {MOST_ENTRIES} are read")
            found = [e for e in entries if _is_program(e.filename)]
            if len(found) != 1:
                names = ", ".join(e.filename for e in found) or "none"
                raise InputError(
                    f"{place}: must hold one models/NAME.json or serialized_exported_program.json; it has "
                    f"{clipped(names)} (torch.save writes another kind of archive, which is not read)"
                )
            if found[0].file_size > LARGEST_JSON:
                raise InputError(
                    f"{place}: {found[0].filename} unpacks to {found[0].file_size} bytes; at most {LARGEST_JSON}"
                )
            with archive.open(found[0]) as stream:
                text = stream.read(LARGEST_JSON + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place}: not a whole zip archive ({clipped(str(error))})") from None
    if len(text) > LARGEST_JSON:
        raise InputError(f"{place}: its JSON unpacks to more than {LARGEST_JSON} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: its JSON is broken ({clipped(str(error))})") from None
    if not isinstance(document, dict):
        raise InputError(f"{place}: its JSON must be an object")
    return document


def _is_program(name: str) -> bool:
    parts = name.split("/")
    return parts[-1] == "serialized_exported_program.json" or (
        len(parts) >= 2 and parts[-2] == "models" and name.endswith(".json")
    )


def _program(document: Mapping[str, Any], binding: Binding, place: str) -> Program:
    graph, signature = document["graph_module"]["graph"], document["graph_module"]["signature"]
    weights, buffers, inputs, labels = _signature(signature, graph)
    values = graph["tensor_values"]
    sizes = bind(_symbols(inputs, values, graph, place), binding, place)
    tensors = {name: _tensor(name, meta, sizes, place) for name, meta in values.items()}
    nodes = tuple(_node(row, tensors, sizes, place) for row in graph["nodes"])
    outputs = tuple(name for argument in graph["outputs"] for name in _names(argument))
    # Sizes are scalars that nodes pass on; they count as known from the start.
    scalars = tuple(
        {*graph.get("sym_int_values", {}), *graph.get("sym_bool_values", {}), *graph.get("sym_float_values", {})}
    )
    made = {name for node in nodes for name in node.outputs}
    outside = tuple(name for name in scalars if name not in made)
    tensors |= {name: Tensor(name, (), "int64") for name in scalars if name not in tensors}
    return Program(
        "torch.export", nodes, tensors, inputs, tuple(o for o in outputs if o in tensors), weights,
        (*buffers, *outside), sizes, labels,
    )  # fmt: skip


def _signature(
    signature: Mapping[str, Any], graph: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """Names of weights, of buffers and other constants, of inputs; and what weights are called in the model."""
    weights: list[str] = []
    buffers: list[str] = []
    inputs: list[str] = []
    labels: dict[str, str] = {}
    for spec in signature["input_specs"]:
        kind, row = next(iter(spec.items()))
        if kind == "parameter":
            weights.append(row["arg"]["name"])
            labels[weights[-1]] = str(row["parameter_name"])
        elif kind == "user_input":
            inputs += _names(row["arg"])
        elif "arg" in row and "name" in row["arg"]:
            buffers.append(row["arg"]["name"])
            labels[buffers[-1]] = str(next((v for k, v in row.items() if k.endswith("_name")), buffers[-1]))
    return tuple(weights), tuple(buffers), tuple(inputs), labels


def _symbols(
    inputs: tuple[str, ...], values: Mapping[str, Any], graph: Mapping[str, Any], place: str
) -> dict[str, str]:
    """Every symbol of the graph and what it stands for: the first dimension of inputs is the batch, the next of those
    with two or three dimensions the sequence."""
    found: dict[str, str] = {}
    for name in inputs:
        shape = values.get(name, {}).get("sizes", ())
        for axis, size in enumerate(shape):
            text = _expression(size)
            if text is not None:
                meaning = "batch" if axis == 0 else "seq" if axis == 1 and len(shape) in (2, 3) else ""
                for symbol in symbols_of(text, place):
                    found[symbol] = found.get(symbol) or meaning
    for name, meta in values.items():
        if name not in inputs:
            for size in meta["sizes"]:
                text = _expression(size)
                for symbol in symbols_of(text, place) if text is not None else ():
                    found.setdefault(symbol, "")
    return found


def _expression(size: Any) -> str | None:
    """The text of a symbolic size; None for a number."""
    expression = size.get("as_expr")
    return None if expression is None else str(expression["expr_str"])


def _tensor(name: str, meta: Mapping[str, Any], sizes: Mapping[str, int], place: str) -> Tensor:
    shape = []
    for size in meta["sizes"]:
        text = _expression(size)
        shape.append(int(size["as_int"]) if text is None else size_of(text, sizes, place))
    return Tensor(name, tuple(shape), _DTYPES.get(meta["dtype"], "fp32"))


def _names(argument: Any) -> Iterator[str]:
    """Names of the tensors and sizes in an argument; "" for one that is left out."""
    if not isinstance(argument, dict):
        return
    for kind, value in argument.items():
        if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool") and isinstance(value, dict):
            name = value.get("name", value.get("as_name"))
            if name is not None:
                yield str(name)
        elif kind == "as_optional_tensor" and isinstance(value, dict):
            yield from _names(value)
        elif kind in ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_nested_tensors"):
            for each in value:
                name = each.get("name", each.get("as_name")) if isinstance(each, dict) else None
                if isinstance(each, dict) and "as_tensor" in each:
                    name = each["as_tensor"]["name"]
                if name is not None:
                    yield str(name)


def _node(row: Mapping[str, Any], tensors: Mapping[str, Tensor], sizes: Mapping[str, int], place: str) -> Node:
    target = str(row["target"])
    arguments = {str(each["name"]): each["arg"] for each in row["inputs"]}
    outputs = tuple(name for argument in row["outputs"] for name in _names(argument))
    named = {name: tuple(_names(argument)) for name, argument in arguments.items()}
    op = op_of(target, arguments, named, outputs, tensors)
    inputs, attributes = attributes_of(op, target, arguments, named, tensors)
    name = str(row.get("name") or (outputs[0] if outputs else target))
    return Node(name, op, target.removeprefix("torch.ops."), inputs, outputs, attributes, _module(row))


def _module(row: Mapping[str, Any]) -> str:
    """The module that a node was called in, "layers.0.attention"."""
    stack = str((row.get("metadata") or {}).get("nn_module_stack", ""))
    last = stack.split(";")[-1].split(",")
    return last[1] if len(last) >= 2 and not last[1].startswith("_empty") else ""
