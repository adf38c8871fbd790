"""Training steps: published FLOP formulas, and what full, selective and low-rank training leave out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import operators as op
from workloads.graph import Graph
from workloads.lowering.plan import Lowering, Precision, Sharding
from workloads.lowering.training import (
    RECOMPUTED,
    Gradients,
    backward_of,
    gradient_tensors,
    lower_micro_batch,
    lower_update,
    tokens_of_rank,
)
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.operators import Operator, OpKind
from workloads.runtimes.record import FUSIONS

Models = dict[str, Architecture]
FUSED = Lowering(fusions=frozenset(FUSIONS))
UNFUSED_ATTENTION = Lowering(fusions=frozenset(FUSIONS) - {"flash"})


def named(graph: Graph, name: str) -> Operator:
    return next(o for o in graph.operators if o.name == name)


def flops_of(graph: Graph, *ends: str) -> float:
    pairs = zip(graph.operators, graph.repeat, strict=True)
    return sum(o.flops * r for o, r in pairs if o.name.endswith(ends))


def test_gpt_3_with_full_recompute_is_megatrons_formula(models: Models) -> None:
    """96 B s l h^2 (1 + s / 6h + V / 16 l h), Narayanan et al., SC 2021, doi:10.1145/3458817.3476209, equation 3."""
    arch, batch, s = models["gpt-3"], 2, 2048
    h, layers, vocab = arch.hidden, arch.layers, arch.vocab
    published = 96 * batch * s * layers * h**2 * (1 + s / (6 * h) + vocab / (16 * layers * h))
    graph = lower_micro_batch(arch, batch, s, UNFUSED_ATTENTION, "full")
    assert graph.flops == pytest.approx(published, rel=1e-12)


def test_gpt_3_without_recompute_is_six_flops_per_parameter_and_token(models: Models) -> None:
    """6 N D (Kaplan et al., arXiv:2001.08361, section 2.1) plus causal attention, 12 l h s / 2 per token."""
    arch, s = models["gpt-3"], 2048
    parameters = count_parameters(arch)
    multiplied = sum(g.layers * (g.attention + g.mlp) for g in parameters.groups) + arch.vocab * arch.hidden
    graph = lower_micro_batch(arch, 1, s, FUSED)
    products = sum(
        o.flops * r for o, r in zip(graph.operators, graph.repeat, strict=True) if not o.family.startswith("attention")
    )
    assert products == 6 * multiplied * s
    assert graph.flops == pytest.approx(6 * parameters.total * s, rel=0.03)
    scores = flops_of(graph, "attention.scores")
    assert scores == arch.layers * 4 * arch.hidden * s * (s + 1) / 2
    assert flops_of(graph, "attention.scores.backward") == 2.5 * scores


@pytest.mark.parametrize("name", ["llama-3-8b", "mixtral-8x7b", "deepseek-v3", "falcon-7b", "mamba-2.8b"])
def test_backward_takes_twice_the_products_of_forward(models: Models, name: str) -> None:
    graph = lower_micro_batch(models[name], 1, 256, FUSED)
    pairs = list(zip(graph.operators, graph.repeat, strict=True))
    backward = sum(o.flops * r for o, r in pairs if o.name.endswith((".dgrad", ".wgrad")))
    products = sum(o.flops * r for o, r in pairs if _is_forward(o) and o.family in ("gemm", "moe"))
    assert backward == pytest.approx(2 * products, rel=1e-12)


def _is_forward(o: Operator) -> bool:
    return not o.name.endswith((".dgrad", ".wgrad", ".backward", ".recompute"))


def test_blocks_tell_forward_from_backward(models: Models) -> None:
    graph = lower_micro_batch(models["deepseek-v3"], 1, 128, FUSED)
    assert [b.label for b in graph.blocks] == [
        "embedding.forward", "layers0.forward", "layers1.forward", "head.forward",
        "head.backward", "layers1.backward", "layers0.backward", "embedding.backward",
    ]  # fmt: skip
    for block in graph.blocks:
        inside = graph.operators[block.start : block.stop]
        assert all(_is_forward(o) == block.label.endswith(".forward") for o in inside), block


def test_products_have_both_gradients() -> None:
    o = op.gemm("x", 64, 16, 32)
    inputs, weights = backward_of(o, frozen=False)
    assert (inputs.name, inputs.m, inputs.n, inputs.k) == ("x.dgrad", 64, 32, 16)
    assert (inputs.weight_bytes, inputs.read_bytes, inputs.write_bytes) == (1024, 64 * 16 * 2, 64 * 32 * 2)
    assert (weights.name, weights.m, weights.n, weights.k) == ("x.wgrad", 16, 32, 64)
    assert (weights.weight_bytes, weights.read_bytes) == (0, 64 * (16 + 32) * 2)
    assert weights.write_bytes == 16 * 32 * 4, "gradients are accumulated in fp32"
    assert [part.name for part in backward_of(o, frozen=True)] == ["x.dgrad"]


def test_products_of_activations_have_two_input_gradients_even_when_frozen() -> None:
    o = op.gemm("qk", 64, 48, 32, batch=4, weights=False)
    for frozen in (False, True):
        left, right = backward_of(o, frozen)
        assert (left.m, left.n, left.k) == (64, 32, 48)
        assert (right.m, right.n, right.k) == (32, 48, 64)
        assert left.flops == right.flops == o.flops
        a, b, y = 4 * 64 * 32 * 2, 4 * 48 * 32 * 2, 4 * 64 * 48 * 2
        assert (left.read_bytes, left.write_bytes) == (y + b, a)
        assert (right.read_bytes, right.write_bytes) == (y + a, b)


def test_expert_gradients_touch_the_active_experts() -> None:
    o = op.moe_gemm("moe", 1024, 16, 32, 8, 2)
    inputs, weights = backward_of(o, frozen=False)
    assert inputs.flops == weights.flops == o.flops
    assert weights.write_bytes == pytest.approx(8 * 3 * 16 * 32 * 4)
    assert weights.k == pytest.approx(1024 * 2 / 8), "rows of one expert"


@pytest.mark.parametrize(
    ("kind", "backward"),
    [
        (OpKind.ALL_REDUCE, OpKind.ALL_REDUCE),
        (OpKind.ALL_TO_ALL, OpKind.ALL_TO_ALL),
        (OpKind.ALL_GATHER, OpKind.REDUCE_SCATTER),
        (OpKind.REDUCE_SCATTER, OpKind.ALL_GATHER),
    ],
)
def test_collectives_go_back_as_their_transpose(kind: OpKind, backward: OpKind) -> None:
    (part,) = backward_of(op.collective("c", kind, 1e6, 4, "tp"), frozen=False)
    assert (part.kind, part.message_bytes, part.group, part.name) == (backward, 1e6, 4, "c.backward")


def test_tensor_parallel_training_reduces_twice_each_way(models: Models) -> None:
    """Two all-reduces per layer forward and two backward (Shoeybi et al., arXiv:1909.08053, section 3)."""
    arch, rows = models["gpt-3"], 2 * 512
    graph = lower_micro_batch(arch, 2, 512, replace(FUSED, sharding=Sharding(tp=8)))
    counted = sum(r for o, r in zip(graph.operators, graph.repeat, strict=True) if o.kind == OpKind.ALL_REDUCE)
    assert counted == 4 * 96 + 2, "and one for the embedding, one for the head's input gradient"
    assert all(o.message_bytes == rows * arch.hidden * 2 for o in graph.operators if o.family == "collective")


@pytest.mark.parametrize("name", ["llama-2-7b", "gpt-3", "mixtral-8x7b"])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_shards_of_a_step_sum_to_the_whole(models: Models, name: str, recompute: str) -> None:
    whole, part = (
        lower_micro_batch(models[name], 2, 128, replace(UNFUSED_ATTENTION, sharding=Sharding(tp=n)), recompute)
        for n in (1, 4)
    )
    repeated = [o for o in whole.operators if o.name.startswith("moe.router")]
    router = sum(o.flops for o in repeated) * 32
    assert 4 * (part.flops - router) == pytest.approx(whole.flops - router, rel=1e-12)


@pytest.mark.parametrize("name", ["llama-2-7b", "gpt-3", "mixtral-8x7b"])
def test_context_parallel_ranks_share_a_step(models: Models, name: str) -> None:
    """All FLOPs but half of what each rank sees of its own piece twice: a causal mask is balanced to the token."""
    whole, part = (lower_micro_batch(models[name], 2, 4096, replace(FUSED, sharding=Sharding(cp=n))) for n in (1, 4))
    assert 4 * part.flops == pytest.approx(whole.flops, rel=1e-3)
    moves = [o for o in part.operators if o.name.startswith("attention.context")]
    assert len(moves) == 2 * len(models[name].groups)
    forward, backward = moves[0], moves[-1]
    assert (forward.kind, forward.axis, forward.group) == (OpKind.ALL_GATHER, "cp", 4)
    assert backward.message_bytes == 2.0 * forward.message_bytes


def test_keys_and_values_go_round(models: Models) -> None:
    """2 b s kv_heads head_dim values of 16 bit, of the whole sequence."""
    arch = models["llama-3-8b"]
    graph = lower_micro_batch(arch, 2, 4096, replace(FUSED, sharding=Sharding(cp=4)))
    move = next(o for o in graph.operators if o.name == "attention.context")
    assert move.message_bytes == 2 * 2 * 4096 * 8 * 128 * 2


def test_sequence_parallelism_moves_as_much_and_cuts_the_norms(models: Models) -> None:
    """An all-reduce is a reduce-scatter and an all-gather (Korthikanti et al., arXiv:2205.05198, section 4.2.2)."""
    arch, rows = models["gpt-3"], 2 * 512
    plain, cut = (
        lower_micro_batch(arch, 2, 512, replace(FUSED, sharding=Sharding(tp=8, sequence=n))) for n in (False, True)
    )
    assert cut.flops == plain.flops
    counts = {
        kind: sum(r for o, r in zip(cut.operators, cut.repeat, strict=True) if o.kind == kind)
        for kind in (OpKind.ALL_REDUCE, OpKind.REDUCE_SCATTER, OpKind.ALL_GATHER)
    }
    assert counts == {OpKind.ALL_REDUCE: 2, OpKind.REDUCE_SCATTER: 4 * 96, OpKind.ALL_GATHER: 4 * 96}
    assert all(o.message_bytes == rows * arch.hidden * 2 for o in cut.operators if o.family == "collective")
    norms = [[o.m for o in graph.operators if o.name == "mlp.norm"] for graph in (plain, cut)]
    assert norms[0] == [8 * m for m in norms[1]]


def test_full_recompute_runs_the_layers_again(models: Models) -> None:
    arch = models["llama-3-8b"]
    plain, again = (lower_micro_batch(arch, 1, 256, FUSED, r) for r in ("none", "full"))
    layers = next(b for b in plain.blocks if b.label == "layers0.forward")
    forward = sum(o.flops for o in plain.operators[layers.start : layers.stop]) * layers.repeat
    assert again.flops - plain.flops == forward


def test_selective_recompute_repeats_only_unfused_attention(models: Models) -> None:
    arch, s = models["gpt-3"], 256
    plain, again = (lower_micro_batch(arch, 1, s, UNFUSED_ATTENTION, r) for r in ("none", "selective"))
    assert again.flops - plain.flops == arch.layers * 4 * arch.hidden * s * s
    fused, same = (lower_micro_batch(arch, 1, s, FUSED, r) for r in ("none", "selective"))
    assert fused.operators == same.operators


def test_lora_trains_adapters_alone(models: Models) -> None:
    """Rank 16 on all linear layers of Llama 2 7B: 39,976,960 parameters (as peft counts them)."""
    arch, rank = models["llama-2-7b"], 16
    graph = lower_micro_batch(arch, 1, 128, Lowering(), lora_rank=rank)
    pairs = list(zip(graph.operators, graph.repeat, strict=True))
    adapters = sum(o.n * o.k * r for o, r in pairs if ".lora_" in o.name and _is_forward(o))
    assert adapters == 32 * rank * (4 * 2 * 4096 + 3 * (4096 + 11008)) == 39_976_960
    trained = {o.name for o in graph.operators if o.name.endswith(".wgrad")}
    assert trained
    assert all(".lora_" in name for name in trained)
    assert not any(o.name == "embedding.backward" for o in graph.operators)
    whole = lower_micro_batch(arch, 1, 128, Lowering())
    assert graph.flops < 0.72 * whole.flops


def test_fused_projections_have_an_adapter_each(models: Models) -> None:
    """Joined or not, the adapters multiply the same weights."""
    arch = models["llama-3-8b"]
    fused, plain = (
        flops_of(lower_micro_batch(arch, 1, 64, how, lora_rank=8), ".lora_a", ".lora_b") for how in (FUSED, Lowering())
    )
    assert fused == plain


def test_quantised_frozen_weights_are_unpacked_in_both_directions(models: Models) -> None:
    how = replace(FUSED, precision=Precision(weight_bits=4.127, dequantize=True))
    graph = lower_micro_batch(models["llama-2-7b"], 1, 64, how, lora_rank=8)
    forward, backward = named(graph, "mlp.down.unpack"), named(graph, "mlp.down.unpack.backward")
    assert forward.vector_flops == backward.vector_flops == 4096 * 11008
    assert forward.read_bytes == backward.read_bytes == pytest.approx(4096 * 11008 * 4.127 / 8)


@given(
    name=st.sampled_from(["llama-3-8b", "gpt-3", "mixtral-8x7b", "deepseek-v3", "mamba-2.8b"]),
    fusions=st.sets(st.sampled_from(FUSIONS)), recompute=st.sampled_from(["none", "selective", "full"]),
    lora_rank=st.sampled_from([0, 8]), tp=st.sampled_from([1, 2]), batch=st.integers(1, 4),
    seq_len=st.integers(2, 200),
)  # fmt: skip
def test_every_count_is_sound(
    models: Models, name: str, fusions: set[str], recompute: str, lora_rank: int, tp: int, batch: int, seq_len: int
) -> None:
    how = Lowering(sharding=Sharding(tp=tp), fusions=frozenset(fusions))
    one = lower_micro_batch(models[name], 1, seq_len, how, recompute, lora_rank)
    graph = lower_micro_batch(models[name], batch, seq_len, how, recompute, lora_rank)
    for part in ("flops", "vector_flops", "weight_bytes", "read_bytes", "write_bytes", "message_bytes"):
        assert all(v >= 0.0 for v in getattr(graph.columns, part)), part
    assert graph.flops == pytest.approx(batch * one.flops, rel=1e-9)
    for block in graph.blocks:
        inside = [o.name for o in graph.operators[block.start : block.stop]]
        assert len(inside) == len(set(inside))


def test_update_moves_what_adam_needs() -> None:
    graph = lower_update(1000.0, 4.0, 12.0, 2.0, {300.0: 2.0, 40.0: 5.0, 100.0: 2.0})
    assert [(o.name, o.m, o.batch) for o in graph.operators] == [
        ("optimizer.update", pytest.approx(600.0), pytest.approx(2.0)),
        ("optimizer.update1", pytest.approx(200.0), pytest.approx(2.0)),
        ("optimizer.update2", pytest.approx(200.0), pytest.approx(5.0)),
    ]
    assert graph.moved_bytes == pytest.approx(1000 * (4 + 12 + 12 + 2))
    alone = lower_update(1000.0, 4.0, 12.0, 2.0, {})
    assert [(o.name, o.m, o.batch) for o in alone.operators] == [("optimizer.update", 1000.0, 1.0)]


@pytest.mark.parametrize("name", ["gpt2", "pythia-160m", "smollm-135m"])
def test_gradients_cover_all_matrices(name: str) -> None:
    arch = load_model(name)
    tensors = gradient_tensors(lower_micro_batch(arch, 1, 16, Lowering()), arch.tied)
    total = sum(size * count for size, count in tensors.items())
    parts = count_parameters(arch)
    assert total == pytest.approx(parts.total - parts.norms, rel=0.01)
    assert max(tensors) == pytest.approx(arch.vocab * arch.hidden)
    assert tensors[max(tensors)] == (1 if arch.tied else 2)


def test_scores_in_memory_are_dropped_out(models: Models) -> None:
    """Megatron-LM of 2021: a kernel of its own reads the softmax and writes it again, and a mask of a byte each."""
    graph = lower_micro_batch(models["gpt-3"], 1, 256, UNFUSED_ATTENTION, "selective")
    softmax, dropout = (named(graph, f"attention.{name}") for name in ("softmax", "dropout"))
    assert (dropout.m, dropout.n) == (softmax.m, softmax.n)
    assert dropout.write_bytes == softmax.write_bytes + softmax.m * softmax.n
    assert named(graph, "attention.dropout.recompute").moved_bytes == dropout.moved_bytes
    assert not any("dropout" in o.name for o in lower_micro_batch(models["gpt-3"], 1, 256, FUSED).operators)


def test_an_unfused_loss_moves_the_logits_again_and_again(models: Models) -> None:
    def moved(how: Lowering) -> float:
        graph = lower_micro_batch(models["gpt-3"], 1, 256, how)
        return sum(o.moved_bytes for o in graph.operators if o.name.startswith("head.loss"))

    logits = 256 * models["gpt-3"].vocab
    # Softmax forward 8 and backward 12 bytes a logit; beside it the cast (6 each way) and three passes (8 each way).
    assert moved(FUSED) == 20 * logits
    assert moved(Lowering(fusions=frozenset(FUSIONS) - {"loss"})) == (20 + 2 * 6 + 3 * 2 * 8) * logits


@pytest.mark.parametrize(("bytes_each", "fused"), [(2.0, True), (4.0, True), (2.0, False), (4.0, False)])
def test_gradients_are_added_in_the_product_or_after_it(bytes_each: float, fused: bool) -> None:
    product = op.gemm("up", 512, 256, 128, "bf16")
    first = backward_of(product, False, Gradients(bytes_each))
    again = backward_of(product, False, Gradients(bytes_each, True, fused))
    more = sum(o.moved_bytes for o in again) - sum(o.moved_bytes for o in first)
    assert named_in(first, "up.wgrad").write_bytes == bytes_each * 256 * 128
    assert more == (1.0 if fused else 3.0) * bytes_each * 256 * 128
    assert len(again) == len(first) + (0 if fused else 1)


def named_in(operators: list[Operator], name: str) -> Operator:
    return next(o for o in operators if o.name == name)


def test_policies_of_recomputation(models: Models) -> None:
    arch = models["llama-3-8b"]
    again = {
        policy: [o.name for o in lower_micro_batch(arch, 1, 256, FUSED, policy).operators if "recompute" in o.name]
        for policy in RECOMPUTED
    }
    assert again["none"] == again["selective"] == []
    assert set(again["vector"]) < set(again["half"]) < set(again["full"])
    products = [name for name in again["half"] if name not in again["vector"]]
    assert products == ["attention.out.recompute", "mlp.down.recompute"], "the fourth and sixth of six, gate_up one"


def test_the_last_of_contiguous_pieces_sees_most_keys() -> None:
    arch = load_model("llama-3.1-8b")
    even, last = (tokens_of_rank(arch, 1, 4096, 4, balanced) for balanced in (True, False))
    assert even.rows == last.rows == 1024
    assert (even.kv_len, last.kv_len) == ((4096 + 1024) / 2, 4096)
