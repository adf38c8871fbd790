"""Plans: what cannot be cut is refused with what can, and layers are spread over stages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.memory import attention_cache_bytes
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import (
    Lowering,
    Precision,
    Sharding,
    check_sharding,
    shares_sequences,
    stage_layers,
    stage_lengths,
    stage_of,
)
from workloads.models.architecture import Architecture, Attention, LayerGroup


def model(heads: int, kv_heads: int, kind: str = "gqa") -> Architecture:
    return Architecture("small", 64, 100, (LayerGroup(4, Attention(kind, heads, kv_heads, 16)),))  # type: ignore[arg-type]


def test_key_value_heads_are_cut_or_repeated_whole() -> None:
    """phi-4 has 40 heads over 10 key-value heads: four ranks would get 2.5 of them."""
    with pytest.raises(
        InputError, match="--tp 4: does not divide the 10 key-value heads of small; allowed: 1, 2, 5, 10"
    ):
        check_sharding(model(40, 10), Sharding(tp=4))
    for tp in (1, 2, 5, 10, 20, 40):
        check_sharding(model(40, 10), Sharding(tp=tp))
    with pytest.raises(InputError, match="--tp 12: does not divide the 32 heads of small; allowed: 1, 2, 4, 8, 16, 32"):
        check_sharding(model(32, 8), Sharding(tp=12))


def test_latents_are_not_cut() -> None:
    check_sharding(model(40, 10, "mla"), Sharding(tp=4))


def test_software_that_pads_heads_takes_any_tp_up_to_their_number() -> None:
    check_sharding(model(32, 8), Sharding(tp=12), pads_heads=True)
    with pytest.raises(InputError, match="has only 32 heads"):
        check_sharding(model(32, 8), Sharding(tp=33), pads_heads=True)


def test_of_many_queries_on_one_key_ranks_beyond_the_heads_share_sequences() -> None:
    check_sharding(model(48, 1), Sharding(tp=64), pads_heads=True)
    with pytest.raises(InputError, match="does not divide the 48 heads"):
        check_sharding(model(48, 1), Sharding(tp=64))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.data())
def test_stages_hold_all_layers_in_order_as_evenly_as_can_be(counts: list[int], data: st.DataObject) -> None:
    layers = sum(counts)
    stages = data.draw(st.integers(1, layers))
    held = stage_layers(tuple(counts), stages)
    assert [sum(column) for column in zip(*held, strict=True)] == counts
    sizes = [sum(row) for row in held]
    assert max(sizes) == -(-layers // stages) and min(sizes) == layers // stages
    order = [stage_of(layer, layers, stages) for layer in range(layers)]
    assert order == sorted(order)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.data())
def test_stages_of_given_lengths_hold_all_layers_in_order(counts: list[int], data: st.DataObject) -> None:
    layers = sum(counts)
    cuts = data.draw(st.lists(st.integers(1, layers), unique=True, max_size=6)) if layers > 1 else []
    ends = sorted({*cuts, layers})
    lengths = tuple(end - first for first, end in zip([0, *ends[:-1]], ends, strict=True))
    rows = stage_layers(tuple(counts), len(lengths), lengths)
    assert tuple(map(sum, rows)) == lengths
    assert [sum(column) for column in zip(*rows, strict=True)] == counts
    groups = [group for row in rows for group, number in enumerate(row) for _ in range(number)]
    assert groups == sorted(groups)


@given(st.integers(1, 60), st.data())
def test_lengths_of_equal_stages_are_those_of_their_layers(layers: int, data: st.DataObject) -> None:
    stages = data.draw(st.integers(1, layers))
    where = [stage_of(layer, layers, stages) for layer in range(layers)]
    assert stage_lengths(layers, stages) == tuple(where.count(stage) for stage in range(stages))


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((2, 1), "--stages 2,1: 3 layers, but small has 4; for example 2,2"),
        ((2, 1, 1), "--stages 2,1,1: 3 stages, but --pp is 2; give one number for each"),
        ((4, 0), "--stages 4,0: each must hold at least 1 layer"),
    ],
)
def test_stages_must_be_those_of_the_model(stages: tuple[int, ...], words: str) -> None:
    check_sharding(model(8, 8), Sharding(pp=2, stages=(3, 1)))
    with pytest.raises(InputError, match=words):
        check_sharding(model(8, 8), Sharding(pp=2, stages=stages))


def test_ranks_that_share_sequences_hold_their_part_of_the_cache() -> None:
    arch = model(48, 1)
    attention = arch.groups[0].attention
    assert attention is not None and shares_sequences(attention, 64) and not shares_sequences(attention, 48)
    whole = attention_cache_bytes(attention, 1024.0, Precision(), 1)
    assert attention_cache_bytes(attention, 1024.0, Precision(), 48) == whole
    assert attention_cache_bytes(attention, 1024.0, Precision(), 64) == whole / 64
    graph = lower_step(arch, "decode", 128, 1, 1024, Lowering(sharding=Sharding(tp=64), fusions=frozenset({"flash"})))
    scores = next(o for o in graph.operators if o.name == "attention.scores")
    assert (scores.batch, scores.heads) == (2.0, 48.0), "two sequences of each rank, with all heads"
