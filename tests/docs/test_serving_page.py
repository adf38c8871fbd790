"""The page on serving: every key, column and number that there is stands on it, with its kind and default."""

from __future__ import annotations

import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from silicost import cli
from silicost.serving import tables
from silicost.serving.answer import Answer, fleet_of, serve, shipped_fleets
from silicost.serving.output import json_of
from silicost.serving.tables import FleetTable, PoolTable, TrafficTable
from simulator.serving.fleet import ORDERS, ROUTERS, SCHEDULES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
HEADINGS = {
    "The file": tables.FleetTable, "`[traffic]`": tables.TrafficTable, "`traffic.sessions`": tables.SessionsTable,
    "`[[pool]]`": tables.PoolTable, "`pool.autoscale`": tables.ScalingTable, "`pool.failures`": tables.FailuresTable,
    "`pool.speculation`": tables.SpeculationTable, "`pool.adapters`": tables.AdaptersTable,
    "`pool.prefix_cache`": tables.PrefixTable, "`[[stage]]`": tables.StageTable, "`[[link]]`": tables.LinkTable,
    "`[[tenant]]`": tables.TenantTable, "`[[failure]]`": tables.FailureTable,
}  # fmt: skip


def kind(hint: Any) -> str:
    """What a field is called on the page."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return kind(next(each for each in get_args(hint) if each is not type(None)))
    if origin is tuple:
        return "list"
    if origin is dict or issubclass(hint, msgspec.Struct):
        return "table"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def default(field: Any) -> str:
    """How its default is written: nothing for what is empty."""
    if field.required:
        return "needed"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"`{value:g}`"
    return f"`{value}`" if value else ""


def rows(text: str) -> list[list[str]]:
    """Cells of the first table in ``text``."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in lines[0].splitlines()[2:]]


def names(text: str) -> Iterator[str]:
    """Names in the first cells of a table."""
    for cells in rows(text):
        yield from re.findall(r"`(\w+)`", cells[0])


@pytest.mark.parametrize(("heading", "table"), HEADINGS.items(), ids=HEADINGS)
def test_every_key_of_a_fleet_file(heading: str, table: type[msgspec.Struct]) -> None:
    found = [[cell.strip() for cell in cells] for cells in rows(PAGE.split(f"### {heading}\n")[1])]
    hints = get_type_hints(table)
    wanted = [[f"`{f.name}`", kind(hints[f.name]), default(f)] for f in msgspec.structs.fields(table)]
    assert [cells[:3] for cells in found] == wanted
    assert all(len(cells) == 4 and len(cells[3]) > 3 for cells in found)


def test_every_table_has_a_heading() -> None:
    known = {value for value in vars(tables).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)}
    assert known == set(HEADINGS.values())


@pytest.fixture(scope="module")
def answer() -> Answer:
    traffic = TrafficTable(rate=20.0, requests=20, isl="64", osl="16")
    return serve(fleet_of(FleetTable(traffic, (PoolTable("l4", model="smollm-135m"),)), "f.toml"), intervals=False)


def test_every_key_that_programs_read(answer: Answer) -> None:
    section = PAGE.split("## What comes out\n")[1]
    assert set(names(section)) == json_of(answer).keys()
    fields = PAGE.split("Latencies have ")[1].split(" of completed")[0]
    assert all(f"`{name}`" in fields for name in json_of(answer)["ttft_s"])


def test_every_column_of_files(answer: Answer) -> None:
    assert list(names(PAGE.split("`--requests-out FILE` writes")[1])) == list(answer.requests)
    columns = ["pool", "end_s", *answer.series[0].columns]
    assert list(names(PAGE.split("`--timeline FILE` writes")[1])) == columns


def test_every_choice() -> None:
    schedulers, routers = PAGE.split("### Schedulers\n")[1], PAGE.split("### Routers\n")[1]
    assert [cells[0].strip(" `") for cells in rows(schedulers)] == list(SCHEDULES)
    assert [cells[0].strip(" `") for cells in rows(routers)] == list(ROUTERS)
    assert all(f"`{name}`" in PAGE for name in ORDERS)
    assert {name.removesuffix("-edge") for name in shipped_fleets()} <= set(re.findall(r"`([\w-]+)`", PAGE))


def test_the_table_of_the_readme(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    section = (ROOT / "README.md").read_text().split("## Traffic\n")[1]
    command, quoted = section.split("(abridged)")[0], section.split("(abridged)")[1].split("`--fleet")[0]
    (line,) = re.findall(r"^ {4}(silicost .*)$", command, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    monkeypatch.delenv("COLUMNS", raising=False)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    printed = [row.split() for row in capsys.readouterr().out.splitlines()]
    wanted = [row.split() for row in quoted.splitlines() if row.strip()]
    assert len(wanted) > 6
    assert [row for row in wanted if row not in printed] == []
