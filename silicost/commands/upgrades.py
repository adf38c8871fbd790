"""``silicost upgrades``: which knob to buy under a price list and a budget."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reports.numbers import quantity
from silicost.commands import flags
from silicost.commands.asking import Metric, Report, about_a_scenario
from silicost.output import Format, csv_text, print_json, print_table, write_out
from silicost.whatif_words import gain_percent, what_to_buy

if TYPE_CHECKING:
    from silicost.questions import Asked
    from simulator.decisions.purchases import Purchase, Purchases

MOST_LINES: Final = 20
"""Options and sets that a table has; JSON and CSV have all."""


@about_a_scenario
def upgrades(
    asked: Asked,
    price_list: Annotated[str, typer.Option("--price-list", help="TOML of options with their cost.", metavar="FILE")],
    metric: Metric = "",
    budget: Annotated[str, typer.Option("--budget", help="Most that may be spent, e.g. '20000 USD'.")] = "",
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Which changes on a price list improve a metric most per dollar, singly and as a set under a budget."""
    from hardware_specs.errors import InputError
    from hardware_specs.units import parse_quantity
    from silicost.price_list import load_options
    from silicost.questions import base_of, metric_of
    from simulator.decisions.purchases import weigh
    from simulator.metrics import BY_NAME

    base = base_of(asked)
    name = metric_of(metric, base)
    most = parse_quantity(budget, "usd", "--budget") if budget else math.inf
    if most < 0.0:
        raise InputError(f"--budget {budget}: must not be below 0")
    options = load_options(Path(price_list), asked.scenario)
    found = weigh(asked.scenario, name, BY_NAME[name].better, options, most)
    if report:
        from silicost.whatif_pages import write_upgrades

        write_upgrades(report, asked.name, name, found, most)
    whole = report_of(asked.name, name, found, most)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(lines_of(whole)))
    else:
        _print_tables(asked.name, name, found, most)


def report_of(scenario: str, metric: str, found: Purchases, budget_usd: float) -> dict[str, Any]:
    """Purchases as plain data."""
    return {
        "schema": 1, "scenario": scenario, "metric": metric,
        "budget_usd": budget_usd if math.isfinite(budget_usd) else None, "exact": found.exact, "sets": found.sets,
        "base": _row(found.base), "best": _row(found.best), "singles": [_row(each) for each in found.singles],
        "frontier": [_row(each) for each in found.frontier],
    }  # fmt: skip


def _row(each: Purchase) -> dict[str, Any]:
    return {
        "options": list(each.options), "cost_usd": each.cost_usd, "value": each.value, "gain": each.gain,
        "gain_per_usd": each.gain_per_usd, "reason": each.reason,
    }  # fmt: skip


def lines_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: one for each option, the best set, and each set of the frontier."""
    rows = [("base", whole["base"]), *(("single", row) for row in whole["singles"]), ("best", whole["best"])]
    rows += [("frontier", row) for row in whole["frontier"]]
    return [{"kind": kind, **row, "options": " + ".join(row["options"])} for kind, row in rows]


def _print_tables(scenario: str, metric: str, found: Purchases, budget_usd: float) -> None:
    from simulator.metrics import BY_NAME

    dimension = BY_NAME[metric].dimension
    rows = [_line(each, metric, dimension) for each in (found.base, *found.singles[:MOST_LINES])]
    print_table(rows, f"{scenario}: {metric} with one option alone, the most gain per dollar first")
    write_out(f"\n{what_to_buy(metric, dimension, found, budget_usd)}\n\n")
    steps = [_line(each, metric, dimension) for each in found.frontier[:MOST_LINES]]
    print_table(steps, "sets that nothing of the same cost beats")


def _line(each: Purchase, metric: str, dimension: str) -> dict[str, str]:
    per = each.gain_per_usd
    return {
        "buy": " + ".join(each.options) or "nothing", "cost": quantity(each.cost_usd, "usd"),
        metric: "-" if each.value is None else quantity(each.value, dimension),
        "better by": "-" if each.gain is None else gain_percent(each.gain),
        "per 1000 USD": "" if per is None else gain_percent(1000.0 * per), "note": each.reason,
    }  # fmt: skip
