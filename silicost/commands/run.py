"""``silicost run``: any scenario, from a file or shipped; with ``--place``, placed by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silicost.commands import flags
from silicost.output import Format

if TYPE_CHECKING:
    from simulator.scenario import Scenario


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario TOML, or the name of a shipped one; 'list' lists them.")],
    place: Annotated[
        str,
        typer.Option(
            "--place",
            help="Find the best placement for latency, throughput, energy or usd; it replaces the file's rules.",
            metavar="OBJECTIVE",
        ),
    ] = "",
    calibration: flags.Calibration = None,
    out: flags.Out = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Run a scenario: any workload, placed on any devices of a system (docs: scenario files, placement)."""
    from silicost.answer import answer
    from silicost.output import print_rows
    from silicost.scenario_file import load_scenario, shipped_scenarios
    from silicost.scenario_places import about_file

    if scenario == "list":
        loaded = [(name, *load_scenario(name)) for name in shipped_scenarios()]
        print_rows([{"id": n, "title": s.title, "description": d} for n, s, d in loaded], format)
        return
    built, lead = load_scenario(scenario)
    with about_file(Path(scenario).name):
        if place:
            _place(built, place, format, out, lead)
        else:
            answer(built, format, out, lead)


def _place(scenario: Scenario, objective: str, how: Format, out: str | None, lead: str) -> None:
    """Find a placement, print its result with the placement, the bound and the alternatives, and write its files."""
    from silicost.answer import noted, show, tell, warn, write_files
    from simulator.planning.answer import placed_result

    placed, found = placed_result(scenario, objective)
    result, remarks = noted(found, placed)
    if out:
        write_files(Path(out), [result], result.title, f"{lead} {result.configuration['verdict']}".strip())
    show(result, how)
    warn(result)
    tell(remarks)
