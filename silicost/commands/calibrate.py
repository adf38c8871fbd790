"""``silicost calibrate``: measure the machine in front of you and fit its model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import write_bytes, write_text
from silicost.commands import flags
from silicost.commands.calibrate_network import network
from silicost.commands.compare_calibrations import compare
from silicost.commands.next_measurement import next_measurement
from silicost.output import Format, print_json, print_rows

if TYPE_CHECKING:
    from hardware_specs.calibrations import Calibration, Calibrations
    from simulator.calibration.machine_run import Calibrated
    from simulator.calibration.samples import Measurement

app = typer.Typer(no_args_is_help=True, help="Measure this machine, fit its model, and compare calibrations.")

_USUAL_S = {False: 120.0, True: 15.0}
"""Seconds of measuring by ``--quick``."""
_SHORTEST_S, _LONGEST_S = 2.0, 24 * 3600.0

Budget = Annotated[str, typer.Option("--budget", help="Time to measure for: 90s, 10min; default 120s, quick 15s.")]
Quick = Annotated[bool, typer.Option("--quick", help="Few shapes: a first impression in under 40 s.")]
Out = Annotated[str, typer.Option("--out", help="Calibration file; default in the user data directory.")]
Samples = Annotated[str, typer.Option("--samples", help="Parquet file that keeps the samples; default beside --out.")]
Only = Annotated[str, typer.Option("--only", help="Probes to run, by the beginnings of their names: 'torch.,stream'.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget the samples of a run that was interrupted.")]
Report = Annotated[str, typer.Option("--report", help="HTML page of the calibration.", metavar="FILE.html")]


@app.command("cpu")
def cpu(
    budget: Budget = "",
    quick: Quick = False,
    out: Out = "",
    samples: Samples = "",
    name: Annotated[str, typer.Option("--name", help="Id of the device to make; default what the machine is.")] = "",
    only: Only = "",
    fresh: Fresh = False,
    files: Annotated[
        list[str] | None,
        typer.Option("--from", help="Read STREAM, MLC or llama-bench output instead of measuring.", metavar="FILE"),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="With --from: the device that the files are of.")] = "",
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Measure this CPU: streams, products, attention, vector operators, under torch and numpy; fit its model."""
    seconds = budget_of(budget, quick)
    if files:
        from silicost.calibration_files import calibration_from_files

        found, remarks = calibration_from_files([Path(file) for file in files], device, checked_name(name))
        place = place_of(out, found.id)
        _write(found, place, report, ())
        _say([*remarks, f"calibration: {place}"])
        show_calibration(found, format)
        return
    if device:
        raise InputError(f"--device {clipped(device)}: goes with --from; a machine that is measured is named by --name")
    from hardware_specs.devices import device_names
    from simulator.calibration.machine.device_ids import device_id_of
    from simulator.calibration.machine.environment import read_environment
    from simulator.calibration.machine_run import Asked, calibrate_cpu

    environment = read_environment(torch=True)
    made_id = checked_name(name) or device_id_of(environment, "cpu")
    place = place_of(out, made_id)
    if made_id in device_names() and not place.exists():
        _say([f"{made_id} is a device of the catalogue; with this file it is this machine instead"])
    asked = Asked("cpu", made_id, seconds, quick, words(only), samples_of(samples, place), fresh)
    _check_place(place)
    with _progress() as progress:
        made = calibrate_cpu(asked, environment, progress.tell)
    _finish(made, place, asked.samples, report, format)


