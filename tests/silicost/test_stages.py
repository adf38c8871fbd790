"""Stages as people ask for them."""

from __future__ import annotations

import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import training_scenario
from silicost.stages import read_stages, with_stages
from simulator.simulate import simulate


def test_numbers_and_balanced_stages() -> None:
    scenario = training_scenario("llama-3.1-8b", "h100-sxm-80gb", global_batch=64, seq_len=4096, tp=2, pp=4)
    assert with_stages(scenario, "") is scenario
    given = with_stages(scenario, "9,8, 8,7")
    assert given.pools[0].plan.stages == (9, 8, 8, 7)
    balanced = with_stages(scenario, "balanced")
    stages = balanced.pools[0].plan.stages
    assert sum(stages) == 32 and stages[-1] < stages[1]
    times = [simulate(each).metrics["step_time_s"] or 0.0 for each in (balanced, given, scenario)]
    assert times[0] < min(times[1:])


@pytest.mark.parametrize("text", ["balance", "8,8,x", "8;8", "-8,40", "8,,8", "8.0,8"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--stages .* allowed are layers of each stage"):
        read_stages(text)
