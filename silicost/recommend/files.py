"""Workload files: TOML of the questions that are asked together.

    [[workload]]
    name = "chat"
    model = "llama-3.1-8b"
    isl = 1024
    osl = 256
    slo = "ttft_s<0.5,tpot_s<0.05"
    objective = "usd"

Keys are the flags of ``silicost recommend``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hardware_specs.errors import InputError
from hardware_specs.reader import read_toml
from silicost.recommend.question import Question, question_of

MOST: Final = 64
"""Questions of a file at most."""


def load_questions(path: Path, flags: Mapping[str, Any]) -> tuple[Question, ...]:
    """The questions of a file; flags hold for each of them that does not say otherwise.

    Raises:
        InputError: a broken file, no question, or one that cannot be.
    """
    tables = read_toml(path)
    rows = tables.get("workload")
    if set(tables) != {"workload"} or not isinstance(rows, list) or not 1 <= len(rows) <= MOST:
        raise InputError(f"{path.name}: must hold [[workload]] tables, 1 to {MOST} of them, and nothing else")
    if any(not isinstance(row, dict) for row in rows):
        raise InputError(f"{path.name}: workload: must be tables")
    return tuple(
        question_of({**flags, **row}, f"{path.name}: workload[{number}]") for number, row in enumerate(rows, start=1)
    )
