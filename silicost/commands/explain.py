"""``silicost explain``: why a measured run differs from its prediction."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from hardware_specs.units import format_quantity
from reports.numbers import quantity
from silicost.commands import flags
from silicost.commands.validate import Progress, check_kind, tell_of_own
from silicost.output import Format, csv_text, print_json, print_table, write_out

MOST_LINES = 10
"""Changes and alternatives that a table has; JSON and CSV have all."""
NOTHING = 1e-4
"""A time that falls to this share of what it is has gone."""


def explain(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Points files (CSV, Parquet) or folders, up to 100 rows.")
    ],
    kind: Annotated[str, typer.Option("--kind", help="ops, inference or training; default as columns say.")] = "",
    models: Annotated[str, typer.Option("--models", help="Table of architectures that the catalogue lacks.")] = "",
    where: Annotated[str, typer.Option("--where", help="Rows to take: 'device=h100-sxm-80gb,metric=tpot_s'.")] = "",
    calibration: flags.Calibration = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """What a predicted time consists of, and the smallest change of one number that makes it the measured one."""
    from simulator.validation.architectures import read_models
    from simulator.validation.explain.explain import explain as explained
    from simulator.validation.explain.report import report_of
    from simulator.validation.points import read_points, select
    from simulator.validation.validate import COMPUTED, narrowed, predict

    check_kind(kind)
    found = select(read_points([Path(path) for path in paths], kind), where, COMPUTED)
    own = read_models(Path(models)) if models else {}
    progress = Progress()
    scored = narrowed(predict(found, own), where)
    report = report_of(explained(scored, own, progress.tell))
    progress.end(len(report["rows"]))
    if format is Format.JSON:
        print_json(report)
    elif format is Format.CSV:
        write_out(csv_text([line for row in report["rows"] for line in _lines(row)]))
    else:
        _print_tables(report)
    tell_of_own(scored)


_OF_ROW = (
    "row", "file", "kind", "source", "device", "runtime", "what", "reason", "dimension", "measured", "predicted",
    "inside_80",
)  # fmt: skip
_OF_CHANGE = (
    "rank", "path", "owner", "change_dimension", "now", "needed", "ratio", "in_range", "nearest", "left", "size",
)  # fmt: skip


def _lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row as lines of CSV: one for each change, or one without any."""
    own = {name: row[name] for name in _OF_ROW}
    changes = [
        {**change, "rank": rank, "change_dimension": change["dimension"]}
        for rank, change in enumerate(row["changes"], start=1)
    ] or [{}]
    return [own | {name: change.get(name) for name in _OF_CHANGE} for change in changes]


def _print_tables(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        write_out(heading(row))
        if row["parts"]:
            _print_time(row)
        if row["changes"]:
            _print_changes(row["changes"])
        if row["alternatives"]:
            shown = [
                {"or": each["what"], "time": _time(each["predicted_s"]), "off by": _percent(each["log_ratio"])}
                for each in row["alternatives"][:MOST_LINES]
            ]
            print_table(shown)
            write_out("\n")
    if report["joint"]:
        _print_joint(report)


def heading(row: dict[str, Any]) -> str:
    """What a row is, and what its explanation comes to, in a few lines."""
    runtime = f", {row['runtime']}" if row["runtime"] else ""
    lines = [f"row {row['row']} of {row['file']}: {row['what']} ({row['device'] or 'no device'}{runtime})"]
    if row["reason"]:
        return "\n".join([*lines, f"not explained: {row['reason']}", "", ""])
    measured, predicted, low, high = (
        "-" if row[name] is None else quantity(row[name], row["dimension"])
        for name in ("measured", "predicted", "low_80", "high_80")
    )
    lines.append(f"measured {measured}, predicted {predicted} (80% interval: {low} to {high})")
    lines += [f"note: {'; '.join(row['circumstances'])}"] if row["circumstances"] else []
    return "\n".join([*lines, row["verdict"], "", ""])


def _print_time(row: dict[str, Any]) -> None:
    parts = [
        {
            "part": part["part"], "time": _time(part["seconds"]), "share": f"{part['share']:.1%}",
            "alone would have to be": "less than nothing" if part["needed_s"] is None else _time(part["needed_s"]),
        }
        for part in row["parts"]
    ]  # fmt: skip
    whole = {"part": "all", "time": _time(row["predicted_s"]), "share": "100.0%"}
    print_table([*parts, {**whole, "alone would have to be": _time(row["measured_s"])}])
    names = [part["part"] for part in row["parts"]]
    families = [
        {"family": each["family"], "time": _time(each["seconds"]), "share": f"{each['share']:.1%}"}
        | {name: _time(each["parts"][name]) if name in each["parts"] else "" for name in names}
        for each in row["families"]
    ]
    write_out("\n")
    print_table(families)
    write_out("\n")


def _print_changes(changes: list[dict[str, Any]]) -> None:
    lines = [
        {
            "change": change["path"], "now": _value(change, "now"),
            "needed": _value(change, "needed"),
            "ratio": "" if change["ratio"] is None else f"{change['ratio']:.3g}",
            "sd": "" if change["needed"] is None else f"{change['size']:.2g}", "closes": _closes(change),
            "meaning": change["meaning"],
        }
        for change in changes[:MOST_LINES]
    ]  # fmt: skip
    print_table(lines)
    more = len(changes) - MOST_LINES
    write_out(f"(and {more} more: see --format json)\n\n" if more > 0 else "\n")


def _closes(change: dict[str, Any]) -> str:
    """Whether a change closes the gap, and what it leaves where it does not."""
    if change["in_range"]:
        return "yes"
    low, high = (_value(change, end) or "any" for end in ("low", "high"))
    left = f"{_percent(change['left'])} at {_value(change, 'nearest')}"
    if change["needed"] is not None:
        return f"outside {low} to {high}: off by {left}"
    return f"not alone: off by {left}"


def _print_joint(report: dict[str, Any]) -> None:
    lines = [
        {
            "change": each["path"], "of": each["owner"], "now": _value(each, "now"),
            "best": _value(each, "value"), "sd": f"{each['size']:.2g}",
            "rows": each["rows"], "before": _spread(each["before"]), "after": _spread(each["after"]),
            "meaning": each["meaning"],
        }
        for each in report["joint"][:MOST_LINES]
    ]  # fmt: skip
    explained = sum(not row["reason"] for row in report["rows"])
    print_table(lines, f"one number for all {explained} rows: mean error before and after")


def _time(seconds: float) -> str:
    return format_quantity(seconds, "s", 3)


def _value(change: dict[str, Any], name: str) -> str:
    """A value of a change in its unit; "" for none, "0" for a time that has all but gone."""
    value = change[name]
    if value is None:
        return ""
    gone = change["dimension"] == "s" and change["low"] == 0.0 and value < NOTHING * change["now"]
    return "0" if gone else format_quantity(value, change["dimension"], 3)


def _percent(log_ratio: float) -> str:
    """By how much a prediction is off."""
    return f"{math.expm1(log_ratio):+.1%}"


def _spread(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):.1%}"
