"""Prefill, decode and encoder steps: totals against hand counts, shards against the whole."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.graph import Graph
from workloads.lowering.inference import lower_step
from workloads.lowering.layers import absorbs
from workloads.lowering.plan import Lowering, Precision, Sharding
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.models.parameters import count_parameters
from workloads.operators import Operator, OpKind
from workloads.runtimes.record import FUSIONS

Models = dict[str, Architecture]
FUSED = Lowering(fusions=frozenset(FUSIONS))
EAGER = Lowering()


def named(graph: Graph, name: str) -> Operator:
    return next(o for o in graph.operators if o.name == name)


def total(graph: Graph, part: str) -> float:
    """A count of all operators, repeats included."""
    return sum(getattr(o, part) * r for o, r in zip(graph.operators, graph.repeat, strict=True))


def collective_bytes(graph: Graph) -> float:
    return total(graph, "message_bytes")


@pytest.mark.parametrize("name", ["llama-2-7b", "llama-3-8b", "gpt-3", "falcon-7b"])
@pytest.mark.parametrize("how", [FUSED, EAGER])
def test_decode_flops_are_twice_the_matrices_and_attention(models: Models, name: str, how: Lowering) -> None:
    """2 FLOPs per weight that multiplies (embedding look-up and norms do not), 4 per key, head and width."""
    arch, batch, context = models[name], 3, 1000
    p = count_parameters(arch)
    head = arch.vocab * arch.hidden
    matrices = sum(g.layers * (g.attention + g.mlp) for g in p.groups) + head
    attention = arch.groups[0].attention
    assert attention is not None
    scores = arch.layers * 4 * attention.heads * attention.head_dim * context
    assert lower_step(arch, "decode", batch, 1, context, how).flops == batch * (2 * matrices + scores)


def test_llama_2_7b_decode_by_hand(models: Models) -> None:
    """32 x (4 x 4096^2 + 3 x 4096 x 11008) + 32000 x 4096 weights multiply, and nothing else."""
    graph = lower_step(models["llama-2-7b"], "decode", 1, 1, 512, FUSED)
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096
    assert weights == 6_607_077_376
    assert graph.flops == 2 * weights + 32 * 4 * 4096 * 512
    assert named(graph, "attention.scores").read_bytes - 4096 * 2 == 512 * 2 * 4096 * 2, "K and V of each token"
    vectors = (2 * 32 + 1) * 4096
    assert total(graph, "weight_bytes") == 2 * (weights + vectors)


def test_prefill_computes_logits_of_the_last_token_only(models: Models) -> None:
    arch, batch, length = models["llama-3-8b"], 2, 300
    p = count_parameters(arch).groups[0]
    graph = lower_step(arch, "prefill", batch, length, length, FUSED)
    pairs = length * (length + 1) / 2
    layers = 32 * (2 * batch * length * (p.attention + p.mlp) + batch * 4 * 32 * 128 * pairs)
    assert graph.flops == layers + batch * 2 * arch.vocab * arch.hidden
    assert (named(graph, "head.norm").m, named(graph, "head.logits").m) == (batch * length, batch)


def test_grouped_queries_read_a_quarter_of_the_cache(models: Models) -> None:
    graph = lower_step(models["llama-3-8b"], "decode", 5, 1, 777, FUSED)
    scores = named(graph, "attention.scores")
    assert scores.read_bytes == 5 * (32 * 128 * 2 + 777 * 8 * 2 * 128 * 2)


def test_mixtral_uses_two_experts_per_token(models: Models) -> None:
    arch = models["mixtral-8x7b"]
    p = count_parameters(arch)
    graph = lower_step(arch, "decode", 1, 1, 1, FUSED)
    used = p.active - p.embedding - p.norms
    assert graph.flops == 2 * used + 32 * 4 * 4096
    assert p.active == pytest.approx(12.9e9, rel=0.01), "the paper: 13B active"
    moe = named(graph, "moe.experts")
    assert moe.weight_bytes == pytest.approx(2 * 3 * 4096 * 14336 * 2)
    everything = named(lower_step(arch, "prefill", 8, 512, 512, FUSED), "moe.experts")
    assert everything.weight_bytes == pytest.approx(8 * 3 * 4096 * 14336 * 2)


def test_experts_in_a_loop_are_launched_one_by_one(models: Models) -> None:
    arch = models["mixtral-8x7b"]
    assert named(lower_step(arch, "prefill", 8, 512, 512, FUSED), "moe.experts").calls == 1
    assert named(lower_step(arch, "prefill", 8, 512, 512, EAGER), "moe.experts").calls == pytest.approx(8 * 3)
    assert named(lower_step(arch, "decode", 1, 1, 9, EAGER), "moe.experts").calls == pytest.approx(2 * 3)


def test_static_graphs_compute_every_expert(models: Models) -> None:
    arch = models["mixtral-8x7b"]
    one = 3 * 4096 * 14336
    for run, in_prompt, in_step in (("routed", 2, 2), ("prompts", 8, 2), ("all", 8, 8)):
        how = replace(FUSED, experts=run)
        prompt = named(lower_step(arch, "prefill", 1, 64, 64, how), "moe.experts")
        step = named(lower_step(arch, "decode", 1, 1, 64, how), "moe.experts")
        assert (prompt.flops, step.flops) == (2 * 64 * in_prompt * one, 2 * in_step * one)
        assert step.weight_bytes == pytest.approx(in_step * one * 2)
        assert named(lower_step(arch, "decode", 1, 1, 64, how), "moe.weighted_sum").read_bytes == in_step * 4096 * 2


def test_deepseek_decode_reads_576_values_per_token(models: Models) -> None:
    arch = models["deepseek-v3"]
    short, long = (lower_step(arch, "decode", 4, 1, n, FUSED) for n in (4000, 4001))
    assert total(long, "read_bytes") - total(short, "read_bytes") == 4 * 61 * 576 * 2
    scores = named(short, "attention.scores")
    assert (scores.kind, scores.heads, scores.kv_heads) == (OpKind.MLA_DECODE, 128, 1)
    absorb = named(short, "attention.absorb_k")
    assert absorb.weight_bytes == 128 * 512 * 128 * 2, "each head has its own matrix"
    assert absorb.flops == 2 * 4 * 128 * 512 * 128


def test_deepseek_projections_hold_all_weights(models: Models) -> None:
    """Absorbed or not, the attention products of one layer multiply exactly the attention weights."""
    arch = models["deepseek-v3"]
    weights = count_parameters(arch).groups[0].attention
    decode = lower_step(arch, "decode", 1, 1, 1, FUSED)
    prefill = lower_step(arch, "prefill", 1, 64, 64, FUSED)
    for graph, rows in ((decode, 1), (prefill, 64)):
        dense = next(b for b in graph.blocks if b.label == "layers0")
        parts = [o for o in graph.operators[dense.start : dense.stop] if o.name.startswith("attention")]
        products = [o for o in parts if o.family == "gemm"]
        assert sum(o.flops for o in products) == 2 * rows * weights
        assert sum(o.weight_bytes for o in products) == 2 * weights


def test_latent_attention_unfolds_long_queries_and_absorbs_short_ones(models: Models) -> None:
    attention = models["deepseek-v3"].groups[0].attention
    assert attention is not None
    assert absorbs(attention, 1, 1)
    assert absorbs(attention, 4, 4096), "verification of drafted tokens"
    assert not absorbs(attention, 2048, 8192), "a chunk of a prompt"
    assert not absorbs(attention, 64, 64)
    graph = lower_step(models["deepseek-v3"], "prefill", 1, 2048, 8192, FUSED)
    assert named(graph, "attention.kv_b").m == 8192, "keys of the cached context are unfolded again"
    scores = named(graph, "attention.scores")
    assert (scores.kind, scores.k, scores.value_dim) == (OpKind.MLA_PREFILL, 192, 128)


def layer_names(graph: Graph) -> list[str]:
    block = next(b for b in graph.blocks if b.label == "layers0")
    return [o.name for o in graph.operators[block.start : block.stop]]


@pytest.mark.parametrize(
    ("norms", "parallel", "expected"),
    [
        (1, True, ["attention.norm"]),
        (2, True, ["attention.norm", "mlp.norm"]),
        (2, False, ["attention.norm", "mlp.norm"]),
        (3, False, ["attention.norm", "attention.post_norm", "mlp.norm"]),
        (4, False, ["attention.norm", "attention.post_norm", "mlp.norm", "mlp.post_norm"]),
        (5, False, ["attention.norm", "attention.post_norm", "mlp.norm", "mlp.post_norm", "extra.norm0"]),
    ],
)
def test_a_layer_has_as_many_norms_as_it_says(norms: int, parallel: bool, expected: list[str]) -> None:
    group = LayerGroup(2, Attention("mha", 4, 4, 16), FeedForward(128), norms=norms, parallel=parallel)
    arch = Architecture("small", 64, 100, (group,))
    for how in (FUSED, EAGER):
        graph = lower_step(arch, "decode", 1, 1, 8, how)
        assert [n for n in layer_names(graph) if "norm" in n and "residual" not in n] == expected


def test_a_layer_adds_each_branch_to_the_residual_once() -> None:
    """Unfused additions are seen by name; two per layer, in a parallel block one of three tensors (two adds)."""
    for parallel in (False, True):
        group = LayerGroup(1, Attention("mha", 4, 4, 16), FeedForward(128), norms=1 + (not parallel), parallel=parallel)
        names = layer_names(lower_step(Architecture("small", 64, 100, (group,)), "decode", 1, 1, 8, EAGER))
        assert sum(n.endswith((".residual", ".add")) for n in names) == 2


def test_parallel_blocks_reduce_once(models: Models) -> None:
    group = LayerGroup(1, Attention("mqa", 8, 1, 16), FeedForward(512, gated=False), norms=1, parallel=True)
    how = replace(FUSED, sharding=Sharding(tp=2))
    for parallel, count in ((True, 1), (False, 2)):
        arch = Architecture("small", 128, 256, (msgspec.structs.replace(group, parallel=parallel),))
        names = layer_names(lower_step(arch, "decode", 1, 1, 8, how))
        assert sum(n.endswith("all_reduce") for n in names) == count


@pytest.mark.parametrize("name", ["llama-2-7b", "gpt-3", "mixtral-8x7b"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallel_shards_sum_to_the_whole(models: Models, name: str, phase: str, tp: int) -> None:
    """Products and caches are cut without remainder; norms, routers and embeddings are repeated on each rank."""
    arch, q_len = models[name], 64 if phase == "prefill" else 1
    whole, part = (
        lower_step(arch, phase, 4, q_len, 64, replace(FUSED, sharding=Sharding(tp=n)))  # type: ignore[arg-type]
        for n in (1, tp)
    )
    for o in whole.operators:
        cut = named(part, o.name)
        if o.name == "moe.router":
            assert cut.flops == o.flops
        elif o.flops:
            assert cut.flops * tp == pytest.approx(o.flops, rel=1e-12), o.name
            assert cut.weight_bytes * tp == pytest.approx(o.weight_bytes, rel=1e-12), o.name
    assert named(part, "attention.scores").read_bytes * tp == named(whole, "attention.scores").read_bytes


def test_key_value_heads_are_repeated_beyond_their_number(models: Models) -> None:
    """Llama 3 8B has 8 key-value heads: 16 ranks hold one each, twice as many as there are."""
    arch = models["llama-3-8b"]
    eight, sixteen = (
        named(lower_step(arch, "decode", 1, 1, 100, replace(FUSED, sharding=Sharding(tp=n))), "attention.qkv")
        for n in (8, 16)
    )
    assert eight.n == (32 / 8 + 2) * 128
    assert sixteen.n == (32 / 16 + 2) * 128


def test_tensor_parallel_messages(models: Models) -> None:
    arch, rows = models["llama-3-8b"], 6 * 50
    graph = lower_step(arch, "prefill", 6, 50, 50, replace(FUSED, sharding=Sharding(tp=4)))
    reduced = 2 * 32 * rows * 4096 * 2 + rows * 4096 * 2
    assert collective_bytes(graph) == reduced + 6 * arch.vocab * 2
    assert {o.axis for o in graph.operators if o.family == "collective"} == {"tp"}


def test_expert_parallelism_exchanges_each_token_top_k_times(models: Models) -> None:
    """tp 1: every device brings all its rows. tp = ep: the ranks hold the same rows and each sends its part."""
    arch, rows = models["mixtral-8x7b"], 64
    whole = named(lower_step(arch, "decode", rows, 1, 100, FUSED), "moe.experts")
    alone = lower_step(arch, "decode", rows, 1, 100, replace(FUSED, sharding=Sharding(ep=4)))
    assert named(alone, "moe.dispatch").message_bytes == rows * 2 * 4096 * 2
    assert named(alone, "moe.experts").flops == whole.flops, "four devices bring four times the rows to all experts"
    inside = lower_step(arch, "decode", rows, 1, 100, replace(FUSED, sharding=Sharding(tp=4, ep=4)))
    assert named(inside, "moe.dispatch").message_bytes == rows / 4 * 2 * 4096 * 2
    assert named(inside, "moe.experts").flops * 4 == whole.flops
    assert named(inside, "moe.experts").weight_bytes * 4 == pytest.approx(whole.weight_bytes)


def test_shared_experts_are_cut_over_tp() -> None:
    group = LayerGroup(1, Attention("mha", 4, 4, 16), Experts(8, 2, 32, shared_width=64, shared_gate=True))
    arch = Architecture("small", 64, 100, (group,))
    whole, part = (lower_step(arch, "decode", 8, 1, 8, replace(FUSED, sharding=Sharding(tp=n, ep=n))) for n in (1, 2))
    assert named(whole, "moe.shared.gate_up").flops == 2 * 8 * 128 * 64
    assert named(part, "moe.shared.gate_up").flops == 8 * 128 * 64
    assert named(whole, "moe.shared.scale").flops == 2 * 8 * 64


def test_pipeline_sends_between_stages(models: Models) -> None:
    graph = lower_step(models["llama-3-8b"], "decode", 4, 1, 8, replace(FUSED, sharding=Sharding(pp=4)))
    send = named(graph, "pipeline.send")
    assert (send.message_bytes, send.group, send.axis) == (4 * 4096 * 2, 2, "pp")
    assert next(b for b in graph.blocks if b.label == "pipeline").repeat == 3


@pytest.mark.parametrize("name", ["llama-3-8b", "mixtral-8x7b", "deepseek-v3", "mamba-2.8b"])
@given(batch=st.integers(1, 64), q_len=st.integers(2, 512))
def test_flops_add_up_over_the_batch(models: Models, name: str, batch: int, q_len: int) -> None:
    one, many = (lower_step(models[name], "prefill", b, q_len, q_len, FUSED) for b in (1, batch))
    assert many.flops == pytest.approx(batch * one.flops, rel=1e-9)
    assert one.moved_bytes <= many.moved_bytes <= batch * one.moved_bytes * (1 + 1e-12), "weights are shared"


@given(
    name=st.sampled_from(["llama-3-8b", "gpt-3", "mixtral-8x7b", "deepseek-v3", "falcon-7b", "mamba-2.8b"]),
    fusions=st.sets(st.sampled_from(FUSIONS)), tp=st.sampled_from([1, 2]), ep=st.sampled_from([1, 2]),
    batch=st.integers(1, 9), q_len=st.integers(1, 65), old=st.integers(0, 99),
)  # fmt: skip
def test_every_count_is_sound(
    models: Models, name: str, fusions: set[str], tp: int, ep: int, batch: int, q_len: int, old: int
) -> None:
    how = Lowering(sharding=Sharding(tp=tp, ep=ep), fusions=frozenset(fusions))
    phase = "decode" if q_len == 1 else "prefill"
    graph = lower_step(models[name], phase, batch, q_len, q_len + old, how)  # type: ignore[arg-type]
    longer = lower_step(models[name], phase, batch, q_len, q_len + old + 7, how)  # type: ignore[arg-type]
    names: set[str] = set()
    for block in graph.blocks:
        inside = [o.name for o in graph.operators[block.start : block.stop]]
        assert len(inside) == len(set(inside)), "names are unique within a block"
        names.update(inside)
    for part in ("flops", "vector_flops", "weight_bytes", "read_bytes", "write_bytes", "message_bytes"):
        assert all(v >= 0.0 for v in getattr(graph.columns, part))
        assert total(graph, part) <= total(longer, part) * (1 + 1e-12)


@pytest.mark.parametrize("name", ["llama-3-8b", "mixtral-8x7b", "falcon-7b"])
def test_fusion_changes_bytes_and_launches_but_not_products(models: Models, name: str) -> None:
    eager, fused = (lower_step(models[name], "decode", 4, 1, 99, how) for how in (EAGER, FUSED))
    assert eager.flops == fused.flops
    assert total(eager, "weight_bytes") == total(fused, "weight_bytes")
    assert total(eager, "read_bytes") > total(fused, "read_bytes")
    assert len(eager) > len(fused)


def test_unfused_attention_writes_the_scores(models: Models) -> None:
    arch = models["llama-3-8b"]
    flash, plain = (
        lower_step(arch, "prefill", 2, 256, 256, replace(FUSED, fusions=FUSED.fusions - names))
        for names in (frozenset[str](), frozenset({"flash"}))
    )
    scores = 2 * 32 * 256 * 256 * 2
    assert named(plain, "attention.qk").write_bytes == scores
    assert named(plain, "attention.softmax").moved_bytes == 2 * scores
    assert named(plain, "attention.pv").read_bytes == scores + 2 * 256 * 8 * 128 * 2
    computed = named(plain, "attention.qk").flops + named(plain, "attention.pv").flops
    assert computed == 2 * named(flash, "attention.scores").flops * 256 / 257, "the masked half as well"


def test_quantised_weights_leave_the_head_in_16_bits(models: Models) -> None:
    arch = models["llama-3-8b"]
    how = replace(FUSED, precision=Precision(weight_bits=4.5, dequantize=True, kv_bits=8.0))
    wide, narrow = (lower_step(arch, "decode", 1, 1, 100, h) for h in (FUSED, how))
    assert named(narrow, "mlp.down").weight_bytes * 16 == named(wide, "mlp.down").weight_bytes * 4.5
    assert named(narrow, "head.logits").weight_bytes == arch.vocab * 4096 * 2
    query = 32 * 128 * 2
    halves = [named(g, "attention.scores").read_bytes - query for g in (wide, narrow)]
    assert halves[0] == 2 * halves[1]


def test_narrow_math_keeps_16_bit_activations(models: Models) -> None:
    how = replace(FUSED, precision=Precision(compute="fp8", weight_bits=8.0))
    down = named(lower_step(models["llama-3-8b"], "decode", 3, 1, 9, how), "mlp.down")
    assert down.dtype == "fp8"
    assert (down.weight_bytes, down.read_bytes, down.write_bytes) == (4096 * 14336, 3 * 14336 * 2, 3 * 4096 * 2)


def test_sliding_windows_bound_decode_and_prefill() -> None:
    """Two layers of Mistral's kind: a window of 4096 over 10,000 tokens."""
    group = LayerGroup(2, Attention("gqa", 32, 8, 128, window=4096), FeedForward(14336))
    arch = Architecture("windowed", 4096, 32000, (group,))
    decode = named(lower_step(arch, "decode", 1, 1, 10_000, FUSED), "attention.scores")
    assert decode.flops == 4 * 32 * 128 * 4096
    assert decode.read_bytes == 32 * 128 * 2 + 4096 * 8 * 256 * 2
    prefill = named(lower_step(arch, "prefill", 1, 10_000, 10_000, FUSED), "attention.scores")
    assert prefill.flops == 4 * 32 * 128 * (4096 * 4097 / 2 + (10_000 - 4096) * 4096)


