"""What executions cost: static power once, whatever overlaps; idle power where there is nothing to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.devices.priors import idle_w
from simulator.engine.executor import execute
from simulator.engine.tasks import HOST, Program, Task
from simulator.placement.accounting import Run, account
from simulator.placement.program import units_of
from simulator.prepared import prepare
from simulator.scenario import Scenario, StaticBatch
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")


@pytest.mark.parametrize(
    ("lanes", "makespan_s"),
    [(("compute", "communication"), 3.0), (("compute", "compute"), 5.0), ((HOST, "compute"), 3.0)],
)
def test_static_power_counts_once(one_pool: Callable[..., Scenario], lanes: tuple[str, str], makespan_s: float) -> None:
    """Two seconds on one lane and three on another, of 100 J and 50 J beside the static draw, four times over."""
    prepared = prepare(one_pool(StaticBatch(MODEL, 1, 8, 1), "h100-sxm-80gb"))
    units = units_of([prepared])
    ((unit,),) = units.values()
    first, second = (unit.lane(lane) for lane in lanes)
    tasks = (
        Task("a", "gemm", "compute", (first,), 2.0, dynamic_j=100.0),
        Task("b", "gemm", "compute", (second,), 3.0, dynamic_j=50.0),
    )
    totals = account([Run(execute(Program(tasks, {})), 4.0)], [prepared], units)
    static_w = float(prepared.model.record["static_w"])
    assert totals.duration_s == 4.0 * makespan_s
    assert sum(totals.energy_j.values()) == pytest.approx(4.0 * (150.0 + static_w * makespan_s))


def test_devices_without_work_are_idle(one_pool: Callable[..., Scenario]) -> None:
    """Of two stages one works for two seconds: the other draws idle power meanwhile."""
    prepared = prepare(one_pool(StaticBatch(MODEL, 1, 8, 1), "h100-sxm-80gb", pp=2))
    units = units_of([prepared])
    ((works, _),) = units.values()
    task = Task("a", "gemm", "compute", (works.lane("compute"),), 2.0, dynamic_j=100.0)
    totals = account([Run(execute(Program((task,), {})))], [prepared], units)
    static_w, least_w = float(prepared.model.record["static_w"]), idle_w(prepared.pool.device)
    assert least_w < static_w
    assert sum(totals.energy_j.values()) == pytest.approx(100.0 + 2.0 * (static_w + least_w))
    assert list(totals.busy_s.values()) == [2.0]
