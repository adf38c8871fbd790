"""What ``silicost capacity`` prints of one fleet and of many designs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardware_specs.errors import DoesNotFit
from silicost.output import Format, print_json, print_rows, print_table, write_out

if TYPE_CHECKING:
    from silicost.serving.capacity_designs import Found, Order
    from silicost.serving.capacity_output import Summary

MOST_LINES: Final = 20
"""Rows of a table; the folder has all."""


def tell_one(found: Found, rate: float | None, how: Format) -> None:
    """Print what one fleet can do.

    Raises:
        DoesNotFit: no rate holds the objectives, or no number of replicas serves the rate.
    """
    from silicost.answer import tell as warn
    from silicost.serving.capacity import figures_of
    from silicost.serving.capacity_output import json_of, notes_of, rate_rows, run_rows

    capacity, needed = found
    warn([f"note: {note}" for note in notes_of(found)])
    if how is Format.JSON:
        print_json(json_of(found))
    elif capacity.answer is not None:
        print_rows(rate_rows(capacity), how)
        write_out("\n")
        print_rows(run_rows(figures_of(capacity.answer, capacity.latencies)), how)
        if needed is not None and rate is not None:
            many = f"{needed.replicas} replica{'s' * (needed.replicas > 1)} serve{'s' * (needed.replicas == 1)}"
            write_out(f"\n{many} {rate:g}/s:\n" if how is Format.TABLE else "\n")
            print_rows(run_rows(figures_of(needed.answer, needed.latencies)), how)
    if capacity.why[0]:
        raise DoesNotFit(f"no rate holds the objectives: {capacity.why[1]}")
    if rate is not None and needed is None:
        raise DoesNotFit(f"no number of replicas up to 10,000 serves {rate:g} requests/s within the objectives")


def tell_many(frame: Any, folder: Path, order: Order, how: Format) -> None:
    """Print what a search over designs found.

    Raises:
        DoesNotFit: no design is feasible.
    """
    from silicost.serving.capacity_output import summarise

    names = tuple(name for axis in order.axes for name in axis.names)
    found = summarise(frame, names, order.rate_per_s is not None)
    if how is Format.JSON:
        print_json({
            "folder": str(folder), "rows": found.rows, "feasible": found.feasible,
            "reasons": [{"code": code, "designs": count, "for_example": found.details[code]}
                        for code, count in found.reasons.most_common()],
            "best": found.best, "objectives": list(found.objectives), "pareto": found.front,
        })  # fmt: skip
    elif how is Format.CSV:
        write_out(frame.to_csv(index=False, lineterminator="\n"))
    else:
        _tables(found, folder)
    if not found.feasible:
        most = "; ".join(f"{count} designs: {found.details[code]}" for code, count in found.reasons.most_common(3))
        raise DoesNotFit(f"no design is feasible: {most or 'the conditions leave none'}")


def _tables(found: Summary, folder: Path) -> None:
    from silicost.serving.capacity_output import cell

    write_out(f"{found.rows:,} designs, {found.feasible:,} feasible, in {folder}\n")
    for code, count in found.reasons.most_common(5):
        write_out(f"  {count:,} not: {found.details[code]} [{code}]\n")
    axes = list(found.axes)
    shown = ["rate_per_s_per_replica", "replicas", "devices", *found.objectives, "ttft_s.p99", "tpot_s.p99", "binds"]
    if found.best:
        rows = [
            {"best": name, "value": cell(name, row[name]), **{axis: row[axis] for axis in axes}}
            for name, row in found.best.items()
        ]
        print_table(rows, "\nbest designs")
    if found.front:
        columns = [*axes, *dict.fromkeys(shown)]
        rows = [{name: cell(name, row[name]) for name in columns} for row in found.front[:MOST_LINES]]
        left = f" ({MOST_LINES} of {len(found.front)})" if len(found.front) > MOST_LINES else ""
        print_table(rows, f"\nPareto front of {' and '.join(found.objectives)}{left}")
