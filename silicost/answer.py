"""From a scenario to what a person or a program reads: the printed result, its files, and advice if it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hardware_specs.errors import DoesNotFit
from hardware_specs.files import write_texts
from reports.numbers import Cell, cell_of, quantity
from silicost.fixes import cheapest_fix
from silicost.nearby import with_nearby
from silicost.output import Format, csv_text, print_json, print_table, write_out
from simulator.metrics import BY_NAME
from simulator.result import Interval, Result
from simulator.result_json import numbers_of
from simulator.scenario import Scenario
from simulator.simulate import simulate

SUMMARY = (
    "ttft_s", "tpot_s", "output_tokens_per_s", "step_time_s", "usd_per_million_output_tokens", "j_per_output_token",
)  # fmt: skip
"""Metrics of the table of several results."""


RUN = "run"
"""Name of the figures of a long run."""


class Row(NamedTuple):
    """One number (or word) of a result: as programs read it, with its SI unit, and as people do."""

    name: str
    value: float | str | None
    dimension: str
    shown: Cell
    interval: Interval | None = None
    note: str = ""


More = Callable[[Result], tuple[str, dict[str, Any]]]


def answer(
    scenario: Scenario, how: Format, out: str | None = None, lead: str = "", more: More | None = None
) -> None:  # fmt: skip
    """Simulate, print, and write ``out``/result.json and report.html; warnings go to stderr.

    Args:
        more: what else follows from the result: a name, and values by theirs.

    Raises:
        DoesNotFit: printed all the same; says by how much, and the cheapest change that fits.
        InputError: the scenario contradicts itself, or ``out`` cannot be written.
    """
    result, remarks = noted(simulate(scenario, timeline=bool(out)), scenario)
    follows = more(result) if more else None
    if follows and follows[0] == RUN:
        result = msgspec.structs.replace(result, run=numbers_of(follows[1]))
    if out:
        write_files(Path(out), [with_nearby(result, scenario)], result.title, lead, follows)
    show(result, how, follows)
    warn(result)
    tell(remarks)
    if not result.fits:
        raise DoesNotFit(why_not(result) + cheapest_fix(scenario))


def allowed_to_fall_back(scenario: Scenario, fallback: str) -> Scenario:
    """``scenario`` with what its device cannot run on the host, which stderr then says; itself where ``fallback`` is
    "".

    Args:
        fallback: "host", or the name of a CPU.

    Raises:
        InputError: what no host can take over.
    """
    if not fallback:
        return scenario
    from simulator.fallback import with_fallback

    moved, notes = with_fallback(scenario, "" if fallback == "host" else fallback)
    tell(notes)
    return moved


def noted(result: Result, scenario: Scenario) -> tuple[Result, tuple[str, ...]]:
    """``result`` with what is to be known of the user's own calibrations behind it: doubts are warnings, all is in its
    provenance; and the remarks that are none of its warnings."""
    from simulator.calibration.use import own_calibration

    names = {name for pool in scenario.pools for name in (pool.device.id, pool.device.device_class)}
    if not any(own_calibration(name) for name in names):
        return result, ()
    from simulator.calibration.staleness import with_notes

    found, notes = with_notes(result, scenario)
    return found, tuple(str(note) for note in notes if not note.doubt)


def tell_of_calibrations(runtimes: Mapping[str, Iterable[str]]) -> None:
    """Put on stderr what is to be known of the user's own calibrations of some devices.

    Args:
        runtimes: by device, the runtimes that predictions used.
    """
    if runtimes:
        from simulator.calibration.staleness import notes_on

        for note in (note for notes in notes_on(runtimes).values() for note in notes):
            sys.stderr.write(f"silicost: {'warning: ' if note.doubt else ''}{note}\n")


def tell(remarks: Iterable[str]) -> None:
    """Put remarks on stderr: they say what a result is about, nothing speaks against it."""
    for remark in remarks:
        sys.stderr.write(f"silicost: {remark}\n")


def warn(result: Result) -> None:
    """Put what the reader of ``result`` should know on stderr, each thing once."""
    for warning in dict.fromkeys(result.warnings):
        sys.stderr.write(f"silicost: warning: {warning}\n")


def write_files(
    folder: Path, results: list[Result], title: str, lead: str, more: tuple[str, dict[str, Any]] | None = None
) -> None:  # fmt: skip
    """``result.json`` (an array if there are several), ``report.html`` and its data in ``folder``, all or none.

    Args:
        more: what follows from the results, as ``show`` has it: a key of the JSON form, the lead of the page.
    """
    from reports.page import render_report
    from reports.page_data import Page, page_texts
    from silicost.output import json_text

    whole = [{**result.as_json(), **({more[0]: more[1]} if more else {})} for result in results]
    lead = f"{lead} {_in_words(*more)}".strip() if more else lead
    data, page = json_text(whole if len(whole) > 1 else whole[0]), render_report(results, title, lead)
    texts = page_texts(folder / "report.html", page, Page("results", tuple(results), title, lead))
    write_texts({folder / "result.json": data, **texts})


def show(result: Result, how: Format, more: tuple[str, dict[str, Any]] | None = None) -> None:
    """Print one result: its JSON form; CSV with SI numbers; or two tables, the question and the answer."""
    if how is Format.JSON:
        print_json({**result.as_json(), **({more[0]: more[1]} if more else {})})
    elif how is Format.CSV:
        write_out(csv_text([_program_row(row) for row in rows_of(result)]))
    else:
        asked = [{"asked": key.replace("_", " "), "value": text} for key, text in result.asked.items()]
        print_table(asked, result.title, header=False)
        write_out("\n")
        print_table([_person_row(row) for row in rows_of(result)])
        if more:
            write_out("\n")
            print_table([{more[0]: name, "value": _plainly(value)} for name, value in more[1].items()])


def _in_words(name: str, values: Mapping[str, Any]) -> str:
    """``more`` as one paragraph."""
    return f"{name.capitalize()}: " + "; ".join(f"{key} {_plainly(value)}" for key, value in values.items()) + "."


def _plainly(value: Any) -> str:
    """A value of ``more``, whose name says its unit."""
    from reports.numbers import number, whole

    if isinstance(value, bool) or value is None or isinstance(value, str):
        return "-" if value is None else str(value).lower()
    return whole(value) if float(value).is_integer() else number(value)


def rows_of(result: Result) -> Iterator[Row]:
    """Every number that a result shows: metrics, memory, energy, bounds, breakdown (largest first)."""
    whole = result.as_json()
    for name in result.metrics:
        known, why = result.intervals.get(name), result.reasons.get(name, "")
        yield Row(name, whole[name], BY_NAME[name].dimension, cell_of(result, name), known, why)
    for part, size in whole["memory_bytes"].items():
        note = f"of {quantity(result.memory_capacity_bytes, 'bytes')} usable" if part == "total" else ""
        yield _plain_row(f"memory_bytes.{part}", size, "bytes", note)
    for boundary in ("device", "node", "facility"):
        yield _plain_row(f"energy_j.{boundary}", getattr(result.energy, boundary), "j")
    for phase, bound in result.bound.items():
        yield Row(f"bound.{phase}", bound, "", Cell(f"bound.{phase}", None, number=bound))
    for family, seconds in sorted(result.breakdown.items(), key=lambda item: -item[1]):
        yield _plain_row(f"breakdown.{family}", seconds, "s")


def _plain_row(name: str, value: float, dimension: str, note: str = "") -> Row:
    """A number without an interval."""
    return Row(name, value, dimension, Cell(name, value, number=quantity(value, dimension)), note=note)


def _person_row(row: Row) -> dict[str, str]:
    """A line of the table; the ends of the interval are in the unit of the value."""
    cell = row.shown
    return {
        "metric": row.name, "value": f"{cell.number} {cell.unit}".strip() or "-", "80% from": cell.low,
        "80% to": cell.high, "note": row.note,
    }  # fmt: skip


def _program_row(row: Row) -> dict[str, Any]:
    """A line of the CSV, numbers in the SI unit that the column "unit" names."""
    ends = {end: getattr(row.interval, end, None) for end in Interval.__struct_fields__}
    return {"metric": row.name, "value": row.value, "unit": row.dimension, **ends, "note": row.note}


def why_not(result: Result) -> str:
    """By how much the fullest device is over."""
    over = result.memory.total - result.memory_capacity_bytes
    needed, there = (quantity(size, "bytes") for size in (result.memory.total, result.memory_capacity_bytes))
    return f"does not fit: {needed} per device are needed, {there} are usable: {quantity(over, 'bytes')} too much"


def summary(result: Result) -> dict[str, Any]:
    """One line for a table of several results: what matters most of each, in human units."""
    shown = {
        name: quantity(value, BY_NAME[name].dimension) if (value := result.metrics.get(name)) is not None else "-"
        for name in SUMMARY
    }
    return {"scenario": result.title, **shown, "fits": "yes" if result.fits else "no"}
