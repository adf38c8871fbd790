"""Explicit dataflows: the two-device example, and rhythms that stand for running every step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hardware_specs.errors import InputError
from simulator.placement import rhythm
from simulator.result import Result
from simulator.scenario import Rule, Scenario
from simulator.simulate import simulate
from workloads.lowering.dataflow import Dataflow, DataflowInput, DataflowOperator

LAB = ("gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)])
ON_TPU = (Rule("tpu-v5e", operator="x@t"),)


def two_products(steps: int, *, train: bool = True, batch: int = 10, cols: int = 100, load: float = 400.0) -> Dataflow:
    """y = x g + x t."""
    operators = (
        DataflowOperator("x@g", "gemm", ("x",), n=cols, dtype="fp32"),
        DataflowOperator("x@t", "gemm", ("x",), n=cols, dtype="fp32"),
        DataflowOperator("y", "add", ("x@g", "x@t"), dtype="fp32"),
    )
    return Dataflow(operators, (DataflowInput("x", cols=cols),), batch, train, steps, load)


def transfers(result: Result) -> list[tuple[str, float]]:
    return [(s.resource, s.amount) for s in result.timeline.spans if s.lane == "transfer" and s.name == "transfer"]


def test_both_devices_work_and_the_product_crosses(pools: Callable[..., Scenario]) -> None:
    result = simulate(pools(two_products(1), *LAB, ON_TPU))
    assert {"h100-sxm-80gb:0", "tpu-v5e:0"} <= set(result.timeline.resources)
    gpu_to_tpu = "roce-400g h100-sxm-80gb:0 > tpu-v5e:0"
    tpu_to_gpu = "roce-400g tpu-v5e:0 > h100-sxm-80gb:0"
    # x t to where it is added; its gradient back. Both are 10 x 100 values of fp32.
    assert transfers(result) == [(tpu_to_gpu, 10 * 100 * 4.0), (gpu_to_tpu, 10 * 100 * 4.0)]
    ran = {span.name: span.resource for span in result.timeline.spans if span.lane == "compute"}
    assert ran["x@g"] == "h100-sxm-80gb:0" and ran["x@t"] == ran["x@t.update"] == "tpu-v5e:0"


def test_products_on_two_devices_overlap(pools: Callable[..., Scenario]) -> None:
    spans = {s.name: s for s in simulate(pools(two_products(1), *LAB, ON_TPU)).timeline.spans if s.lane == "compute"}
    g, t = spans["x@g"], spans["x@t"]
    assert g.start_s < t.end_s and t.start_s < g.end_s


CASES = [
    pytest.param({"train": True}, ON_TPU, id="small"),
    pytest.param({"train": False}, ON_TPU, id="forward"),
    pytest.param({"load": 0.0}, ON_TPU, id="no-loading"),
    pytest.param({"batch": 4096, "cols": 4096, "load": 4e5}, ON_TPU, id="loading-bound"),
    pytest.param({"batch": 4096, "cols": 4096, "load": 1.6e4}, ON_TPU, id="balanced"),
    pytest.param({"batch": 512, "cols": 2048, "load": 8e3}, (), id="one-pool"),
]


@pytest.mark.parametrize(("shape", "rules"), CASES)
@pytest.mark.parametrize("steps", [1, 5, 15, 16, 17, 40, 57])
def test_the_rhythm_is_what_running_every_step_gives(
    pools: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch, shape: dict[str, float], rules: tuple[Rule, ...],
    steps: int,
) -> None:  # fmt: skip
    scenario = pools(two_products(steps, **shape), *LAB, rules)  # type: ignore[arg-type]
    short = simulate(scenario)
    monkeypatch.setattr(rhythm, "FEWEST", 1000)
    long = simulate(scenario)
    assert long.warnings == ()
    assert bool(short.warnings) == (steps > 16)
    for name in ("makespan_s", "samples_per_s"):
        assert short.metrics[name] == pytest.approx(long.metrics[name], rel=1e-9)
    assert sum(short.breakdown.values()) == pytest.approx(short.metrics["makespan_s"])
    for mine, theirs in zip(short.pools, long.pools, strict=True):
        assert (mine.energy_j, mine.busy_s) == pytest.approx((theirs.energy_j, theirs.busy_s), rel=1e-9)


def test_loading_ahead_hides_behind_computing(pools: Callable[..., Scenario]) -> None:
    """With loads shorter than a step, only the first one is waited for."""
    without, having = (
        simulate(pools(two_products(30, batch=4096, cols=4096, load=load), *LAB, ON_TPU)).metrics["makespan_s"] or 0.0
        for load in (0.0, 1e5)
    )
    load_s = 4096 * 1e5 / 45e9
    assert without < having < without + 1.5 * load_s


def test_a_million_steps_take_a_million_times_a_step(pools: Callable[..., Scenario]) -> None:
    result = simulate(pools(two_products(1_000_000), *LAB, ON_TPU))
    assert result.metrics["makespan_s"] == pytest.approx(1e6 * (result.metrics["step_time_s"] or 0.0), rel=1e-4)


def test_refuses_tensor_parallel_dataflows(pools: Callable[..., Scenario]) -> None:
    with pytest.raises(InputError, match="tp 8, pp 1; a dataflow is cut by dp"):
        simulate(pools(two_products(1), "gpu-tpu-pods", [("h100-sxm-80gb", 8), ("tpu-v5e", 1)], ON_TPU))


def test_memory_holds_each_part_where_it_runs(pools: Callable[..., Scenario]) -> None:
    gpu, tpu = simulate(pools(two_products(1), *LAB, ON_TPU)).pools
    assert gpu.memory.weights == tpu.memory.weights == 100 * 100 * 4.0
    assert gpu.memory.gradients == tpu.memory.gradients == 100 * 100 * 4.0
