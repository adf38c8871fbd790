"""The search for the highest rate that holds: brackets, what is judged, what an overload is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simulator.serving import capacity
from simulator.serving.capacity import broken, fewest, highest_rate, judged, run_s, saturated_rate
from simulator.serving.slo import parse_slo

Rows = dict[str, npt.NDArray[Any]]


def below(bound: float) -> capacity.Judge:
    return lambda rate: ("ttft@p99",) if rate > bound else ()


@pytest.mark.parametrize("guess", [0.6, 0.9, 3.7, 4.0, 250.0])
@pytest.mark.parametrize("bound", [0.1, 3.7, 40.0])
def test_the_bracket_holds_the_bound(guess: float, bound: float) -> None:
    found = highest_rate(below(bound), guess)
    assert found.rate_per_s <= bound < found.above_per_s <= found.rate_per_s * (1.0 + capacity.TOLERANCE) * (1 + 1e-12)
    assert (found.binds, found.reversals) == (("ttft@p99",), ())
    assert len(found.trials) < 24


def test_nothing_holds_and_everything_does() -> None:
    nothing = highest_rate(lambda rate: ("tpot@p90",), 5.0)
    assert (nothing.rate_per_s, nothing.binds) == (0.0, ("tpot@p90",))
    everything = highest_rate(lambda rate: (), 5.0)
    assert everything.rate_per_s > 500.0
    assert (everything.above_per_s, everything.binds) == (math.inf, ())


def test_rates_below_that_break_are_told() -> None:
    found = highest_rate(lambda rate: ("e2e@p99",) if 4.0 < rate < 6.0 or rate > 10.0 else (), 9.9)
    assert found.rate_per_s == pytest.approx(10.0, rel=0.011)
    assert [trial.rate_per_s for trial in found.reversals] == [pytest.approx(0.5 * found.rate_per_s)]


@pytest.mark.parametrize("guess", [1, 6, 7, 8, 30, 900])
@pytest.mark.parametrize("needed", [1, 2, 7, 29, 30, 800, 1000])
def test_the_fewest(guess: int, needed: int) -> None:
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number >= needed

    assert fewest(holds, guess, 1000) == needed
    assert len(asked) == len(set(asked)) <= 24
    assert set(asked) <= set(range(1, 1001))


def test_the_fewest_of_none() -> None:
    assert fewest(lambda number: False, 3, 9) is None


def test_a_saturated_server() -> None:
    assert saturated_rate(np.arange(1.0, 1001.0) / 8.0) == pytest.approx(8.0)
    assert saturated_rate(np.array([np.nan, 2.0])) == 0.5
    assert saturated_rate(np.array([np.nan])) == 0.0


def test_how_long_a_run_lasts() -> None:
    assert run_s({"": parse_slo("ttft=500ms,tpot=50ms")}, 1.0) == 50.0
    assert run_s({"": parse_slo("ttft=500ms,tpot=50ms")}, 10.0) == 200.0
    assert run_s({"": parse_slo("tpot=50ms")}, 10.0) == 1000.0
    assert run_s({"a": parse_slo("e2e=30s"), "b": None}, 10.0) == 3000.0


def rows_of(count: int = 1000, rate: float = 10.0, wait_s: npt.ArrayLike = 0.1, answer_s: float = 1.0) -> Rows:
    arrival_s = np.arange(count) / rate
    queue_s = np.broadcast_to(np.asarray(wait_s, float), (count,)).copy()
    return {
        "arrival_s": arrival_s, "queue_s": queue_s, "ttft_s": queue_s + 0.05, "tpot_s": np.full(count, 0.02),
        "e2e_s": queue_s + answer_s, "completed": np.ones(count, np.bool_),
    }  # fmt: skip


def slos(text: str) -> dict[str, Any]:
    return {"": parse_slo(text)}


def test_both_ends_of_a_run_are_left_out() -> None:
    found = judged(rows_of(1000))
    assert (len(found["arrival_s"]), found["arrival_s"][0], found["arrival_s"][-1]) == (850, 10.0, 94.9)
    mixed = {name: values[::-1] for name, values in rows_of(1000).items()}
    np.testing.assert_array_equal(judged(mixed)["arrival_s"], found["arrival_s"])


def test_each_half_must_hold() -> None:
    late = rows_of(1000, wait_s=np.where(np.arange(1000) < 985, 0.1, 9.0))
    assert broken(late, slos("ttft=200ms@p98,e2e=1h")) == ("ttft@p98",)
    assert broken(late, slos("ttft=200ms@p98,e2e=1h"), halves=False) == ()
    assert broken(late, slos("ttft=200ms@p95,e2e=1h")) == ()


def test_what_has_no_answer_breaks_every_bound() -> None:
    rows = rows_of(1000)
    rows["completed"][::40] = False
    for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s"):
        rows[name][::40] = np.nan
    assert broken(rows, slos("ttft=200ms@p99")) == ("rejected",)
    assert broken(rows, slos("ttft=200ms@p95")) == ()


def test_what_has_no_answer_counts_beside_what_is_late() -> None:
    rows = rows_of(1000)
    rows["completed"][::25] = False
    for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s"):
        rows[name][::25] = np.nan
    rows["ttft_s"][1::50] = 9.0
    assert broken(rows, slos("ttft=200ms@p95")) == ("ttft@p95",)
    assert broken(rows, slos("ttft=200ms@p93")) == ()


def test_an_answer_of_one_token_has_no_gap() -> None:
    rows = rows_of(1000)
    rows["tpot_s"][:] = np.nan
    assert broken(rows, slos("tpot=1ms@p99,e2e=2s")) == ()


@pytest.mark.parametrize(("overload", "grows"), [(0.0, False), (0.01, False), (0.05, True)])
def test_a_queue_that_no_bound_sees(overload: float, grows: bool) -> None:
    rng = np.random.default_rng(1)
    count = 4000
    wait_s = 2.0 + overload * np.arange(count) / 10.0 + rng.exponential(0.5, count)
    rows = rows_of(count, 10.0, wait_s)
    assert broken(rows, slos("tpot=50ms@p90")) == (("overload",) if grows else ())
    assert broken(rows, slos("tpot=50ms@p90"), halves=False) == ()


def test_an_overload_breaks_the_bound_of_a_run_that_is_long_enough() -> None:
    slo = slos("ttft=500ms@p99,tpot=50ms@p90")
    lasts_s = run_s(slo, 1.0)
    for overload, found in ((0.005, ()), (0.012, ("ttft@p99",))):
        arrival_s = np.arange(int(lasts_s * 100.0)) / 100.0
        rows = judged(rows_of(len(arrival_s), 100.0, overload * arrival_s))
        assert broken(rows, slo) == found


def test_tenants_have_their_own() -> None:
    rows = rows_of(1000)
    rows["tenant"] = np.arange(1000) % 2
    rows["ttft_s"] = np.where(rows["tenant"] == 1, 0.3, 0.1)
    both = {"fast": parse_slo("ttft=200ms"), "slow": parse_slo("ttft=400ms")}
    assert broken(rows, both) == ()
    assert broken(rows, {"slow": both["slow"], "fast": both["fast"]}) == ("fast: ttft@p99",)
    assert broken(rows, {"one": None, "other": None}) == ()
