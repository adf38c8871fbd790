"""The page of all keys of all files, from the records that read them: a section each, its docstring and its fields."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from hardware_specs import records
from hardware_specs.calibrations import Calibrations
from hardware_specs.designs import FpgaDesign
from hardware_specs.facts import Dimension, Fact, Fit, Source
from hardware_specs.partitions import PartitionTable
from hardware_specs.units import DIMENSIONS
from silicost.scenario_tables import TRAFFIC, ScenarioTable
from workloads.models.architecture import Architecture
from workloads.runtimes.record import Runtime

FILES: dict[str, tuple[type[msgspec.Struct], str]] = {
    "Device": (records.DeviceSpec, "`devices/NAME.toml` ([guide](howto/device.md))"),
    "Model": (Architecture, "`models/NAME.toml` ([guide](howto/model.md))"),
    "Runtime": (Runtime, "`runtimes/NAME.toml` ([guide](howto/runtime.md))"),
    "System": (records.SystemSpec, "`systems/NAME.toml` ([guide](howto/topology.md))"),
    "Link": (records.LinkSpec, "`links/NAME.toml`"),
    "Host": (records.HostSpec, "`hosts/NAME.toml`"),
    "Site": (records.SiteSpec, "`sites/NAME.toml`"),
    "Prices": (records.PriceList, "`prices/NAME.toml`"),
    "Partitions": (PartitionTable, "`partitions/NAME.toml` ([guide](spec_files.md#a-partition-of-a-device))"),
    "FPGA design": (FpgaDesign, "`designs/NAME.toml` ([physics](physics.md#fpga-designs))"),
    "Calibration": (Calibrations, "`calibrations/NAME.toml`, which `silicost calibrate` writes"),
    "Scenario": (ScenarioTable, "any file that `silicost run` is given ([guide](scenario_files.md))"),
}
"""Every kind of file: the record of the whole, and where it lies."""

HEAD = """# Keys of files

Made from the code by `python docs/make/write.py`: every key that a file may hold, its kind and its default. Other keys
are refused with their place. A *quantity* is a fact: text with a unit and exactly one mark, as in
[spec files](spec_files.md#facts). Keys without a default are needed. `id` is not written: it is the name of the file.
Keys of fleets are in [serving](serving.md#the-file), those of studies in [sweeps](sweeps.md#study-files).

## Sources and fits

The tables `[sources]` and `[fits]` of any spec file: what `source` and `calibrated` of its facts name.
"""


def page() -> str:
    """The page."""
    parts = [HEAD, _section("Source", Source, "###"), _section("Fit", Fit, "###")]
    for title, (record, place) in FILES.items():
        seen: set[type] = {record}
        parts.append(_section(title, record, "##", place))
        for part in _parts(record, seen):
            parts.append(_section(f"{title}: {part.__name__}", part, "###"))
    needed = [
        f"| {kind} | {', '.join(f'`{key}`' for key in keys)} | {', '.join(f'`{key}`' for key in free)} |"
        for kind, (keys, free) in TRAFFIC.items()
    ]
    head = "\n### Traffic by kind of workload\n\n| kind | needed | may be |\n|---|---|---|\n"
    return "".join([*parts, head, "\n".join(needed), "\n"])


def _parts(record: type, seen: set[type]) -> Iterator[type[msgspec.Struct]]:
    """Records inside a record, each once, in the order of the fields."""
    for hint in get_type_hints(record, include_extras=True).values():
        for each in _leaves(hint):
            if isinstance(each, type) and issubclass(each, msgspec.Struct) and each is not Fact and each not in seen:
                seen.add(each)
                yield each
                yield from _parts(each, seen)


def _leaves(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Annotated, Literal) or not get_args(hint):
        yield hint
        return
    for each in get_args(hint):
        yield from _leaves(each)


def _section(title: str, record: type[msgspec.Struct], level: str, place: str = "") -> str:
    hints = get_type_hints(record, include_extras=True)
    rows = [
        f"| `{field.encode_name}` | {kind(hints[field.name])} | {default(field)} |"
        for field in msgspec.structs.fields(record)
        if field.name not in ("id", "fit") or not place
    ]
    where = f"{place}\n\n" if place else ""
    table = "\n".join(["| key | kind | default |", "|---|---|---|", *rows])
    return f"\n{level} {title}\n\n{where}{prose(record.__doc__ or '')}\n\n{table}\n"


def kind(hint: Any) -> str:
    """What a field takes, in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        dimension = next((each for each in hint.__metadata__ if isinstance(each, Dimension)), None)
        unit = _unit(dimension.name) if dimension else ""
        return f"quantity{unit}" if args[0] is Fact else kind(args[0])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(each) for each in args if each is not type(None)))
    if origin is tuple:
        return f"list of {kind(args[0])}"
    if origin is dict:
        return f"table of {kind(args[1])}"
    if hint in (Fact, Any):
        return "quantity" if hint is Fact else "any"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return words.get(hint) or f"table {getattr(hint, '__name__', hint)}"


def _unit(dimension: str) -> str:
    if dimension in ("any", "number"):
        return "" if dimension == "any" else ", no unit"
    return f" in {UNITS.get(dimension, dimension)}"


UNITS = {
    "bytes": "B", "bytes_per_s": "B/s", "flops": "FLOP/s", "hz": "Hz", "w": "W", "s": "s", "usd": "USD",
    "usd_per_s": "USD/h", "usd_per_j": "USD/kWh", "g_per_j": "g/kWh",
}  # fmt: skip
"""How people write the unit of a dimension."""
assert set(UNITS) <= set(DIMENSIONS), "a dimension that there is not"


def default(field: Any) -> str:
    """How the default is written; nothing where the key is needed or empty."""
    if field.required:
        return "needed"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value == "" or value == () or value == {} or isinstance(value, msgspec.Struct):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{value}`"


def prose(text: str) -> str:
    """A docstring as Markdown; the lines of its ``Args`` are a list."""
    lines = [line.strip() for line in text.replace("``", "`").strip().splitlines()]
    made: list[str] = []
    for line in lines:
        item = re.match(r"(\w+(?:, \w+)*): (.*)", line) if "Args:" in lines[: lines.index(line)] else None
        if line == "Args:":
            made.append("")
        elif item:
            made.append(f"- `{item[1]}`: {item[2]}")
        else:
            made.append(line)
    return "\n".join(made)
