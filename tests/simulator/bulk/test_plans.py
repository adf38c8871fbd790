"""Plans of a training step: all that there are, and what they cost is what ``simulate`` says."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import msgspec
import numpy as np
import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import training_scenario
from simulator.bulk.plan_steps import _Maker, price_plans
from simulator.bulk.plans import Bounds, plan_of, plan_space
from simulator.network.contention import EXCHANGES
from simulator.prepared import Prepared, prepare
from simulator.scenario import RECOMPUTE, Plan, Scenario, TrainStep
from simulator.schedules.registry import names, refusal, schedule_of
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

SMALL = load_model("llama-3.2-1b")


def scenario_of(model: str, device: str, count: int, batch: int, length: int, **hardware: Any) -> Scenario:
    return training_scenario(model, device, global_batch=batch, seq_len=length, dp=count, tp=1, **hardware)


def under(scenario: Scenario, plan: Plan) -> Scenario:
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(scenario.pools[0], plan=plan),))


@pytest.mark.parametrize(
    ("model", "device", "count", "batch", "runtime"),
    [
        ("llama-3.1-8b", "h100-sxm-80gb", 16, 32, ""), ("mixtral-8x7b", "h100-sxm-80gb", 32, 64, ""),
        ("llama-2-13b", "a100-sxm-80gb", 16, 16, "megatron-2022"), ("gpt2-xl", "a100-sxm-40gb", 8, 32, "fsdp-2024"),
        ("llama-3.2-1b", "tpu-v5e", 16, 64, ""),
    ],
)  # fmt: skip
def test_costs_are_those_of_simulate(model: str, device: str, count: int, batch: int, runtime: str) -> None:
    scenario = scenario_of(model, device, count, batch, 2048, runtime=runtime)
    prepared, work = prepare(scenario), scenario.workload
    assert isinstance(work, TrainStep)
    plans = plan_space(work, count, Bounds(micro_batch=4))
    costs = price_plans(prepared, work, plans)
    rng = np.random.default_rng(0)
    rows = rng.choice(np.flatnonzero(costs.fits), 25)
    assert len({plan_of(prepared.pool.plan, plans, int(row)).schedule for row in rows}) > 1
    for row in rows:
        result = simulate(under(scenario, plan_of(prepared.pool.plan, plans, int(row))))
        assert costs.step_s[row] == pytest.approx(result.metrics["step_time_s"], rel=1e-9)
        assert costs.device_j[row] == pytest.approx(result.energy.device, rel=1e-9)
        assert costs.memory_bytes[row] == pytest.approx(result.pools[0].memory.total, rel=1e-9)
        assert result.fits
    for row in rng.choice(np.flatnonzero(~costs.fits), 5):
        assert np.isnan(costs.step_s[row])
        with contextlib.suppress(InputError):
            assert not simulate(under(scenario, plan_of(prepared.pool.plan, plans, int(row)))).fits


@pytest.mark.parametrize(
    ("model", "runtime", "length", "formats"),
    [
        ("llama-3.2-1b", "megatron-core-2025", 2048, {}), ("mixtral-8x7b", "megatron-core-2025", 2048, {}),
        ("llama-3.1-8b", "torchtitan-2025", 8192, {"dtype": "fp8", "recipe": "fp8-tensorwise"}),
    ],
)  # fmt: skip
def test_plans_that_share_links_cost_what_simulate_says(
    model: str, runtime: str, length: int, formats: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    scenario = scenario_of(model, "h100-sxm-80gb", 32, 64, length, runtime=runtime, **formats)
    prepared, work = prepare(scenario), scenario.workload
    assert isinstance(work, TrainStep)
    overlaps = frozenset(prepared.pool.runtime.can_overlap) | {"gradients", "weights"}
    plans = plan_space(
        work, 32, Bounds(micro_batch=2, cp=2, vpp=2, schedules=("1f1b", "interleaved"), overlaps=overlaps)
    )
    costs = price_plans(prepared, work, plans)
    with monkeypatch.context() as patch:
        patch.setattr(_Maker, "_exchanged", lambda *_: np.zeros(EXCHANGES))
        quiet = price_plans(prepared, work, plans)
    longer = costs.fits & (costs.step_s > quiet.step_s * (1.0 + 1e-6))
    assert longer.sum() > 20
    rows = np.random.default_rng(1).choice(np.flatnonzero(longer), 20, replace=False)
    assert (plans.zero[longer] == 3).any()
    for row in rows:
        result = simulate(under(scenario, plan_of(prepared.pool.plan, plans, int(row))))
        assert costs.step_s[row] == pytest.approx(result.metrics["step_time_s"], rel=1e-9)
        assert costs.device_j[row] == pytest.approx(result.energy.device, rel=1e-9)


def ready(count: int = 16, batch: int = 16) -> tuple[Prepared, TrainStep]:
    scenario = scenario_of("llama-3.2-1b", "h100-sxm-80gb", count, batch, 1024)
    work = scenario.workload
    assert isinstance(work, TrainStep)
    return prepare(scenario), work


def test_the_space_has_every_plan_once() -> None:
    _, work = ready()
    plans = plan_space(work, 16, Bounds())
    found = set(zip(*(column.tolist() for column in plans), strict=True))
    assert len(found) == len(plans.tp)
    ways = (1, 2, 4, 8, 16)
    expected = 0
    for tp, pp, dp, cp in itertools.product(ways, repeat=4):
        if tp * pp * dp * cp != 16:
            continue
        micros = [m for m in range(1, 65) if (16 // dp) % m == 0]
        pieces = [v for v in range(1, 17) if pp > 1 and (16 // pp) % v == 0] or [1]
        for m, v in itertools.product(micros, pieces):
            if pp == 1:
                fitting = 1
            else:
                fitting = 0
                for name in names():
                    chunks = schedule_of(name).chunks
                    if v == 1 or chunks == 0:
                        fitting += not refusal(name, pp, 16 // dp // m, chunks or v)
            expected += fitting * 3 * (2 if tp > 1 else 1) * (1 if dp * cp == 1 else 4 if pp == 1 else 3)
    assert len(plans.tp) == expected


def test_every_plan_is_one_that_scenarios_allow() -> None:
    prepared, work = ready()
    plans = plan_space(work, 16, Bounds())
    assert (plans.tp * plans.pp * plans.dp * plans.cp == 16).all()
    assert (work.global_batch % (plans.dp * plans.micro_batch) == 0).all()
    assert (plans.sequence[plans.tp == 1] == 0).all()
    costs = price_plans(prepared, work, plans)
    assert costs.fits.any()
    assert (costs.memory_bytes[costs.fits] <= prepared.usable_bytes).all()
    wider = price_plans(prepared, work, plans, 4.0)
    assert wider.fits.sum() >= costs.fits.sum()
    assert np.array_equal(wider.step_s[costs.fits], costs.step_s[costs.fits])
    assert {RECOMPUTE[code] for code in plans.recompute} == {"none", "selective", "full"}


def test_more_sharding_takes_less_memory() -> None:
    prepared, work = ready()
    plans = plan_space(work, 16, Bounds(schedules=("1f1b",)))
    costs = price_plans(prepared, work, plans)
    keys: dict[tuple[int, ...], dict[int, float]] = {}
    for row in range(len(plans.tp)):
        key = tuple(int(column[row]) for name, column in plans._asdict().items() if name != "zero")
        keys.setdefault(key, {})[int(plans.zero[row])] = float(costs.memory_bytes[row])
    compared = 0
    stages = list(plans._fields).index("pp")
    for key, found in keys.items():
        if len(found) == 4:
            # Stages of a pipeline add up whole gradients.
            assert found[0] > found[1] >= found[2]
            assert (found[1] == found[2]) == (key[stages] > 1)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize(("count", "batch"), [(17, 16), (16, 1)])
def test_no_plan(count: int, batch: int) -> None:
    work = TrainStep(SMALL, batch, 1023)
    if count == 16:
        assert set(plan_space(work, count, Bounds()).dp.tolist()) == {1}
        return
    with pytest.raises(InputError, match="no plan: 17 devices, global batch 16"):
        plan_space(work, count, Bounds())
