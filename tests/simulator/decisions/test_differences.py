"""Differences of scenarios: all changes together make the first the second, whatever differs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.facts import Fact, Mark
from hardware_specs.overrides import apply_overrides
from hardware_specs.sites import load_site
from simulator.decisions.differences import changes_between
from simulator.identity import content_of
from simulator.scenario import Formats, Rule, Scenario, StaticBatch, TrainStep
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
SMALL = load_model("qwen2.5-1.5b")
WORK = StaticBatch(SMALL, 4, 256, 32)


def with_price(scenario: Scenario, usd_per_s: float) -> Scenario:
    fact = Fact(usd_per_s, "usd_per_s", f"{usd_per_s} USD/s", Mark.ASSUMED, "test")
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(scenario.pools[0], usd_per_device_s=fact),))


def with_device(scenario: Scenario, **changes: str) -> Scenario:
    paths = {path.replace("__", "."): text for path, text in changes.items()}
    pool = scenario.pools[0]
    device = apply_overrides(pool.device, paths)
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(pool, device=device),))


def applied(first: Scenario, second: Scenario) -> tuple[Scenario, list[str]]:
    changes = changes_between(first, second)
    for change in changes:
        first = change.apply(first)
    return first, [change.what for change in changes]


def without_titles(scenario: Scenario) -> object:
    return content_of(msgspec.structs.replace(scenario, title=""))


def test_the_same_scenario_has_no_changes(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    assert changes_between(scenario, msgspec.structs.replace(scenario, title="another")) == []


def test_one_number_is_one_change(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    faster = with_device(scenario, memory__bandwidth="2x", compute__peaks__bf16="2x")
    found, names = applied(scenario, faster)
    assert without_titles(found) == without_titles(faster)
    assert names == ["device.compute.peaks.bf16", "device.memory.bandwidth"]
    change = changes_between(scenario, faster)[1]
    assert (change.before, change.after) == ("3.35 TB/s", "2x of 3.35 TB/s")


PAIRS = [
    ("h100-sxm-80gb", {}, "mi300x", {}),
    ("h100-sxm-80gb", {}, "tpu-v6e", {}),
    ("h100-sxm-80gb", {"tp": 2}, "h100-sxm-80gb", {"tp": 8}),
    ("h100-sxm-80gb", {}, "h100-sxm-80gb", {"runtime": "torch-eager-2.4"}),
    ("h100-sxm-80gb", {"formats": Formats("bf16")}, "h100-sxm-80gb", {"formats": Formats("fp8", "int4")}),
    ("xeon-8480-plus", {}, "epyc-9654", {"seed": 3}),
]


@pytest.mark.parametrize(("one", "own", "other", "others"), PAIRS)
def test_all_changes_make_the_second(
    one_pool: MakeScenario, one: str, own: dict[str, object], other: str, others: dict[str, object]
) -> None:
    first = with_price(one_pool(WORK, one, **own), 1e-3)
    second = with_price(one_pool(StaticBatch(SMALL, 8, 256, 16), other, **others), 2e-3)
    second = msgspec.structs.replace(second, site=load_site("eu-france"))
    for a, b in ((first, second), (second, first)):
        found, names = applied(a, b)
        assert without_titles(found) == without_titles(b)
        assert names[:2] == ["batch", "osl"]
        assert "price" in names
        assert len(names) == len(set(names))
        classes = {each.pools[0].device.device_class for each in (a, b)}
        assert any(name.startswith("device.") for name in names) == (len(classes) == 1 and one != other)


def test_a_device_that_is_another_keeps_the_facts_before_it(one_pool: MakeScenario) -> None:
    first, second = one_pool(WORK, "h100-sxm-80gb"), one_pool(WORK, "mi300x")
    (which,) = [change for change in changes_between(first, second) if "device" in change.what.split(", ")]
    alone = which.apply(first)
    assert alone.pools[0].device.id == "mi300x"
    assert alone.pools[0].device.memory.bandwidth == first.pools[0].device.memory.bandwidth
    assert (which.before, which.after) == ("1 x h100-sxm-80gb", "1 x mi300x")


def test_kinds_of_work_and_numbers_of_pools(one_pool: MakeScenario, pools: MakeScenario) -> None:
    alone = one_pool(WORK, "h100-sxm-80gb")
    placed = pools(WORK, "gpu-tpu-lab", [("h100-sxm-80gb", 1), ("tpu-v5e", 1)], [Rule("tpu-v5e", phase="decode")])
    trained = one_pool(TrainStep(SMALL, 8, 512), "h100-sxm-80gb")
    for a, b in ((alone, placed), (placed, alone), (alone, trained)):
        found, names = applied(a, b)
        assert without_titles(found) == without_titles(b), names
    other = pools(WORK, "gpu-tpu-lab", [("h100-sxm-80gb", 2), ("tpu-v5e", 1)], [Rule("tpu-v5e", phase="decode")])
    found, names = applied(placed, other)
    assert without_titles(found) == without_titles(other)
    assert len(names) == 1
