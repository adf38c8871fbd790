"""Balanced stages are the best of all splits, and fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.prepared import Prepared, prepare
from simulator.scenario import Scenario, TrainStep
from simulator.steps.ranks import ranks_of
from simulator.steps.split import balanced_split, balanced_stages, forbid, runs_seconds
from simulator.steps.train_step import price_step
from simulator.steps.training_result import memory_use, rank_memory
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model


def splits(layers: int, stages: int) -> Iterator[tuple[int, ...]]:
    for cuts in itertools.combinations(range(1, layers), stages - 1):
        ends = (*cuts, layers)
        yield tuple(end - first for first, end in zip((0, *cuts), ends, strict=True))


def small(model: str, layers: int) -> Architecture:
    arch = load_model(model)
    first, *rest = arch.groups
    groups = [msgspec.structs.replace(g, count=1) for g in (first, *rest[:1])]
    groups[-1] = msgspec.structs.replace(groups[-1], count=layers - len(groups) + 1)
    return msgspec.structs.replace(arch, groups=tuple(groups))


def under(prepared: Prepared, stages: tuple[int, ...]) -> Prepared:
    scenario, pool = prepared.scenario, prepared.pool
    plan = msgspec.structs.replace(pool.plan, stages=stages)
    return prepare(msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, plan=plan),)))


def step_s(prepared: Prepared, work: TrainStep) -> float:
    return price_step(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators).step_s


@given(
    st.lists(st.floats(0.1, 9.0), min_size=3, max_size=8), st.lists(st.floats(0.0, 9.0), min_size=2, max_size=3),
    st.lists(st.integers(1, 8), min_size=3, max_size=3),
)  # fmt: skip
def test_no_split_is_faster(layers: list[float], begins: list[float], most: list[int]) -> None:
    seconds = np.stack([runs_seconds(layers, each, 1) for each in begins])
    for stage, room in zip(range(len(begins)), most, strict=False):
        forbid(seconds[stage], lambda first, end, room=room: end - first <= room)  # type: ignore[misc]

    def slowest(lengths: tuple[int, ...]) -> float:
        ends = np.cumsum([0, *lengths])
        return max(seconds[stage, ends[stage], ends[stage + 1]] for stage in range(len(lengths)))

    every = list(splits(len(layers), len(begins)))
    found, best = balanced_split(seconds), min(map(slowest, every))
    if not np.isfinite(best):
        assert found == ()
        return
    assert slowest(found) <= best * (1.0 + 1e-9)
    assert all(length <= room for length, room in zip(found, most, strict=False))


def test_of_equally_fast_splits_the_most_even_one() -> None:
    seconds = np.stack([runs_seconds([1.0] * 7, each, 1) for each in (0.0, 0.0, 2.0)])
    assert balanced_split(seconds) == (3, 3, 1)
    seconds = np.stack([runs_seconds([1.0] * 7, each, 1) for each in (0.0, 0.0, 4.0)])
    assert balanced_split(seconds) == (3, 3, 1)


@pytest.mark.parametrize(("model", "device"), [("llama-3.2-1b", "h100-sxm-80gb"), ("deepseek-v2-lite", "tpu-v5p")])
def test_balanced_stages_are_the_fastest_of_all(one_pool: Callable[..., Scenario], model: str, device: str) -> None:
    """By the step itself, priced whole for every split."""
    work = TrainStep(small(model, 9), 64, 2048)
    prepared = prepare(one_pool(work, device, pp=3))
    found = balanced_stages(prepared, work)
    times = {stages: step_s(under(prepared, stages), work) for stages in splits(9, 3)}
    assert found[-1] < found[1]
    assert times[found] <= min(times.values()) * 1.01
    assert times[found] < step_s(prepared, work)


def test_stages_stay_below_the_memory(one_pool: Callable[..., Scenario]) -> None:
    """On devices with so much memory that the fastest split just does not fit, the fastest of those that do."""
    work = TrainStep(small("llama-3.2-1b", 10), 64, 2048)
    scenario = one_pool(work, "h100-sxm-80gb", pp=3)
    free = prepare(scenario)
    fastest = balanced_stages(free, work)
    needed = max(rank_memory(free, work, rank).total for rank in ranks_of(work.model, under(free, fastest).pool.plan))
    pool = scenario.pools[0]
    room = msgspec.structs.replace(pool.runtime.memory_utilisation, value=0.999 * needed / pool.device.usable_bytes)
    runtime = msgspec.structs.replace(pool.runtime, memory_utilisation=room)
    tight = prepare(msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, runtime=runtime),)))
    found = balanced_stages(tight, work)
    every = {stages: under(tight, stages) for stages in splits(10, 3)}
    fitting = {
        stages: step_s(each, work)
        for stages, each in every.items()
        if memory_use(each, work).total <= tight.usable_bytes
    }
    assert fastest not in fitting
    assert fitting[found] <= min(fitting.values()) * 1.01
