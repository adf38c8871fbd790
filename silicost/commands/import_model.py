"""``silicost import``: an ONNX model or a saved ``torch.export`` program as a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silicost.commands import flags
from silicost.output import Format

if TYPE_CHECKING:
    from workloads.importing.read import Imported

MOST_SIZE = 10_000_000
"""Upper bound of a size that a flag gives."""


def import_model(
    file: Annotated[str, typer.Argument(help="An ONNX model (.onnx), or a program of torch.export.save (.pt2).")],
    batch: Annotated[int, flags.number("--batch", "Samples of a step, where the file leaves them open.")] = 1,
    seq: Annotated[int | None, flags.number("--seq", "Tokens of a sample, where the file leaves them open.")] = None,
    dim: Annotated[
        list[str] | None, typer.Option("--dim", help="Another symbolic dimension, NAME=N.", metavar="NAME=N")
    ] = None,
    form: Annotated[str, typer.Option("--as", help="auto, graph (operators), architecture (transformer).")] = "auto",
    device: Annotated[str, typer.Option("--device", help="Device of the scenario.")] = "h100-sxm-80gb",
    out: Annotated[
        str | None,
        typer.Option(
            "--out", help="Folder for scenario.toml, the model and report.json; or a scenario file NAME.toml.",
            callback=flags.folder, metavar="FOLDER",
        ),
    ] = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """Turn a model of another tool into a scenario, and say what became of each of its nodes (docs: import)."""
    from hardware_specs.devices import load_device
    from hardware_specs.errors import InputError, UnknownName
    from hardware_specs.files import is_path
    from silicost.answer import tell
    from silicost.output import csv_text, print_json, write_out
    from simulator.checks import check_count
    from workloads.importing.program import Binding
    from workloads.importing.read import FORMS, import_model

    if form not in FORMS:
        raise UnknownName("form", form, FORMS, "allowed: " + ", ".join(FORMS), "--as")
    check_count("--batch", batch, MOST_SIZE)
    if seq is not None:
        check_count("--seq", seq, MOST_SIZE)
    if out and out.endswith(".toml") and Path(out).is_dir():
        raise InputError(f"--out {out}: is a folder")
    load_device(device)
    found = import_model(Path(file), Binding(batch, seq, _dimensions(dim)), form)  # type: ignore[arg-type]
    written = (
        _write(found, Path(file), str(Path(device).resolve()) if is_path(device) else device, batch, out) if out else ()
    )
    if format is Format.JSON:
        print_json(_document(found))
    elif format is Format.CSV:
        write_out(csv_text(found.report.nodes))
    else:
        _show(found, Path(file).name)
    tell((*found.report.notes, *(f"wrote {path}" for path in written)))


def _dimensions(pairs: list[str] | None) -> dict[str, int]:
    """``--dim NAME=N`` pairs."""
    from hardware_specs.errors import InputError, clipped
    from simulator.checks import check_count

    found: dict[str, int] = {}
    for pair in pairs or ():
        name, _, value = pair.rpartition("=")
        if not name or not value.isdecimal() or len(value) > 12:
            raise InputError(f"--dim {clipped(pair)!r}: must be NAME=N, for example image_size=224")
        found[name] = int(value)
        check_count(f"--dim {clipped(name)}", found[name], MOST_SIZE)
    return found


def _document(found: Imported) -> dict[str, Any]:
    """What is printed as JSON and written as report.json."""
    import msgspec

    model = found.architecture
    return {
        "form": "graph" if model is None else "architecture", "why": found.why, "source": found.program.kind,
        "symbols": dict(found.program.symbols), "batch": found.batch, "seq": found.seq,
        "totals": found.report.totals, "notes": list(found.report.notes),
        "architecture": None if model is None else msgspec.to_builtins(model),
        "operators": [msgspec.to_builtins(operator) for operator in found.flow.operators],
        "nodes": list(found.report.nodes),
    }  # fmt: skip


def _write(found: Imported, source: Path, device: str, batch: int, out: str) -> tuple[Path, ...]:
    """Write the scenario, and beside it the model and, in a folder, the report."""
    from hardware_specs.files import write_texts
    from silicost.output import json_text
    from workloads.importing.flow import plain_name
    from workloads.importing.written import architecture_scenario, dataflow_scenario, model_toml

    stem = plain_name(source.stem)
    alone = out.endswith(".toml")
    scenario = Path(out) if alone else Path(out) / "scenario.toml"
    about = f"One forward pass of {source.name}, imported ({found.why})."
    texts: dict[Path, str | bytes] = {}
    if found.architecture is not None:
        model = scenario.parent / f"{stem if stem != scenario.stem else stem + '-model'}.toml"
        texts[model] = model_toml(found.architecture, f"imported from {source.name}")
        dtype = found.architecture.default_dtype
        texts[scenario] = architecture_scenario(stem, model.name, device, batch, max(found.seq, 1), dtype, about)
    else:
        dtypes = [operator.dtype for operator in found.flow.operators]
        dtype = max(dict.fromkeys(dtypes), key=dtypes.count)
        samples = batch if found.batch == batch else 1
        texts[scenario] = dataflow_scenario(stem, found.flow, device, samples, dtype, about)
    if not alone:
        texts[scenario.parent / "report.json"] = json_text(_document(found))
    write_texts(texts)
    return tuple(texts)


def _show(found: Imported, name: str) -> None:
    """Three tables: what the model is, what became of its nodes by kind, and the operators."""
    from silicost.output import print_table, write_out

    t = found.report.totals
    shares = f"{100.0 * t['flops_covered']:.4g}% of matrix FLOPs, {100.0 * t['bytes_covered']:.4g}% of bytes"
    outcomes = ("mapped", "fused", "free", "not_mapped")
    by_nodes = f"{t['node_flops']:.6g} by the shapes of nodes (attention in full)"
    summary = {
        "read as": "graph of operators" if found.architecture is None else "architecture", "why": found.why,
        "nodes": ", ".join(f"{t[f'nodes_{key}']:g} {key.replace('_', ' ')}" for key in outcomes),
        "covered": shares,
        "matrix FLOPs": f"{t['operator_flops']:.6g} of operators, {by_nodes}",
        "parameters": f"{t['parameters_by_sizes']:.9g} by the sizes of operators, {t['parameters']:.9g} in the file",
    }  # fmt: skip
    print_table([{"what": key, "value": value} for key, value in summary.items()], name, header=False)
    write_out("\n")
    print_table(_by_kind(found))
    write_out("\n")
    print_table([
        {"operator": o.name, "kind": o.kind, "sizes": _in_words(o.sizes), "dtype": o.dtype}
        for o in found.flow.operators
    ])  # fmt: skip


def _in_words(sizes: dict[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in sizes.items())


def _by_kind(found: Imported) -> list[dict[str, Any]]:
    """Nodes counted by what the file calls them and what became of them; those not mapped first."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    of = {operator.name: operator.kind for operator in found.flow.operators}
    for row in found.report.nodes:
        into = of.get(row["into"], "") or row["why"]
        kinds.setdefault((row["operator"], row["outcome"], into), []).append(row["node"])
    ordered = sorted(kinds.items(), key=lambda item: (item[0][1] != "not mapped", -len(item[1])))
    return [
        {"node kind": kind, "nodes": len(names), "outcome": outcome, "into": into, "for example": names[0]}
        for (kind, outcome, into), names in ordered
    ]
