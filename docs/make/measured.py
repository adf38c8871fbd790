"""Measured errors of what is not a single operator, as Markdown, for the page of laws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import scores

from hardware_specs.accelerators.estimates import estimate
from hardware_specs.accelerators.published import published_chips
from hardware_specs.calibrations import calibration_names, calibrations_of
from hardware_specs.devices import device_names, load_device
from hardware_specs.records import DEVICE_CLASSES
from simulator.goodput.published import compare_published

CYCLES = {
    "peak": "multiply-adds over cells",
    "plain": "plain array",
    "ahead": "weights loaded ahead, as the laws count",
    "mapped": "the same, rows as the mapping keeps them",
    "mapped + memory": "the same, with what moves from memory",
}
"""Closed forms of ``benchmarks/systolic_rtl.py`` in words."""
CALIBRATIONS = """
## Errors that calibrations carry

The shipped calibrations, by class and kind of operator: the mean error on groups of rows that were held out, over
entries, rows counting alike. `silicost calibrations list` prints every entry.

| class | operators | devices | rows held out | mean error |
|---|---|---|---|---|
"""


def table(kinds: tuple[str, ...], classes: tuple[str, ...], what: tuple[str, ...] = (), part: str = "") -> str:
    """What the records of accuracy have of these groups (``scores.errors``)."""
    return "".join(scores.errors(kinds, classes, what, part))


def cycles() -> str:
    """Closed forms of systolic arrays against cycles of RTL."""
    rows = [each for each in scores.record(scores.TABLES) if each["kind"] == "systolic_rtl"]
    lines = [f"| {CYCLES[each['what']]} | {each['n']} | {_errors(each)} |" for each in rows]
    said = "Cycles of RTL (Gemmini, 16 x 16), shapes held out, nothing fitted ([more](physics.md#systolic-arrays)):"
    return "\n".join([said, "", "| closed form | rows | mean error | median error |", "|---|---|---|---|", *lines, ""])


def _errors(group: dict[str, Any]) -> str:
    return f"{scores.percent(group['mape'])} | {scores.percent(group['median_ape'])}"


def energy() -> str:
    """Joules of an output token: rows of tables, whatever they leave unsaid, and published ones."""
    return (
        "Joules of an output token. Hardly a measured row says its batch, so that rows with assumptions count here:\n\n"
        + table(("inference",), DEVICE_CLASSES, part="energy")
        + "\n"
        + table(("inference",), DEVICE_CLASSES, ("j_per_output_token",))
    )


def pipelines() -> str:
    """Training steps with several stages."""
    found = table(("training",), DEVICE_CLASSES, part="pipelines")
    return (
        f"Training steps with several pipeline stages:\n\n{found}\n"
        "The closed forms against schedules that are run action by action: [pipeline schedules]"
        "(schedules.md#closed-forms).\n"
    )


def serving() -> str:
    """Runs of servers, and servers that never run out of requests."""
    runs, full = table(("serving",), DEVICE_CLASSES), table(("inference",), DEVICE_CLASSES, part="saturated servers")
    return f"Runs of servers, request by request:\n\n{runs}\nServers whose queue never empties:\n\n{full}"


def long_runs() -> str:
    """Reported interruptions and effective times beside what rates of other clusters give."""
    rows = [
        f"| {each.run} | {each.quantity} | {'over ' if each.at_least else ''}{_number(each.reported)} | "
        f"{_number(each.predicted)} | `{each.rates}` |"
        for each in compare_published()
        if not each.same_cluster
    ]
    said = "Reported runs, with rates of other clusters ([more](goodput.md#against-reports)):"
    return "\n".join(
        [said, "", "| run | quantity | reported | predicted | rates of |", "|---|---|---|---|---|", *rows, ""]
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def chips() -> str:
    """Area and power of the real chips that set no coefficient."""
    found = [(estimate(chip.design), chip) for chip in published_chips() if not chip.facts.used]
    area = sum(abs(each.die_area_mm2 / chip.area_mm2 - 1.0) for each, chip in found) / len(found)
    power = sum(abs(each.tdp_w / chip.tdp_w - 1.0) for each, chip in found) / len(found)
    return (
        f"{area:.0%} of the area and {power:.0%} of the power, mean over the {len(found)} real chips that set no "
        "coefficient ([each chip](accelerator_design.md#checked-on-real-chips)). No published figure tests the cost.\n"
    )


def coverage() -> str:
    """Shares of held-out measurements inside the intervals, by kind."""
    rows = []
    for kind, title in scores.KINDS.items():
        groups = [each for each in scores.record(scores.TABLES) if each["kind"] == kind and not each["part"]]
        held = [each for each in groups if not each["fitted"]]
        count = sum(each["n"] for each in held)
        if count:
            shares = " | ".join(_mean(held, name, count) for name in ("coverage_80", "coverage_95"))
            rows.append(f"| {title} | {count:,} | {shares} |")
    head = ["| rows held out | rows | inside 80% | inside 95% |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _mean(groups: list[dict[str, Any]], name: str, count: int) -> str:
    return scores.percent(sum(each["n"] * each[name] for each in groups) / count)


def calibrations() -> Iterator[str]:
    """What calibrations say of rows that no fit saw, by class and kind of operator."""
    yield CALIBRATIONS
    found: dict[tuple[str, str], list[tuple[str, int, float]]] = defaultdict(list)
    for name in calibration_names():
        for entry in calibrations_of(name) if name in device_names() else ():
            left = entry.held_out
            if left and len(entry.operators) < 4:
                kind = (load_device(name).device_class, ", ".join(entry.operators))
                found[kind].append((name, left.rows, left.mape))
    for (device_class, operators), entries in sorted(found.items()):
        rows = sum(count for _, count, _ in entries)
        mean = sum(count * error for _, count, error in entries) / rows
        devices = len({name for name, _, _ in entries})
        yield f"| {device_class} | {operators} | {devices} | {rows:,} | {100 * mean:.1f}% |\n"
