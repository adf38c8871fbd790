"""Goodput of whole jobs."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from hardware_specs.reliability import load_reliability
from simulator.goodput.checkpoints import Checkpoint
from simulator.goodput.goodput import Goodput, Recovery, goodput_of, parse_interval
from simulator.goodput.maxima import expected_maximum
from simulator.goodput.pipelines import Pipelines
from simulator.goodput.slowdown_words import parse_slowdown
from simulator.goodput.slowdowns import LogNormal

SAVED = Checkpoint(bytes=5.67e12, node_bytes_per_s=2e9, storage_bytes_per_s=2e11)


def job(devices: int = 4096, *, steps: int = 100_000, words: str = "", **more: object) -> Goodput:
    straggler = parse_slowdown(words) if words else None
    asked = {"checkpoint": SAVED, "straggler": straggler, "runs": 400, **more}
    return goodput_of(6.0, devices, "h100", steps=steps, **asked)  # type: ignore[arg-type]


@given(
    devices=st.sampled_from([8, 512, 4096, 16384]), steps=st.integers(1, 500_000), spares=st.sampled_from([None, 0, 4])
)
@settings(max_examples=25, deadline=None)
def test_useful_and_lost_time_are_the_wall_time(devices: int, steps: int, spares: int | None) -> None:
    found = job(devices, steps=steps, words="lognormal:sigma=0.02", recovery=Recovery(spares=spares), runs=20)
    assert found.useful_s + found.lost.total_s == pytest.approx(found.wall_s)
    assert 0.0 < found.goodput <= 1.0
    assert found.wall_p10_s <= found.wall_p90_s
    assert {type(value) for value in vars(found).values()} <= {int, float, bool, type(found.lost)}
    assert {type(value) for value in vars(found.lost).values()} == {float}


def test_drawn_runs_have_the_expected_mean() -> None:
    found = job(runs=3000)
    assert found.wall_drawn_s == pytest.approx(found.wall_s, rel=0.002)
    assert found.wall_p10_s < found.wall_s < found.wall_p90_s


def test_more_devices_have_less_goodput() -> None:
    shares = [job(n).goodput for n in (64, 512, 4096, 16384, 65536)]
    assert shares == sorted(shares, reverse=True)


def test_the_best_interval_is_the_exact_optimum_in_whole_steps() -> None:
    found = job()
    assert found.interval_s == pytest.approx(found.optimal_s, abs=6.0)
    assert found.interval_s == 6.0 * found.interval_steps
    for by in (0.3, 0.7, 1.5, 4.0):
        assert job(interval_s=by * found.optimal_s).wall_s > found.wall_s


def test_an_interval_is_rounded_to_whole_steps() -> None:
    assert job(interval_s=1801.0).interval_steps == 300
    assert job(interval_s=0.1).interval_steps == 1
    assert job(steps=50, interval_s=1e9).interval_steps == 50


def test_short_runs_save_once() -> None:
    found = job(8, steps=10)
    assert found.interval_steps == 10
    assert found.lost.checkpoint_s == pytest.approx(found.stall_s)


def test_an_mtbf_of_ones_own_replaces_the_facts() -> None:
    assert job(mtbf_s=4.096e7).job_mtbf_s == 1e4
    assert job(mtbf_s=4.096e7).interruptions == pytest.approx(job(mtbf_s=4.096e7).wall_s / 1e4, rel=0.1)


def test_asynchronous_checkpoints_stop_less_and_are_not_closer_than_their_writes() -> None:
    saved = saved_as(asynchronous=True, copy_bytes_per_s=2e11)
    found = job(checkpoint=saved)
    assert found.goodput > job().goodput
    assert found.interval_s + found.stall_s >= found.unsafe_s
    with pytest.raises(InputError, match="shorter than a checkpoint's write"):
        job(checkpoint=saved, interval_s=6.0)


def saved_as(**changes: float | bool) -> Checkpoint:
    fields = {"bytes": 5.67e12, "node_bytes_per_s": 2e9, "storage_bytes_per_s": 2e11, **changes}
    return Checkpoint(**fields)  # type: ignore[arg-type]


def test_spares_save_the_wait() -> None:
    waits = [job(recovery=Recovery(spares=n)).lost.waiting_s for n in (0, 1, 4, 16)]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > 100.0 * waits[-1]
    assert job().lost.waiting_s == 0.0


def test_slow_devices_of_a_run_spread_it_and_noise_of_steps_does_not() -> None:
    steady = job(512, words="slow:share=0.001,factor=1.5")
    noisy = job(512, words="slow:share=0.001,factor=1.5,draw=step")
    assert steady.slowed_step_s == noisy.slowed_step_s == pytest.approx(6.0 * (1.0 + 0.5 * (1.0 - 0.999**512)))
    assert steady.wall_p90_s / steady.wall_p10_s == pytest.approx(1.5, rel=0.05)
    assert noisy.wall_p90_s / noisy.wall_p10_s < 1.05
    assert steady.wall_drawn_s == pytest.approx(steady.wall_s, rel=0.03)


def test_stragglers_wait_as_the_layout_says() -> None:
    alone = job(512, words="lognormal:sigma=0.05")
    piped = job(512, words="lognormal:sigma=0.05", layout=Pipelines(8, 8, 8, 8))
    assert alone.slowed_step_s == pytest.approx(6.0 * expected_maximum(LogNormal(0.05), 512))
    assert 6.0 < piped.slowed_step_s < alone.slowed_step_s
    with pytest.raises(InputError, match="the layout has 512 devices, the job 64"):
        job(64, words="lognormal:sigma=0.05", layout=Pipelines(8, 8, 8, 8))


def test_nothing_lost_where_nothing_fails_and_nothing_is_saved() -> None:
    found = job(mtbf_s=1e300, checkpoint=Checkpoint(0.0, 1e9))
    assert found.goodput == pytest.approx(1.0)
    assert found.lost.total_s == pytest.approx(0.0, abs=1e-6)


def test_assumed_rates_are_told_apart() -> None:
    assert job().rates_known
    assert not goodput_of(6.0, 64, "fpga", steps=10, checkpoint=SAVED, runs=1).rates_known
    assert goodput_of(6.0, 64, "fpga", steps=10, checkpoint=SAVED, runs=1, mtbf_s=1e9).rates_known


def test_facts_may_be_given_themselves() -> None:
    spec = load_reliability("h100")
    slow = msgspec.structs.replace(spec, restart=msgspec.structs.replace(spec.restart, value=3600.0))
    assert (
        goodput_of(6.0, 4096, slow, steps=1000, checkpoint=SAVED, runs=1).lost.restart_s
        > job(steps=1000).lost.restart_s
    )


def test_the_same_seed_gives_the_same_answer() -> None:
    assert job(seed=5) == job(seed=5)
    assert job(seed=5).wall_p90_s != job(seed=6).wall_p90_s


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps 0; allowed: a whole number from 1 on"),
        ({"devices": 0}, "devices 0; allowed"),
        ({"mtbf_s": 0.0}, "mtbf_s 0.0; allowed: above 0 s"),
        ({"runs": 0}, "runs 0; allowed"),
        ({"devices_per_node": 0}, "devices_per_node 0; allowed"),
        ({"recovery": Recovery(restart_s=-1.0)}, "recovery restart_s -1.0; allowed: from 0 on"),
        ({"recovery": Recovery(spares=-1)}, "spares -1; allowed"),
        ({"seed": -1}, "seed -1; allowed"),
    ],
)
def test_jobs_that_cannot_be(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        job(**wrong)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize("step_s", [0.0, -1.0, math.nan, math.inf])
def test_steps_that_cannot_be(step_s: float) -> None:
    with pytest.raises(InputError, match=r"step_s .*; allowed: above 0 s"):
        goodput_of(step_s, 8, "gpu", steps=1, checkpoint=SAVED)


def test_unknown_classes_name_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown reliability 'gpus'; did you mean 'gpu'"):
        goodput_of(6.0, 8, "gpus", steps=1, checkpoint=SAVED)


def test_intervals_in_words() -> None:
    assert parse_interval("30 min") == 1800.0
    assert parse_interval("best") is None
    for text in ("30", "0 s", "soon"):
        with pytest.raises(InputError, match=r"--checkpoint-interval: .*'best'"):
            parse_interval(text)


def test_percentiles_are_of_the_drawn_runs() -> None:
    found = job(runs=1)
    assert found.wall_p10_s == found.wall_p90_s == found.wall_drawn_s
    assert np.isfinite(found.wall_drawn_s)


def test_a_restart_is_detection_start_reading_and_warm_up() -> None:
    back = Recovery(detect_s=7.0, restart_s=11.0, warmup_s=13.0)
    found = job(8, steps=1_000_000, mtbf_s=1e8, recovery=back)
    reading = SAVED.bytes / SAVED.node_bytes_per_s
    assert found.lost.restart_s / found.interruptions == pytest.approx(7.0 + 11.0 + 13.0 + reading, rel=1e-3)


def test_runs_that_are_interrupted_very_often_are_drawn_in_smaller_numbers() -> None:
    often, seldom = (
        goodput_of(6.0, 8, "gpu", steps=10_000_000, checkpoint=Checkpoint(1e11, 2e9), mtbf_s=mtbf_s, runs=1000)
        for mtbf_s in (4_000.0, 4e6)
    )
    assert often.ends
    assert seldom.runs == 1000
    assert 64 <= often.runs < 1000
    assert often.runs * often.interruptions <= 5e7
    assert often.wall_drawn_s == pytest.approx(often.wall_s, rel=0.02)


def test_no_runs_are_drawn_of_one_that_does_not_end() -> None:
    run = goodput_of(6.0, 8, "gpu", steps=1_000_000_000, checkpoint=SAVED, mtbf_s=1.0)
    assert not run.ends
    assert (run.wall_s, run.wall_p10_s, run.goodput) == (math.inf, math.inf, 0.0)
