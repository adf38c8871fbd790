"""Drawn timelines."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_specs.errors import InputError
from simulator.schedules.drawing import drawn
from simulator.schedules.registry import names, program
from simulator.schedules.timeline import run, seconds_of


def equal(name: str, p: int, m: int) -> str:
    shown = program(name, p, m)
    return drawn(run(shown, seconds_of(*np.ones((3, shown.stage_count)))))


def test_what_is_drawn() -> None:
    assert equal("zb-h1", 3, 4).splitlines() == [
        "FFF..IWFIWIWIW",
        ".FF.IFIWFIWIWW",
        "..FIFIFIWFIWWW",
    ]


@pytest.mark.parametrize("name", names())
def test_a_line_for_each_rank(name: str) -> None:
    lines = equal(name, 4, 8).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert all(set(line) <= set("FBIWfbiw.") for line in lines)


def test_width() -> None:
    timeline = run(program("1f1b", 2, 2), np.ones((4, 2)))
    assert {len(line) for line in drawn(timeline, 40).splitlines()} == {40}
    for wrong in (-1, 401):
        with pytest.raises(InputError, match=f"width {wrong}; allowed: 1 to 400"):
            drawn(timeline, wrong)
    assert drawn(run(program("1f1b", 2, 2), np.zeros((4, 2)))) == "\n"