def test_mamba_decode_does_not_depend_on_the_context(models: Models) -> None:
    arch = models["mamba-2.8b"]
    short, long = (lower_step(arch, "decode", 2, 1, n, FUSED) for n in (10, 100_000))
    assert short.operators == long.operators
    p = count_parameters(arch)
    small = 5120 * (1 + 16 + 1 + 4 + 1)  # biases, decays, skips and taps of the convolution
    assert short.flops == 2 * 2 * (64 * (p.groups[0].ssm - small) + arch.vocab * arch.hidden)


@pytest.mark.parametrize(("q_len", "tp"), [(1, 1), (512, 1), (512, 4)])
def test_short_convolution_by_hand(q_len: int, tp: int) -> None:
    """LFM2: three times the width in, a gate before and one behind a convolution over 3 tokens, the width out."""
    group = LayerGroup(2, ssm=StateSpace(1024, 0, conv=3, conv_bias=False), norms=1)
    arch = Architecture("liv", 1024, 1000, (group,))
    how, rows, own = Lowering(Precision(), Sharding(tp=tp)), 3 * q_len, 1024 // tp
    graph = lower_step(arch, "decode" if q_len == 1 else "prefill", 3, q_len, q_len, how)
    assert named(graph, "ssm.in").flops == 2 * rows * 3 * own * 1024
    assert named(graph, "ssm.in").weight_bytes == 2 * 3 * own * 1024
    assert named(graph, "ssm.out").flops == 2 * rows * own * 1024
    convolution = named(graph, "ssm.conv")
    assert convolution.vector_flops == 2 * 3 * rows * own
    assert convolution.weight_bytes == 2 * 3 * own
    state = 2 * 3 * 2 * own  # two older tokens of three sequences in bf16
    assert convolution.read_bytes == convolution.write_bytes == 2 * rows * own + state
    for gate in ("ssm.gate_in", "ssm.gate_out"):
        assert (named(graph, gate).read_bytes, named(graph, gate).write_bytes) == (4 * rows * own, 2 * rows * own)
    assert not [o.name for o in graph.operators if o.kind is OpKind.SSM_SCAN]


