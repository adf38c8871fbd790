"""The page about memory of training: its example prints what it says, its table has every policy."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from workloads.lowering.recompute import MODULES, NUMBERED, WORDS

PAGE = (Path(__file__).parents[3] / "docs" / "training_memory.md").read_text()


def test_the_example() -> None:
    code, quoted = re.findall(r"^```py\n(.*?)^```\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "training_memory.md", "exec"), {})
    assert printed.getvalue() == quoted


def test_every_policy_is_in_the_table() -> None:
    told = re.findall(r"^\| `([^`]+)` \| [^|]* \| [^|]* \|$", PAGE, re.MULTILINE)
    assert told == [*WORDS, *(f"{name}:N" for name in NUMBERED), "modules:a,b"]
    parts = next(line for line in PAGE.splitlines() if line.startswith("| `modules:a,b`"))
    assert set(re.findall(r"`(\w+)`", parts)) == set(MODULES)
