"""Pools: what a replica holds, what its scheduler may do, and what no pool can be."""

from __future__ import annotations

from typing import Any

import pytest
from small_fleets import fleet, pool, served

from hardware_specs.errors import InputError
from silicost.serving.drafts import accepted_share
from silicost.serving.pools import check_shares, named_pools, pool_of, quantity
from silicost.serving.runtime_defaults import SEQUENCES
from silicost.serving.tables import (
    AdaptersTable,
    FailuresTable,
    PoolTable,
    PrefixTable,
    ScalingTable,
    SpeculationTable,
    TrafficTable,
)
from simulator import memory
from simulator.serving.cluster import cache_blocks
from simulator.serving.step_tables import StepTables

SITE = "us-average"
INDEX = "hnsw:vectors=1M,dim=384,m=16,ef=64"


def made(table: PoolTable, longest: int = 300, unit: int = 0) -> Any:
    return pool_of(table, SITE, longest, unit, "f.toml: pool a")


def test_the_cache_takes_what_weights_activations_and_runtime_leave() -> None:
    found = made(pool())
    prepared, limits, arch = found.prepared, found.setup.limits, found.arch
    sharding = prepared.how.sharding
    held = memory.weight_bytes(arch, prepared.precision, sharding) + prepared.pool.runtime.context.value
    held += memory.inference_activation_bytes(
        arch, limits.batched_tokens, limits.sequences, prepared.precision, sharding.tp
    )
    block = limits.block_tokens * 2 * 30 * 3 * 64 * 2  # keys and values, 30 layers, 3 heads of 64, 2 bytes
    assert 0.0 <= prepared.usable_bytes - held - limits.blocks * block < block


def test_usual_limits() -> None:
    limits = made(pool(runtime="vllm-0.19")).setup.limits
    assert (limits.sequences, limits.block_tokens, limits.context) == (SEQUENCES, 16, 300)
    assert made(pool(max_num_seqs=3000)).setup.limits.batched_tokens >= 3000
    whole = made(pool(scheduler="vllm-v0", max_batched_tokens=64)).setup.limits
    assert whole.batched_tokens == whole.context == 300
    assert made(pool(scheduler="sarathi")).setup.limits.batched_tokens == 512


def test_the_context_ends_where_model_cache_and_traffic_do() -> None:
    assert made(pool(), longest=0).setup.limits.context == 2048
    assert made(pool(context=128)).setup.limits.context == 128
    assert made(pool(kv_blocks=4)).setup.limits.context == 64


def test_runtimes_that_reserve_answers_admit_without_eviction() -> None:
    assert made(pool(runtime="trtllm-1.0", scheduler="")).setup.schedule == "no-evict"
    assert made(pool()).setup.schedule == "vllm-v1"


def test_less_memory_more_sequences_and_other_formats_make_another_cache() -> None:
    blocks = made(pool()).setup.limits.blocks
    assert made(pool(memory_utilization=0.5)).setup.limits.blocks < blocks
    assert made(pool(kv_dtype="fp8")).setup.limits.blocks == pytest.approx(2 * blocks, rel=1e-3)
    assert made(pool(max_num_seqs=2048)).setup.limits.blocks < blocks


def test_drafts_and_adapters_take_their_part_of_the_cache() -> None:
    blocks = made(pool(max_num_seqs=64)).setup.limits.blocks
    drafted = made(pool(max_num_seqs=64, speculation=SpeculationTable(4, 0.7, "smollm-135m")))
    assert drafted.setup.limits.blocks == pytest.approx(blocks / 2, rel=0.03)
    assert (drafted.setup.drafts, drafted.setup.acceptance) == (4, 0.7)
    assert made(pool(max_num_seqs=64, speculation=SpeculationTable(4, 0.7))).setup.limits.blocks == blocks
    tuned = made(pool(max_num_seqs=64, adapters=AdaptersTable(16, 8, 4)))
    assert tuned.setup.limits.blocks < blocks
    assert tuned.setup.adapter_slots == 4
    assert tuned.setup.costs.adapter_load_s > 0.0


