"""Full launch queues: between stages that work side by side and stages that work one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hardware_specs.facts import Fact, Mark
from simulator.prepared import prepare
from simulator.scenario import Formats, Scenario, StaticBatch
from simulator.steps.launch_queue import prefill_queued, steps_queued
from simulator.steps.pipeline import all_passed
from simulator.steps.static_batch import price_batch
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

# The first call compiles: no deadline.
SECONDS = st.lists(st.floats(0.1, 9.0), min_size=3, max_size=3).map(lambda x: [0.0, x[0], 0.0, x[1], 0.0, x[2]])
ROOM = st.floats(0.05, 3.9)


@settings(deadline=None)
@given(SECONDS, st.integers(1, 12))
def test_room_for_all_steps_is_a_plain_pipeline(seconds: list[float], jobs: int) -> None:
    assert prefill_queued([(seconds, jobs)], [12.0], 0) == pytest.approx(all_passed([(seconds, jobs)]))
    few = prefill_queued([(seconds, jobs)], [4.0], 4)
    assert few == pytest.approx(all_passed([(seconds, jobs)], 4))


@settings(deadline=None)
@given(SECONDS, st.integers(1, 12), ROOM, ROOM)
def test_less_room_is_never_faster_and_no_room_is_no_overlap(
    seconds: list[float], jobs: int, one: float, other: float
) -> None:
    least, most = (prefill_queued([(seconds, jobs)], [room], 4) for room in (max(one, other), min(one, other)))
    assert least <= most * (1.0 + 1e-9)
    assert all_passed([(seconds, jobs)], 4) <= least * (1.0 + 1e-9)
    assert prefill_queued([(seconds, jobs)], [1e-9], 4) == pytest.approx(jobs * sum(seconds))


@pytest.mark.parametrize(("room", "rhythm"), [(0.5, 3.5), (0.8, 3.2), (1.0, 4.0 / 2.0), (2.0, 4.0 / 3.0), (3.0, 1.0)])
def test_the_rhythm_of_equal_stages(room: float, rhythm: float) -> None:
    """Four stages of 1 s: below one step the host is at the last stage until 1 - room of it is worked off there; with
    room for one, two or three it launches as many and one more, side by side, before it waits."""
    times = [prefill_queued([([0.0, *[1.0, 0.0] * 3, 1.0], jobs)], [room], 4) for jobs in (12, 24)]
    assert (times[1] - times[0]) / 12 == pytest.approx(rhythm, rel=0.06)


@settings(deadline=None)
@given(SECONDS, st.floats(1.0, 40.0), ROOM)
def test_many_steps_take_the_rhythm_of_those_that_are_followed(seconds: list[float], jobs: float, room: float) -> None:
    one, twice = (prefill_queued([(seconds, n)], [room], 4) for n in (64 + jobs, 64 + 2 * jobs))
    assert max(seconds) * jobs <= (twice - one) * (1.0 + 1e-6) <= sum(seconds) * jobs * (1.0 + 1e-6)


def test_kernels_of_a_stage_decide(one_pool: Callable[..., Scenario]) -> None:
    """Chunks of a model of 70B overlap over eight cards and hardly over four; a longer queue helps, formats count."""
    work = StaticBatch(load_model("llama-3-70b"), 1, 4096, 1)
    runtime = replace(load_runtime("llamacpp-2024"), launch_queue=Fact(900.0, "number", "900", Mark.ASSUMED, "test"))

    def priced(stages: int, weights: str, queue: float = 900.0) -> tuple[float, float]:
        own = replace(runtime, launch_queue=Fact(queue, "number", "", Mark.ASSUMED, "test"))
        scenario = one_pool(work, "rtx-4090", pp=stages, runtime=runtime.id, formats=Formats("fp16", weights))
        pool = replace(scenario.pools[0], runtime=own)
        prepared = prepare(replace(scenario, pools=(pool,)))
        cost = price_batch(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)
        alone_s = sum(step.times * (step.priced.total_s + step.host_s) for step in cost.prefill)
        return alone_s / cost.ttft_s, steps_queued(cost.prefill[0].priced.graph, own, stages)

    four, eight, longer, plain = (
        priced(4, "q4_k_m"), priced(8, "q4_k_m"), priced(4, "q4_k_m", 3600.0), priced(4, "fp16")
    )  # fmt: skip
    assert four[1] < 1.0 < plain[1] < eight[1]
    assert four[0] < 1.35 and 1.7 < plain[0] < 2.2 and eight[0] > 1.9 and longer[0] > 2.5


def test_without_a_queue_or_stages_nothing_limits_the_host(one_pool: Callable[..., Scenario]) -> None:
    work = StaticBatch(load_model("llama-3-8b"), 1, 512, 1)
    prepared = prepare(one_pool(work, "rtx-4090", runtime="llamacpp-2024"))
    graph = price_batch(work, prepared.pool.plan, prepared.how, prepared.model, {}).prefill[0].priced.graph
    assert steps_queued(graph, prepared.pool.runtime, 1) == 0.0
    assert steps_queued(graph, replace(prepared.pool.runtime, launch_queue=None), 4) == 0.0
