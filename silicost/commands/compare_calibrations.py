"""``silicost calibrate compare``: how far calibrations agree, in their parameters and in what they predict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from hardware_specs.errors import InputError, clipped
from hardware_specs.units import format_quantity
from silicost.commands import flags
from silicost.output import Format, csv_text, print_json, print_table, write_out

if TYPE_CHECKING:
    from hardware_specs.calibrations import Calibrations
    from simulator.calibration.agreement import Compared, Ratio
    from workloads.operators import Operator

MODELS: Final = ("smollm-135m", "qwen2.5-0.5b")
"""Small models of the catalogue that every device of today can hold."""
ISL, OSL = 256, 17
"""Tokens of their prompt; tokens out of it, whose steps are averaged."""
DTYPES: Final = ("bf16", "fp16", "fp32")
"""Dtypes that are compared where all devices have them."""


class Difference(NamedTuple):
    """A fact of the environment that differs from that of the first file."""

    kind: str
    name: str
    file: int
    first: str
    here: str


def compare(
    files: Annotated[list[str], typer.Argument(metavar="FILE FILE...", help="Calibration files, two or more.")],
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Parameters side by side with their intervals, what differs around them, and the times that each file predicts."""
    whole = report_of(files)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(lines_of(whole)))
    else:
        _print_tables(whole)


def report_of(files: Sequence[str | Path]) -> dict[str, Any]:
    """The comparison as plain data, SI units; places of files are counted from 0, in the order given.

    The calibrations are put in use one after the other; the last one stays.

    Raises:
        InputError: fewer than two files, files of devices of several classes, or a broken one.
    """
    from simulator.calibration.agreement import agreement_of, compared, spread_of
    from simulator.calibration.use import device_class_of, read_calibration

    if len(files) < 2:
        raise InputError(f"calibrate compare: {len(files)} file given; must be two or more")
    found = [read_calibration(path) for path in files]
    classes = {device_class_of(each): clipped(str(path)) for each, path in zip(found, files, strict=True)}
    if len(classes) > 1:
        named = ", ".join(f"{path} is of a {name}" for name, path in classes.items())
        raise InputError(f"calibrate compare: {named}; must be calibrations of one device class")
    rows, times = compared(found), predictions_of(files)
    return {
        "files": [_file(path, each) for path, each in zip(files, found, strict=True)],
        "parameters": [_parameter(row) for row in rows],
        "agreement": agreement_of(rows)._asdict(),
        "environment": [each._asdict() for each in environments_of(found)],
        "predictions": [{"what": row.what, "seconds": row.seconds, "ratio": row.ratios} for row in times],
        "spread": dict(spread_of(times)),
    }


def environments_of(found: Sequence[Calibrations]) -> list[Difference]:
    """What differs between the environment of the first calibration and that of each other."""
    from simulator.calibration.machine.drift import differences
    from simulator.calibration.machine.environment import Environment
    from simulator.calibration.use import device_class_of

    texts = [Environment.from_texts(each.environment, f"{each.id}: environment") for each in found]
    target = "gpu" if device_class_of(found[0]) == "gpu" else "cpu"
    rows = []
    for place, (each, text) in enumerate(zip(found[1:], texts[1:], strict=True), start=1):
        if each.environment and found[0].environment:
            those = differences(texts[0], text, "gpu" if target == "gpu" else "cpu")
            rows += [Difference(one.kind, one.name, place, one.then, one.now) for one in those]
    return rows


def predictions_of(files: Sequence[str | Path]) -> list[Ratio]:
    """Times of standard operators, and of prefill and decode of small models, under each calibration."""
    from hardware_specs.devices import load_device
    from simulator.calibration.agreement import Ratio
    from simulator.calibration.use import use_calibration

    names, specs = [], []
    for path in files:
        names.append(use_calibration(path))
        specs.append(load_device(names[-1]))
    dtypes = [dtype for dtype in DTYPES if all(dtype in spec.compute.peaks for spec in specs)]
    columns: list[dict[str, float | None]] = []
    for path in files:
        columns.append(_times_on(use_calibration(path), dtypes))
    return [Ratio(what, tuple(column[what] for column in columns)) for what in columns[0]]


