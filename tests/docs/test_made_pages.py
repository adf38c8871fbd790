"""Pages that are made from the code are what it makes today, and leave nothing out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import keys
import laws
import msgspec
import pytest
import python_api
import scores
import typer
import write

import silicost
from hardware_specs.catalogue import Catalogue
from hardware_specs.records import DEVICE_CLASSES
from silicost import scenario_tables
from silicost.cli import app
from silicost.scenarios import one_pool
from simulator.devices.registry import law_of

DOCS = Path(__file__).parents[2] / "docs"
ADVICE = "renew it: python docs/make/write.py"


@pytest.mark.parametrize(("path", "made"), write.pages().items(), ids=lambda value: getattr(value, "name", ""))
def test_what_is_committed_is_what_the_code_makes(path: Path, made: str) -> None:
    committed = path.read_text(encoding="utf-8").splitlines()
    differing = [line for line in made.splitlines() if line not in set(committed)]
    assert committed == made.splitlines(), f"{path.name}: {ADVICE}; for example {differing[:3]}"


def leaves(command: Any, path: str) -> dict[str, Any]:
    if getattr(command, "commands", None):
        parts = [leaves(each, f"{path} {name}") for name, each in command.commands.items()]
        return {key: leaf for part in parts for key, leaf in part.items()}
    return {path: command}


def test_every_option_of_every_command() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    commands = leaves(typer.main.get_command(app), "silicost")
    assert len(commands) > 30
    for path, command in commands.items():
        (section,) = re.findall(rf"^#+ {path}\n(.*?)(?=^#|\Z)", page, re.M | re.S)
        for parameter in command.params:
            if parameter.name != "help" and not parameter.hidden:
                assert all(f"`{name}`" in section for name in parameter.opts if name.startswith("-")), (path, parameter)


def test_every_kind_of_file_that_a_user_may_own_has_its_keys() -> None:
    import gc

    import hardware_specs.hosts
    import hardware_specs.sites  # noqa: F401
    import workloads.models.catalogue
    import workloads.runtimes.catalogue  # noqa: F401

    records = {each.record for each in gc.get_objects() if isinstance(each, Catalogue)}
    shown = {record for record, _ in keys.FILES.values()}
    assert len(records & shown) >= 8
    for record, _ in keys.FILES.values():
        section = keys._section("x", record, "##", "somewhere")
        names = {field.encode_name for field in msgspec.structs.fields(record)} - {"id"}
        assert set(re.findall(r"^\| `(\w+)`", section, re.M)) == names


def test_kinds_in_words() -> None:
    class Some(msgspec.Struct):
        """``a`` is a number.

        Args:
            b: what it is.
        """

        a: float
        b: tuple[str, ...] = ("x", "y")
        c: dict[str, int] | None = None

    rows = keys._section("Some", Some, "##").splitlines()
    assert "| `a` | number | needed |" in rows
    assert "| `b` | list of text | `x`, `y` |" in rows
    assert "| `c` | table of whole number |  |" in rows
    assert "- `b`: what it is." in rows


def test_every_key_of_a_scenario_file_is_on_its_page() -> None:
    page = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("scenario_files.md", "placement.md"))
    known = [each for each in vars(scenario_tables).values() if isinstance(each, type)]
    tables = [each for each in known if issubclass(each, msgspec.Struct)]
    names = {field.encode_name for table in tables for field in msgspec.structs.fields(table)}
    assert len(names) > 60
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()


def test_laws_have_equations_references_and_parameters() -> None:
    page = (DOCS / "laws.md").read_text(encoding="utf-8")
    for device_class in DEVICE_CLASSES:
        assert all(f"| `{each.name}` |" in page for each in law_of(device_class).parameters)
        for name in laws.FILES[device_class]:
            text = laws._doc(f"simulator.devices.{name}")
            assert text in page
            assert re.search(r"arXiv|doi|et al|\b(19|20)\d\d\b|Reference|Source", text), f"{name}: no reference"
    for each in laws.ELSEWHERE.values():
        assert all(laws._doc(module) in page for module in each.modules)


def test_every_law_has_its_measured_error_or_says_that_there_is_none() -> None:
    page = (DOCS / "laws.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert sections.keys() == {name.upper() for name in DEVICE_CLASSES} | laws.ELSEWHERE.keys() | {
        "Errors that calibrations carry"
    }
    for title in laws.ELSEWHERE:
        error = sections[title].split(laws.MEASURED)[1]
        assert re.search(r"\d%|`tests/[\w/]+\.py`|published claims|every operator|\| `h100` \|", error), title
        for path in re.findall(r"`(tests/[\w/]+\.py)`", error):
            assert (DOCS.parent / path).is_file(), path
    for name in DEVICE_CLASSES:
        assert len(re.findall(r"measured error|Measured error", sections[name.upper()])) >= 2
        assert re.search(r"^\| `\w+` \| \d+ \| published \|", sections[name.upper()], re.M)


def test_records_of_accuracy_are_shown_whole() -> None:
    page = (DOCS / "scores.md").read_text(encoding="utf-8")
    for name in (scores.PUBLISHED, scores.TABLES):
        groups = [group for group in scores.record(name) if group["kind"] in scores.KINDS]
        assert len(groups) > 10
        for group in groups:
            assert f"| {group['device_class']} | `{group['what']}`" in page
    assert len(re.findall(r"^\| (?:cpu|gpu|tpu|fpga|asic) \|", page, re.M)) == sum(
        group["kind"] in scores.KINDS for name in (scores.PUBLISHED, scores.TABLES) for group in scores.record(name)
    )


def test_every_public_name_is_on_the_page_of_python() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `silicost\.(\w+)`$", page, re.M) == [n for n in silicost.__all__ if n != "__version__"]
    for name in inspect.signature(one_pool).parameters:
        assert f"    {name}: " in page
    assert python_api.prose("Args:\n    a, b: what\n        goes on\n") == "*Arguments*\n\n- `a`, `b`: what\n  goes on"
