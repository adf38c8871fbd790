"""``silicost sensitivity``: how much each metric depends on each number behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reports.numbers import number, quantity
from silicost.commands import flags
from silicost.commands.asking import Metrics, Report, about_a_scenario
from silicost.output import Format, csv_text, print_json, print_table, write_out

if TYPE_CHECKING:
    from silicost.questions import Asked
    from simulator.decisions.knobs import Knob
    from simulator.decisions.sensitivity import Range, Sensitivity, Swing
    from simulator.scenario import Scenario

MOST_LINES: Final = 16
"""Knobs that a table has; JSON and CSV have all."""
LEAST: Final = 5e-4
"""A knob of a smaller elasticity does nothing worth a line."""
Values = dict[str, float | None]


@about_a_scenario
def sensitivity(
    asked: Asked,
    metric: Metrics = "",
    knob: Annotated[
        list[str] | None, typer.Option("--knob", help="Knobs that begin with this; default all.", metavar="PATH")
    ] = None,
    range: Annotated[
        list[str] | None,
        typer.Option(
            "--range", help="Ends of a tornado's bar: isl=512:4096, site.pue=0.9x:1.2x.", metavar="PATH=LOW:HIGH"
        ),
    ] = None,
    step: Annotated[
        float, typer.Option("--step", help="Step of the differences, in ln of a knob.", metavar="X")
    ] = 0.01,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Elasticity of metrics to every knob of a scenario (% per %), and a tornado of plausible ranges."""
    from silicost.questions import base_of, metrics_of, progress
    from simulator.decisions.sensitivity import elasticities, tornado

    _check_step(step)
    base = base_of(asked)
    metrics = metrics_of(metric, base)
    knobs = chosen_knobs(asked.scenario, knob or [])
    given = _ranges(asked.scenario, range or [])
    found = elasticities(asked.scenario, metrics, knobs, step, progress("knobs"))
    swings = tornado(asked.scenario, metrics, knobs, given, progress("bars"))
    values = {name: base.metrics[name] for name in metrics}
    whole = report_of(asked.name, values, found, swings, step)
    if report:
        from silicost.whatif_pages import write_sensitivity

        write_sensitivity(report, asked.name, values, found, swings, step)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(lines_of(whole)))
    else:
        _print_tables(asked.name, values, found, swings)


def _check_step(step: float) -> None:
    """Refuse steps that are no step.

    Raises:
        InputError: with what is allowed.
    """
    from hardware_specs.errors import InputError

    if not 1e-5 <= step <= 0.2:
        raise InputError(f"--step {step:g}: must be from 0.00001 to 0.2")


def chosen_knobs(scenario: Scenario, paths: Sequence[str]) -> tuple[Knob, ...]:
    """The knobs whose path begins with one of ``paths``; without any all.

    Raises:
        InputError: a path that no knob begins with.
    """
    from simulator.decisions.knobs import knob_of, knobs_of

    known = knobs_of(scenario)
    for path in paths:
        if not any(each.path.startswith(path) for each in known):
            knob_of(scenario, path, "--knob")
    return tuple(each for each in known if not paths or each.path.startswith(tuple(paths)))


def _ranges(scenario: Scenario, texts: Sequence[str]) -> dict[str, Range]:
    from silicost.questions import span_of
    from simulator.decisions.sensitivity import Range

    spans = [span_of(text, {"": scenario}, "--range") for text in texts]
    return {span.knob.path: Range(span.low, span.high, "given") for span in spans}


def report_of(
    name: str, values: Values, found: Sequence[Sensitivity], swings: Sequence[Swing], step: float
) -> dict[str, Any]:
    """Slopes and swings as plain data, SI units; the strongest knobs first."""
    order = sorted(zip(found, swings, strict=True), key=lambda pair: (-_strength(pair[0]), pair[0].knob.path))
    return {
        "schema": 1,
        "scenario": name,
        "step": step,
        "metrics": values,
        "knobs": [_row(slopes, swing, values) for slopes, swing in order],
    }


