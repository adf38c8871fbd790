"""``silicost chance``: how likely one scenario is better than another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import InputError, clipped
from reports.numbers import quantity
from silicost.commands import flags
from silicost.commands.asking import Against, Metric, Report, about_a_scenario
from silicost.output import Format, csv_text, print_json, print_table, write_out
from silicost.whatif_words import percent, who_wins

if TYPE_CHECKING:
    from silicost.questions import Asked
    from simulator.decisions.superiority import Superiority, Unsure
    from simulator.scenario import Scenario


@about_a_scenario
def chance(
    asked: Asked,
    against: Against = None,
    metric: Metric = "",
    unsure: Annotated[
        list[str] | None,
        typer.Option(
            "--unsure",
            help="Input that is not known: 'b.price=2 USD/h:4 USD/h' (log-normal, 80% between), isl=256:1024:8192 "
            "(triangle); a. and b. of one alone. May be repeated.",
            metavar="KNOB=LOW:[MODE:]HIGH",
        ),
    ] = None,
    draws: Annotated[int, flags.number("--draws", "Draws of the unsure inputs.")] = 400,
    seed: Annotated[int, flags.number("--seed", "Seed of the draws.")] = 0,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Chance that one scenario (a) beats another (b), from the intervals and from unsure prices and traffic."""
    from silicost.questions import base_of, beside, metric_of
    from simulator.checks import check_count
    from simulator.decisions.superiority import MOST_DRAWS, superiority

    check_count("--draws", draws, MOST_DRAWS)
    check_count("--seed", seed + 1, 2**32, "a whole number from 0 to 4294967295")
    a, b = beside(asked, against or [])
    base = base_of(a)
    base_of(b)
    inputs = tuple(unsure_of(text, {"a": a.scenario, "b": b.scenario}) for text in unsure or [])
    name = metric or metric_of("", base)
    found = superiority(a.scenario, b.scenario, name, inputs, draws, seed)
    whole = report_of((a.name, b.name), found, inputs)
    if report:
        from silicost.whatif_pages import write_chance

        write_chance(report, (a.name, b.name), found, [in_words(each, a.scenario, b.scenario) for each in inputs])
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text([_flat(whole)]))
    else:
        _print_tables((a.name, b.name), found, [in_words(each, a.scenario, b.scenario) for each in inputs])


def unsure_of(text: str, scenarios: Mapping[str, Scenario]) -> Unsure:
    """The input that ``text`` describes.

    Raises:
        InputError: no such text, an unknown knob, a value that it cannot have, or ends that do not go up.
    """
    from silicost.questions import side_and_path
    from simulator.decisions.knobs import knob_of, value_of
    from simulator.decisions.superiority import Unsure

    place = "--unsure"
    side, path, written = side_and_path(text, tuple(scenarios), place)
    parts = [part.strip() for part in written.split(":")]
    if len(parts) not in (2, 3) or not all(parts):
        raise InputError(f"{place} {clipped(text)!r}: must be KNOB=LOW:HIGH, or KNOB=LOW:MODE:HIGH for a triangle")
    knob = knob_of(scenarios[side or "a"], path, place)
    values = [value_of(knob, part, place) for part in parts]
    if values != sorted(values) or not values[0] < values[-1]:
        raise InputError(f"{place} {clipped(text)!r}: must go up")
    return Unsure(path, side, values[0], values[-1], values[1] if len(values) == 3 else None)


def in_words(each: Unsure, a: Scenario, b: Scenario) -> tuple[str, str]:
    """What an input is called and how it is distributed."""
    from silicost.questions import labelled
    from simulator.decisions.knobs import knob_of

    knob = knob_of(b if each.side == "b" else a, each.path)
    low, high = knob.written(each.low), knob.written(each.high)
    shape = f"log-normal, 80% from {low} to {high}"
    if each.mode is not None:
        shape = f"triangle from {low} over {knob.written(each.mode)} to {high}"
    return labelled(each.side, knob), shape


def report_of(names: tuple[str, str], found: Superiority, inputs: Sequence[Unsure]) -> dict[str, Any]:
    """The chance as plain data."""
    return {
        "schema": 1, "a": names[0], "b": names[1], "metric": found.metric,
        "value_a": found.values[0], "value_b": found.values[1],
        "chance_a": found.chance, "monte_carlo_sd": found.error, "chance_a_of_model": found.of_model,
        "chance_a_of_inputs": found.of_inputs, "model_share_of_variance": found.model_share,
        "better_by": dict(zip(("p10", "p50", "p90"), map(math.exp, found.ratio), strict=True)),
        "draws": found.draws, "seed": found.seed, "only_a_runs": found.only_first, "only_b_runs": found.only_second,
        "neither_runs": found.neither,
        "unsure": [
            {"path": each.path, "side": each.side, "low": each.low, "mode": each.mode, "high": each.high,
             "distribution": "log-normal" if each.mode is None else "triangular"}
            for each in inputs
        ],
    }  # fmt: skip


def _flat(whole: dict[str, Any]) -> dict[str, Any]:
    """A report as a line of CSV."""
    ratio = {f"better_by_{name}": value for name, value in whole["better_by"].items()}
    words = "; ".join(
        f"{each['side'] + '.' if each['side'] else ''}{each['path']} {each['distribution']}" for each in whole["unsure"]
    )
    kept = {name: value for name, value in whole.items() if name not in ("schema", "better_by", "unsure")}
    return {**kept, **ratio, "unsure": words}


def _print_tables(names: tuple[str, str], found: Superiority, inputs: Sequence[tuple[str, str]]) -> None:
    from simulator.metrics import BY_NAME

    dimension = BY_NAME[found.metric].dimension
    write_out(f"{who_wins(names, found)}\n\n")
    rows = [
        {"scenario": name, found.metric: quantity(value, dimension), "better with chance": percent(each)}
        for name, value, each in zip(names, found.values, (found.chance, 1.0 - found.chance), strict=True)
    ]
    print_table(rows)
    if inputs:
        write_out("\n")
        print_table([{"unsure": name, "distribution": shape} for name, shape in inputs])
        assert found.of_inputs is not None
        runs = [("a", found.only_first), ("b", found.only_second), ("neither", found.neither)]
        alone = "".join(f"; {count} in which {who} alone runs" for who, count in runs[:2] if count)
        alone += f"; {found.neither} left out, in which neither runs" if found.neither else ""
        write_out(
            f"\nchance by errors of the predictions alone, as asked: {percent(found.of_model)}; by unsure inputs "
            f"alone: {percent(found.of_inputs)}\nerrors of the predictions make up {percent(found.model_share)} of the "
            f"variance of the log ratio; {found.draws:,} draws, seed {found.seed}{alone}\n"
        )
