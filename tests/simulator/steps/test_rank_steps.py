"""Pipeline ranks that a result carries for pictures: the numbers of the memory timeline, and no others."""

from __future__ import annotations

import msgspec
import pytest

from silicost.scenarios import training_scenario
from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.steps import rank_steps
from simulator.steps.memory_timeline import memory_timeline
from simulator.timeline import Timeline


def scenario(**plan: int) -> Scenario:
    ways = {"tp": 2, "pp": 2, "dp": 1, **plan}
    return training_scenario("llama-3.2-1b", "h100-sxm-80gb", global_batch=8, seq_len=1024, **ways)


def without_timeline(result: Result) -> Result:
    return msgspec.structs.replace(result, timeline=Timeline(()))


def test_ranks_hold_what_the_memory_timeline_says() -> None:
    asked = scenario()
    result = simulate(asked, timeline=True)
    found = memory_timeline(prepare(asked), asked.workload)  # type: ignore[arg-type]
    assert len(result.timeline.ranks) == 2
    for rank, carried in enumerate(result.timeline.ranks):
        assert max(carried.sizes_bytes) == pytest.approx(found.peak_bytes[rank])
        assert carried.sizes_bytes[0] == pytest.approx(carried.fixed)
        assert len(carried.actions) == 16
        assert {each.micro_batch for each in carried.actions} == set(range(8))
    assert max(max(rank.sizes_bytes) for rank in result.timeline.ranks) == pytest.approx(result.memory.total)


def test_what_is_carried_changes_no_number() -> None:
    asked = scenario()
    assert without_timeline(simulate(asked, timeline=True)) == simulate(asked)


def test_a_step_of_too_many_actions_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_steps, "MOST_ACTIONS", 31)
    assert simulate(scenario(), timeline=True).timeline.ranks == ()
