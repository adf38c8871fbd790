"""``silicost compare``: metrics of runs that were saved, or of scenarios, beside each other."""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_file
from reports.numbers import number, symbol
from silicost.commands.flags import word_of
from silicost.output import csv_text, print_json, print_table, write_out

if TYPE_CHECKING:
    from reports.compared import Compared, Comparison, MetricRow
    from silicost.saved import Saved

MOST_ALIKE: Final = 160
"""Characters of a fact in a table."""
HINT: Final = "why two scenarios differ: silicost delta; chances with errors that both share: silicost chance"


class Written(StrEnum):
    """How a comparison is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="A B...", help="Saved runs, as silicost report takes them, or scenarios."),
    ],
    report: Annotated[str, typer.Option("--report", help="HTML page.", metavar="FILE.html")] = "",
    static: Annotated[bool, typer.Option("--static", help="The page without scripts.")] = False,
    format: Annotated[
        Written,
        typer.Option("--format", help="table, json, csv or markdown", parser=word_of(Written), metavar="FORMAT"),
    ] = Written.TABLE,
) -> None:
    """Metrics of two or more beside the first: ratio, intervals, chance to be better, and what differs in them.

    It reads what was saved. Why two scenarios differ says ``silicost delta``.
    """
    from reports.comparing import compare as compared
    from reports.comparing import entries_of

    saved = [read(text) for text in runs]
    shown = compared(entries_of((each.name, each.page) for each in saved))
    if report:
        _write_page(report, saved, static)
    if format is Written.JSON:
        print_json(json_of(shown))
    elif format is Written.CSV:
        write_out(csv_text(lines_of(shown)))
    elif format is Written.MARKDOWN:
        from reports.exports.markdown import comparison_text

        write_out(comparison_text(shown))
    else:
        _print_tables(shown)


def read(text: str) -> Saved:
    """A saved run; a scenario, from a file or shipped, is simulated.

    Raises:
        InputError: as ``saved.read_saved``.
    """
    from silicost.saved import RUNS, Saved, read_saved
    from silicost.scenario_file import shipped_scenarios

    saved_there = Path(text).exists() or (RUNS / text).exists()
    if _is_scenario(Path(text)) or (text in shipped_scenarios() and not saved_there):
        from reports.page_data import Page
        from silicost.scenario_file import load_scenario
        from simulator.simulate import simulate

        result = simulate(load_scenario(text)[0])
        return Saved(Path(text).stem, Page("results", (result,), result.title))
    return read_saved(text)


def _is_scenario(place: Path) -> bool:
    """Whether a TOML file asks something, as scenarios do."""
    from hardware_specs.reader import read_toml

    return place.suffix == ".toml" and is_file(place) and "workload" in read_toml(place)


def _write_page(report: str, saved: list[Saved], static: bool) -> None:
    from reports.page_data import write_page
    from reports.rendering import render_page_of
    from silicost.commands.report import page_of, place_of

    if not report.endswith(".html"):
        raise InputError(f"--report {clipped(report)}: must be a file that ends in .html")
    page, place = page_of(saved), place_of(report, saved)
    write_page(place, render_page_of(page, static), page)
    sys.stderr.write(f"silicost: report: {place}\n")


def json_of(shown: Comparison) -> dict[str, Any]:
    """A comparison as plain data, in SI units."""
    return {
        "schema": 1, "names": list(shown.names),
        "metrics": [
            {"metric": row.name, "title": row.title, "unit": symbol(row.dimension), "better": row.better,
             "best": shown.names[row.best] if row.best >= 0 else None,
             "values": [_plain(name, cell) for name, cell in zip(shown.names, row.cells, strict=True)]}
            for row in shown.metrics
        ],
        "differences": [
            {"what": each.name, "values": [value or None for value in each.values]} for each in shown.differences
        ],
        "alike": dict(shown.alike), "notes": list(shown.notes), "laws_hash": shown.laws_hash.split(),
    }  # fmt: skip


def _plain(name: str, cell: Compared) -> dict[str, Any]:
    return {
        "name": name, "value": cell.value, "p10": cell.low, "p90": cell.high, "ratio": cell.ratio,
        "intervals_overlap": {"yes": True, "no": False}.get(cell.overlaps), "chance_better": cell.chance,
        "reason": cell.reason or None,
    }  # fmt: skip


def lines_of(shown: Comparison) -> list[dict[str, Any]]:
    """A comparison as lines of CSV: a line for each metric and name, then one for each fact that differs."""
    rows: list[dict[str, Any]] = []
    for row in shown.metrics:
        for name, cell in zip(shown.names, row.cells, strict=True):
            plain = {key: None if isinstance(value, float) and math.isnan(value) else value
                     for key, value in _plain(name, cell).items()}  # fmt: skip
            rows.append({"kind": "metric", "what": row.name, "unit": symbol(row.dimension), **plain})
    blank = dict.fromkeys(("p10", "p90", "ratio", "intervals_overlap", "chance_better", "reason"))
    for each in shown.differences:
        rows += [
            {"kind": "difference", "what": each.name, "unit": "", "name": name, "value": value, **blank}
            for name, value in zip(shown.names, each.values, strict=True)
        ]
    return rows


def value_text(row: MetricRow, cell: Compared) -> str:
    """A value with its interval, for people."""
    from reports.comparing import written

    if math.isnan(cell.value):
        return "-"
    text = written(cell.value, row.dimension)
    if math.isnan(cell.low) or math.isnan(cell.high):
        return text
    return f"{text} [{written(cell.low, row.dimension)}, {written(cell.high, row.dimension)}]"


def times_text(cell: Compared) -> str:
    """How many times the first, and with which chance it is better."""
    from reports.numbers import chance_text

    if math.isnan(cell.ratio):
        return "-"
    chance = "" if math.isnan(cell.chance) else f", better {chance_text(cell.chance)}"
    return f"{number(cell.ratio)}x{chance}"


def _print_tables(shown: Comparison) -> None:
    rows = []
    for row in shown.metrics:
        line = {"metric": row.name}
        for place, (name, cell) in enumerate(zip(shown.names, row.cells, strict=True)):
            line[name] = value_text(row, cell)
            if place:
                line[f"{name} / first"] = times_text(cell)
        rows.append(line)
    print_table(rows, shown.title)
    if shown.differences:
        write_out("\n")
        print_table(
            [
                {"differs": each.name, **{name: value[:MOST_ALIKE] or "-" for name, value in
                                          zip(shown.names, each.values, strict=True)}}
                for each in shown.differences
            ],
            "what differs",
        )  # fmt: skip
    for note in (*shown.notes, f"better: from the 80% intervals, as if errors were independent; {HINT}"):
        sys.stderr.write(f"silicost: {note}\n")
