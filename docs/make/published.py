"""The two tables of the page on published figures: how many there are of what, and from which publications."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

from hardware_specs.devices import load_device
from hardware_specs.records import DEVICE_CLASSES
from simulator.validation.points import read_published

KINDS = ("ops", "inference", "training")
ENERGY = "energy"
"""What a row is counted under besides its kind, where it has a power or an energy."""


def page(path: Path) -> str:
    """The page at ``path`` with its tables made anew."""
    classes, publications = counted()
    text = path.read_text(encoding="utf-8")
    text = _replaced(text, r"\| \| kernels \| inference", _classes(classes))
    return _replaced(text, r"\| publication \| devices", _publications(publications))


def counted() -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    """Rows by kind, class and energy: of each class, and of each publication."""
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    publications: dict[str, Counter[str]] = defaultdict(Counter)
    for points in read_published():
        for row in points.records():
            device_class = row.get("device_class") or load_device(row["device"]).device_class
            has_energy = bool(row.get("power_w")) or row.get("metric") == "j_per_output_token"
            publication = re.sub(r"^https://(?:github\.com/)?", "", row["citation"].partition(";")[0])
            for counts in (classes[device_class], publications[publication]):
                counts.update([points.kind, device_class, *([ENERGY] if has_energy else [])])
    return classes, publications


def _classes(classes: dict[str, Counter[str]]) -> str:
    lines = ["| | kernels | inference | training | all | with energy or power |", "|---|---|---|---|---|---|"]
    whole: Counter[str] = sum((classes[name] for name in DEVICE_CLASSES), Counter())
    for title, counts in [*((name.upper(), classes[name]) for name in DEVICE_CLASSES), ("all", whole)]:
        numbers = [counts[kind] for kind in KINDS]
        lines.append(f"| {title} | {_cells([*numbers, sum(numbers), counts[ENERGY]])} |")
    return "\n".join([*lines, ""])


def _publications(publications: dict[str, Counter[str]]) -> str:
    lines = [
        "| publication | devices | kernels | inference | training | with energy or power |",
        "|---|---|---|---|---|---|",
    ]
    ranked = sorted(publications.items(), key=lambda each: (-sum(each[1][kind] for kind in KINDS), each[0].lower()))
    for name, counts in ranked:
        shown = ", ".join(each for each in DEVICE_CLASSES if counts[each])
        lines.append(f"| {name} | {shown} | {_cells([*(counts[kind] for kind in KINDS), counts[ENERGY]])} |")
    return "\n".join([*lines, ""])


def _cells(numbers: list[int]) -> str:
    return " | ".join(str(number) if number else "" for number in numbers)


def _replaced(text: str, head: str, table: str) -> str:
    """``text`` with the table whose first line begins with ``head`` in place of the one that is there."""
    return re.sub(rf"^{head}.*\n(?:\|.*\n)+", lambda _: table, text, flags=re.M)