def _row(found: Sensitivity, swing: Swing, values: Values) -> dict[str, Any]:
    knob = found.knob
    return {
        "path": knob.path, "meaning": knob.what, "dimension": knob.dimension, "value": knob.value, "mark": knob.mark,
        "origin": knob.origin, "whole": bool(knob.step),
        "slopes": {name: slope._asdict() for name, slope in found.slopes.items()},
        "range": swing.range._asdict(), "reason": swing.reason,
        "swings": {
            name: {"low": swing.low[name], "high": swing.high[name], "size": swing.size(name, value)}
            for name, value in values.items()
        },
    }  # fmt: skip


def lines_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: one for each knob and metric."""
    return [
        {
            **{name: row[name] for name in ("path", "meaning", "dimension", "value", "mark")}, "metric": metric,
            "base": base, **row["slopes"][metric], "range_low": row["range"]["low"], "range_high": row["range"]["high"],
            "range_why": row["range"]["why"], **{f"at_{end}": row["swings"][metric][end] for end in ("low", "high")},
            "swing": row["swings"][metric]["size"],
        }
        for row in whole["knobs"]
        for metric, base in whole["metrics"].items()
    ]  # fmt: skip


def _strength(found: Sensitivity) -> float:
    """The largest elasticity of any metric."""
    from simulator.decisions.sensitivity import largest

    return max(map(largest, found.slopes.values()), default=0.0)


def _print_tables(name: str, values: Values, found: Sequence[Sensitivity], swings: Sequence[Swing]) -> None:
    felt = [each for each in found if _strength(each) > LEAST]
    felt.sort(key=lambda each: (-_strength(each), each.knob.path))
    rows = [
        {"knob": each.knob.path, "now": each.knob.written(each.knob.value), "known": each.knob.mark}
        | {metric: written(each, metric) for metric in values}
        for each in felt[:MOST_LINES]
    ]
    if rows:
        print_table(rows, f"{name}: percent of each metric for one percent of a knob")
    more, idle = len(felt) - len(rows), len(found) - len(felt)
    notes = [f"{more} more knobs"] if more > 0 else []
    notes += [f"{idle} without effect"] if idle else []
    write_out(f"({', '.join(notes)}: see --format json)\n" if notes else "")
    write_out("< and >: slopes to the left and to the right, where they differ by more than 0.02\n" if rows else "")
    metric = next(iter(values))
    _print_tornado(metric, values[metric], swings)


def written(found: Sensitivity, metric: str) -> str:
    """An elasticity, with both one-sided slopes where they differ."""
    slope = found.slopes[metric]
    if slope.elasticity is None:
        return "-"
    if slope.shape in ("smooth", "edge"):
        return signed(slope.elasticity)
    left, right = (signed(side) if side is not None else "-" for side in (slope.left, slope.right))
    return f"{signed(slope.elasticity)} (< {left}, > {right})"


def signed(value: float) -> str:
    """A slope with two digits behind the point, or as many as show it."""
    return f"{value:+.2f}" if abs(value) >= 0.005 else f"{value:+.1g}" if value else "0"


def _print_tornado(metric: str, base: float | None, swings: Sequence[Swing]) -> None:
    from simulator.metrics import BY_NAME

    dimension = BY_NAME[metric].dimension
    order = sorted(swings, key=lambda swing: (-swing.size(metric, base), swing.knob.path))
    rows = [
        {
            "knob": swing.knob.path, "from": swing.knob.written(swing.range.low),
            "to": swing.knob.written(swing.range.high), metric: _or_none(swing.low[metric], dimension),
            "to ": _or_none(swing.high[metric], dimension),
            "swing": f"{number(100.0 * math.expm1(swing.size(metric, base)))}%", "range": swing.range.why,
        }
        for swing in order[:MOST_LINES]
        if swing.size(metric, base) > LEAST
    ]  # fmt: skip
    if rows:
        write_out("\n")
        print_table(rows, f"{metric} ({quantity(base or math.nan, dimension)}) with each knob alone at its ends")


def _or_none(value: float | None, dimension: str) -> str:
    return "-" if value is None else quantity(value, dimension)