def _times_on(device: str, dtypes: Sequence[str]) -> dict[str, float | None]:
    """Seconds by question on a device under its usual runtime."""
    from hardware_specs.devices import load_device
    from silicost.scenarios import inference_scenario
    from simulator.devices.model import compile_device
    from simulator.kernels.roofline import TIME
    from simulator.simulate import simulate
    from workloads.graph import columns_of
    from workloads.runtimes.catalogue import default_runtime

    spec = load_device(device)
    model = compile_device(spec, default_runtime(spec))
    times: dict[str, float | None] = {}
    for dtype in dtypes:
        operators = standard_operators(dtype)
        seconds = model.cost(columns_of(operators))[TIME].tolist()
        times |= {f"{each.name}, {dtype}": time for each, time in zip(operators, seconds, strict=True)}
        for name in MODELS:
            metrics = simulate(inference_scenario(name, device, batch=1, isl=ISL, osl=OSL, dtype=dtype)).metrics
            times[f"{name}: prefill of {ISL} tokens, {dtype}"] = metrics["ttft_s"]
            times[f"{name}: decode step, {dtype}"] = metrics["tpot_s"]
    return times


def standard_operators(dtype: str) -> list[Operator]:
    """Operators of a layer of 4096 channels, of one token and of a prompt; their names say their sizes."""
    from workloads.operators import activation, attention, gemm, norm

    products = [gemm(f"product {rows} x 4096 x 4096", rows, 4096, 4096, dtype) for rows in (1, 16, 512)]
    bits = 32.0 if dtype == "fp32" else 16.0
    return [
        *products,
        attention("attention of 512 tokens", 512, 512, 32, 8, 128, dtype=dtype, kv_bits=bits),
        attention("attention of 1 token to 2048", 1, 2048, 32, 8, 128, dtype=dtype, kv_bits=bits),
        norm("norm 512 x 4096", 512, 4096, dtype),
        activation("activation 512 x 11008", 512, 11008, dtype, gated=True),
    ]


