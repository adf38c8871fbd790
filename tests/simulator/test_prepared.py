"""The software of a pool as its host and its ranks make it."""

from __future__ import annotations

import pytest

from simulator.prepared import with_ranks
from workloads.runtimes.catalogue import load_runtime


def test_each_further_rank_takes_the_host_as_long() -> None:
    runtime = load_runtime("vllm-0.5")
    assert runtime.host_rank is not None
    steps = [with_ranks(runtime, ways).host_step.value for ways in (1, 2, 8)]
    assert steps[0] == runtime.host_step.value
    assert steps[1] - steps[0] == pytest.approx(runtime.host_rank.value)
    assert steps[2] - steps[0] == pytest.approx(7 * runtime.host_rank.value)


def test_a_runtime_that_sends_ranks_nothing_stays_itself() -> None:
    runtime = load_runtime("vllm-0.19")
    assert runtime.host_rank is None
    assert with_ranks(runtime, 8) is runtime


def test_the_same_ranks_give_the_same_object() -> None:
    """By which compiled devices are known."""
    runtime = load_runtime("vllm-0.5")
    assert with_ranks(runtime, 4) is with_ranks(runtime, 4)
