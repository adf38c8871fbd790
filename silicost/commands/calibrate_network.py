"""``silicost calibrate network``: latency and bandwidth between processes and hosts, or from files of NCCL tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import InputError, clipped
from silicost.commands import flags
from silicost.output import Format, print_rows

if TYPE_CHECKING:
    from simulator.calibration.link_fit import LinkFit
    from simulator.calibration.samples import Measurement

_SHORTEST_S = 1.0


def network(
    listen: Annotated[str, typer.Option("--listen", help="Answer another host: PORT or HOST:PORT.")] = "",
    connect: Annotated[str, typer.Option("--connect", help="Measure to the host that listens: HOST:PORT.")] = "",
    files: Annotated[
        list[str] | None,
        typer.Option("--from", help="Read the output of nccl-tests or rccl-tests instead.", metavar="FILE"),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="With --from: the devices that took part.")] = "",
    library: Annotated[str, typer.Option("--library", help="With --from: the library that it is like.")] = "nccl",
    budget: Annotated[str, typer.Option("--budget", help="Time to measure for; default 20s.")] = "20s",
    name: Annotated[str, typer.Option("--name", help="Id of the link or library to make.")] = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Latency and bandwidth over message size: between two processes of this host, two hosts, or from files."""
    from hardware_specs.units import parse_quantity

    if name:
        from simulator.calibration.machine_run import check_id

        check_id(name, "--name")
    asked = [flag for flag, value in (("--listen", listen), ("--connect", connect), ("--from", files)) if value]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(asked)}: only one of them at a time")
    if listen:
        _answer(listen)
        return
    if files:
        _library([Path(file) for file in files], device, library, name)
        return
    from simulator.calibration.network_probe.measure import measure_network

    seconds = parse_quantity(budget, "s", "--budget")
    if seconds < _SHORTEST_S:
        raise InputError(f"--budget {clipped(budget)}: must be {_SHORTEST_S:g} s or more")
    with _progress() as progress:
        found = measure_network(connect, budget_s=seconds, progress=progress.tell)
    for reason in found.skipped:
        sys.stderr.write(f"silicost: {reason}\n")
    _links(found.measurements, name, bool(connect), format)


def _progress() -> Any:
    from silicost.calibration_progress import CalibrationProgress

    return CalibrationProgress()


def _answer(address: str) -> None:
    """Be the other end of a measurement."""
    from simulator.calibration.network_probe.remote import listen

    def ready(where: object) -> None:
        sys.stderr.write(f"silicost: listening at {where}; start 'silicost calibrate network --connect' elsewhere\n")

    session = listen(address, ready=ready)
    sys.stderr.write(f"silicost: {session.peer} has measured\n")


def _links(measurements: tuple[Measurement, ...], name: str, remote: bool, format: Format) -> None:
    """Fit and write one link for each transport."""
    from datetime import UTC, datetime

    from hardware_specs.catalogue import user_directory
    from simulator.calibration.link_fit import fit_link, link_text, transport_of, write_link

    rows = []
    date = str(datetime.now(UTC).date())
    for transport in dict.fromkeys(transport_of(each) for each in measurements):
        fit = fit_link(measurements, transport)
        made = f"{name or ('measured' if remote else 'local')}-{transport}"
        text = link_text(
            fit, id=made, name=f"Measured {transport}", category="scale-out" if remote else "host", date=date
        )
        place = write_link(user_directory(), made, text)
        sys.stderr.write(f"silicost: link {made}: {place}\n")
        rows.append(_row(made, fit))
    print_rows(rows, format, "links" if format is Format.TABLE else "")


def _row(made: str, fit: LinkFit) -> dict[str, Any]:
    line = fit.streamed or fit.single
    median, worst = line.error
    return {
        "link": made, "latency_us": 1e6 * fit.single.latency_s, "gb_per_s": fit.bytes_per_s / 1e9,
        "samples": fit.single.rows + (fit.streamed.rows if fit.streamed else 0),
        "error, size left out": f"{median:.1%}", "worst": f"{worst:.1%}",
    }  # fmt: skip


def _library(files: list[Path], device: str, like: str, name: str) -> None:
    """Fit a collective library to the output of NCCL tests."""
    from datetime import UTC, datetime

    from hardware_specs.catalogue import user_directory
    from hardware_specs.devices import load_device
    from simulator.calibration.foreign.registry import read_foreign
    from simulator.calibration.library_fit import fit_library, library_text, write_library

    if not device:
        raise InputError("--from needs --device: the devices that took part, for example h100-sxm-80gb")
    spec = load_device(device)
    read = [read_foreign(file) for file in files]
    for each in read:
        for reason in each.skipped:
            sys.stderr.write(f"silicost: {reason}\n")
    fit = fit_library([row for each in read for row in each.measurements], spec, like)
    made = name or f"{like}-{spec.id}-measured"
    text = library_text(fit, id=made, name=f"{like} on {spec.name}, measured", date=str(datetime.now(UTC).date()))
    place = write_library(user_directory(), made, text)
    median, worst = fit.error
    sys.stderr.write(f"silicost: {fit.rows} rows; sizes left out are off by {median:.1%}, at most {worst:.1%}\n")
    sys.stderr.write(f"silicost: collective library {made}: {place}; name it in a runtime (collectives = {made!r})\n")
