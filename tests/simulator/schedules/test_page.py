"""The page about schedules: its example prints what it says, its table has every schedule."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from simulator.schedules.registry import names, schedule_of

PAGE = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text()


def test_the_example() -> None:
    code, quoted = re.findall(r"^```py\n(.*?)^```\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "schedules.md", "exec"), {})
    assert printed.getvalue() == quoted


def test_every_schedule_is_in_the_tables() -> None:
    described = re.findall(r"^\| `([\w-]+)` \| [^|]*\| [^|]*\| [^|]*\| (\d)x \|", PAGE, re.MULTILINE)
    assert {name: int(copies) for name, copies in described} == {name: schedule_of(name).copies for name in names()}
    paths = re.findall(r"^\| `([\w-]+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert {name: int(count) for name, count in paths} == {name: len(schedule_of(name).paths) for name in names()}
