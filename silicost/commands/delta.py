"""``silicost delta``: why one scenario differs from another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from reports.numbers import quantity
from reports.palette import in_words
from silicost.commands import flags
from silicost.commands.asking import Against, Metric, Report, about_a_scenario
from silicost.output import Format, csv_text, print_json, print_table, write_out
from silicost.whatif_words import dimension_of, how_much_differs, signed, some

if TYPE_CHECKING:
    from silicost.questions import Asked
    from simulator.decisions.deltas import Cause, Delta

MOST_LINES: Final = 20
"""Causes and pieces that a table has; JSON and CSV have all."""
LEAST: Final = 1e-5
"""Causes that are a smaller part of the largest are left out of tables."""


@about_a_scenario
def delta(
    asked: Asked,
    against: Against = None,
    metric: Metric = "",
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Waterfall of the difference between two scenarios: by changed facts, and by operators and their bounds."""
    from silicost.questions import base_of, beside
    from silicost.questions import metric_of as metric_in
    from simulator.decisions.deltas import delta_of

    a, b = beside(asked, against or [])
    base = base_of(a)
    base_of(b)
    found = delta_of(a.scenario, b.scenario, metric_in(metric, base))
    whole = report_of((a.name, b.name), found)
    if report:
        from silicost.whatif_pages import write_delta

        write_delta(report, (a.name, b.name), found)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(lines_of(whole)))
    else:
        _print_tables((a.name, b.name), found)


def report_of(names: tuple[str, str], found: Delta) -> dict[str, Any]:
    """A delta as plain data, in the SI unit of the metric."""
    return {
        "schema": 1, "a": names[0], "b": names[1], "metric": found.metric, "before": found.before,
        "after": found.after, "delta": found.total,
        "causes": [
            {"facts": list(cause.facts), "before": list(cause.before), "after": list(cause.after),
             "alone": cause.alone, "in_order": cause.in_order}
            for cause in found.causes
        ],
        "interaction": found.interaction, "facts_without_effect": found.idle,
        "operators": [{**piece._asdict(), "delta": piece.delta} for piece in found.pieces],
    }  # fmt: skip


def lines_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: causes, their interaction, then operators."""
    rows = [
        {
            "kind": "fact", "what": " + ".join(each["facts"]), "before": " + ".join(each["before"]),
            "after": " + ".join(each["after"]), "alone": each["alone"], "in_order": each["in_order"],
        }
        for each in whole["causes"]
    ]  # fmt: skip
    nothing = dict.fromkeys(("before", "after"), "")
    rows.append({"kind": "interaction", "what": "", **nothing, "alone": whole["interaction"], "in_order": None})
    rows += [
        {
            "kind": "operators", "what": f"{each['family']}, {each['bound']}", "before": each["before"],
            "after": each["after"], "alone": each["delta"], "in_order": each["delta"],
        }
        for each in whole["operators"]
    ]  # fmt: skip
    return rows


def _print_tables(names: tuple[str, str], found: Delta) -> None:
    dimension = dimension_of(found)
    write_out(f"{how_much_differs(names, found)}\n\n")
    felt = [cause for cause in found.causes if _size(cause) > LEAST * max(map(_size, found.causes))]
    rows = [_cause(cause, found, dimension) for cause in felt[:MOST_LINES]]
    if rows:
        total = {
            "in order": quantity(found.total, dimension), "alone": quantity(found.total - found.interaction, dimension),
            "share": "100%",
        }  # fmt: skip
        blank = {"changed": "all", "from": "", "to": ""}
        rows += [
            {**blank, **total},
            {"changed": "their interaction", "from": "", "to": "", "in order": "", "share": "",
             "alone": quantity(found.interaction, dimension)},
        ]  # fmt: skip
        print_table(rows, "by what was changed, in this order")
        more = len(found.causes) - min(len(felt), MOST_LINES)
        notes = [f"{more} more causes: see --format json"] if more > 0 else []
        notes += [f"{found.idle} differences without effect"] if found.idle else []
        write_out(f"({'; '.join(notes)})\n" if notes else "")
        write_out(
            "in order: changed after those above it; alone: changed by itself in the first scenario, what is left of "
            "the whole is interaction\n"
        )
    pieces = [
        {
            "operators": in_words("family", piece.family), "bound by": piece.bound,
            names[0]: quantity(piece.before, dimension), names[1]: quantity(piece.after, dimension),
            "difference": signed(piece.delta, dimension, found.before),
        }
        for piece in found.pieces[:MOST_LINES]
        if piece.before or piece.after
    ]  # fmt: skip
    if pieces:
        write_out("\n")
        total_row = {
            "operators": "all", "bound by": "", names[0]: quantity(found.before, dimension),
            names[1]: quantity(found.after, dimension), "difference": signed(found.total, dimension),
        }  # fmt: skip
        print_table([*pieces, total_row], f"{found.metric} by operators and what bounds them")


def _size(cause: Cause) -> float:
    return max(abs(cause.in_order), abs(cause.alone or 0.0))


def _cause(cause: Cause, found: Delta, dimension: str) -> dict[str, str]:
    share = cause.in_order / found.total if found.total else math.nan
    return {
        "changed": some(cause.facts), "from": some(cause.before), "to": some(cause.after),
        "in order": signed(cause.in_order, dimension),
        "alone": "-" if cause.alone is None else signed(cause.alone, dimension),
        "share": f"{100.0 * share:.1f}%" if math.isfinite(share) else "",
    }  # fmt: skip
