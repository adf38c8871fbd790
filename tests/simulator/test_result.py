"""Words of results."""

from __future__ import annotations

import msgspec

from simulator.result import UNSAID, plan_in_words
from simulator.scenario import Plan


def test_what_plans_leave_unsaid_is_usual() -> None:
    plan = msgspec.structs.asdict(Plan())
    assert {name: plan[name] for name in UNSAID} == UNSAID
    assert plan_in_words(plan) == "tp 1, pp 1, dp 1, ep 1, micro_batch 1, recompute none"
    assert plan_in_words(plan | {"zero": 3, "stages": [4, 5]}).endswith("recompute none, zero 3, stages [4, 5]")
