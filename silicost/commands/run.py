"""``silicost run``: any scenario, from a file or shipped."""

from __future__ import annotations

from typing import Annotated

import typer

from silicost.commands import flags
from silicost.output import Format


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario TOML, or the name of a shipped one; 'list' lists them.")],
    calibration: flags.Calibration = None,
    fallback: flags.Fallback = "",
    out: flags.Out = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Run a scenario: any workload, placed on any devices of a system (docs: scenario files)."""
    from silicost.answer import allowed_to_fall_back, answer
    from silicost.output import print_rows
    from silicost.scenario_file import load_scenario, shipped_scenarios

    if scenario == "list":
        loaded = [(name, *load_scenario(name)) for name in shipped_scenarios()]
        print_rows([{"id": n, "title": s.title, "description": d} for n, s, d in loaded], format)
        return
    built, lead = load_scenario(scenario)
    answer(allowed_to_fall_back(built, fallback), format, out, lead)
