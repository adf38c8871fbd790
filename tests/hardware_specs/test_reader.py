"""The TOML reader takes good files whole and says place, value and what is allowed of bad ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hardware_specs.errors import InputError, UnitError
from hardware_specs.facts import Fit, Mark
from hardware_specs.reader import read_record
from hardware_specs.records import DeviceSpec, LinkSpec, SystemSpec

LINK = """
name = "A link"
category = "host"
bandwidth = { value = "10 GB/s", source = "maker" }
latency = { value = "1 us", assumed = "as another" }
achieved_fraction = { value = 0.9, calibrated = "copies" }
[fits.copies]
sources = ["my_copies"]
devices = ["one-gpu"]
rows = 12
rule = "median of large copies"
date = "2026-11-25"
[sources]
maker = { cite = "data sheet", date = "2026-11-24" }
"""


def read_link(folder: Path, text: str) -> LinkSpec:
    path = folder / "my-link.toml"
    path.write_text(text)
    return read_record(path, LinkSpec)


def test_a_good_file_keeps_marks_origins_and_dates(tmp_path: Path) -> None:
    link = read_link(tmp_path, LINK)
    assert link.id == "my-link"
    assert link.bandwidth.value == 10e9 and link.bandwidth.text == "10 GB/s"
    assert (link.bandwidth.mark, link.bandwidth.origin, link.bandwidth.date) == (
        Mark.SOURCED, "data sheet", "2026-11-24",
    )  # fmt: skip
    assert (link.latency.mark, link.latency.origin) == (Mark.ASSUMED, "as another")
    fraction = link.achieved_fraction
    assert (fraction.mark, fraction.origin, fraction.date) == (
        Mark.CALIBRATED, "median of large copies", "2026-11-25",
    )  # fmt: skip
    assert fraction.fit == Fit("copies", ("my_copies",), "median of large copies", "2026-11-25", ("one-gpu",), 12)
    assert link.bandwidth.fit is link.latency.fit is None


def test_a_fit_covers_its_tables_and_devices() -> None:
    fit = Fit("f", ("a", "b"), "rule", "2026-11-25", ("x",))
    assert fit.covers("b", "x")
    assert not fit.covers("b", "y")
    assert not fit.covers("c", "x")
    assert msgspec.structs.replace(fit, devices=()).covers("a", "y"), "no devices named: all of them"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "bandwidth =",
            "bandwith =",
            ["my-link.toml: bandwith", "unknown key", "did you mean 'bandwidth'?"],
        ),
        ('category = "host"', 'category = "hots"', ["category", "'hots' is not allowed", "'host'", "scale-out"]),
        ('name = "A link"', "name = 3", ["my-link.toml: name", "must be text", "3"]),
        ('"10 GB/s"', '"10 GiW"', ["my-link.toml: bandwidth", "unknown unit 'GiW'", "3.35 TB/s"]),
        ('"10 GB/s"', '"10 W"', ["is a power, not a bandwidth"]),
        ('"10 GB/s"', "10", ["10 has no unit"]),
        ('"10 GB/s"', '"0 GB/s"', ["'0 GB/s' must be positive"]),
        ('"1 us"', '"-1 us"', ["must be zero or more"]),
        ("{ value = 0.9,", "{ value = nan,", ["achieved_fraction", "not a finite number"]),
        ('{ value = "10 GB/s", source = "maker" }', '"10 GB/s"', ["bandwidth", "must be { value", "'10 GB/s'"]),
        (', source = "maker"', "", ["bandwidth", "exactly one of source, assumed, calibrated", "it has none"]),
        ('source = "maker"', 'source = "maker", assumed = "x"', ["exactly one", "it has source and assumed"]),
        ('source = "maker"', 'source = "makr"', ["bandwidth.source", "'makr'", "did you mean 'maker'?"]),
        ('source = "maker"', 'sauce = "maker"', ["bandwidth.sauce", "unknown key", "did you mean 'source'?"]),
        ('value = "10 GB/s", ', "", ["bandwidth", "missing key 'value'"]),
        ('assumed = "as another"', 'assumed = " "', ["latency.assumed", "must say where the number comes from"]),
        (
            'calibrated = "copies"',
            'calibrated = "by eye"',
            ["fraction.calibrated", "no key of [fits]", "there: copies"],
        ),
        ('calibrated = "copies"', 'calibrated = "maker"', ["fraction.calibrated", "no key of [fits]"]),
        ('source = "maker"', 'source = "copies"', ["bandwidth.source", "no key of [sources]"]),
        ("[fits.copies]", "[fits.maker]", ["'maker' is a key of [sources] and of [fits]"]),
        ('rule = "median of large copies"', "", ["fits.copies", "missing key 'rule'"]),
        ("rows = 12", "rows = 1.5", ["fits.copies.rows", "must be a whole number"]),
        (', date = "2026-11-24"', "", ["sources.maker", "missing key 'date'"]),
        ('name = "A link"\n', "", ["my-link.toml", "missing key 'name'"]),
        ('name = "A link"', 'name = "A link', ["my-link.toml", "not valid TOML", "line"]),
    ],
)
def test_errors_say_place_value_and_what_is_allowed(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in LINK
    with pytest.raises(InputError) as caught:
        read_link(tmp_path, LINK.replace(old, new))
    for word in words:
        assert word in str(caught.value)


def test_errors_of_units_are_input_errors() -> None:
    assert issubclass(UnitError, InputError)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        read_record(tmp_path / "none.toml", LinkSpec)
    (tmp_path / "bad.toml").write_bytes(b"name = '\xff\xfe'")
    with pytest.raises(InputError, match="not UTF-8"):
        read_record(tmp_path / "bad.toml", LinkSpec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compute = 3\nmemory = {}", "compute: must be a table, not 3"),
        ("compute = { peaks = 3 }", "compute.peaks: must be a table, not 3"),
        ('year = "2022"', "year: must be a whole number, not '2022'"),
        ("year = true", "year: must be a whole number"),
    ],
)
def test_nested_records_name_the_whole_path(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_record(tmp_path / "d.toml", DeviceSpec)


def test_lists_name_the_index(tmp_path: Path) -> None:
    group = '[[groups]]\ndevice = "x"\ncount = {}\nlink = "l"\ntopology = "switch"\n'
    (tmp_path / "s.toml").write_text('name = "s"\nhost_link = "l"\n' + group.format(2) + group.format('"two"'))
    with pytest.raises(InputError, match=r"groups\[1\].count: must be a whole number, not 'two'"):
        read_record(tmp_path / "s.toml", SystemSpec)
    (tmp_path / "s.toml").write_text('name = "s"\nhost_link = "l"\ngroups = 3\n')
    with pytest.raises(InputError, match="groups: must be a list, not 3"):
        read_record(tmp_path / "s.toml", SystemSpec)
