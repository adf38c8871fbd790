"""Memory of pipeline ranks over a step: parts that sum up, peaks that are the memory of the step."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.prepared import Prepared, prepare
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.schedules.actions import NONE
from simulator.schedules.registry import names, refusal, schedule_of
from simulator.steps.memory_timeline import memory_timeline, rank_parts
from simulator.steps.ranks import ranks_of
from simulator.steps.training_result import memory_use, rank_memory
from workloads.models.catalogue import load_model

SMALL = load_model("llama-3.2-1b")
OnePool = Callable[..., Scenario]


def ready(one_pool: OnePool, batch: int, seq_len: int = 512, **plan: object) -> tuple[Prepared, TrainStep]:
    """A step on as many devices as the plan has."""
    work = TrainStep(SMALL, batch, seq_len)
    cut = Plan(**plan)  # type: ignore[arg-type]
    scenario = one_pool(work, "h100-sxm-80gb", tp=cut.tp, pp=cut.pp, dp=cut.dp)
    pool = msgspec.structs.replace(scenario.pools[0], plan=cut, count=cut.devices)
    return prepare(msgspec.structs.replace(scenario, pools=(pool,))), work


def test_parts_of_every_rank_sum_to_its_memory(one_pool: OnePool) -> None:
    prepared, work = ready(one_pool, 16, pp=4, dp=2, micro_batch=2, recompute="every:2")
    for rank in ranks_of(SMALL, prepared.pool.plan):
        parts, use = rank_parts(prepared, work, rank), rank_memory(prepared, work, rank)
        assert parts.total == pytest.approx(use.total)
        assert (parts.weights, parts.gradients, parts.optimizer) == (use.weights, use.gradients, use.optimizer)
        assert parts.activations + parts.beside == pytest.approx(use.activations)
        assert (parts.logits > 0.0) == (rank.number == 3), "the loss is on the last stage"
    first, second, *_, last = (rank_parts(prepared, work, r) for r in ranks_of(SMALL, prepared.pool.plan))
    assert first.weights > second.weights < last.weights, "embedding and head are at the ends"
    assert first.activations == pytest.approx(4.0 * last.activations)


@given(
    schedule=st.sampled_from(["", *names()]), pp=st.sampled_from([1, 2, 4, 8]), vpp=st.sampled_from([1, 2]),
    batch=st.sampled_from([8, 16, 32]), zero=st.sampled_from([-1, 0, 1, 2, 3]), dp=st.sampled_from([1, 2]),
    recompute=st.sampled_from(["none", "selective", "full", "every:2", "layers:1", "uniform:2", "modules:mlp"]),
    tp=st.sampled_from([1, 2]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_peak_of_the_fullest_rank_is_the_memory_of_the_step(
    one_pool: OnePool, schedule: str, pp: int, vpp: int, batch: int, zero: int, dp: int, recompute: str, tp: int
) -> None:
    chunks = schedule_of(schedule).chunks if schedule else vpp
    vpp = 1 if pp == 1 or (schedule and schedule != "interleaved") else vpp
    vpp = 2 if schedule == "interleaved" and pp > 1 else vpp
    name = schedule or ("interleaved" if vpp > 1 else "1f1b")
    if pp > 1 and refusal(name, pp, batch // dp, vpp if chunks <= 1 else chunks):
        return
    prepared, work = ready(
        one_pool, batch, tp=tp, pp=pp, dp=dp, vpp=vpp, schedule=schedule, zero=zero, recompute=recompute
    )
    found = memory_timeline(prepared, work)
    assert found.peak_bytes == pytest.approx([part.total for part in found.ranks])
    assert found.peak_bytes[found.fullest] == pytest.approx(memory_use(prepared, work).total)
    # What is left behind the last action is what was there before the first one.
    for rank, part in enumerate(found.ranks):
        times, sizes = found.steps_of(rank)
        assert sizes[0] == pytest.approx(part.fixed) and sizes[-1] == pytest.approx(part.fixed)
        assert (np.diff(times) >= -1e-12).all()
        assert (sizes >= part.fixed * (1.0 - 1e-12)).all()


def test_each_forward_adds_what_its_backward_frees(one_pool: OnePool) -> None:
    prepared, work = ready(one_pool, 4, pp=2, schedule="gpipe")
    found = memory_timeline(prepared, work)
    first = found.ranks[0]
    each = first.activations / 4.0
    kinds = found.timeline.program.kinds[0]
    assert found.behind_bytes[0, :4] == pytest.approx([first.fixed + each * (n + 1) for n in range(4)])
    assert found.during_bytes[0, 4:8] == pytest.approx([first.total - each * n for n in range(4)])
    assert (kinds[8:] == NONE).all()
    last = found.timeline.total_s
    assert found.steps_of(0)[0][-1] == pytest.approx(last)


def test_offloaded_activations_are_two_layers_of_one_micro_batch(one_pool: OnePool) -> None:
    prepared, work = ready(one_pool, 8, pp=4, offload="activations")
    kept, _ = ready(one_pool, 8, pp=4)
    found, whole = memory_timeline(prepared, work), memory_timeline(kept, work)
    assert found.peak_bytes[0] < whole.peak_bytes[0]
    assert found.peak_bytes == pytest.approx([part.total for part in found.ranks])
    assert found.ranks[0].activations == pytest.approx(whole.ranks[0].activations / 4.0 / 4.0 * 2.0)


def test_what_a_schedule_cannot_have_is_refused(one_pool: OnePool) -> None:
    prepared, work = ready(one_pool, 6, pp=4, vpp=2)
    with pytest.raises(InputError, match="--schedule: schedule interleaved: 4 ranks, 6 micro-batches"):
        memory_timeline(prepared, work)
