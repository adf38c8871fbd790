"""Short summaries in Markdown: for a pull request, a ticket, a README."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from reports.compared import Compared, Comparison, MetricRow
from reports.comparing import Value, entries_of, written
from reports.headline import headlines_of
from reports.numbers import chance_text, number, quantity
from reports.page_data import Page
from reports.rests import reaches_of
from reports.text import short
from simulator.result import Result

MOST_ASSUMED: Final = 5
"""Assumptions that are named."""
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~&!])")


def plain(text: str, most: int = 120) -> str:
    """``text`` as Markdown shows it letter by letter, on one line.

    >>> plain("a|b <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", short(text, most))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), most: int = 120) -> str:
    """A table; columns whose place is in ``right`` are of numbers. Cells are plain text of at most ``most`` letters,
    but for a whole **strong** word."""
    rule = "|".join("---:" if place in right else "---" for place in range(len(heads)))
    lines = [f"| {' | '.join(map(plain, heads))} |", f"|{rule}|"]
    lines += [f"| {' | '.join(_strong(cell, most) for cell in row)} |" for row in rows]
    return "".join(f"{line}\n" for line in lines)


def _strong(cell: str, most: int) -> str:
    if cell.startswith("**no**"):
        return f"**no**{plain(cell.removeprefix('**no**'), most)}"
    return plain(cell, most)


def warned(notes: Iterable[str]) -> list[str]:
    """Each note once, as a quotation."""
    return [f"> {plain(note, 400)}\n" for note in dict.fromkeys(notes)]


def result_text(results: Sequence[Result]) -> str:
    """Headline numbers of each result with intervals, what they rest on, warnings."""
    return "\n".join(map(_result, results))


def _result(result: Result) -> str:
    entry = next(iter(entries_of([(result.title, Page("results", (result,)))])))
    rows = [value_row(entry.values[name]) for name in headlines_of(result)]
    size, there = (quantity(each, "bytes") for each in (result.memory.total, result.memory_capacity_bytes))
    fits = "fits" if result.fits else "**does not fit**"
    bounds = "".join(f", {plain(phase)} {plain(bound)}-bound" for phase, bound in result.bound.items())
    asked = ", ".join(f"{key.replace('_', ' ')} {text}" for key, text in result.asked.items() if text)
    parts = [
        f"### {plain(result.title)}\n", table(("Metric", "Median", "80 % interval"), rows, (1, 2)),
        f"Memory: {size} of {there}, {fits}{bounds}.\n", f"Asked: {plain(asked, 600)}.\n", _rests_on(result),
        *(f"> **Warning:** {plain(warning, 400)}\n" for warning in dict.fromkeys(result.warnings)),
        origin_of(entry.silicost_version, entry.laws_hash, entry.same_as),
    ]  # fmt: skip
    return "\n".join(parts)


def value_row(value: Value) -> list[str]:
    """A number of a table: its title, itself, the ends of its interval."""
    if math.isnan(value.value):
        return [value.title, f"none: {value.reason}", ""]
    known = math.isfinite(value.low) and math.isfinite(value.high)
    ends = (written(end, value.dimension) for end in (value.low, value.high))
    return [value.title, written(value.value, value.dimension), " – ".join(ends) if known else ""]


def _rests_on(result: Result) -> str:
    """How many inputs are sourced, assumed, calibrated; the first assumed ones by name; what was measured."""
    marks = Counter(row.mark for row in result.provenance)
    counts = ", ".join(f"{count} {plain(mark)}" for mark, count in sorted(marks.items()))
    assumed = [row.what for row in result.provenance if row.mark == "assumed"]
    named = f" Assumed: {', '.join(plain(each, 60) for each in assumed[:MOST_ASSUMED])}" if assumed else ""
    more = f" and {len(assumed) - MOST_ASSUMED} more" if len(assumed) > MOST_ASSUMED else ""
    reach = "".join(f" {plain(line, 600)}" for line in reaches_of(result))
    return (
        f"Rests on {len(result.provenance)} inputs: {counts or 'none'}.{named}{more}{'.' if assumed else ''}{reach}\n"
    )


def origin_of(version: str, laws_hash: str, scenario_hash: str = "") -> str:
    """Which version of the laws said it, and of which scenario."""
    same = f"scenario `{plain(scenario_hash[:16])}`, " if scenario_hash else ""
    laws = ", ".join(f"`{plain(each[:16])}`" for each in laws_hash.split())
    return f"<sub>silicost {plain(version)}, {same}laws {laws}</sub>\n"


def comparison_text(shown: Comparison) -> str:
    """A comparison: a table of metrics, a table of differences, notes."""
    head = [f"{plain(name)} | times the first" if place else plain(name) for place, name in enumerate(shown.names)]
    columns = 2 * len(shown.names) - 1
    rows = [f"| {plain(row.title)} | {' | '.join(_cells(row))} |\n" for row in shown.metrics]
    text = f"### {plain(shown.title)}\n\n| Metric | {' | '.join(head)} |\n|---|{'---:|' * columns}\n{''.join(rows)}"
    if shown.differences:
        text += f"\n| What differs | {' | '.join(map(plain, shown.names))} |\n|---|{'---|' * len(shown.names)}\n"
        text += "".join(_line(each.name, each.values) for each in shown.differences)
    return text + "".join(f"\n> {plain(note, 400)}\n" for note in shown.notes)


def _line(name: str, values: Sequence[str]) -> str:
    return f"| {plain(name)} | {' | '.join(plain(value) for value in values)} |\n"


def _cells(row: MetricRow) -> Iterable[str]:
    for place, cell in enumerate(row.cells):
        value = "none" if math.isnan(cell.value) else _with_ends(row, cell)
        yield f"**{value}**" if place == row.best else value
        if place:
            chance = "" if math.isnan(cell.chance) else f" (better: {plain(chance_text(cell.chance))})"
            yield "" if math.isnan(cell.ratio) else f"{number(cell.ratio)} ×{chance}"


def _with_ends(row: MetricRow, cell: Compared) -> str:
    text = written(cell.value, row.dimension)
    if math.isnan(cell.low) or math.isnan(cell.high):
        return text
    return f"{text} ({written(cell.low, row.dimension)} – {written(cell.high, row.dimension)})"
