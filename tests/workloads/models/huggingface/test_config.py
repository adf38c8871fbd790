"""Checked access to the keys of a config."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from workloads.models.huggingface.config import Config, open_config

C = Config("m/config.json", {"n": 4, "flag": True, "word": "gelu", "gone": None, "list": [1, 2], "in": {"k": 1.5}})


def test_values_spellings_and_defaults() -> None:
    assert C.whole("n") == C.whole("other", "n") == 4
    assert C.whole("gone", "n") == 4
    assert C.whole("none", default=7) == C.whole("gone", default=7) == 7
    assert C.flag("flag", False) is True
    assert C.flag("gone", True) is True
    assert C.text("word") == "gelu"
    assert C.wholes("list", 2) == [1, 2]
    assert C.wholes("gone", 2) is None
    assert C.words("gone", 2, ("a",)) is None
    assert C.has("n")
    assert not C.has("gone")
    assert C.section("none").values == {}


def test_defaults_fill_what_is_absent_or_null() -> None:
    filled = C.filled({"n": 9, "gone": 3, "new": 1})
    assert (filled.whole("n"), filled.whole("gone"), filled.whole("new")) == (4, 3, 1)


@pytest.mark.parametrize(
    ("ask", "fragment"),
    [
        (lambda: C.whole("m"), "m/config.json: m is missing; allowed: a whole number from 1"),
        (lambda: C.whole("m", "p"), "m (or p) is missing"),
        (lambda: C.whole("flags"), "the nearest key there is 'flag'"),
        (lambda: C.whole("flag"), "flag is true; allowed: a whole number"),
        (lambda: C.whole("n", least=5), "n is 4; allowed: a whole number from 5"),
        (lambda: C.whole("n", most=3), "n is 4; allowed: a whole number from 1 to 3"),
        (lambda: C.flag("n", False), "n is 4; allowed: true or false"),
        (lambda: C.text("n"), "n is 4; allowed: text"),
        (lambda: C.wholes("list", 3), "allowed: a list of 3 whole numbers"),
        (lambda: C.wholes("list", 2, least=2), "list is [1, 2]"),
        (lambda: C.words("list", 2, ("a", "b")), "out of a, b"),
        (lambda: C.section("n"), "n is 4; allowed: an object"),
        (lambda: C.section("in").whole("k"), "m/config.json: in.k is 1.5; allowed: a whole number"),
        (lambda: Config("f", {"long": "x" * 200}).flag("long", True), "..."),
    ],
)
def test_errors_name_place_value_and_what_is_allowed(ask: object, fragment: str) -> None:
    with pytest.raises(InputError) as caught:
        ask()  # type: ignore[operator]
    assert fragment in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"{", "not JSON"),
        (b"[1, 2]", "holds list; allowed: a JSON object"),
        (b'{"n": NaN}', "NaN is no JSON number"),
        (b'{"n": -Infinity}', "-Infinity is no JSON number"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not JSON that can be read"),
    ],
)
def test_files_that_are_no_config(content: bytes, fragment: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_config(path)
    assert fragment in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        open_config(tmp_path / "config.json")
