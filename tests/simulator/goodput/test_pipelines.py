"""Slow ranks through a schedule: as all ranks drawn, and as order statistics where there is no pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.goodput.maxima import expected_maximum
from simulator.goodput.pipelines import Pipelines, step_slowdown
from simulator.goodput.slowdowns import ExponentialTail, Floats, LogNormal, SlowShare, Straggler


def flow_shop(stage_times: Floats, micro_batches: int) -> float:
    """Makespan of equal jobs through stages in order, job by job."""
    ready = np.zeros(len(stage_times))
    for _ in range(micro_batches):
        at = 0.0
        for k, time in enumerate(stage_times):
            at = max(at, ready[k]) + time
            ready[k] = at
    return float(ready[-1])


def draw(law: LogNormal | ExponentialTail | SlowShare, random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    if isinstance(law, ExponentialTail):
        return 1.0 + random.exponential(law.mean, shape)
    share, factor, sigma = (law.share, law.factor, law.sigma) if isinstance(law, SlowShare) else (0.0, 1.0, law.sigma)
    return np.where(random.random(shape) < share, factor, 1.0) * random.lognormal(0.0, sigma, shape)


def drawn(law: LogNormal | ExponentialTail | SlowShare, group: int, layout: Pipelines, trials: int) -> Floats:
    """Slow-down of whole steps with every rank drawn."""
    random = np.random.default_rng(3)
    typical = layout.micro_batches + layout.bubble * (layout.stages - 1)
    found = np.empty(trials)
    for trial in range(trials):
        # ranks innermost, then replicas, then stages
        shape = (layout.stages, layout.replicas * layout.ranks)
        groups = -(-shape[1] // group)
        factors = draw(law, random, (layout.stages, groups))
        ranks = np.repeat(factors, group, axis=1)[:, : shape[1]]
        stages = ranks.reshape(layout.stages, layout.replicas, layout.ranks).max(axis=2)
        slowest = stages.max(axis=0)
        times = layout.micro_batches * slowest + layout.bubble * (stages.sum(axis=0) - slowest)
        found[trial] = times.max() / typical
    return found


@given(times=st.lists(st.floats(0.5, 3.0), min_size=1, max_size=8), jobs=st.integers(1, 12))
def test_the_schedule_is_a_flow_shop_of_equal_jobs(times: list[float], jobs: int) -> None:
    stages = np.array(times)
    assert flow_shop(stages, jobs) == pytest.approx(jobs * stages.max() + stages.sum() - stages.max())


@pytest.mark.parametrize("law", [LogNormal(0.03), ExponentialTail(0.02), SlowShare(0.001, 1.3, 0.01)])
@pytest.mark.parametrize(
    ("layout", "group"),
    [
        (Pipelines(8, 16, 128, 16), 1),
        (Pipelines(8, 16, 128, 64), 8),
        (Pipelines(4, 8, 32, 8, 0.25), 8),
        (Pipelines(1, 4, 1, 2), 1),
    ],
)
def test_as_all_ranks_drawn(law: LogNormal | ExponentialTail | SlowShare, layout: Pipelines, group: int) -> None:
    straggler = Straggler(law, group)
    steps = drawn(law, group, layout, 300 if layout.devices > 4096 else 4000)
    ours = step_slowdown(straggler, layout)
    error = 4.0 * float(np.std(steps)) / np.sqrt(len(steps))
    assert ours.mean == pytest.approx(float(np.mean(steps)), abs=error + 0.005)
    for probability in (0.1, 0.5, 0.9, 0.95):
        assert float(ours.quantile(probability)) == pytest.approx(float(np.quantile(steps, probability)), rel=0.02)


@pytest.mark.parametrize("law", [LogNormal(0.03), ExponentialTail(0.02), SlowShare(0.001, 1.3, 0.01)])
@pytest.mark.parametrize("layout", [Pipelines(8, 4, 16, 8), Pipelines(64, 1, 8), Pipelines(1, 8, 64, 32, 0.5)])
def test_the_mean_and_the_95th_percentile_of_steps_within_half_a_percent(
    law: LogNormal | ExponentialTail | SlowShare, layout: Pipelines
) -> None:
    steps = drawn(law, 1, layout, 8000)
    ours = step_slowdown(Straggler(law), layout)
    error = 4.0 * float(np.std(steps)) / np.sqrt(len(steps))
    assert ours.mean == pytest.approx(float(np.mean(steps)), abs=error + 0.005)
    near = np.quantile(steps, [0.94, 0.96])
    assert near[0] * 0.995 <= float(ours.quantile(0.95)) <= near[1] * 1.005


def test_without_pipelines_it_is_the_slowest_of_all() -> None:
    law = LogNormal(0.05)
    assert step_slowdown(Straggler(law), Pipelines(4, 1, 64, 9)).mean == expected_maximum(law, 256)
    assert step_slowdown(Straggler(law, 8), Pipelines(256)).mean == expected_maximum(law, 32)


@given(stages=st.integers(1, 16), replicas=st.integers(1, 64), micro_batches=st.integers(1, 64))
@settings(max_examples=25, deadline=None)
def test_between_a_typical_rank_and_the_slowest_of_all(stages: int, replicas: int, micro_batches: int) -> None:
    layout = Pipelines(2, stages, replicas, micro_batches)
    law = ExponentialTail(0.1)
    assert 1.0 < step_slowdown(Straggler(law), layout).mean <= expected_maximum(law, layout.devices) * 1.002


def test_more_micro_batches_wait_more_for_the_slowest_stage() -> None:
    found = [step_slowdown(Straggler(LogNormal(0.05)), Pipelines(8, 8, 16, m)).mean for m in (1, 4, 16, 64, 256)]
    assert found == sorted(found)


@pytest.mark.parametrize("numbers", [(0, 1, 1, 1, 1.0), (1, 0, 1, 1, 1.0), (1, 1, 1, 0, 1.0), (1, 1, 1, 1, 1.5)])
def test_layouts_that_cannot_be(numbers: tuple[int, int, int, int, float]) -> None:
    with pytest.raises(InputError, match="allowed"):
        Pipelines(*numbers)