@app.command("gpu")
def gpu(
    device: Annotated[str, typer.Option("--device", help="Which device of the catalogue it is; default by its name.")]
    = "",
    budget: Budget = "",
    quick: Quick = False,
    out: Out = "",
    samples: Samples = "",
    only: Only = "",
    fresh: Fresh = False,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """Measure the first GPU: products, attention, vector operators, launches, copies, power; fit its model."""
    seconds = budget_of(budget, quick)
    from simulator.calibration.machine.environment import read_environment
    from simulator.calibration.machine_run import Asked, calibrate_gpu, gpu_spec

    environment = read_environment(torch=True)
    spec = gpu_spec(environment, device)
    place = place_of(out, spec.id)
    asked = Asked("gpu", spec.id, seconds, quick, words(only), samples_of(samples, place), fresh)
    _check_place(place)
    with _progress() as progress:
        made = calibrate_gpu(asked, environment, spec, progress.tell)
    _finish(made, place, asked.samples, report, format)


@app.command("fit")
def fit(
    samples: Annotated[str, typer.Argument(metavar="SAMPLES.parquet", help="Samples of an earlier run.")],
    out: Out = "",
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Fit a calibration to samples that are there already."""
    from simulator.calibration.machine_run import fit_samples
    from simulator.calibration.samples import read_samples

    read = read_samples(Path(samples))
    with _progress() as progress:
        found = fit_samples(read, progress.tell)
    place = place_of(out, found.id)
    _write(found, place, report, read.measurements)
    _say([f"calibration: {place}"])
    show_calibration(found, format)


@app.command("show")
def show(
    calibration: Annotated[str, typer.Argument(help="Name of a calibration, or path of its file.")],
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Every parameter with its interval, and the errors on what fits left out."""
    from hardware_specs.calibrations import load_calibration

    found = load_calibration(calibration)
    if format is Format.JSON:
        show_calibration(found, format)
    else:
        print_rows([row for entry in found.calibrations for row in parameter_rows(entry)], format, found.id)


app.command("network")(network)
app.command("compare")(compare)
app.command("next")(next_measurement)


def _finish(made: Calibrated, place: Path, samples: Path, report: str, format: Format) -> None:
    """Write what came of a run, say what must be known of it, and show it."""
    _write(made.found, place, report, made.measurements, made.missing)
    notes = [f"{probe}: {reason}" for probe, reason in made.missing.items()]
    if reason := made.found.environment.get("power.missing"):
        notes.append(f"no power: {reason}")
    if not made.found.calibrations:
        notes.append("no entry: the samples say no more than the priors of the class; measure for longer (--budget)")
    if made.resumed:
        notes.append(f"went on from {made.resumed} samples of a run that was interrupted")
    notes += [*made.remarks, f"{len(made.measurements)} samples: {samples}", f"calibration: {place}"]
    _say(notes)
    show_calibration(made.found, format)


def _write(
    found: Calibrations, place: Path, report: str, measurements: tuple[Measurement, ...],
    missing: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write the calibration, and its page where one is asked for."""
    from simulator.calibration.write import machine_text

    write_text(place, machine_text(found))
    if report:
        from silicost.calibration_page import write_calibration_page

        write_calibration_page(Path(report), found, measurements, missing)
        _say([f"report: {report}"])


def _say(lines: list[str]) -> None:
    for line in lines:
        sys.stderr.write(f"silicost: {line}\n")


def _progress() -> Any:
    from silicost.calibration_progress import CalibrationProgress

    return CalibrationProgress()


def show_calibration(found: Calibrations, format: Format) -> None:
    """Print a calibration: one row for each entry, or all of it as JSON."""
    import msgspec

    if format is Format.JSON:
        print_json(msgspec.to_builtins(found))
        return
    print_rows([entry_row(entry) for entry in found.calibrations], format, found.id if format is Format.TABLE else "")


def entry_row(entry: Calibration) -> dict[str, Any]:
    """One entry in one row: what it holds for, its samples, how far predictions were off on what fits left out."""
    return {
        "operators": _operators(entry),
        "dtype": " ".join(entry.dtypes),
        "runtime": " ".join(entry.runtimes),
        "samples": entry.fit.rows,
        "median error": _percent(entry.residuals.median),
        "error, shape left out": _percent(entry.held_out_error_shape),
        "error, family left out": _percent(entry.held_out_error_family),
    }


def parameter_rows(entry: Calibration) -> list[dict[str, Any]]:
    """One row for each parameter of an entry."""
    rows = []
    for name, value in entry.parameters.items():
        low, high = entry.intervals.get(name, (None, None))
        rows.append(
            {
                "operators": _operators(entry), "dtype": " ".join(entry.dtypes), "runtime": " ".join(entry.runtimes),
                "parameter": name, "value": value, "95% from": low, "to": high,
            }
        )  # fmt: skip
    return rows


def _operators(entry: Calibration) -> str:
    return "vector operators" if len(entry.operators) > 4 else " ".join(entry.operators)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def words(text: str) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def samples_of(given: str, place: Path) -> Path:
    """Where the samples go.

    Raises:
        InputError: another ending than .parquet.
    """
    if given and not given.endswith(".parquet"):
        raise InputError(f"--samples {clipped(given)}: must be a file that ends in .parquet")
    return Path(given) if given else place.with_suffix(".samples.parquet")


def place_of(out: str, device: str) -> Path:
    """Where the calibration goes.

    Raises:
        InputError: another ending than .toml.
    """
    from hardware_specs.catalogue import user_directory

    if not out:
        return user_directory() / "calibrations" / f"{device}.toml"
    if not out.endswith(".toml"):
        raise InputError(f"--out {clipped(out)}: must be a file that ends in .toml")
    return Path(out)


def _check_place(place: Path) -> None:
    """Refuse a place that cannot be written: better known before minutes of measuring than after them."""
    probe = place.with_name(f".{place.name[:100]}.probe")
    write_bytes(probe, b"")
    probe.unlink()


def budget_of(text: str, quick: bool) -> float:
    """Seconds of ``--budget``.

    Raises:
        InputError: no time, or one that is too short or too long.
    """
    from hardware_specs.units import parse_quantity

    if not text:
        return _USUAL_S[quick]
    seconds = parse_quantity(text, "s", "--budget")
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise InputError(f"--budget {clipped(text)}: must be from {_SHORTEST_S:g} s to {_LONGEST_S / 3600:g} h")
    return seconds


def checked_name(name: str) -> str:
    """``--name`` as an id.

    Raises:
        InputError: characters that no id has.
    """
    if name:
        from simulator.calibration.machine_run import check_id

        check_id(name, "--name")
    return name
