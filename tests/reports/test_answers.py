"""The sentence on top of a page of results."""

from __future__ import annotations

import msgspec

from reports.answers import answer_of
from simulator.result import Interval, Result


def scaled(result: Result, factor: float, device: str) -> Result:
    """``result`` with another rate, and an interval of 1% around it."""
    rate = (result.metrics["output_tokens_per_s"] or 0.0) * factor
    narrow = Interval(0.98 * rate, 0.99 * rate, 1.01 * rate, 1.02 * rate)
    pool = msgspec.structs.replace(result.pools[0], device=device)
    return msgspec.structs.replace(
        result, metrics={"output_tokens_per_s": rate}, intervals={"output_tokens_per_s": narrow}, pools=(pool,)
    )


def test_one_result_says_its_first_numbers_and_its_memory(one: Result) -> None:
    said = answer_of([one])
    assert said.startswith("Output throughput ")
    assert ". It fits in " in said
    assert "decode is memory-bound" in said


def test_the_best_is_sure_only_where_intervals_are_apart(one: Result) -> None:
    assert answer_of([scaled(one, 1.0, "a"), scaled(one, 2.0, "b")]).startswith("Most output: b, ")
    assert answer_of([scaled(one, 1.0, "a"), scaled(one, 1.005, "b")]).startswith("Most output: probably b, ")


def test_what_does_not_fit_is_named_and_never_best(one: Result) -> None:
    unfit = msgspec.structs.replace(scaled(one, 9.0, "c"), fits=False)
    said = answer_of([scaled(one, 1.0, "a"), scaled(one, 2.0, "b"), unfit])
    assert said.startswith("Most output: b, ")
    assert said.endswith("Not enough memory: c.")
    assert answer_of([]) == ""
