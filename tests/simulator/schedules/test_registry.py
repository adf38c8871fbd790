"""What there is of schedules, and what is said of those that cannot be cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware_specs.errors import InputError, UnknownName
from simulator.schedules import closed, registry
from simulator.schedules.actions import NONE, Action, Kind, program_of
from simulator.schedules.legality import check
from simulator.schedules.registry import code_of, names, program, refusal, schedule_of


def test_names() -> None:
    assert set(names()) >= {"gpipe", "1f1b", "interleaved", "zb-h1", "dualpipe", "zb-v"}
    assert [code_of(name) for name in names()] == list(range(len(names())))


@pytest.mark.parametrize("name", names())
def test_each_is_described(name: str) -> None:
    schedule = schedule_of(name)
    assert schedule.name == name and schedule.meaning and schedule.needs
    assert re.search(r"arXiv:\d{4}\.\d{5}", schedule.reference)
    assert schedule.order.__doc__


@pytest.mark.parametrize("name", names())
def test_what_a_program_holds(name: str) -> None:
    shown, schedule = program(name, 4, 8), schedule_of(name)
    assert (shown.name, shown.ranks, shown.micro_batches) == (name, 4, 8)
    held = np.bincount(shown.stage_of.ravel())
    assert (held == schedule.copies).all()
    assert bool(np.isin(shown.kinds, (Kind.I, Kind.W)).any()) == schedule.split
    assert (shown.kinds != NONE).any(axis=1).all()
    assert not shown.kinds.flags.writeable
    assert program(name, 4, 8) is shown


def test_where_stages_are() -> None:
    assert program("interleaved", 4, 8, 2).stage_of.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert program("zb-v", 4, 8).stage_of.tolist() == [[0, 7], [1, 6], [2, 5], [3, 4]]
    assert program("dualpipe", 4, 8).stage_of.tolist() == [[0, 3], [1, 2], [2, 1], [3, 0]]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ("interleaved", 4, 6, 2),
            "schedule interleaved: 4 ranks, 6 micro-batches, 2 chunks; interleaved needs 2 chunks",
        ),
        (("interleaved", 4, 8, 1), "interleaved needs 2 chunks or more"),
        (("dualpipe", 3, 8), "dualpipe needs an even number of ranks"),
        (("dualpipe", 4, 6), "dualpipe needs an even number of ranks, micro-batches even and twice the ranks"),
        (("zb-v", 4, 6), "zb-v needs micro-batches from 2 ranks - 1 on"),
        (("1f1b", 4, 8, 2), "2 chunks a rank; 1f1b has 1"),
        (("1f1b", 0, 8), "0 ranks; allowed: a whole number from 1 on"),
        (("1f1b", 4, 2.5), "2.5 micro-batches; allowed"),
        (("1f1b", True, 8), "True ranks; allowed"),
        (("1f1b", 10_000, 10_000), "more than 20,000,000 actions"),
    ],
)
def test_what_is_refused(asked: tuple[str, int, int], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        program(*asked)


def test_a_refusal_is_said_without_an_error() -> None:
    assert refusal("1f1b", 4, 8, 1) == ""
    assert "needs an even number" in refusal("dualpipe", 3, 8, 2)


def test_a_place_is_named() -> None:
    with pytest.raises(InputError, match=r"^plan.toml: schedule 1f1b: 0 ranks"):
        program("1f1b", 0, 1, place="plan.toml")
    with pytest.raises(UnknownName, match=r"plan.toml: unknown schedule '1f1'; did you mean '1f1b'\?"):
        program("1f1", 2, 2, place="plan.toml")


MINE = '''
from simulator.schedules.actions import Action, Kind
from simulator.schedules.registry import Schedule


def order(rank, ranks, micro_batches, chunks):
    """One micro-batch after the other."""
    return [Action(kind, 0, i) for i in range(micro_batches) for kind in (Kind.F, Kind.B)]


SCHEDULE = Schedule(name="one-by-one", meaning="none overlap", reference="none", order=order)
'''


@pytest.fixture
def with_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "schedule_mine.py").write_text(MINE)
    import simulator.schedules as package

    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    cached = (registry.schedules, closed.tables)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("with_mine")
def test_another_one_is_one_file() -> None:
    assert "one-by-one" in names()
    check(program("one-by-one", 3, 4))
    sizes = 2, 4, 1, 1.0, 1.0, 1.0
    assert np.isnan(closed.closed_total_s(code_of("one-by-one"), *sizes))
    assert float(closed.closed_total_s(code_of("1f1b"), *sizes)) == 15.0
    assert np.isnan(closed.closed_peak(code_of("one-by-one"), 2, 4, 1, 0))


def test_programs_of_ones_own() -> None:
    shown = program_of("mine", 1, [[0], [1]], [[Action(Kind.F, 0, 0), Action(Kind.B, 0, 0)]] * 2)
    assert shown.said(1, 0) == "F of micro-batch 0 on stage 1"
    assert shown.stage_count == 2
