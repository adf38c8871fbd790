"""What moves beside the math: what runtimes do and can, and what shows nevertheless."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hardware_specs.errors import InputError
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.simulate import simulate
from simulator.steps.overlap import overlapped, sends_s
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

SMALL = load_model("llama-3.2-1b")
ALL = {"gradients", "weights", "tensor", "pipeline"}


@pytest.mark.parametrize(
    ("text", "runtime", "zero", "found"),
    [
        ("", "megatron-core-2025", 1, {"gradients", "weights", "tensor"}), ("none", "megatron-core-2025", 1, set()),
        ("all", "megatron-core-2025", 1, ALL), ("", "megatron-2021", 0, set()), ("all", "megatron-2021", 0, set()),
        ("", "fsdp-2024", 3, {"gradients", "weights"}), ("tensor", "torchtitan-2025", 3, {"tensor"}),
        ("pipeline, gradients", "megatron-core-2025", 0, {"pipeline", "gradients"}),
    ],
)  # fmt: skip
def test_what_moves(text: str, runtime: str, zero: int, found: set[str]) -> None:
    assert overlapped(Plan(overlap=text), load_runtime(runtime), zero) == found


def test_what_a_runtime_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="--overlap tensor: runtime megatron-2021 does not"):
        overlapped(Plan(overlap="tensor"), load_runtime("megatron-2021"), 0)
    with pytest.raises(InputError, match="gradients"):
        overlapped(Plan(overlap="gradient"), load_runtime("megatron-core-2025"), 0)


@given(
    one=st.floats(1e-6, 1.0), stage=st.floats(1e-6, 10.0), count=st.integers(1, 64), pp=st.integers(2, 32),
    vpp=st.integers(1, 8),
)  # fmt: skip
def test_sends(one: float, stage: float, count: int, pp: int, vpp: int) -> None:
    shown, hidden = (sends_s(one, stage, count, pp, vpp, beside) for beside in (False, True))
    assert shown == pytest.approx(2.0 * one * (vpp * count + pp - 2))
    assert 2.0 * one * (vpp + pp - 2) - 1e-12 <= hidden <= shown + 1e-12
    if one * 2.0 * vpp <= stage:
        assert hidden == pytest.approx(2.0 * one * (vpp + pp - 2))


def test_each_word_saves_time(one_pool: Callable[..., Scenario]) -> None:
    scenario = one_pool(TrainStep(SMALL, 64, 2048), "h100-sxm-80gb", tp=2, pp=2, dp=4)

    def step_s(overlap: str, zero: int = 1) -> float:
        pool = scenario.pools[0]
        plan = structs.replace(pool.plan, overlap=overlap, zero=zero)
        return (
            simulate(structs.replace(scenario, pools=(structs.replace(pool, plan=plan),))).metrics["step_time_s"] or 0.0
        )

    none, every = step_s("none"), step_s("all")
    saved = {word: none - step_s(word) for word in ALL}
    assert all(value > 0.0 for value in saved.values())
    assert none - every == pytest.approx(sum(saved.values()), rel=0.05)
