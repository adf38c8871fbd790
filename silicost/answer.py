"""From a scenario to what a person or a program reads: the printed result, its files, and advice if it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardware_specs.errors import DoesNotFit
from hardware_specs.units import format_quantity
from silicost.fixes import cheapest_fix
from silicost.output import Format, print_json, print_rows, write_text
from simulator.metrics import BY_NAME
from simulator.result import Interval, Result
from simulator.scenario import Scenario
from simulator.simulate import simulate

SUMMARY = (
    "ttft_s", "tpot_s", "output_tokens_per_s", "step_time_s", "usd_per_million_output_tokens", "j_per_output_token",
)  # fmt: skip
"""Metrics of the table of several results."""


def answer(scenario: Scenario, how: Format, out: str = "", lead: str = "") -> None:
    """Simulate, print, and write ``out``/result.json and report.html.

    Raises:
        DoesNotFit: printed all the same; says by how much, and the cheapest change that fits.
        InputError: the scenario contradicts itself, or ``out`` cannot be written.
    """
    result = simulate(scenario, timeline=bool(out))
    if out:
        write_files(Path(out), [result], result.title, lead)
    show(result, how)
    if not result.fits:
        raise DoesNotFit(why_not(result) + cheapest_fix(scenario))


def write_files(folder: Path, results: list[Result], title: str, lead: str) -> None:
    """``result.json`` (an array if there are several) and ``report.html`` in ``folder``."""
    from reports.page import write_report
    from silicost.output import json_text

    whole = [result.as_json() for result in results]
    write_text(folder / "result.json", json_text(whole if len(whole) > 1 else whole[0]))
    write_report(folder / "report.html", results, title, lead)


def show(result: Result, how: Format) -> None:
    """Print one result."""
    if how is Format.JSON:
        print_json(result.as_json())
    else:
        print_rows(list(_rows(result)), how, title=result.title)


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    """Metric, value, 80% interval and note; memory, energy and breakdown below the metrics."""
    for name, value in result.metrics.items():
        known = result.intervals.get(name)
        yield _row(name, value, BY_NAME[name].dimension, known, result.reasons.get(name, ""))
    for part, size in result.as_json()["memory_bytes"].items():
        note = f"of {format_quantity(result.memory_capacity_bytes, 'bytes')} usable" if part == "total" else ""
        yield _row(f"memory_bytes.{part}", size, "bytes", None, note)
    for boundary in ("device", "node", "facility"):
        yield _row(f"energy_j.{boundary}", getattr(result.energy, boundary), "j")
    for phase, bound in result.bound.items():
        yield {"metric": f"bound.{phase}", "value": bound, "p10": "", "p90": "", "note": ""}
    for family, seconds in sorted(result.breakdown.items(), key=lambda item: -item[1]):
        yield _row(f"breakdown.{family}", seconds, "s")


def _row(
    name: str, value: float | None, dimension: str, known: Interval | None = None, note: str = ""
) -> dict[str, Any]:
    """One line of the table, in human units."""

    def shown(number: float | None) -> str:
        if number is None:
            return "-"
        return format_quantity(number, dimension)

    return {
        "metric": name, "value": shown(value), "p10": shown(known.p10) if known else "",
        "p90": shown(known.p90) if known else "", "note": note,
    }  # fmt: skip


def why_not(result: Result) -> str:
    """By how much the fullest device is over."""
    over = result.memory.total - result.memory_capacity_bytes
    needed, there = (format_quantity(v, "bytes") for v in (result.memory.total, result.memory_capacity_bytes))
    return (
        f"does not fit: {needed} per device are needed, {there} are usable: {format_quantity(over, 'bytes')} too much"
    )


def summary(result: Result) -> dict[str, Any]:
    """One line for a table of several results: what matters most of each, in human units."""
    names = (
        "ttft_s",
        "tpot_s",
        "output_tokens_per_s",
        "step_time_s",
        "usd_per_million_output_tokens",
        "j_per_output_token",
    )
    shown = {
        name: format_quantity(value, BY_NAME[name].dimension)
        if (value := result.metrics.get(name)) is not None
        else "-"
        for name in names
    }
    return {"scenario": result.title, **shown, "fits": "yes" if result.fits else "no"}
