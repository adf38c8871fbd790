"""``silicost break-even``: where of two alternatives the better one changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import InputError, clipped
from reports.numbers import quantity
from silicost.commands import flags
from silicost.commands.asking import Against, Metric, Points, Report, about_a_scenario, check_points
from silicost.output import Format, csv_text, print_json, print_table, write_out
from silicost.whatif_words import range_of, where_they_cross, who_is_better

if TYPE_CHECKING:
    from silicost.questions import Asked, Span
    from simulator.decisions.break_even import BreakEven, Row, Value
    from simulator.decisions.knobs import Knob, Setting
    from simulator.result import Result
    from simulator.scenario import Scenario

    Second = tuple[str, Knob, list[float]]

MOST_LINES: Final = 24
"""Stretches and rows that a table has; JSON and CSV have all."""
MOST_ROWS: Final = 1000
"""Values of the second number."""


@about_a_scenario
def break_even(
    asked: Asked,
    over: Annotated[
        str,
        typer.Option(
            "--over", help="Number and range: batch=1:512; of one: b.price='1 USD/h:9 USD/h'.", metavar="KNOB=LOW:HIGH"
        ),
    ],
    against: Against = None,
    metric: Metric = "",
    line: Annotated[
        str, typer.Option("--line", help="Second number and its values: isl=128:8192:*2.", metavar="KNOB=VALUES")
    ] = "",
    points: Points = 65,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Crossovers between two scenarios (devices, dtypes, plans) over batch, lengths, price or any knob."""
    from silicost.questions import base_of, beside, metric_of, span_of
    from simulator.decisions.break_even import break_even as found_between
    from simulator.decisions.break_even import lines
    from simulator.decisions.knobs import knob_of
    from simulator.metrics import BY_NAME

    check_points(points)
    a, b = beside(asked, against or [])
    bases = {"a": base_of(a), "b": base_of(b)}
    scenarios = {"a": a.scenario, "b": b.scenario}
    name = metric if metric else metric_of("", bases["a"])
    check_metric(name)
    span = span_of(over, scenarios, "--over")
    for side, base in bases.items():
        _check_value(name, base, priced=span.knob.path == "price" and span.side in ("", side))
    better = BY_NAME[name].better

    def at(more: Mapping[str, Sequence[Setting]]) -> tuple[Value, Value]:
        first, second = (_along(scenarios[side], side, name, span, more[side]) for side in ("a", "b"))
        return first, second

    found = found_between(*at({"a": (), "b": ()}), better, span.low, span.high, span.knob.step, points)
    rows: tuple[Row, ...] = ()
    second: Second | None = None
    if line:
        second = second_of(line, scenarios, "--line")
        side, knob, values = second
        if (side, knob.path) == (span.side, span.knob.path):
            raise InputError(f"--line {clipped(line)}: is the number of --over; name another one")
        own = {s: knob_of(scenarios[s], knob.path, "--line") for s in scenarios if side in ("", s)}

        def moved(value: float) -> tuple[Value, Value]:
            return at({s: [(own[s], value)] if s in own else () for s in scenarios})

        rows = lines(moved, values, better, span.low, span.high, span.knob.step, points)
    whole = report_of((a.name, b.name), name, span, found, second, rows)
    if report:
        from silicost.whatif_pages import write_break_even

        write_break_even(report, (a.name, b.name), name, span, found, second, rows)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(lines_of(whole)))
    else:
        _print_tables((a.name, b.name), name, span, found, second, rows)


def check_metric(name: str) -> None:
    """Refuse what is no metric of which one direction is good.

    Raises:
        InputError: with the nearest and all that are allowed.
    """
    from hardware_specs.errors import nearest
    from simulator.metrics import METRICS

    known = [metric.name for metric in METRICS if metric.better]
    if name not in known:
        close = nearest(name, known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"--metric {clipped(name)}: unknown{hint} (allowed: {', '.join(known)})")


def _check_value(name: str, base: Result, priced: bool) -> None:
    """Refuse a metric that a scenario does not have; ``priced``: it is given a price.

    Raises:
        InputError: with the metrics that it has, or why it has no value.
    """
    if name not in base.metrics:
        raise InputError(f"--metric {name}: {base.title} has none (it has {', '.join(base.metrics)})")
    if base.metrics[name] is None and not priced:
        raise InputError(f"--metric {name}: {base.title}: {base.reasons.get(name, 'it has no value')}")


def second_of(text: str, scenarios: Mapping[str, Scenario], place: str) -> Second:
    """Side, knob and values of a second number.

    Raises:
        InputError: no such text, an unknown knob, or too many values.
    """
    from silicost.questions import side_and_path
    from simulator.decisions.knobs import knob_of, value_of
    from simulator.explore.ranges import values_of

    side, path, listed = side_and_path(text, tuple(scenarios), place)
    knob = knob_of(scenarios[side or "a"], path, place)
    values = [value_of(knob, str(value), place) for value in values_of(listed, place)]
    if len(values) > MOST_ROWS:
        raise InputError(f"{place} {clipped(text)}: {len(values)} values; at most {MOST_ROWS}")
    return side, knob, values