def test_sizes_in_blocks() -> None:
    block = 16 * 2 * 30 * 3 * 64 * 2
    assert made(pool(swap="1 GB")).setup.swap_blocks == int(1e9 / block)
    kept = made(pool(prefix_cache=PrefixTable(128, "1 GB"))).setup
    assert (kept.unit_blocks, kept.tier_units) == (8, int(1e9 / (8 * block)))
    host = made(pool()).prepared.network.host
    assert kept.costs.swap_block_s == block / (host.bandwidth.value * host.achieved_fraction.value)
    assert kept.costs.load_unit_s == 8 * kept.costs.swap_block_s
    assert made(pool(prefix_cache=PrefixTable())).setup.unit_blocks == 4
    assert made(pool(prefix_cache=PrefixTable()), unit=512).setup.unit_blocks == 32
    with pytest.raises(InputError, match=r"prefix_cache\.unit 64: must be whole blocks of the trace, of 512 tokens"):
        made(pool(prefix_cache=PrefixTable(64)), unit=512)


def test_stages_of_a_pipeline_are_replicas_with_their_part_of_the_cache() -> None:
    one, two = made(pool()), made(pool(pp=2, count=2))
    assert (two.virtual, two.setup.replicas, two.devices) == (2, 2, 2)
    assert two.setup.limits.sequences == one.setup.limits.sequences // 2
    whole = cache_blocks(two.prepared, two.arch, 16, two.setup.limits.batched_tokens, SEQUENCES)
    assert two.setup.limits.blocks == whole // 2
    assert two.setup.costs.devices == 1


def test_an_index_is_searched() -> None:
    found = pool_of(PoolTable("epyc-9654", name="a", index=INDEX), SITE, 0, 0, "f.toml: pool a")
    assert found.arch is None
    assert not found.generates
    assert isinstance(found.setup.tables, StepTables)


def test_encoders_take_whole_prompts_and_generate_nothing() -> None:
    found = made(pool(model="bge-base-en-v1.5", max_batched_tokens=64))
    assert not found.generates
    assert found.setup.schedule == "prefill-first"
    assert found.setup.limits.batched_tokens >= found.setup.limits.context


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"device": "l44"}, "unknown device 'l44'; did you mean 'l4'"),
    ({"model": "smol-135m"}, "unknown model 'smol-135m'; did you mean"),
    ({"model": ""}, "runs a model or searches an index: give one of the two keys"),
    ({"index": INDEX}, "runs a model or searches an index: give one of the two keys"),
    ({"runtime": "vllm-1.9"}, "unknown runtime 'vllm-1.9'; did you mean 'vllm-0.19'"),
    ({"dtype": "bf17"}, "unknown dtype 'bf17'; did you mean 'bf16'"),
    ({"system": "nowhere"}, "unknown system 'nowhere'"),
    ({"price": "3 W"}, "--price: '3 W' is a power"),
    ({"set": {"device.memory.bandwith": "1 TB/s"}}, "device.memory.bandwith"),
    ({"scheduler": "vllm-v2"}, r"unknown scheduler 'vllm-v2'; did you mean 'vllm-v1' or 'vllm-v0'"),
    ({"replicas": 0}, "replicas 0: must be a whole number from 1 to 100000"),
    ({"replicas": 1_000_000}, "replicas 1000000: must be"),
    ({"tp": 0}, "--tp 0: must be"),
    ({"pp": 64}, "--pp 64: smollm-135m has only 30 layers"),
    ({"max_num_seqs": -1}, "--max-num-seqs -1: must be"),
    ({"max_batched_tokens": 10}, "--max-batched-tokens 10: must be at least --max-num-seqs 256"),
    ({"block_size": 0}, "--block-size 0: must be"),
    ({"memory_utilization": 1.5}, r"--memory-utilization 1\.5: must be above 0 and at most 1"),
    ({"context": -1}, "context -1: must be a whole number from 1"),
    ({"swap": "4 s"}, "swap: '4 s' is a time, not a size"),
    ({"kv_blocks": 10**7}, "--kv-blocks 10000000: must be at most [0-9]+: so many of 16 tokens are in"),
    ({"swap": "17 TB"}, "swap: '17 TB' must be at most 16 TB"),
    ({"swap": "-4 GB"}, "swap: '-4 GB' must be zero or more"),
    ({"most_waiting": -1}, "most_waiting -1: must be 0"),
    ({"prefix_cache": PrefixTable(7)}, r"prefix_cache\.unit 7: must be whole blocks of 16 tokens"),
    ({"prefix_cache": PrefixTable(-16)}, r"prefix_cache\.unit -16: must be a whole number from 1"),
    ({"prefix_cache": PrefixTable(0, "-1 GB")}, r"prefix_cache\.host: '-1 GB' must be zero or more"),
    ({"speculation": SpeculationTable(0, 0.5)}, "speculative depth 0: must be a whole number from 1 to 64"),
    ({"pp": 2, "count": 2, "failures": FailuresTable("1 h", "1 min")}, "failures: .* pipeline stages .pp 2. do not"),
    ({"speculation": SpeculationTable(4)}, "speculation: give one of acceptance and accepted_share; neither is"),
    ({"speculation": SpeculationTable(4, 0.5, accepted_share=0.5)}, "acceptance and accepted_share; both are given"),
    ({"speculation": SpeculationTable(4, accepted_share=1.5)}, r"accepted_share 1\.5: must be from 0 to 1"),
    ({"speculation": SpeculationTable(4, 0.5, "nobody")}, "unknown model 'nobody'"),
    ({"adapters": AdaptersTable(0, 3, 2)}, "adapter rank 0: must be"),
    ({"adapters": AdaptersTable(16, 3, 4)}, "adapter slots 4: must be a whole number from 1 to 3"),
    ({"adapters": AdaptersTable(16, 3, 2, -1.0)}, r"adapters\.skew -1: must be zero"),
    ({"failures": FailuresTable("0.9 s", "1 s")}, r"failures\.mtbf: '0\.9 s' must be at least 1 s"),
    ({"failures": FailuresTable("1 h", "1 us")}, r"failures\.mttr: '1 us' must be at least 0\.001 s"),
    ({"failures": FailuresTable("1 h", "-1 s")}, r"failures\.mttr: '-1 s' must be zero or more"),
    ({"autoscale": ScalingTable(3, 1, 4.0)}, "autoscale: least 3, most 1: least must be from 0 to most"),
    ({"autoscale": ScalingTable(0, 0, 4.0)}, "autoscale: least 0, most 0"),
    ({"autoscale": ScalingTable(1, 2, 0.0)}, "autoscale: outstanding 0: must be above zero"),
    ({"autoscale": ScalingTable(1, 2, 4.0, "0 s")}, "autoscale: look: '0 s' must be at least 0.001 s"),
    ({"autoscale": ScalingTable(1, 2, 4.0, "", "-1 s")}, "autoscale: start: '-1 s' must be zero or more"),
    ({"autoscale": ScalingTable(1, 2, 4.0, patience=0)}, "autoscale: patience 0: must be"),
    ({"autoscale": ScalingTable(1, 2, 4.0), "pp": 2, "count": 2}, "replicas of several pipeline stages do not scale"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=lambda case: str(case)[:60])
