"""What pages say that work costs, of results as the simulator makes them: parts sum to metrics, marks are of prices."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from reports.bills import ELECTRICITY, bills_of
from silicost.scenario_file import load_scenario
from silicost.scenarios import inference_scenario, training_scenario
from simulator.result import Result
from simulator.simulate import simulate

COSTS = ("usd_per_million_output_tokens", "usd_per_step")
SHIPPED = (
    "prefill-gpu-decode-tpu",
    "moe-experts-on-cpu",
    "two-devices",
    "gpt-train-gpu-infer-tpu",
    "train-h100-mi300x",
)
PIPELINED = {"count": 16, "tp": 4, "pp": 4, "dp": 1, "micro_batch": 1}
SHARDED: dict[str, Any] = {"count": 8, "tp": 1, "dp": 8, "micro_batch": 1, "zero": 3}


@cache
def result_of(name: str) -> Result:
    if name in SHIPPED:
        return simulate(load_scenario(name)[0])
    if name in ("xeon-8480-plus", "l4"):
        return simulate(inference_scenario("llama-3.2-1b", name, isl=128, osl=16, batch=1))
    device, plan = ("gaudi-3", SHARDED) if name == "owned trainer" else ("h100-sxm-80gb", PIPELINED)
    return simulate(training_scenario("llama-3.1-8b", device, global_batch=16, seq_len=2048, **plan))


NAMES = (*SHIPPED, "xeon-8480-plus", "l4", "owned trainer", "pipelined trainer")


@pytest.mark.parametrize("name", NAMES)
def test_every_cost_of_a_result_has_parts_that_sum_to_it(name: str) -> None:
    result = result_of(name)
    known = {cost: value for cost in COSTS if (value := result.metrics.get(cost)) is not None}
    assert known
    assert {bill.metric: bill.usd for bill in bills_of(result)} == pytest.approx(known, rel=1e-9)
    assert all(piece.usd > 0.0 for bill in bills_of(result) for piece in bill.pieces)


@pytest.mark.parametrize("name", NAMES)
def test_marks_of_prices_are_those_of_the_provenance(name: str) -> None:
    result = result_of(name)
    marks = {row.what.removeprefix("price of "): (row.value, row.mark) for row in result.provenance}
    for bill in bills_of(result):
        assert bill.prices
        assert all(marks[price.what] == (price.value, price.mark) for price in bill.prices)
        owned = [price for price in bill.prices if "(purchase)" in price.what]
        assert any(piece.name == ELECTRICITY for piece in bill.pieces) is bool(owned)
        assert all(price.mark == "assumed" for price in owned)


def test_the_bubble_costs_its_share_of_the_step() -> None:
    result = result_of("pipelined trainer")
    (bill,) = bills_of(result)
    bubble = sum(piece.usd for piece in bill.pieces if piece.name == "pipeline bubble")
    step_s = result.metrics["step_time_s"]
    assert step_s
    assert bubble == pytest.approx(bill.usd * result.breakdown["bubble"] / step_s, rel=1e-3)
    for family, name in (("gemm", "matrix products"), ("optimizer", "optimizer"), ("collective", "collectives")):
        own = sum(piece.usd for piece in bill.pieces if piece.name == name)
        assert own == pytest.approx(bill.usd * result.breakdown[family] / step_s, rel=2e-3)