def _along(scenario: Scenario, side: str, metric: str, span: Span, more: Sequence[Setting]) -> Value:
    """The metric of one scenario along a span, where it fits the memory."""
    from simulator.decisions.break_even import unless_refused
    from simulator.decisions.knobs import knob_of, result_at

    turned = span.side in ("", side)
    knob = knob_of(scenario, span.knob.path, "--over") if turned else span.knob

    def ask(x: float) -> float | None:
        result = result_at(scenario, [*more, *([(knob, x)] if turned else [])])
        return result.metrics.get(metric) if result.fits else None

    return unless_refused(_once(ask) if not turned else ask)


def _once(ask: Callable[[float], float | None]) -> Callable[[float], float | None]:
    """``ask`` of what does not move."""
    known: list[float | None] = []

    def first(x: float) -> float | None:
        if not known:
            known.append(ask(x))
        return known[0]

    return first


def report_of(
    names: tuple[str, str], metric: str, span: Span, found: BreakEven, second: Second | None,
    rows: Sequence[Row],
) -> dict[str, Any]:  # fmt: skip
    """Crossovers as plain data, SI units."""
    return {
        "schema": 1, "a": names[0], "b": names[1], "metric": metric,
        "over": {"path": span.knob.path, "side": span.side, "low": span.low, "high": span.high,
                 "dimension": span.knob.dimension},
        **_found(found),
        "samples": [sample._asdict() for sample in found.samples],
        "line": None if second is None else {
            "path": second[1].path, "side": second[0], "dimension": second[1].dimension,
            "rows": [{"at": row.at, **_found(row.found)} for row in rows],
        },
    }  # fmt: skip


def _found(found: BreakEven) -> dict[str, Any]:
    return {
        "exact": found.exact,
        "crossovers": [each._asdict() for each in found.crossovers],
        "stretches": [
            {"low": each.low, "high": each.high, "better": each.state} for each in found.stretches
        ],
    }  # fmt: skip


def lines_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: one for each stretch, without and with the second number."""
    known = {"a": whole["a"], "b": whole["b"], "metric": whole["metric"], "over": whole["over"]["path"]}
    rows = [(None, whole)] if whole["line"] is None else [(row["at"], row) for row in whole["line"]["rows"]]
    line = whole["line"]["path"] if whole["line"] else ""
    return [
        {**known, "line": line, "at": at, **stretch, "exact": row["exact"]}
        for at, row in rows
        for stretch in row["stretches"]
    ]


def _print_tables(
    names: tuple[str, str], metric: str, span: Span, found: BreakEven, second: Second | None,
    rows: Sequence[Row],
) -> None:  # fmt: skip
    from simulator.metrics import BY_NAME

    dimension = BY_NAME[metric].dimension
    known = {sample.at: sample for sample in found.samples}
    write_out(f"{where_they_cross(names, metric, span, found)}\n\n")
    shown = [
        {
            span.label: range_of(span.knob, each.low, each.high), "better": who_is_better(each.state, names),
            f"{metric} of {names[0]}": _ends(known, each.low, each.high, 1, dimension),
            f"of {names[1]}": _ends(known, each.low, each.high, 2, dimension),
        }
        for each in found.stretches[:MOST_LINES]
    ]  # fmt: skip
    print_table(shown)
    more = len(found.stretches) - len(shown)
    write_out(f"(and {more} more: see --format json)\n" if more > 0 else "")
    if second is not None:
        _print_line(names, span, second, rows)


def _ends(known: Mapping[float, Any], low: float, high: float, place: int, dimension: str) -> str:
    """A metric at both ends of a stretch, as far as they were sampled."""
    values = [known[x][place] for x in sorted(known) if low <= x <= high and known[x][place] is not None]
    if not values:
        return "-"
    ends = [quantity(value, dimension) for value in (values[0], values[-1])]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _print_line(names: tuple[str, str], span: Span, second: Second, rows: Sequence[Row]) -> None:
    from silicost.questions import labelled

    side, knob, _ = second
    shown = [
        {
            labelled(side, knob): knob.written(row.at),
            f"at {span.knob.written(span.low)}": who_is_better(row.found.stretches[0].state, names),
            f"crossovers over {span.label}": "; ".join(
                f"{span.knob.written(each.at)}: {who_is_better(each.after, names)}" for each in row.found.crossovers
            ) or "none",
        }
        for row in rows[:MOST_LINES]
    ]  # fmt: skip
    write_out("\n")
    print_table(shown)
