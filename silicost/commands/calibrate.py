"""``silicost calibrate``: measure the machine in front of you and fit its model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import write_text
from silicost.commands import flags
from silicost.output import Format, print_json, print_rows

if TYPE_CHECKING:
    from hardware_specs.calibrations import Calibrations

app = typer.Typer(no_args_is_help=True, help="Measure this machine, fit its model, and compare calibrations.")

_QUICK_S = 22.0
_BUDGET_S = 120.0
_SHORTEST_S, _LONGEST_S = 2.0, 24 * 3600.0

Budget = Annotated[str, typer.Option("--budget", help="Time to measure for: 90s, 10min; default 120s, quick 22s.")]
Quick = Annotated[bool, typer.Option("--quick", help="Few shapes: a first impression in under 40 s.")]
Out = Annotated[str, typer.Option("--out", help="Calibration file; default in the user data directory.")]
Samples = Annotated[str, typer.Option("--samples", help="Parquet file that keeps the samples; default beside --out.")]
Name = Annotated[str, typer.Option("--name", help="Id of the device to make; default from what the machine is.")]
Only = Annotated[str, typer.Option("--only", help="Probes to run, by the beginning of their names: 'torch.,stream'.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget samples of a run that was interrupted.")]
From = Annotated[str, typer.Option("--from", help="Read measurements from a file of another tool instead.")]
Report = Annotated[str, typer.Option("--report", help="HTML page of the calibration.", metavar="FILE.html")]


@app.command("cpu")
def cpu(
    budget: Budget = "",
    quick: Quick = False,
    out: Out = "",
    samples: Samples = "",
    name: Name = "",
    only: Only = "",
    fresh: Fresh = False,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Measure this CPU: streams, products, attention and vector operators, under torch and numpy."""
    from simulator.calibration.device_ids import device_id_of
    from simulator.calibration.environment import read_environment
    from simulator.calibration.machine_run import Asked, calibrate_cpu

    environment = read_environment(torch=True)
    device = checked_name(name) or device_id_of(environment, "cpu")
    place = place_of(out, device)
    kept = Path(samples) if samples else place.with_suffix(".samples.parquet")
    seconds = budget_of(budget, _QUICK_S if quick else _BUDGET_S)
    words = tuple(word.strip() for word in only.split(",") if word.strip())
    with Progress() as progress:
        made = calibrate_cpu(Asked("cpu", device, seconds, quick, words, kept, fresh), environment, progress.tell)
    _finish(made.found, place, report, made.measurements)
    for probe, reason in made.missing.items():
        sys.stderr.write(f"silicost: {probe}: {reason}\n")
    if made.resumed:
        sys.stderr.write(f"silicost: went on from {made.resumed} samples of a run that was interrupted\n")
    for line in made.remarks:
        sys.stderr.write(f"silicost: {line}\n")
    sys.stderr.write(f"silicost: {len(made.measurements)} samples: {kept}\nsilicost: calibration: {place}\n")
    show_calibration(made.found, format)


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
    with Progress() as progress:
        found = fit_samples(read, progress.tell)
    place = place_of(out, found.id)
    _finish(found, place, report, read.measurements)
    sys.stderr.write(f"silicost: calibration: {place}\n")
    show_calibration(found, format)


@app.command("show")
def show(
    calibration: Annotated[str, typer.Argument(help="Name of a calibration, or path of its file.")],
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Parameters with their intervals, errors on what fits left out, and the machine."""
    from hardware_specs.calibrations import load_calibration

    show_calibration(load_calibration(calibration), format)


def _finish(found: Calibrations, place: Path, report: str, measurements: Any) -> None:
    """Write the calibration, and its page where one is asked for."""
    from simulator.calibration.write import machine_text

    write_text(place, machine_text(found))
    if report:
        from silicost.calibration_page import write_calibration_page

        write_calibration_page(Path(report), found, measurements)
        sys.stderr.write(f"silicost: report: {report}\n")


def show_calibration(found: Calibrations, format: Format) -> None:
    """Print the entries of a calibration."""
    import msgspec

    if format is Format.JSON:
        print_json(msgspec.to_builtins(found))
        return
    rows = [row for entry in found.calibrations for row in entry_rows(found.id, entry)]
    print_rows(rows, format, found.id if format is Format.TABLE else "")


def entry_rows(device: str, entry: Any) -> list[dict[str, Any]]:
    """One row for each parameter of an entry."""
    what = "vector operators" if len(entry.operators) > 4 else " ".join(entry.operators)
    rows = []
    for name, value in entry.parameters.items():
        low, high = entry.intervals.get(name, ("", ""))
        rows.append(
            {
                "operators": what,
                "dtype": " ".join(entry.dtypes),
                "runtime": " ".join(entry.runtimes),
                "parameter": name,
                "value": value,
                "95% from": low or None,
                "to": high or None,
                "samples": entry.fit.rows,
                "error, shape left out": entry.held_out_error_shape,
                "family left out": entry.held_out_error_family,
            }
        )
    return rows


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


def budget_of(text: str, usual_s: float) -> float:
    """Seconds of ``--budget``.

    Raises:
        InputError: no time, or one that is too short or long.
    """
    from hardware_specs.units import parse_quantity

    if not text:
        return usual_s
    seconds = parse_quantity(text, "s", "--budget")
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise InputError(f"--budget {clipped(text)}: must be from {_SHORTEST_S:g} s to {_LONGEST_S / 3600:g} h")
    return seconds


def checked_name(name: str) -> str:
    """``--name`` as an id.

    Raises:
        InputError: characters that no id has.
    """
    if name and not all(c.isascii() and (c.islower() or c.isdigit() or c in "-._") for c in name):
        raise InputError(f"--name {clipped(name)!r}: must be small letters, digits, '-', '.' and '_'")
    return name


class Progress:
    """A bar on standard error, where that is a terminal; a line every few seconds elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, name: str, done: int, of: int) -> None:
        """Show that ``done`` of ``of`` cases are done and that ``name`` comes now."""
        self._bar.update(self._task, description=f"{name[:48]:48}", completed=done, total=max(of, 1))
