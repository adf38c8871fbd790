"""The words of --recompute, and the layers that they mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnknownName
from workloads.graph import Graph
from workloads.lowering.plan import Lowering, Sharding
from workloads.lowering.recompute import (
    MODULES,
    Piece,
    Policy,
    in_pieces,
    pieces_of,
    policy_of,
    running_again,
    whole_layers,
    without_effect,
)
from workloads.lowering.training import lower_micro_batch
from workloads.models.catalogue import load_model

DENSE, MOE, MLA = (load_model(name) for name in ("llama-3.1-8b", "mixtral-8x7b", "deepseek-v3"))
UNFUSED = Lowering()
FLASH = Lowering(fusions=frozenset({"flash", "activation", "residual_norm"}))


def again(graph: Graph) -> float:
    """How often operators run a second time."""
    pairs = zip(graph.operators, graph.repeat, strict=True)
    return float(sum(n for o, n in pairs if o.name.endswith(".recompute")))


def names(graph: Graph) -> set[str]:
    return {o.name.removesuffix(".recompute") for o in graph.operators if o.name.endswith(".recompute")}


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("none", Policy("none")), ("full", Policy("full")), ("every:2", Policy("every", 2)),
        ("layers:12", Policy("layers", 12)), ("uniform:4", Policy("uniform", 4)), ("half", Policy("half")),
        ("modules:core_attn,mlp", Policy("modules", 1, ("core_attn", "mlp"))),
    ],
)  # fmt: skip
def test_policies_are_read_and_written(text: str, policy: Policy) -> None:
    assert policy_of(text) == policy
    assert policy.text == text
    assert policy_of("modules: mlp, mlp").modules == ("mlp",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("some", "--recompute 'some': allowed are none, selective, full, every:N"),
        ("", "--recompute '': allowed are none"), ("every", "'' layers; allowed: a whole number"),
        ("every:0", "'every:0': '0' layers; allowed: a whole number from 1 to 10000"),
        ("every:2.5", "'2.5' layers"), ("layers:-1", "'-1' layers"), ("uniform:10001", "from 1 to 10000"),
        ("uniform:٣", "layers; allowed"), ("modules:", "names no part of a layer; allowed: core_attn"),
        ("modules", "did you mean 'modules:NAME'"), ("ful", "did you mean 'full'"), ("full:2", "allowed are none"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        policy_of(text)


def test_parts_of_layers_have_near_names() -> None:
    with pytest.raises(UnknownName, match=r"run.yaml: unknown part of a layer 'core_att'; did you mean 'core_attn'"):
        policy_of("modules:mlp,core_att", "run.yaml")
    with pytest.raises(InputError, match="allowed are none"):
        policy_of("half", inner=False)


def test_layers_of_a_stage() -> None:
    assert whole_layers(policy_of("every:2"), (3, 4)) == (1.0, 2.0), "layers 2, 4 and 6 of seven"
    assert whole_layers(policy_of("layers:4"), (3, 4)) == (3.0, 1.0)
    assert whole_layers(policy_of("uniform:4"), (3, 4)) == (3.0, 4.0)
    assert whole_layers(policy_of("selective"), (3, 4)) == (0.0, 0.0)
    assert in_pieces(policy_of("layers:2"), 3) == Policy("layers", 6)
    assert in_pieces(policy_of("every:2"), 3) == Policy("every", 2)


def test_groups_are_cut_where_their_layers_differ() -> None:
    assert pieces_of(policy_of("modules:mlp"), (3, 5)) == (Piece(0, 3, "modules:mlp"), Piece(1, 5, "modules:mlp"))
    assert pieces_of(policy_of("uniform:2"), (8,), (4, 4)) == (Piece(0, 8, "full"),)
    two = pieces_of(policy_of("layers:1"), (8,), (4, 4))
    assert two == (Piece(0, 1, "full"), Piece(0, 3, "none"), Piece(0, 1, "full"), Piece(0, 3, "none"))


counts = st.lists(st.integers(1, 30), min_size=1, max_size=3)
numbered = st.tuples(st.sampled_from(["every", "layers", "uniform"]), st.integers(1, 40)).map("{0[0]}:{0[1]}".format)


@given(counts, numbered, st.integers(1, 6))
def test_pieces_hold_every_layer_once(layers: list[int], text: str, pp: int) -> None:
    total = sum(layers)
    pp = min(pp, total)
    lengths = [total // pp + (stage < total % pp) for stage in range(pp)]
    pieces = pieces_of(policy_of(text), layers, lengths)
    assert [sum(p.layers for p in pieces if p.group == g) for g in range(len(layers))] == layers
    assert [p.group for p in pieces] == sorted(p.group for p in pieces)
    full = sum(p.layers for p in pieces if p.policy == "full")
    policy = policy_of(text)
    wanted = {
        "every": sum(length // policy.number for length in lengths),
        "layers": sum(min(length, policy.number) for length in lengths), "uniform": total,
    }  # fmt: skip
    assert full == wanted[policy.kind]


def test_every_second_layer_runs_half_as_much_again() -> None:
    full, half, quarter, one = (
        lower_micro_batch(DENSE, 1, 256, FLASH, text) for text in ("full", "every:2", "every:4", "every:1")
    )
    assert again(half) == again(full) / 2.0
    assert again(quarter) == again(full) / 4.0
    assert again(one) == again(full)
    assert [b.repeat for b in half.blocks if b.label.startswith("layers")] == [16, 16, 16, 16]


def test_whole_layers_of_stages_and_of_groups_of_layers() -> None:
    full = again(lower_micro_batch(DENSE, 1, 256, FLASH, "full"))
    stages = lower_micro_batch(DENSE, 1, 256, FLASH, "layers:3", stages=(8, 8, 8, 8))
    assert again(stages) == full * 12 / 32
    assert again(lower_micro_batch(DENSE, 1, 256, FLASH, "layers:3")) == full * 3 / 32
    assert lower_micro_batch(DENSE, 1, 256, FLASH, "uniform:4") == lower_micro_batch(DENSE, 1, 256, FLASH, "full")
    plain, cut = (lower_micro_batch(MLA, 1, 64, FLASH, text) for text in ("none", "layers:5"))
    assert cut.flops > plain.flops
    forward = [b.repeat for b in cut.blocks if b.label.endswith(".forward")]
    assert forward == [1, 3, 2, 56, 1], "three dense layers and two of the others, then the rest, between the ends"


def test_layers_are_the_same_operators_however_they_are_cut() -> None:
    plain, cut = (lower_micro_batch(DENSE, 1, 128, UNFUSED, text) for text in ("none", "every:3"))

    def once(graph: Graph) -> dict[str, float]:
        found: dict[str, float] = {}
        for o, n in zip(graph.operators, graph.repeat, strict=True):
            if not o.name.endswith(".recompute"):
                found[o.name] = found.get(o.name, 0.0) + n * o.flops
        return found

    assert once(plain) == once(cut)


def test_parts_of_a_layer_are_their_operators() -> None:
    sharded = Lowering(sharding=Sharding(tp=2, sequence=True))
    assert names(lower_micro_batch(DENSE, 1, 64, UNFUSED, "modules:core_attn")) == {
        "attention.qk", "attention.softmax", "attention.dropout", "attention.pv",
    }  # fmt: skip
    assert names(lower_micro_batch(DENSE, 1, 64, FLASH, "modules:core_attn")) == {"attention.scores"}
    assert names(lower_micro_batch(DENSE, 1, 64, FLASH, "modules:layernorm")) == {"attention.norm", "mlp.norm"}
    assert names(lower_micro_batch(DENSE, 1, 64, sharded, "modules:mlp")) == {
        "mlp.gate", "mlp.up", "mlp.activation", "mlp.down", "mlp.reduce_scatter", "mlp.all_gather",
    }  # fmt: skip
    assert {"moe.router", "moe.experts"} <= names(lower_micro_batch(MOE, 1, 64, FLASH, "modules:moe"))
    assert names(lower_micro_batch(MOE, 1, 64, FLASH, "modules:moe_act")) == {"moe.experts.activation"}
    assert names(lower_micro_batch(MLA, 1, 64, UNFUSED, "modules:mla_up_proj")) == {
        "attention.q_b", "attention.kv_b", "attention.rope",
    }  # fmt: skip
    assert names(lower_micro_batch(MLA, 1, 64, UNFUSED, "modules:shared_experts")) == {
        "moe.shared.gate", "moe.shared.up", "moe.shared.activation", "moe.shared.down",
    }  # fmt: skip
    assert not names(lower_micro_batch(DENSE, 1, 64, FLASH, "modules:moe,moe_act,mla_up_proj,shared_experts"))


def test_the_activation_of_experts_is_theirs() -> None:
    graph = lower_micro_batch(MOE, 1, 64, FLASH, "modules:moe_act")
    experts = next(o for o in graph.operators if o.name == "moe.experts")
    act = next(o for o in graph.operators if o.name == "moe.experts.activation.recompute")
    assert act.vector_flops == experts.vector_flops
    assert act.write_bytes == experts.m * experts.n * 2.0
    assert act.read_bytes == 2.0 * act.write_bytes, "gated"
    both = names(lower_micro_batch(MOE, 1, 64, FLASH, "modules:moe,moe_act"))
    assert "moe.experts" in both and "moe.experts.activation" not in both


def test_every_part_has_operators_somewhere() -> None:
    known = {o.name for arch in (DENSE, MOE, MLA) for o in lower_micro_batch(arch, 1, 64, UNFUSED).operators}
    for module in MODULES:
        assert module == "moe_act" or running_again((module,), known), module


@pytest.mark.parametrize("model", ["llama-3.2-1b", "mixtral-8x7b", "deepseek-v3", "mamba2-2.7b", "llama-4-scout"])
def test_parts_that_have_no_effect_are_those_without_operators(model: str) -> None:
    arch = load_model(model)
    graph = lower_micro_batch(arch, 1, 64, Lowering(fusions=frozenset()))
    forward = {o.name for o in graph.operators if not o.name.endswith((".backward", ".dgrad", ".wgrad"))}
    for module in MODULES:
        there = running_again(["moe" if module == "moe_act" else module], forward)
        assert bool(without_effect(policy_of(f"modules:{module}"), arch, (arch.layers,))) != bool(there), module
