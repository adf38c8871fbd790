"""What lies off the devices: words, closed forms of what shows, room on the host, and memory that it frees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hardware_specs.errors import InputError
from simulator.prepared import prepare
from simulator.scenario import Formats, Plan, Scenario, TrainStep
from simulator.simulate import simulate
from simulator.steps.offload import (
    NO_STORE,
    Offloading,
    Offloads,
    Sizes,
    Store,
    check_room,
    costs_of,
    kept_activations,
    offloads_of,
    store_of,
)
from simulator.steps.training_result import memory_use, offloading
from workloads.models.architecture import FeedForward
from workloads.models.catalogue import load_model

SMALL = load_model("llama-3.2-1b")
STORE = Store(10e9, 20e9, 5e9, 100e9, 1e12)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Offloads()), ("optimizer", Offloads(optimizer="host")),
        ("weights:nvme, activations", Offloads("nvme", "host", "")), ("all", Offloads("host", "host", "host")),
        ("activations:host,optimizer:nvme", Offloads("", "host", "nvme")),
    ],
)  # fmt: skip
def test_words(text: str, found: Offloads) -> None:
    assert offloads_of(Plan(offload=text)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimiser", "optimizer"), ("weights:disk", "allowed: host, nvme"), ("weights,weights", "there twice"),
        ("weights,", "allowed: all"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        offloads_of(Plan(offload=text))


def sizes(own: Any = 0.0, kept: Any = 0.0, states: Any = 0.0) -> Sizes:
    return Sizes(own, own, kept, 2.0, states / 3.0, states, states / 6.0, 8.0)


def test_activations_go_and_come_one_way_at_a_time() -> None:
    moved = Offloading(Offloads(activations="host"), STORE, sizes(kept=12e9))
    # 1.2 s each way beside 0.5 s forward and 1 s backward.
    assert costs_of(moved, 1.5).micro_s == pytest.approx(0.7 + 0.2)
    # Beside a long forward one layer's part shows.
    assert costs_of(moved, 1e3).micro_s == pytest.approx(2 * 1.2 / 8)


def test_weights_come_twice() -> None:
    moved = Offloading(Offloads(weights="host"), STORE, sizes(own=20e9))
    assert costs_of(moved, 0.0).micro_s == pytest.approx(4.0)
    both = Offloading(Offloads("host", "host"), STORE, sizes(own=20e9, kept=10e9))
    # Forward: in and out at once; backward: both in.
    assert costs_of(both, 0.0).micro_s == pytest.approx(2.0 + 3.0)


def test_storage_may_be_slower_than_the_link() -> None:
    moved = Offloading(Offloads(weights="nvme"), STORE, sizes(own=20e9))
    assert costs_of(moved, 0.0).micro_s == pytest.approx(2 * 20 / 5)


def test_the_host_updates_at_the_speed_of_its_memory() -> None:
    moved = Offloading(Offloads(optimizer="host"), STORE, sizes(states=12e9))
    down, touched, back = 4e9 / 10e9, (2 * 12e9 + 4e9 + 2e9) / 20e9, 2e9 / 10e9
    assert costs_of(moved, 0.0).micro_s == pytest.approx(down)
    assert costs_of(moved, 3.0).micro_s == pytest.approx(down / 8)
    assert costs_of(moved, 3.0).end_s == pytest.approx(max(touched, back))
    paged = Offloading(Offloads(optimizer="nvme"), STORE, sizes(states=12e9))
    assert costs_of(paged, 0.0).end_s == pytest.approx(24e9 / 5e9)


def test_room_is_checked() -> None:
    moved = Offloading(Offloads("host", "host", "host"), STORE, sizes(own=10e9, kept=20e9, states=30e9))
    costs = costs_of(moved, 1.0)
    assert costs.memory_bytes == pytest.approx(10e9 + 2 * 20e9 + 40e9)
    check_room(STORE, costs)
    with pytest.raises(InputError, match="needs 90 GB of host for each device, there are 80 GB"):
        check_room(STORE._replace(memory_bytes=80e9), costs)


@given(kept=st.floats(1.0, 1e12), flying=st.integers(1, 64), layers=st.integers(1, 128))
def test_activations_on_the_device(kept: float, flying: int, layers: int) -> None:
    here, away = (kept_activations(w, kept, float(flying), layers) for w in (Offloads(), Offloads(activations="host")))
    assert here == kept * flying
    assert away == pytest.approx(min(here, 2.0 * kept / layers))


def test_numbers_and_arrays_agree() -> None:
    where = Offloads("host", "nvme", "host")

    def of(a: Any, b: Any) -> Any:
        return costs_of(Offloading(where, STORE, sizes(a, b, a)), a / 1e10)

    one = [of(2e9, 7e9), of(9e9, 1e9)]
    both = of(np.array([2e9, 9e9]), np.array([7e9, 1e9]))
    for name in both._fields:
        assert getattr(both, name) == pytest.approx([float(getattr(each, name)) for each in one])


def test_a_device_has_its_part_of_the_host(one_pool: Callable[..., Scenario]) -> None:
    prepared = prepare(one_pool(TrainStep(SMALL, 8, 512), "a100-sxm-80gb", dp=8))
    assert store_of(prepared.network, Offloads()) == NO_STORE
    store, system = store_of(prepared.network, Offloads(optimizer="nvme")), prepared.network.system
    assert system.host_memory is not None and system.storage_bandwidth is not None
    assert store.memory_bytes == system.host_memory.value / 8
    assert store.storage_bytes_per_s == system.storage_bandwidth.value / 8
    bare = replace(prepared.network, system=structs.replace(system, host_memory=None))
    with pytest.raises(InputError, match=r"system\.host_memory=1TB"):
        store_of(bare, Offloads("host"))


@pytest.mark.parametrize("kind", ["weights", "activations", "optimizer"])
def test_what_is_off_frees_memory_and_takes_time(one_pool: Callable[..., Scenario], kind: str) -> None:
    work = TrainStep(SMALL, 32, 2048)

    def of(offload: str) -> Scenario:
        scenario = one_pool(work, "a100-sxm-80gb", dp=8)
        pool = scenario.pools[0]
        return structs.replace(
            scenario, pools=(structs.replace(pool, plan=structs.replace(pool.plan, offload=offload, micro_batch=4)),)
        )

    here, away = simulate(of("")), simulate(of(kind))
    use, less = here.pools[0].memory, away.pools[0].memory
    assert getattr(less, kind) < getattr(use, kind)
    gone = {kind, "gradients"} if kind == "optimizer" else {kind}
    others = {"weights", "activations", "optimizer", "gradients", "overhead"} - gone
    assert all(getattr(less, name) == getattr(use, name) for name in others)
    prepared = prepare(of(kind))
    assert memory_use(prepared, work).total == pytest.approx(less.total)
    assert any(offloading(prepared, work).where)
    assert (away.metrics["step_time_s"] or 0.0) > (here.metrics["step_time_s"] or 0.0)
    assert sum(away.breakdown.values()) == pytest.approx(away.metrics["step_time_s"])


@pytest.mark.parametrize(
    ("hidden", "layers", "offload", "fits"),
    [(4096, 62, "optimizer", True), (4096, 62, "", False), (1536, 40, "", True), (2304, 40, "", False)],
)
def test_the_largest_model_of_one_v100(
    one_pool: Callable[..., Scenario], hidden: int, layers: int, offload: str, fits: bool
) -> None:
    """13 billion parameters train on one V100 with ZeRO-Offload, 1.4 billion without (Ren et al., arXiv:2101.06840,
    abstract); nothing here was fitted."""
    arch = load_model("gpt2-xl")
    group = arch.groups[0]
    assert group.attention is not None and isinstance(group.mlp, FeedForward)
    heads = hidden // 128
    attention = structs.replace(group.attention, heads=heads, kv_heads=heads, head_dim=128)
    wide = structs.replace(group, count=layers, attention=attention, mlp=structs.replace(group.mlp, width=4 * hidden))
    work = TrainStep(structs.replace(arch, hidden=hidden, groups=(wide,)), 8, 1024)
    scenario = one_pool(work, "v100-sxm3-32gb", runtime="deepspeed-2024", formats=Formats("fp16"))
    pool = scenario.pools[0]
    plan = structs.replace(pool.plan, recompute="full", offload=offload)
    assert simulate(structs.replace(scenario, pools=(structs.replace(pool, plan=plan),))).fits == fits