def lines_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: one for each file and parameter, prediction or difference of the environment."""
    paths = [each["path"] for each in whole["files"]]
    lines = []
    for row in whole["parameters"]:
        scope = " ".join((*row["operators"], *row["dtypes"], *row["runtimes"], row["weights"]))
        for path, value in zip(paths, row["values"], strict=True):
            if value is not None:
                own = {"value": value["text"], "low": value["low"], "high": value["high"]}
                apart = {"agrees": row["agrees"], "sd": row["deviations"]}
                lines.append(_line("parameter", path, scope, row["parameter"], **own, **apart))
    for row in whole["predictions"]:
        for path, time, ratio in zip(paths, row["seconds"], row["ratio"], strict=True):
            lines.append(_line("prediction", path, row["what"], "seconds", value=time, ratio=ratio))
    for row in whole["environment"]:
        for file, key in ((0, "first"), (row["file"], "here")):
            lines.append(_line("environment", paths[file], row["kind"], row["name"], value=row[key]))
    return lines


_COLUMNS: Final = ("value", "low", "high", "agrees", "sd", "ratio")


def _line(kind: str, file: str, what: str, name: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, "file": file, "what": what, "name": name, **{key: values.get(key) for key in _COLUMNS}}


def _file(path: str | Path, found: Calibrations) -> dict[str, Any]:
    from simulator.calibration.machine.environment import Environment
    from simulator.calibration.staleness import made_on
    from simulator.calibration.use import device_class_of

    environment = Environment.from_texts(found.environment)
    on = made_on(environment, "gpu" if device_class_of(found) == "gpu" else "cpu") if found.environment else ""
    dates = [entry.fit.date for entry in found.calibrations]
    return {
        "path": str(path), "id": found.id, "made_on": on, "date": environment.date or max(dates, default=""),
        "entries": len(found.calibrations), "samples": sum(entry.fit.rows or 0 for entry in found.calibrations),
    }  # fmt: skip


def _parameter(row: Compared) -> dict[str, Any]:
    far = row.farthest
    return {
        "operators": row.operators, "dtypes": row.dtypes, "runtimes": row.runtimes, "weights": row.weights,
        "parameter": row.parameter, "values": [None if each is None else each._asdict() for each in row.estimates],
        "pairs": [{**pair._asdict(), "agrees": pair.agrees} for pair in row.pairs],
        "agrees": None if far is None else far.agrees, "deviations": None if far is None else far.deviations,
        "farthest": None if far is None else [far.first, far.second],
    }  # fmt: skip


def _print_tables(whole: dict[str, Any]) -> None:
    files = whole["files"]
    print_table([{"file": number, **row} for number, row in enumerate(files, start=1)])
    write_out(f"\n{verdict(whole)}\n\n")
    several = len(files) > 2
    if whole["predictions"]:
        print_table(
            [_prediction_row(row) for row in whole["predictions"]], "predicted times, and their ratio to file 1"
        )
        write_out("\n")
    if whole["environment"]:
        rows = [
            {
                "kind": row["kind"], "fact": row["name"], "file": row["file"] + 1, "file 1 has": row["first"],
                "it has": row["here"],
            }
            for row in whole["environment"]
        ]  # fmt: skip
        print_table(rows, "what differs around them")
        write_out("\n")
    print_table([_parameter_row(row, several) for row in whole["parameters"]], "parameters with their 95% intervals")


def verdict(whole: dict[str, Any]) -> str:
    """What a comparison comes to, in a few lines."""
    from simulator.calibration.agreement import NARROW

    agreement, spread = whole["agreement"], whole["spread"]
    lines = []
    if agreement["compared"]:
        lines.append(
            f"{agreement['agree']} of {agreement['compared']} parameters agree within their 95% intervals, and "
            f"{agreement['narrow_agree']} of the {agreement['narrow']} whose ends differ by a factor of at most "
            f"{NARROW:g}; the median differs by {agreement['median']:.2f} standard deviations, the farthest by "
            f"{agreement['farthest']:.2f}"
        )
    else:
        lines.append("no parameter has an interval in two files: nothing says whether they agree")
    if math.isfinite(spread["typical"]):
        lines.append(
            f"predicted times differ by {spread['typical'] - 1.0:.1%} typically and {spread['largest'] - 1.0:.1%} at "
            f"most (mean ratio {spread['mean']:.3f})"
        )
    if not whole["environment"]:
        known = all(each["made_on"] for each in whole["files"])
        lines.append("nothing differs around them" if known else "a file does not say where it was made")
    return "\n".join(lines)


def _prediction_row(row: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"what": row["what"]}
    for number, (time, ratio) in enumerate(zip(row["seconds"], row["ratio"], strict=True), start=1):
        line[f"file {number}"] = "-" if time is None else format_quantity(time, "s", 3)
        if number > 1:
            line[f"ratio {number}"] = "-" if ratio is None else f"{ratio:.3f}"
    return line


def _parameter_row(row: dict[str, Any], several: bool) -> dict[str, Any]:
    operators = row["operators"]
    line: dict[str, Any] = {
        "operators": " ".join(operators) if len(operators) <= 4 else "vector operators",
        "dtype": " ".join(row["dtypes"]), "runtime": " ".join(row["runtimes"]), "parameter": row["parameter"],
    }  # fmt: skip
    for number, value in enumerate(row["values"], start=1):
        line[f"file {number}"] = "-" if value is None else value["text"]
        line[f"interval {number}"] = "" if value is None or value["low"] is None else _interval(value)
    line["agree"] = "-" if row["agrees"] is None else "yes" if row["agrees"] else "no"
    line["sd apart"] = "-" if row["deviations"] is None else f"{row['deviations']:.2f}"
    if several:
        line["files"] = "" if row["farthest"] is None else " and ".join(str(place + 1) for place in row["farthest"])
    return line


def _interval(value: dict[str, Any]) -> str:
    from hardware_specs.units import dimension_of

    dimension = dimension_of(value["text"])
    return " to ".join(format_quantity(value[end], dimension, 3) for end in ("low", "high"))
