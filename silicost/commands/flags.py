"""Flags that several commands share, each defined once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from silicost.output import Format

Model = Annotated[str, typer.Option("--model", help="Model name, or path of a Hugging Face config.json.")]
Device = Annotated[str, typer.Option("--device", help="Device name, or path of a device TOML.")]
Count = Annotated[int | None, typer.Option("--count", help="Devices; default tp x pp x dp. Alone: all of them tp.")]
Tp = Annotated[int | None, typer.Option("--tp", help="Tensor parallel ways.")]
Pp = Annotated[int, typer.Option("--pp", help="Pipeline parallel ways.")]
Dp = Annotated[int, typer.Option("--dp", help="Data parallel ways.")]
Ep = Annotated[int, typer.Option("--ep", help="Expert parallel ways, inside tp x dp.")]
Runtime = Annotated[str, typer.Option("--runtime", help="Software runtime; default the device's usual one.")]
Dtype = Annotated[str, typer.Option("--dtype", help="Compute dtype: bf16, fp16, fp8, fp32 ...")]
WeightDtype = Annotated[str, typer.Option("--weight-dtype", help="Weight format: fp8, int4, q4_k_m ...")]
System = Annotated[str, typer.Option("--system", help="System name or TOML; default the device's usual host.")]
Site = Annotated[str, typer.Option("--site", help="Site: electricity price, PUE, carbon intensity.")]
Price = Annotated[str, typer.Option("--price", help="Price of one device, e.g. '2.5 USD/h'; default the catalogue's.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="What-if: device.memory.bandwidth=6TB/s, or =2x; also runtime., link., system., site."),
]
Out = Annotated[str, typer.Option("--out", help="Folder for result.json and report.html.")]
HowToPrint = Annotated[Format, typer.Option("--format", help="table, json or csv")]


def parse_changes(pairs: list[str] | None) -> dict[str, str]:
    """``--set path=value`` pairs as a mapping.

    Raises:
        InputError: no "=", or one path twice.
    """
    from hardware_specs.errors import InputError

    changes: dict[str, str] = {}
    for pair in pairs or []:
        path, equals, value = pair.partition("=")
        if not equals or not path.strip() or not value.strip():
            raise InputError(f"--set {pair!r}: must be PATH=VALUE, for example device.memory.bandwidth=6TB/s")
        if path.strip() in changes:
            raise InputError(f"--set {path.strip()}: given twice")
        changes[path.strip()] = value.strip()
    return changes


def hardware_of(values: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of ``silicost.scenarios.one_pool`` among a command's parameters."""
    names = ("count", "tp", "pp", "dp", "ep", "runtime", "dtype", "weight_dtype", "kv_dtype", "system", "site", "price")
    return {name: values[name] for name in names if name in values} | {"changes": parse_changes(values.get("set"))}
