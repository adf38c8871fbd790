"""Flags that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from hardware_specs.errors import InputError, clipped, nearest
from silicost.output import Format

Word = TypeVar("Word", bound=StrEnum)


def whole(text: str) -> int:
    """A whole number from the command line; what it may be is checked where its meaning is known."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{clipped(text)!r} is no whole number; write digits only, for example 2048") from None


def word_of(kind: type[Word]) -> Callable[[str], Word]:
    """A parser of the words of ``kind``, which says the nearest one of another word."""

    def parse(text: str) -> Word:
        if text not in tuple(kind):
            close = nearest(text, map(str, kind))
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise typer.BadParameter(f"{clipped(text)!r} is not allowed{hint} (allowed: {', '.join(kind)})")
        return kind(text)

    return parse


format_of = word_of(Format)


def number(name: str, help: str) -> Any:
    """A flag that takes a whole number."""
    return typer.Option(name, help=help, parser=whole, metavar="N")


def folder(text: str | None) -> str | None:
    """The name of a folder; an empty one is a slip, for example of a variable that is not set."""
    if text == "":
        raise typer.BadParameter("'' is no folder; write for example runs/mine")
    return text


def folder_of(kind: str) -> Callable[[str | None], str | None]:
    """As ``folder``, for a command that writes ``kind`` (``silicost.out_folders``): refused before it computes."""

    def parse(text: str | None) -> str | None:
        from silicost.out_folders import check_out

        if folder(text) is not None and text is not None:
            check_out(text, kind)
        return text

    return parse


def calibration_files(context: typer.Context, paths: list[str] | None) -> list[str] | None:
    """Put the calibrations in these files before all others; without ``--device`` the device is that of the last."""
    for path in paths or ():
        from hardware_specs.records import DEVICE_CLASSES
        from simulator.calibration.use import use_calibration

        made = use_calibration(path)
        if made not in DEVICE_CLASSES:
            context.default_map = {**(context.default_map or {}), "device": made}
    return paths


Model = Annotated[
    str, typer.Option("--model", help="Model name, or path of a model TOML, a Hugging Face config.json or its folder.")
]
Device = Annotated[
    str, typer.Option("--device", help="Device name, or path of a device TOML; default that of --calibration.")
]
Calibration = Annotated[
    list[str] | None,
    typer.Option(
        "--calibration",
        help="Calibration file of your own (silicost calibrate); goes before all others. May be given several times.",
        callback=calibration_files,
        is_eager=True,
        metavar="FILE.toml",
    ),
]
Count = Annotated[int | None, number("--count", "Devices; default tp x pp x dp. Alone: all of them tp.")]
Tp = Annotated[int | None, number("--tp", "Tensor parallel ways.")]
Threads = Annotated[int, number("--threads", "Cores in use on each CPU; 0: all of them.")]
Pp = Annotated[int, number("--pp", "Pipeline parallel ways.")]
Dp = Annotated[int, number("--dp", "Data parallel ways.")]
Ep = Annotated[int, number("--ep", "Expert parallel ways, inside tp x dp.")]
Runtime = Annotated[str, typer.Option("--runtime", help="Software runtime; default the device's usual one.")]
Dtype = Annotated[str, typer.Option("--dtype", help="Compute dtype: bf16, fp16, fp8, fp32 ...")]
WeightDtype = Annotated[
    str,
    typer.Option(
        "--weight-dtype", help="Weight format: fp8, int4:group=64, q4_k_m ...; default the model's own, else dtype."
    ),
]
KvDtype = Annotated[
    str,
    typer.Option("--kv-dtype", help="KV cache format: fp8, int4:group=head ...; default that of activations."),
]
ActivationDtype = Annotated[
    str,
    typer.Option(
        "--activation-dtype",
        help="Activations in products: fp8, int8, with :static or :dynamic scales; default as the weight format says.",
    ),
]
Prune = Annotated[
    str, typer.Option("--prune", help="Parts taken away: layers=0.25,ffn=0.3; also heads, width, experts.")
]
LowRank = Annotated[
    str, typer.Option("--low-rank", help="Two factors for each matrix: 0.25 of its smaller side, or a rank.")
]
Sparsity = Annotated[
    str, typer.Option("--sparsity", help="Zeros of weights: 2:4, or their share anywhere (0.7), where that gains.")
]
Quality = Annotated[
    float, typer.Option("--quality", help="Your figure for what compression leaves of quality; carried along.")
]
System = Annotated[str, typer.Option("--system", help="System name or TOML; default the device's usual host.")]
Site = Annotated[str, typer.Option("--site", help="Site: electricity price, PUE, carbon intensity.")]
Price = Annotated[str, typer.Option("--price", help="Price of one device, e.g. '2.5 USD/h'; default the catalogue's.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="What-if: device.memory.bandwidth=6TB/s, or =2x; also runtime., link., system., site."),
]
Fallback = Annotated[
    str,
    typer.Option(
        "--fallback",
        help="What the device cannot run goes to its host: 'host', or the name of a CPU; default: it is refused.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out", help="Folder for result.json and report.html.", callback=folder_of("a simulated run"), metavar="FOLDER"
    ),
]
ServedOut = Annotated[
    str | None,
    typer.Option(
        "--out", help="Folder for result.json and report.html.", callback=folder_of("a served run"), metavar="FOLDER"
    ),
]
HowToPrint = Annotated[Format, typer.Option("--format", help="table, json or csv", parser=format_of, metavar="FORMAT")]


def parse_changes(pairs: list[str] | None) -> dict[str, str]:
    """``--set path=value`` pairs as a mapping.

    Raises:
        InputError: no "=", or one path twice.
    """
    changes: dict[str, str] = {}
    for pair in pairs or []:
        path, equals, value = pair.partition("=")
        if not equals or not path.strip() or not value.strip():
            raise InputError(f"--set {clipped(pair)!r}: must be PATH=VALUE, for example device.memory.bandwidth=6TB/s")
        if path.strip() in changes:
            raise InputError(f"--set {path.strip()}: given twice")
        changes[path.strip()] = value.strip()
    return changes


def hardware_of(values: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of ``silicost.scenarios.one_pool`` among a command's parameters."""
    names = (
        "count", "tp", "pp", "dp", "ep", "micro_batch", "recompute", "cp", "vpp", "seq_parallel", "zero", "schedule",
        "etp", "cp_comm", "shard", "overlap", "offload", "stages", "recipe", "runtime",
        "dtype", "weight_dtype", "kv_dtype", "system", "site", "price", "prune", "low_rank", "sparsity",
        "activation_dtype", "quality", "threads",
    )  # fmt: skip
    return {name: values[name] for name in names if name in values} | {"changes": parse_changes(values.get("set"))}
