"""Who may see what: flows that are refused, by name."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.placement.privacy import sights
from simulator.scenario import Privacy, Rule, Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

Make = Callable[..., Scenario]
POOLS = [("h100-sxm-80gb", 1), ("tpu-v5e", 1)]


def private(pools: Make, rules: list[Rule], **allowed: tuple[str, ...]) -> Scenario:
    work = StaticBatch(load_model("llama-3.2-1b"), 2, 128, 8)
    return msgspec.structs.replace(pools(work, "gpu-tpu-lab", POOLS, rules), privacy=Privacy(**allowed))


@pytest.mark.parametrize(
    ("data", "rule", "words"),
    [
        ("kv", Rule("tpu-v5e", phase="decode"), "needs them from pool h100-sxm-80gb: decode, layer 0, operator"),
        ("prompts", Rule("tpu-v5e", layers=(3, 4)), "needs them from pool h100-sxm-80gb: prefill, layer 3"),
        ("weights", Rule("tpu-v5e", operator="head.*"), "needs them from the host: prefill, operator head.norm"),
    ],
)
def test_a_violation_names_the_flow(pools: Make, data: str, rule: Rule, words: str) -> None:
    scenario = private(pools, [rule], **{data: ("h100-sxm-80gb",)})
    with pytest.raises(InputError, match=rf"\[privacy\] {data}: pool 'tpu-v5e' may not see.*{words}") as caught:
        simulate(scenario)
    assert "(allowed: h100-sxm-80gb)" in str(caught.value)
    assert simulate(msgspec.structs.replace(scenario, privacy=Privacy(**{data: ("h100-sxm-80gb", "tpu-v5e")}))).fits


def test_experts_elsewhere_do_not_see_the_cache(pools: Make) -> None:
    rule = Rule("tpu-v5e", operator="mlp.*")
    assert simulate(private(pools, [rule], kv=("h100-sxm-80gb",))).fits
    with pytest.raises(InputError, match="prompts"):
        simulate(private(pools, [rule], prompts=("h100-sxm-80gb",)))


def test_updates_see_weights_and_no_prompts(pools: Make) -> None:
    work = TrainStep(load_model("llama-3.2-1b"), 4, 128)
    scenario = pools(work, "gpu-tpu-lab", POOLS, [Rule("tpu-v5e", phase="update")])
    seen = {(s.data, s.phase) for s in sights(scenario) if s.pool == "tpu-v5e"}
    assert seen == {("weights", "update")}


def test_privacy_is_part_of_the_question(pools: Make) -> None:
    free = private(pools, [])
    assert free.hash != private(pools, [], kv=("h100-sxm-80gb",)).hash
    assert not free.privacy.limits
