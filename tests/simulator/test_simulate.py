"""simulate: the same question has the same answer to the bit, and every part of it is in its hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hardware_specs.facts import Fact, Mark
from simulator.identity import laws_hash
from simulator.scenario import Formats, Plan, Rule, Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from workloads.formats import load_format
from workloads.lowering.dataflow import Dataflow, DataflowInput, DataflowOperator
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
LAB = ("gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)])
FLOW = Dataflow((DataflowOperator("y", "gemm", ("x",), n=64),), (DataflowInput("x", cols=64),), 8, False, 100, 16.0)

Ask = Callable[[Callable[..., Scenario], Callable[..., Scenario]], Scenario]
ASKS: dict[str, Ask] = {
    "batch": lambda one, pools: one(StaticBatch(MODEL, 4, 128, 32), "h100-sxm-80gb", tp=2, pp=2),
    "training": lambda one, pools: one(TrainStep(MODEL, 8, 512), "h100-sxm-80gb", dp=2),
    "split": lambda one, pools: pools(StaticBatch(MODEL, 4, 128, 32), *LAB, (Rule("tpu-v5e", phase="decode"),)),
    "pipeline": lambda one, pools: pools(TrainStep(MODEL, 20, 128), *LAB, (Rule("tpu-v5e", layers=(8, 15)),)),
    "dataflow": lambda one, pools: pools(FLOW, *LAB, ()),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_the_same_scenario_gives_the_same_bits(
    ask: Ask, one_pool: Callable[..., Scenario], pools: Callable[..., Scenario]
) -> None:
    first, second = (msgspec.json.encode(simulate(ask(one_pool, pools))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_answers_are_complete_and_finite(
    ask: Ask, one_pool: Callable[..., Scenario], pools: Callable[..., Scenario]
) -> None:
    scenario = ask(one_pool, pools)
    result = simulate(scenario)
    assert result.scenario_hash == scenario.hash
    for name, value in result.metrics.items():
        assert (value is None) == (name in result.reasons)
        assert value is None or (type(value) is float and 0.0 < value < float("inf"))
    assert len(result.pools) == len(scenario.pools)
    assert result.energy.device <= result.energy.node <= result.energy.facility
    for known in result.intervals.values():
        assert known.p2_5 <= known.p10 <= known.p90 <= known.p97_5


def test_a_timeline_does_not_change_the_answer(one_pool: Callable[..., Scenario]) -> None:
    scenario = ASKS["batch"](one_pool, one_pool)
    plain, seen = simulate(scenario), simulate(scenario, timeline=True)
    assert plain.metrics == seen.metrics
    assert not plain.timeline.spans and seen.timeline.spans


def changes(scenario: Scenario) -> dict[str, Scenario]:
    """The scenario with one thing changed each."""
    replace = msgspec.structs.replace
    (pool,) = scenario.pools
    faster = Fact(9e12, "bytes_per_s", "9 TB/s", Mark.ASSUMED, "test")
    quicker = Fact(1e-6, "s", "1 us", Mark.ASSUMED, "test")
    memory = replace(pool.device.memory, bandwidth=faster)
    name, link = next(iter(scenario.links.items()))

    def with_pool(**values: object) -> Scenario:
        return replace(scenario, pools=(replace(pool, **values),))

    work = scenario.workload
    assert isinstance(work, StaticBatch)
    return {
        "bandwidth": with_pool(device=replace(pool.device, memory=memory)),
        "runtime": with_pool(runtime=replace(pool.runtime, host_step=quicker)),
        "plan": with_pool(plan=Plan(tp=1, pp=4)),
        "price": with_pool(usd_per_device_s=Fact(1.0, "usd_per_s", "1", Mark.ASSUMED, "test")),
        "link": replace(scenario, links={**scenario.links, name: replace(link, latency=quicker)}),
        "site": replace(scenario, site=replace(scenario.site, pue=Fact(3.0, "number", "3", Mark.ASSUMED, "test"))),
        "batch": replace(scenario, workload=replace(work, batch=5)),
        "model": replace(scenario, workload=replace(work, model=load_model("llama-3.2-3b"))),
        "seed": replace(scenario, seed=1),
        "rule": replace(scenario, rules=(Rule(pool.name),)),
    }


def test_the_hash_changes_with_everything_and_with_nothing_else(one_pool: Callable[..., Scenario]) -> None:
    scenario = ASKS["batch"](one_pool, one_pool)
    hashes = {name: changed.hash for name, changed in changes(scenario).items()}
    assert len({scenario.hash, *hashes.values()}) == len(hashes) + 1
    assert ASKS["batch"](one_pool, one_pool).hash == scenario.hash


def test_the_hash_leaves_out_what_is_only_read(one_pool: Callable[..., Scenario]) -> None:
    """Titles, notes, citations and the spelling of a quantity; but not the mark of a fact."""
    replace = msgspec.structs.replace
    scenario = ASKS["batch"](one_pool, one_pool)
    (pool,) = scenario.pools
    before = pool.device.memory.bandwidth

    def with_bandwidth(**values: object) -> str:
        memory = replace(pool.device.memory, bandwidth=replace(before, **values))
        return replace(scenario, pools=(replace(pool, device=replace(pool.device, memory=memory)),)).hash

    same = [
        replace(scenario, title="Another title").hash,
        replace(scenario, system=replace(scenario.system, notes="seen elsewhere")).hash,
        replace(scenario, pools=(replace(pool, device=replace(pool.device, notes="a note"), price_origin="me"),)).hash,
        with_bandwidth(text="3350 GB/s", origin="another page", date="2020-01-01"),
    ]
    assert set(same) == {scenario.hash}
    assert with_bandwidth(mark=Mark.CALIBRATED) != scenario.hash


def test_the_hash_covers_the_numbers_of_storage_formats(
    one_pool: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = one_pool(StaticBatch(MODEL, 4, 128, 8), "h100-sxm-80gb", formats=Formats(weight="int4"))
    before = scenario.hash
    wider = msgspec.structs.replace(load_format("int4"), bits_per_weight=5.0)
    monkeypatch.setattr("simulator.scenario.load_format", lambda name: wider if name == "int4" else load_format(name))
    assert scenario.hash != before


def test_the_laws_hash_covers_the_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or plain(path))
    laws_hash.__wrapped__()
    assert {"dtypes.py", "formats.py", "assemble.py", "roofline.py", "training.py"} <= set(read)
