"""The law behind the sliders: it is that of the result, and that of the simulator where this is linear."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import silicost
from reports.figures import what_if
from reports.scaled import AS_IS, Scales, joined, order_of, part_of, parts_of_phases, seconds
from simulator.result import OperatorCost, Result

TIMES = st.floats(1e-9, 1e3)
SCALES = st.floats(0.05, 20.0)


@cache
def simulated(device: str, path: str = "device.memory.bandwidth", value: str = "1x") -> Result:
    asked = silicost.inference_scenario("llama-3-8b", device, batch=4, isl=256, osl=32, changes={path: value})
    return silicost.simulate(asked)


def operator(compute_s: float, memory_s: float, link_s: float, overhead_s: float, time_s: float) -> OperatorCost:
    return OperatorCost(
        "x", "gemm", "gemm", "d", 1.0, 1.0, 1.0, time_s, compute_s, memory_s, link_s, overhead_s, 0.0, ""
    )


@given(TIMES, TIMES, st.floats(1.0, 30.0))
def test_the_order_is_found_from_the_whole(one: float, other: float, order: float) -> None:
    whole = joined(one, other, order)
    assert max(one, other) <= whole <= (one + other) * (1.0 + 1e-12)
    assert joined(one, other, order_of(one, other, whole)) == pytest.approx(whole, rel=1e-9)


@given(TIMES, TIMES, TIMES, TIMES, st.floats(0.5, 3.0))
def test_at_scales_of_one_an_operator_takes_what_the_result_says(
    compute: float, memory: float, link: float, overhead: float, stretch: float
) -> None:
    whole = stretch * max(compute, memory) + link + overhead
    part = part_of("step", operator(compute, memory, link, overhead, whole))
    assert part.at(AS_IS) == pytest.approx(whole, rel=1e-9)


@given(TIMES, TIMES, TIMES, TIMES, st.floats(1.0, 2.0), SCALES, SCALES)
def test_faster_hardware_is_never_slower(
    compute: float, memory: float, link: float, overhead: float, stretch: float, one: float, other: float
) -> None:
    part = part_of("step", operator(compute, memory, link, overhead, stretch * max(compute, memory) + link + overhead))
    low, high = sorted((one, other))
    for slow, fast in (
        (Scales(memory=low), Scales(memory=high)), (Scales(compute=low), Scales(compute=high)),
        (Scales(link=low), Scales(link=high)),
    ):  # fmt: skip
        assert part.at(fast) <= part.at(slow) * (1.0 + 1e-12)
        assert part.at(fast) >= overhead


def test_a_maximum_stays_a_maximum() -> None:
    """time = max of resources + overhead, and a total is the sum of its operators."""
    parts = [part_of("p", operator(2.0, 1.0, 0.0, 0.5, 2.5)), part_of("p", operator(1.0, 4.0, 0.0, 0.0, 4.0))]
    assert seconds(parts) == 6.5
    assert seconds(parts, Scales(memory=4.0)) == (2.0 + 0.5) + 1.0
    assert seconds(parts, Scales(memory=0.25)) == (4.0 + 0.5) + 16.0


@pytest.mark.parametrize(("device", "off"), [("epyc-9654", 1e-3), ("alveo-v80", 1e-3), ("a100-sxm-80gb", 1e-2)])
@pytest.mark.parametrize("scale", [0.5, 1.25, 2.0])
def test_it_is_what_simulating_the_changed_device_says(device: str, off: float, scale: float) -> None:
    """Laws of CPUs and FPGAs are linear in their parts; that of a GPU fills its multiprocessors by bandwidth too."""
    now, then = simulated(device), simulated(device, value=f"{scale}x")
    parts = parts_of_phases(now.phases)
    stretches = what_if.stretches_of(now, parts)
    shown = {each.name: each for each in what_if.metrics_of(now, stretches)}
    assert {"ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s"} <= set(shown)
    for name in ("ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s"):
        got = what_if.value_at(shown[name], stretches, parts, Scales(memory=scale))
        assert got == pytest.approx(then.metrics[name], rel=off), name


def test_as_it_stands_every_metric_is_that_of_the_result(one: Result) -> None:
    parts = parts_of_phases(one.phases)
    stretches = what_if.stretches_of(one, parts)
    for each in what_if.metrics_of(one, stretches):
        assert what_if.value_at(each, stretches, parts, AS_IS) == pytest.approx(one.metrics[each.name], rel=1e-12)


def test_price_changes_dollars_alone() -> None:
    run = what_if.run_of(simulated("h100-sxm-80gb"))
    assert any(each.how == "usd" for each in run.shown)
    for each in run.shown:
        got = what_if.value_at(each, run.stretches, run.parts, AS_IS, price=3.0)
        assert got == pytest.approx(each.value * (3.0 if each.how == "usd" else 1.0))


def test_electricity_of_owned_devices_is_no_part_of_their_price() -> None:
    """The dollars are those of the device bought for twice as much."""
    now, then = simulated("epyc-9654"), simulated("epyc-9654", "device.price.purchase", "2x")
    run = what_if.run_of(now)
    (usd,) = (each for each in run.shown if each.how == "usd")
    got = what_if.value_at(usd, run.stretches, run.parts, AS_IS, price=2.0)
    assert got == pytest.approx(then.metrics[usd.name], rel=1e-9)
    assert got < 1.9 * usd.value


def test_no_price_slider_where_the_share_of_devices_is_not_known(one: Result) -> None:
    run = what_if.run_of(one)
    assert any(each.how == "usd" for each in run.shown)
    assert "price" not in [knob.name for knob in what_if.knobs_of(one, run.parts, run.shown)]


def test_knobs_are_those_that_change_something(one: Result) -> None:
    parts = parts_of_phases(one.phases)
    shown = what_if.metrics_of(one, what_if.stretches_of(one, parts))
    knobs = {knob.name: knob for knob in what_if.knobs_of(one, parts, shown)}
    assert "link" not in knobs
    assert knobs["memory"].now == 3.35e12
    assert math.isfinite(knobs["compute"].now or math.nan)


def test_several_results_or_pools_have_no_sliders(seven: list[Result]) -> None:
    assert what_if.applies(seven[:1])
    assert not what_if.applies(seven[:2])
    assert not what_if.applies(seven[-1:])
    assert not what_if.applies([msgspec.structs.replace(seven[0], phases=())])


def test_the_still_form_asks_one_thing_at_a_time(one: Result) -> None:
    drawn = what_if.draw_static([one])
    assert "Memory bandwidth × 2" in drawn
    assert drawn.count('<th scope="row">') == 1 + len(
        what_if.knobs_of(one, parts_of_phases(one.phases), what_if.metrics_of(
            one, what_if.stretches_of(one, parts_of_phases(one.phases)))))  # fmt: skip


def test_batches_start_from_what_was_simulated(one: Result, inference_of: Callable[[int], Result]) -> None:
    others = tuple(inference_of(batch) for batch in (16, 2))
    runs = what_if.runs_of(msgspec.structs.replace(one, nearby=others))
    assert [run.batch for run in runs] == [2, 8, 16]
    for run, result in zip(runs, (others[1], one, others[0]), strict=True):
        for each in run.shown:
            got = what_if.value_at(each, run.stretches, run.parts, AS_IS)
            assert got == pytest.approx(result.metrics[each.name], rel=1e-12)


def test_the_slider_of_batches_stands_where_there_are_some(one: Result, inference_of: Callable[[int], Result]) -> None:
    several = msgspec.structs.replace(one, nearby=(inference_of(2), inference_of(16)))
    assert 'id="knob-batch"' not in what_if.draw([one])
    assert 'data-knob="batch" min="0" max="2" step="1" value="1"' in what_if.draw([several])
    assert "Batch 16" in what_if.draw_static([several])
    assert "Batch 8" not in what_if.draw_static([several])
    other = msgspec.structs.replace(several.nearby[0], metrics={"ttft_s": 1.0, "e2e_s": 2.0})
    assert len(what_if.runs_of(msgspec.structs.replace(one, nearby=(other,)))) == 1
