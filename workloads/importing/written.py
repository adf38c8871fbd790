"""Imported models as TOML: the scenario of a dataflow or of an architecture, and the model itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from workloads.importing.flow import Flow
from workloads.models.architecture import Architecture, Experts

_UNSAID = ("id", "source", "notes")


def quoted(text: str) -> str:
    """``text`` as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def model_toml(arch: Architecture, source: str) -> str:
    """The model file of ``arch``; what is as it is where it is left out is left out."""
    lines = [f"source = {quoted(source)}", *_fields(arch, (*_UNSAID, "groups"))]
    for group in arch.groups:
        lines += ["", "[[groups]]", *_fields(group, ("attention", "mlp", "ssm"))]
        for name in ("attention", "mlp"):
            part = getattr(group, name)
            if part is not None and not isinstance(part, Experts):
                lines.append(f"{name} = {{ {', '.join(_fields(part, ()))} }}")
    return "\n".join(lines) + "\n"


def _fields(record: msgspec.Struct, without: tuple[str, ...]) -> list[str]:
    """Fields that are needed or not as they are where they are left out."""
    lines = []
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        if field.name not in without and value is not None and (field.required or value != field.default):
            lines.append(f"{field.name} = {_value(value)}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    return quoted(value) if isinstance(value, str) else str(value)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def architecture_scenario(
    title: str, model: str, device: str, batch: int, isl: int, dtype: str, description: str
) -> str:
    """A scenario of one forward pass of a model file."""
    return _scenario(
        title, description, ['kind = "inference"', f"model = {quoted(model)}"],
        [f"batch = {batch}", f"isl = {isl}", "osl = 1"], device, dtype,
    )  # fmt: skip


def dataflow_scenario(title: str, flow: Flow, device: str, batch: int, dtype: str, description: str) -> str:
    """A scenario of one forward pass of a graph of operators."""
    work = ['kind = "dataflow"']
    for tensor in flow.inputs:
        work += ["", "[[workload.inputs]]", f"name = {quoted(tensor.name)}", f"cols = {tensor.cols}"]
        work += [f"rows = {tensor.rows}"] if tensor.rows != 1 else []
    for o in flow.operators:
        names = ", ".join(quoted(name) for name in o.inputs)
        sizes = ", ".join(f"{name} = {_number(float(value))}" for name, value in o.sizes.items())
        work += ["", "[[workload.operators]]", f"name = {quoted(o.name)}", f"kind = {quoted(o.kind)}"]
        work += [f"inputs = [{names}]", f"dtype = {quoted(o.dtype)}", f"sizes = {{ {sizes} }}"]
        work += ["per_step = true"] if o.per_step else []
    return _scenario(title, description, work, [f"batch = {batch}", "steps = 1"], device, dtype)


def _scenario(title: str, description: str, work: list[str], traffic: list[str], device: str, dtype: str) -> str:
    lines = [
        f"title = {quoted(title)}", f"description = {quoted(description)}", "", "[workload]", *work, "", "[traffic]",
        *traffic, "", "[system]", f"device = {quoted(device)}", "", "[plan]", f"dtype = {quoted(dtype)}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