def test_what_no_pool_can_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        made(pool(**changes))
    assert str(caught.value).startswith("f.toml: pool a: ")
    assert str(caught.value).count("f.toml") == 1


@pytest.mark.parametrize("key", ["swap", "prefix_cache", "adapters", "speculation", "context", "kv_blocks"])
def test_what_only_models_have(key: str) -> None:
    given: dict[str, Any] = {
        "swap": "1 GB", "prefix_cache": PrefixTable(), "adapters": AdaptersTable(16, 3, 2), "context": 10,
        "speculation": SpeculationTable(2, 0.5), "kv_blocks": 10,
    }  # fmt: skip
    with pytest.raises(InputError, match=f"f.toml: pool a: {key}: belongs to pools that run a model"):
        made(PoolTable("epyc-9654", name="a", index=INDEX, **{key: given[key]}))


def test_a_device_too_small_for_its_model_or_for_what_lies_beside_it() -> None:
    with pytest.raises(InputError, match=r"f\.toml: pool a: l4 cannot serve llama-3\.1-70b: weights 141 GB") as caught:
        made(pool(model="llama-3.1-70b"))
    assert caught.value.code == "memory"
    with pytest.raises(InputError, match="leave no room for a cache beside llama-2-7b") as caught:
        made(pool(model="llama-2-7b", speculation=SpeculationTable(4, 0.7, "llama-2-7b")))
    assert caught.value.code == "memory"