def test_gates_of_a_short_convolution_fuse_with_the_activations() -> None:
    group = LayerGroup(1, ssm=StateSpace(64, 0, conv=3, conv_bias=False), norms=1)
    arch = Architecture("liv", 64, 100, (group,))
    names = [o.name for o in lower_step(arch, "decode", 1, 1, 9, FUSED).operators if o.name.startswith("ssm.")]
    assert names == ["ssm.norm", "ssm.in", "ssm.conv", "ssm.out"]


def test_mamba_2_projects_groups_and_heads() -> None:
    """mamba2-2.7b: arXiv:2405.21060, inner 5120, 80 heads, state 128, one group."""
    arch = Architecture("mamba2", 2560, 50288, (LayerGroup(64, ssm=StateSpace(5120, 128, heads=80), norms=1),))
    graph = lower_step(arch, "prefill", 1, 512, 512, FUSED)
    assert named(graph, "ssm.in").n == 2 * 5120 + 2 * 128 + 80
    assert named(graph, "ssm.conv").n == 5120 + 2 * 128
    assert named(graph, "ssm.scan").flops > 0
    cut = lower_step(arch, "prefill", 1, 512, 512, replace(FUSED, sharding=Sharding(tp=8)))
    assert named(cut, "ssm.in").n == 2 * 640 + 2 * 128 + 10, "the one group of B and C is on every rank"


