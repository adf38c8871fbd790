"""What every scenario must satisfy: no device twice, no host that draws more than all nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario, training_scenario
from simulator.assemble import host_w
from simulator.prepared import prepare_pool
from simulator.scenario import Plan, Rule, Scenario, StaticBatch
from simulator.simulate import simulate
from workloads.models.catalogue import load_model

MODEL = load_model("llama-3.2-1b")
WORK = StaticBatch(MODEL, 2, 256, 8)
H100 = "h100-sxm-80gb"
Pools = Callable[..., Scenario]


def named(scenario: Scenario, **counts: int) -> Scenario:
    first = scenario.pools[0]
    made = tuple(msgspec.structs.replace(first, name=n, count=c, plan=Plan(tp=c)) for n, c in counts.items())
    return msgspec.structs.replace(scenario, pools=made)


def hosts_w(scenario: Scenario) -> dict[str, float]:
    return host_w([prepare_pool(scenario, pool) for pool in scenario.pools])


def test_a_device_is_in_one_pool_only(pools: Pools) -> None:
    whole = pools(WORK, "dgx-h100", [(H100, 8)])
    for counts in ({"prefill": 8, "decode": 8}, {"prefill": 4, "decode": 8}):
        twice = msgspec.structs.replace(named(whole, **counts), rules=(Rule("decode", phase="decode"),))
        held = sum(counts.values())
        with pytest.raises(InputError, match=f"8 x h100-sxm-80gb; .* of pool decode = {held} are asked for"):
            simulate(twice)
    four = whole.system.nodes * 4
    assert prepare_pool(named(whole, a=four, b=four), whole.pools[0]).pool.count == 8


def test_two_pools_of_one_name(pools: Pools) -> None:
    whole = pools(WORK, "dgx-h100", [(H100, 4)])
    with pytest.raises(InputError, match="two pools are called 'h100-sxm-80gb'"):
        simulate(msgspec.structs.replace(whole, pools=whole.pools * 2))


def test_pools_pay_for_their_shares_of_the_hosts(pools: Pools) -> None:
    whole = pools(WORK, "h100-superpod-32", [(H100, 8)])
    assert whole.system.host_power is not None
    node_w = whole.system.host_power.value
    assert hosts_w(named(whole, a=4, b=16)) == pytest.approx({"a": node_w / 2, "b": node_w * 2})
    mixed = pools(WORK, "gpu-tpu-lab", [(H100, 1), ("tpu-v5e", 1)])
    assert mixed.system.host_power is not None
    assert sum(hosts_w(mixed).values()) == pytest.approx(mixed.system.host_power.value)
    assert len(set(hosts_w(mixed).values())) == 1


def test_layers_that_the_model_does_not_have(pools: Pools) -> None:
    whole = pools(WORK, "gpu-tpu-lab", [(H100, 1), ("tpu-v5e", 1)])
    rules = (Rule("tpu-v5e", layers=(0, 99)),)
    with pytest.raises(InputError, match=r"layers \[0, 99\]: must be within 0 and 15, the layers of llama-3.2-1b"):
        simulate(msgspec.structs.replace(whole, rules=rules))


@pytest.mark.parametrize("name", ["units", "array_rows"])
@pytest.mark.parametrize("value", ["1.5", "0.5"])
def test_devices_are_made_of_whole_parts(name: str, value: str) -> None:
    changes = {f"device.compute.{name}": value}
    with pytest.raises(InputError, match=f"compute.{name} {value}: must be a whole number of at least 1"):
        simulate(inference_scenario("llama-3.2-1b", "tpu-v5e", batch=1, isl=64, osl=2, changes=changes))


@pytest.mark.parametrize(
    ("device", "dtype", "warned"),
    [
        ("v100-sxm-32gb", "bf16", "bf16 runs as fp16 on v100-sxm-32gb: it has no bf16 units"),
        ("v100-sxm-32gb", "fp16", ""),
        ("h100-sxm-80gb", "bf16", ""),
        ("gtx-1080-ti", "fp16", "fp16 runs as fp32 on gtx-1080-ti: "),
    ],
)
def test_math_in_another_dtype_than_asked_is_said(device: str, dtype: str, warned: str) -> None:
    result = simulate(inference_scenario("llama-3.2-1b", device, batch=1, isl=64, osl=2, dtype=dtype))
    said = [warning for warning in result.warnings if " runs as " in warning]
    assert len(said) == bool(warned)
    assert all(warning.startswith(warned) for warning in said)


@pytest.mark.parametrize(("batch", "idle"), [(1, 2), (3, 0)])
def test_replicas_without_work_are_said(batch: int, idle: int) -> None:
    result = simulate(inference_scenario("llama-3.2-1b", H100, batch=batch, isl=64, osl=2, dp=3))
    assert (f"{idle} of 3 replicas" in " ".join(result.warnings)) == bool(idle)


@pytest.mark.parametrize(
    ("model", "asked", "warned"),
    [
        ("llama-3.2-1b", {"recompute": "every:17"}, "recompute every:17: a stage has at most 16 layers; nothing is"),
        ("llama-3.2-1b", {"recompute": "every:16"}, ""),
        ("llama-3.2-1b", {"recompute": "every:9", "pp": 2}, "recompute every:9: a stage has at most 8 layers"),
        ("llama-3.2-1b", {"recompute": "layers:99"}, "recompute layers:99: a stage has at most 16 layers; all are"),
        ("llama-3.2-1b", {"recompute": "layers:5", "pp": 2, "vpp": 2}, "a piece of a stage has at most 4 layers"),
        ("llama-3.2-1b", {"recompute": "uniform:17"}, "recompute uniform:17: a stage has at most 16 layers; they keep"),
        ("llama-3.2-1b", {"recompute": "modules:moe,mlp"}, "recompute modules:moe,mlp: llama-3.2-1b has no moe"),
        ("llama-3.2-1b", {"recompute": "modules:mlp,core_attn,layernorm"}, ""),
        ("mixtral-8x7b", {"recompute": "modules:mlp"}, "recompute modules:mlp: mixtral-8x7b has no mlp"),
        (
            "mixtral-8x7b", {"recompute": "modules:shared_experts,mla_up_proj"},
            "mixtral-8x7b has no shared_experts, mla_up_proj",
        ),
        ("mixtral-8x7b", {"recompute": "modules:moe,moe_act"}, ""),
        ("llama-3.2-1b", {"dtype": "fp8", "recipe": "fp8-rowwise:ends=8"}, "has 16 layers; all stay in 16 bits"),
        ("llama-3.2-1b", {"dtype": "fp8", "recipe": "fp8-rowwise:ends=7"}, ""),
        ("llama-3.2-1b", {"schedule": "zb-v"}, "schedule zb-v means nothing to one pipeline stage (pp 1)"),
        ("llama-3.2-1b", {"schedule": "1f1b"}, ""),
        ("llama-3.2-1b", {"cp_comm": "a2a"}, "cp-comm a2a means nothing without context parallelism (cp 1)"),
        ("llama-3.2-1b", {"cp_comm": "a2a", "cp": 2, "dp": 4}, ""),
        ("llama-3.2-1b", {"tp": 8, "dp": 1, "zero": 3}, "zero 3 cuts nothing: there is one replica (dp 1)"),
        ("llama-3.2-1b", {"zero": 3}, ""),
        ("mixtral-8x7b", {"tp": 8, "dp": 1, "ep": 4, "zero": 1}, ""),
    ],
)  # fmt: skip
def test_settings_of_training_that_mean_nothing_are_said(model: str, asked: dict[str, Any], warned: str) -> None:
    scenario = training_scenario(model, H100, global_batch=64, seq_len=512, **{"dp": 8, "tp": 1, **asked})
    said = simulate(scenario).warnings
    assert len(said) == bool(warned), said
    assert warned in " ".join(said)


def test_adapters_have_no_higher_rank_than_their_model() -> None:
    with pytest.raises(InputError, match="--lora-rank 2049: must be at most 2048, the hidden size"):
        simulate(training_scenario("llama-3.2-1b", H100, global_batch=8, seq_len=64, lora_rank=2049))
    assert simulate(training_scenario("llama-3.2-1b", H100, global_batch=8, seq_len=64, lora_rank=2048)).metrics