def test_names_of_pools() -> None:
    assert list(named_pools((PoolTable("l4"), PoolTable("l4", name="b")), "f.toml")) == ["l4", "b"]
    with pytest.raises(InputError, match=r"f\.toml: two pools are called 'l4'; give them a name"):
        named_pools((PoolTable("l4"), PoolTable("l4")), "f.toml")
    for name, said in (
        ("a" * 81, "must have at most 80"),
        ("a\x1b[2J", "is not allowed"),
        ("a\u202eb", "is not allowed"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            named_pools((PoolTable("l4", name=name),), "f.toml")
        assert str(caught.value).isprintable()
    with pytest.raises(InputError, match=r"f\.toml: a fleet needs at least one \[\[pool\]\]"):
        named_pools((), "f.toml")


def test_pools_that_share_devices() -> None:
    both = {
        name: made(pool(name, shares="card", memory_utilization=share))
        for name, share in (("a", 0.4), ("b", 0.6), ("c", 0.61))
    }
    check_shares({name: both[name] for name in "ab"}, "f.toml")
    with pytest.raises(InputError, match=r"f\.toml: b, c share 'card' and may fill 1\.21 of its memory"):
        check_shares({name: both[name] for name in "bc"}, "f.toml")
    other = made(pool("d", shares="card", device="l40", memory_utilization=0.1))
    with pytest.raises(InputError, match="must have one device, count and number of replicas"):
        check_shares({"a": both["a"], "d": other}, "f.toml")


def test_quantities() -> None:
    assert quantity("", "s", "here", 3.0) == 3.0
    assert quantity("5 ms", "s", "here") == 0.005
    with pytest.raises(InputError, match="here: '-1 s' must be zero or more"):
        quantity("-1 s", "s", "here")
    with pytest.raises(InputError, match="here: '0 s' must be above zero"):
        quantity("0 s", "s", "here", above_zero=True)


@pytest.mark.parametrize(("depth", "acceptance"), [(1, 0.3), (4, 0.7), (8, 0.95), (3, 0.0), (3, 1.0)])
def test_the_share_of_accepted_drafts_says_how_often_each_is(depth: int, acceptance: float) -> None:
    """Leviathan et al. 2023: of k drafted tokens a + a^2 + ... + a^k are accepted on average."""
    share = sum(acceptance**i for i in range(1, depth + 1)) / depth
    setup = made(pool(speculation=SpeculationTable(depth, accepted_share=share))).setup
    assert setup.acceptance == pytest.approx(acceptance, abs=1e-9)
    assert accepted_share(depth, acceptance) == pytest.approx(share)


def test_accepted_drafts_are_those_asked_for() -> None:
    traffic = TrafficTable(rate=50.0, requests=500, isl="50", osl="200")
    answer = served(fleet(pool(speculation=SpeculationTable(4, accepted_share=0.44)), traffic=traffic))
    assert answer.found.pools[0].drafts_accepted == pytest.approx(0.44, abs=0.02)


def test_a_head_drafts() -> None:
    """An EAGLE head holds less than a draft model and its iterations are shorter; n-grams hold nothing."""
    llama: dict[str, Any] = {"model": "llama-3.1-8b", "device": "h100-sxm-80gb", "max_num_seqs": 64}
    head, draft, none = (
        made(pool(**llama, speculation=SpeculationTable(4, 0.7, name))).setup
        for name in ("eagle", "llama-3.2-1b", "")
    )  # fmt: skip
    assert draft.limits.blocks < head.limits.blocks < none.limits.blocks
    assert none.tables.decode_s[0, 0] < head.tables.decode_s[0, 0] < draft.tables.decode_s[0, 0]


def test_host_memory_is_of_a_whole_replica() -> None:
    """A block lies on all devices: of one device, of two that cut heads, of two stages with a batch each."""

    def of(**plan: Any) -> tuple[int, int]:
        host: dict[str, Any] = {"swap": "8 GB", "prefix_cache": PrefixTable(64, "8 GB")}
        setup = made(pool(model="llama-3.2-1b", **host, **plan)).setup
        return setup.swap_blocks, setup.tier_units

    one, cut, staged = of(), of(tp=2, count=2), of(pp=2, count=2)
    block = 16 * 2 * 16 * 8 * 64 * 2  # 16 layers, 8 heads of 64, keys and values of 16 bit
    assert one == (int(8e9 / block), int(8e9 / block / 4))
    assert cut == one
    assert staged == pytest.approx((one[0] / 2, one[1] / 2), abs=1)
