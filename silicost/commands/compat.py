"""``silicost compat``: which operators and dtypes run on which device under which runtime."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from silicost.commands import flags
from silicost.output import Format

SHOWN = ("bf16", "fp16", "fp32", "fp8", "int8", "fp4", "int4")
"""Dtypes of the table where none are asked for."""
USUAL = ("h100-sxm-80gb", "v100-sxm-32gb", "tpu-v5e", "xeon-8480-plus", "alveo-u280", "trainium2", "groq-lpu-v1")
"""Devices of the table where none are asked for: one or two of each class."""


def compat(
    device: Annotated[str, typer.Option("--device", help="Devices, with commas; default some of each class.")] = "",
    runtime: Annotated[str, typer.Option("--runtime", help="Runtimes, with commas; default the usual ones.")] = "",
    operator: Annotated[str, typer.Option("--operator", help="Operator families, with commas; default all.")] = "",
    dtype: Annotated[str, typer.Option("--dtype", help="Compute dtypes, with commas; default the common ones.")] = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """Which operators and dtypes run natively, emulated (at what rate) or not at all, and why (docs: compatibility)."""
    from hardware_specs.devices import load_device
    from hardware_specs.dtypes import COMPUTE_DTYPES
    from silicost.output import print_rows
    from simulator.compatibility import matrix
    from workloads.runtimes.catalogue import check_runtime, default_runtime, load_runtime
    from workloads.runtimes.kernels import WORDS

    words = _chosen("operator", operator, WORDS) or WORDS
    dtypes = _chosen("dtype", dtype, COMPUTE_DTYPES) or (SHOWN if format is Format.TABLE else COMPUTE_DTYPES)
    pairs = []
    for name in _split(device) or USUAL:
        spec = load_device(name)
        for software in [load_runtime(each) for each in _split(runtime)] or [default_runtime(spec)]:
            check_runtime(software, spec)
            pairs.append((spec, software))
    cells = matrix(pairs, words, dtypes)
    if format is Format.TABLE:
        _show(cells, dtypes)
    else:
        print_rows([_row(cell) for cell in cells], format)


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _chosen(flag: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a flag.

    Raises:
        UnknownName: one that does not exist.
    """
    from hardware_specs.errors import UnknownName

    words = tuple(_split(text))
    for word in words:
        if word not in known:
            raise UnknownName(flag, word, known, "allowed: " + ", ".join(known))
    return words


def _row(cell: Any) -> dict[str, Any]:
    names = ("device", "runtime", "operator", "dtype", "level", "runs_as", "rate", "how", "origin", "instead")
    return {name: getattr(cell, name) for name in names}


def _show(cells: list[Any], dtypes: tuple[str, ...]) -> None:
    """A line for each device, runtime and operator, a column for each dtype; then every cell's reason, each once."""
    from silicost.output import print_table, write_out

    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    notes: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells:
        key = (cell.device, cell.runtime, cell.operator)
        lines.setdefault(key, {})[cell.dtype] = _word(cell)
        if cell.level != "native":
            note = f"{cell.how} ({cell.origin})" + (f"; use {cell.instead}" if cell.instead else "")
            notes.setdefault((cell.device, cell.operator, note), []).append(cell.dtype)
    print_table(
        [{"device": d, "runtime": r, "operator": o, **{t: row[t] for t in dtypes}} for (d, r, o), row in lines.items()],
        "What runs natively, emulated (as what, at which rate over 16-bit math) or not at all",
    )
    same: dict[tuple[str, str, str], list[str]] = {}
    for (device, operator, note), which in notes.items():
        same.setdefault((device, note, ", ".join(which)), []).append(operator)
    if same:
        write_out("\n")
        print_table([
            {"device": device, "operator": ", ".join(operators), "dtype": which, "why": note}
            for (device, note, which), operators in same.items()
        ])  # fmt: skip


def _word(cell: Any) -> str:
    """A cell of the table: "native 2x", "as bf16 0.17x", "weights", "-"."""
    rate = "" if cell.rate is None or not cell.runs_as else f" {cell.rate:.2g}x"
    if cell.level == "native":
        return f"native{rate}"
    if cell.level == "emulated":
        return f"as {cell.runs_as}{rate}"
    return "weights only" if cell.level == "weights only" else "no"