def test_encoder_pass_sees_both_ways_and_has_no_logits(models: Models) -> None:
    graph = lower_step(models["bert-base"], "encode", 8, 128, 128, FUSED)
    assert named(graph, "attention.scores").flops == 8 * 4 * 12 * 64 * 128 * 128
    assert not any(o.name in ("head.logits", "head.sampling", "head.norm") for o in graph.operators)
    assert named(graph, "head.pool").flops == 2 * 8 * 768 * 768
    assert {"embedding.positions", "embedding.types", "embedding.norm"} <= {o.name for o in graph.operators}


def test_narrow_embeddings_are_projected() -> None:
    """OPT-350m: embedding of 512 in a model of 1024 (arXiv:2205.01068)."""
    group = LayerGroup(1, Attention("mha", 16, 16, 64), FeedForward(4096, gated=False))
    arch = Architecture("narrow", 1024, 50272, (group,), tied=True, embedding_dim=512, learned_positions=2050)
    graph = lower_step(arch, "prefill", 2, 10, 10, FUSED)
    assert named(graph, "embedding.project").flops == 2 * 20 * 512 * 1024
    assert named(graph, "head.project").flops == 2 * 2 * 512 * 1024
    assert named(graph, "head.logits").k == 512
    assert named(graph, "embedding.positions").n == 1024


