"""Every number in every shipped TOML file is a fact with unit, mark and origin; nothing slips past the reader."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.devices import load_device
from hardware_specs.units import dimension_of, parse_quantity

DATA = Path(load_device.__code__.co_filename).parent / "data"
FILES = sorted(path for path in DATA.rglob("*.toml") if path.parent.name != "calibrations")
COUNTS = {"year", "count", "nodes", "shape", "devices", "rows", "each"}
"""Whole numbers that define a thing instead of describing it."""
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every fact, and of every other leaf."""
    if isinstance(value, dict) and "value" not in value:
        for key, part in value.items():
            yield from walk(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part, path)
    else:
        yield path, value


def problems(table: dict[str, Any]) -> list[str]:
    """What is wrong with the numbers of one file, in words."""
    sources, fits = table.get("sources", {}), table.get("fits", {})
    found, used = [], set()
    for path, leaf in walk({key: part for key, part in table.items() if key not in ("sources", "fits")}):
        if isinstance(leaf, dict):
            marks = [m for m in ("source", "assumed", "calibrated") if m in leaf]
            if len(marks) != 1 or not str(leaf[marks[0]]).strip():
                found.append(f"{path}: needs one mark with an origin, has {marks}")
            elif marks == ["source"]:
                used.add(leaf["source"])
                if leaf["source"] not in sources:
                    found.append(f"{path}: no source {leaf['source']!r}")
            elif marks == ["calibrated"]:
                used.add(leaf["calibrated"])
                if leaf["calibrated"] not in fits:
                    found.append(f"{path}: no fit {leaf['calibrated']!r}")
            try:
                parse_quantity(leaf["value"], dimension_of(leaf["value"]))
            except ValueError as error:
                found.append(f"{path}: {error}")
        elif isinstance(leaf, (int, float)) and not isinstance(leaf, bool) and path.split(".")[-1] not in COUNTS:
            found.append(f"{path}: bare number {leaf}")
        elif isinstance(leaf, float):
            found.append(f"{path}: a count must be whole, not {leaf}")
    for key, source in sources.items():
        if not DATE.fullmatch(source["date"]) or len(source["cite"]) < 8:
            found.append(f"sources.{key}: needs a citation and an ISO date")
        if key not in used:
            found.append(f"sources.{key}: nothing refers to it")
    for key, fit in fits.items():
        if not DATE.fullmatch(fit["date"]) or not fit["sources"] or len(fit["rule"]) < 20:
            found.append(f"fits.{key}: needs the names of measured tables, a rule and an ISO date")
        if key not in used:
            found.append(f"fits.{key}: nothing refers to it")
    return found


def test_there_are_files_of_every_kind() -> None:
    kinds = {path.relative_to(DATA).parts[0] for path in FILES}
    assert {"devices", "links", "hosts", "systems", "prices", "sites"} <= kinds


@pytest.mark.parametrize("kind", sorted({path.relative_to(DATA).parts[0] for path in FILES}))
def test_every_number_has_unit_mark_and_origin(kind: str) -> None:
    bad = [
        f"{path.name}: {problem}"
        for path in FILES
        if path.relative_to(DATA).parts[0] == kind
        for problem in problems(tomllib.loads(path.read_text(encoding="utf-8")))
    ]
    assert bad == []


@pytest.mark.parametrize(
    "text",
    [
        "tdp = 700",
        "[power]\ntdp = 700.5",
        'tdp = { value = "700 W" }',
        'tdp = { value = "700 W", source = "nobody" }',
        'tdp = { value = "700 W", assumed = "" }',
        'tdp = { value = "700 furlong/", assumed = "why" }',
        "[[rows]]\nspeed = 3",
        'gain = { value = 2, calibrated = "the fit of June" }',
        'g = { value = 2, calibrated = "f" }\n[fits.f]\nsources = []\nrule = "by hand, all rows"\ndate = "2026-11-24"',
        '[fits.f]\nsources = ["a"]\nrule = "ratio of medians, all rows"\ndate = "2026-11-24"',
        'name = "x"\n[sources]\na = { cite = "a long citation", date = "yesterday" }',
        'name = "x"\n[sources]\na = { cite = "a long citation", date = "2026-11-24" }',
    ],
)
def test_the_walk_finds_what_is_wrong(text: str) -> None:
    assert problems(tomllib.loads(text))


def test_names_are_unique_within_a_kind() -> None:
    for kind in ("devices", "links", "hosts", "systems", "sites"):
        stems = [path.stem for path in (DATA / kind).rglob("*.toml")]
        assert len(stems) == len(set(stems)), kind
