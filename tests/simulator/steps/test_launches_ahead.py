"""Eager runtimes whose host launches ahead of the devices: a step takes all launches or all kernels."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from simulator.bulk.metrics import batch_columns
from simulator.bulk.static_batches import Batches
from simulator.prepared import on_host, prepare
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.static_batch import BatchCost, host_seconds, launch_lag_s, price_batch
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

MakeScenario = Callable[..., Scenario]
EAGER = load_runtime("vllm-2023")
MODEL = load_model("llama-2-70b")


def cost(
    one_pool: MakeScenario, batch: int, tp: int, device: str = "h100-sxm-80gb", isl: int = 512
) -> BatchCost:  # fmt: skip
    prepared = prepare(one_pool(StaticBatch(MODEL, batch, isl, 64), device, tp=tp, runtime=EAGER.id))
    work = prepared.scenario.workload
    assert isinstance(work, StaticBatch)
    return price_batch(work, prepared.pool.plan, prepared.how, prepared.model, prepared.communicators)


def test_the_lag_is_what_launches_take_longer() -> None:
    launch_s = EAGER.launch.value
    assert launch_lag_s(EAGER, 1000.0, 1e-3) == pytest.approx(1000.0 * launch_s - 1e-3)
    assert launch_lag_s(EAGER, 1000.0, 1.0) == 0.0
    assert launch_lag_s(load_runtime("torch-eager-2.4"), 1000.0, 1e-3) == 0.0
    assert launch_lag_s(msgspec.structs.replace(EAGER, graph_mode=True), 1000.0, 1e-3) == 0.0
    found = launch_lag_s(EAGER, np.full(2, 1000.0), np.array([1e-3, 1.0]))
    assert found.tolist() == [launch_lag_s(EAGER, 1000.0, 1e-3), 0.0]


def test_a_step_is_bound_by_launches_or_by_kernels(one_pool: MakeScenario) -> None:
    host_s = host_seconds(EAGER, 1)
    few, many = cost(one_pool, 1, 8), cost(one_pool, 1, 2)
    launches = float(few.decode[0].priced.graph.repeat.sum())
    assert few.tpot_s == pytest.approx(launches * EAGER.launch.value + host_s, rel=1e-3)
    assert many.tpot_s is not None
    assert many.tpot_s > launches * EAGER.launch.value + host_s
    assert all(step.host_s == host_s for step in many.decode)


@pytest.mark.parametrize(("tp", "isl"), [(2, 512), (8, 512), (8, 16)])
def test_sweeps_have_the_same_steps(one_pool: MakeScenario, tp: int, isl: int) -> None:
    single = cost(one_pool, 4, tp, isl=isl)
    assert (single.prefill[0].host_s > host_seconds(EAGER, 4)) is (isl == 16)
    prepared = prepare(one_pool(StaticBatch(MODEL, 4, isl, 64), "h100-sxm-80gb", tp=tp, runtime=EAGER.id))
    work = Batches(*(np.array([value], np.int64) for value in (4, isl, 64)))
    columns, _ = batch_columns(prepared, work, ("ttft_s", "tpot_s", "e2e_s"))
    assert columns["ttft_s"][0] == pytest.approx(single.ttft_s, rel=1e-9)
    assert columns["tpot_s"][0] == pytest.approx(single.tpot_s, rel=1e-9)
    assert columns["e2e_s"][0] == pytest.approx(single.e2e_s, rel=1e-9)


def test_a_slower_host_launches_slower(one_pool: MakeScenario) -> None:
    new, old = (cost(one_pool, 1, 8, device) for device in ("h100-sxm-80gb", "a100-sxm-80gb"))
    assert new.tpot_s is not None
    assert old.tpot_s == pytest.approx(new.tpot_s / 0.7, rel=1e-3)
    system = one_pool(StaticBatch(MODEL, 1, 8, 8), "a100-sxm-80gb", tp=8).system
    assert on_host(EAGER, system) is on_host(EAGER, system)
    assert on_host(load_runtime("vllm-0.19"), system) is load_runtime("vllm-0.19")