def test_operator_names_are_stable(models: Models) -> None:
    """Placements name operators; these names are the contract."""
    fused = {o.name for o in lower_step(models["llama-3-8b"], "decode", 1, 1, 9, FUSED).operators}
    assert fused == {
        "embedding", "attention.norm", "attention.qkv", "attention.scores", "attention.out", "mlp.norm",
        "mlp.gate_up", "mlp.down", "head.norm", "head.logits",
    }  # fmt: skip
    eager = {o.name for o in lower_step(models["llama-3-8b"], "decode", 1, 1, 9, EAGER).operators}
    assert eager == {
        "embedding", "attention.norm", "attention.norm.residual", "attention.q", "attention.k", "attention.v",
        "attention.rope", "attention.qk", "attention.softmax", "attention.pv", "attention.out", "mlp.norm",
        "mlp.norm.residual", "mlp.gate", "mlp.up", "mlp.activation", "mlp.down", "head.norm", "head.logits",
        "head.sampling",
    }  # fmt: skip


def test_experts_are_gathered_and_partial_sums_added() -> None:
    """With experts on ep ranks every rank has finished rows of its own: half of what an all-reduce moves."""
    layer = LayerGroup(1, Attention("mha", 4, 4, 16), Experts(8, 2, 32))
    beside = LayerGroup(1, Attention("mha", 4, 4, 16), Experts(8, 2, 32, shared_width=64))
    parallel = msgspec.structs.replace(layer, norms=1, parallel=True)
    for group, ep, expected in (
        (layer, 2, ("moe.all_gather", OpKind.ALL_GATHER)),
        (layer, 1, ("moe.all_reduce", OpKind.ALL_REDUCE)),
        (beside, 2, ("moe.all_reduce", OpKind.ALL_REDUCE)),
        (parallel, 2, ("moe.all_reduce", OpKind.ALL_REDUCE)),
    ):
        how = replace(FUSED, sharding=Sharding(tp=2, ep=ep))
        graph = lower_step(Architecture("small", 64, 100, (group,)), "decode", 8, 1, 8, how)
        joined = [o for o in graph.operators if o.name in ("moe.all_gather", "moe.all_reduce")]
        assert [(o.name, o.kind, o.message_bytes) for o in joined] == [(*expected, 8 * 64 * 2)]


def test_a_rank_has_whole_heads_and_padded_widths() -> None:
    """12 ranks of 32 heads: three query heads and one key-value head each, as Neuron pads them."""
    arch = Architecture("small", 4096, 32003, (LayerGroup(1, Attention("gqa", 32, 8, 128), FeedForward(14339)),))
    graph = lower_step(arch, "decode", 1, 1, 100, replace(FUSED, sharding=Sharding(tp=12)))
    assert named(graph, "attention.qkv").n == (3 + 2) * 128
    assert named(graph, "attention.scores").heads == 3
    assert named(graph, "mlp.down").k == 1195 == -(-14339 // 12)
    assert named(graph, "head.logits").n == 2667
