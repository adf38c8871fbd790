"""Compressed models: parameters and FLOPs against closed forms, bits of sparse weights, words that are refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnknownName
from workloads.compression import (
    PRUNED,
    Compression,
    cache_format,
    compression_of,
    derived,
    parse_activation,
    parse_sparsity,
    pruning_of,
    sparse_bits,
)
from workloads.formats import format_names, load_format
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import Lowering, Precision, Sharding
from workloads.models.architecture import Architecture, Experts, FeedForward
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters, rank_of
from workloads.operator_record import OpKind

LLAMA = "llama-3.1-8b"
HIDDEN, WIDTH, HEADS, KV_HEADS, HEAD, VOCAB, LAYERS = 4096, 14336, 32, 8, 128, 128256, 32


def llama(hidden: int = HIDDEN, width: int = WIDTH, kv_heads: int = KV_HEADS, layers: int = LAYERS) -> int:
    """Parameters of a Llama of these sizes: embedding, head, four attention and three MLP matrices, norms."""
    attention = hidden * HEAD * (2 * HEADS // KV_HEADS * kv_heads + 2 * kv_heads)
    return 2 * VOCAB * hidden + layers * (attention + 3 * hidden * width + 2 * hidden) + hidden


def pruned(model: str = LLAMA, /, **shares: float) -> Architecture:
    return derived(load_model(model), Compression(shares))


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        ({}, {}),
        ({"layers": 0.25}, {"layers": 24}),
        ({"ffn": 0.25}, {"width": 10752}),
        ({"heads": 0.125}, {"kv_heads": 7}),
        ({"width": 0.25}, {"hidden": 3072}),
        ({"layers": 0.5, "ffn": 0.5, "heads": 0.5, "width": 0.5},
         {"layers": 16, "width": 7168, "kv_heads": 4, "hidden": 2048}),
    ],
)  # fmt: skip
def test_pruned_parameters_are_those_of_the_smaller_model(shares: dict[str, float], sizes: dict[str, int]) -> None:
    assert count_parameters(pruned(**shares)).total == llama(**sizes)


def test_what_was_done_is_said_with_parameters_before_and_after() -> None:
    model = pruned(layers=0.25, heads=0.125)
    assert model.id == f"{LLAMA} (layers=0.25+heads=0.125)"
    assert model.derived[0] == "layers 32 -> 24"
    assert model.derived[1] == "heads 32 -> 28 (8 -> 7 of keys)"
    assert model.derived[-1] == f"{llama():,} parameters -> {llama(layers=24, kv_heads=7):,}"
    assert model.published_params is None


def test_nothing_asked_is_the_model_itself() -> None:
    arch = load_model(LLAMA)
    assert derived(arch, compression_of()) is arch
    assert compression_of("none", "none", "none", "none") == Compression()


def test_layers_go_from_each_group_by_its_share() -> None:
    model = pruned("deepseek-v3", layers=0.5)  # 3 dense layers and 58 with experts
    assert [group.count for group in model.groups] == [1, 29]
    assert model.layers == 30


def test_experts_and_their_widths() -> None:
    whole = load_model("mixtral-8x7b").groups[0].mlp
    fewer = pruned("mixtral-8x7b", experts=0.5, ffn=0.5).groups[0].mlp
    assert isinstance(whole, Experts) and isinstance(fewer, Experts)
    assert (fewer.count, fewer.width, fewer.top_k) == (whole.count // 2, whole.width // 2, whole.top_k)
    most = pruned("mixtral-8x7b", experts=0.9).groups[0].mlp
    assert isinstance(most, Experts) and most.count == most.top_k, "a token still needs its experts"


def test_one_key_head_for_all_loses_query_heads_alone() -> None:
    group = load_model(LLAMA).groups[0]
    assert group.attention is not None
    one = msgspec.structs.replace(group, attention=msgspec.structs.replace(group.attention, kv_heads=1, kind="mqa"))
    arch = msgspec.structs.replace(load_model(LLAMA), groups=(one,))
    attention = derived(arch, Compression({"heads": 0.25})).groups[0].attention
    assert attention is not None and (attention.heads, attention.kv_heads) == (24, 1)


@settings(max_examples=30, deadline=None)
@given(part=st.sampled_from(("layers", "ffn", "heads", "width")), share=st.floats(0.15, 0.95), more=st.floats(0.0, 0.9))
def test_more_pruning_never_leaves_more(part: str, share: float, more: float) -> None:
    one = count_parameters(pruned(**{part: share})).total
    other = count_parameters(pruned(**{part: share + (0.97 - share) * more})).total
    assert other <= one < llama()


# Low rank


def test_rank_is_a_share_of_the_smaller_side_or_a_number() -> None:
    assert rank_of(4096, 14336, 0.25) == 1024
    assert rank_of(4096, 14336, 512.0) == 512
    assert rank_of(4096, 4096, 0.5) == 0, "two factors of half the rank are as large as the matrix"


def test_low_rank_parameters_are_those_of_two_factors() -> None:
    model = derived(load_model(LLAMA), Compression(low_rank=0.25))
    queries, keys, mlp = 1024 * 2 * 4096, 256 * (4096 + 1024), 1024 * (4096 + 14336)
    layer = 2 * queries + 2 * keys + 3 * mlp + 2 * HIDDEN
    assert count_parameters(model).total == 2 * VOCAB * HIDDEN + LAYERS * layer + HIDDEN


@pytest.mark.parametrize("model", [LLAMA, "deepseek-v3", "mixtral-8x7b", "mamba-2.8b", "bert-base-uncased"])
@pytest.mark.parametrize("fused", [(), ("qkv", "gate_up", "flash", "experts")])
def test_flops_of_a_token_are_twice_the_weights_that_it_meets(model: str, fused: tuple[str, ...]) -> None:
    """Products of low rank do 2 FLOPs for each number of their factors, as whole ones do for each of their matrix."""
    arch = derived(load_model(model), Compression(low_rank=0.2))
    count = count_parameters(arch)
    assert count.total < count_parameters(load_model(model)).total
    graph = lower_step(arch, "encode" if arch.is_encoder else "prefill", 1, 1, 1, Lowering(fusions=frozenset(fused)))
    operators = [
        (o, r) for o, r in zip(graph.operators, graph.repeat, strict=True)
        if o.kind in (OpKind.GEMM, OpKind.BATCHED_GEMM, OpKind.MOE_GEMM) and o.weight_bytes and "head" not in o.name
    ]  # fmt: skip
    flops = sum(float(r) * o.flops for o, r in operators)
    biases = {LLAMA: 0, "mixtral-8x7b": 0}
    layers = sum(g.layers * (g.active - g.norms) for g in count.groups)
    if model in biases:
        assert flops == pytest.approx(2.0 * layers, rel=1e-12)
    assert flops == pytest.approx(2.0 * layers, rel=0.02), "biases, convolutions and decays are no products"


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_ranks_of_tensor_parallelism_hold_the_uncut_factors_whole(tp: int) -> None:
    from simulator.memory import held_parameters

    arch = derived(load_model(LLAMA), Compression(low_rank=0.25))
    held = held_parameters(arch, Sharding(tp=tp))
    cut = 2 * 1024 * 4096 + 2 * 256 * 1024 + 3 * 1024 * 14336
    whole = 2 * 1024 * 4096 + 2 * 256 * 4096 + 3 * 1024 * 4096
    assert held.stack == pytest.approx(LAYERS * (cut / tp + whole))
    graph = lower_step(arch, "decode", 1, 1, 64, Lowering(sharding=Sharding(tp=tp), fusions=frozenset(("qkv",))))
    read = sum(
        float(r) * o.weight_bytes for o, r in zip(graph.operators, graph.repeat, strict=True)
        if o.kind == OpKind.GEMM and "head" not in o.name
    )  # fmt: skip
    assert read == pytest.approx(2.0 * held.stack), "each weight that is held is read once"


@pytest.mark.parametrize("rank", [0.999, 0.85, 5000.0])
def test_a_rank_that_makes_nothing_smaller_is_refused(rank: float) -> None:
    with pytest.raises(InputError, match="makes no matrix of llama"):
        derived(load_model(LLAMA), Compression(low_rank=rank))


def test_a_rank_that_makes_some_matrices_smaller_leaves_the_others() -> None:
    """0.7 of 4096 saves nothing in 4096 x 4096, but in 14336 x 4096 (MLP) and, of 1024, in 1024 x 4096 (k, v)."""
    made = count_parameters(derived(load_model(LLAMA), Compression(low_rank=0.7))).total
    mlp = HIDDEN * WIDTH - round(0.7 * HIDDEN) * (HIDDEN + WIDTH)
    cached = HIDDEN * KV_HEADS * HEAD - round(0.7 * KV_HEADS * HEAD) * (HIDDEN + KV_HEADS * HEAD)
    assert made == llama() - LAYERS * (3 * mlp + 2 * cached) and min(mlp, cached) > 0


# Bits


def test_two_of_four_take_nine_sixteenths_of_16_bits() -> None:
    assert sparse_bits("bf16", "2:4") == 16.0 * 9.0 / 16.0
    assert sparse_bits("int8", "2:4") == 8.0 * 10.0 / 16.0
    assert sparse_bits("int4:group=128", "2:4") == pytest.approx(2.0 + 1.0 + 20.0 / 128.0)


@given(share=st.floats(0.01, 0.99))
def test_other_zeros_leave_a_mask_and_the_rest(share: float) -> None:
    text = parse_sparsity(share)
    assert sparse_bits("int8", text) == pytest.approx(8.0 * (1.0 - float(text)) + 1.0)


@pytest.mark.parametrize("name", [name for name in format_names() if load_format(name).parts])
def test_bits_of_a_format_follow_from_its_parts(name: str) -> None:
    found = load_format(name)
    value, scale, zero = found.parts
    shared = (scale + zero) / found.group_size if found.group_size else 0.0
    assert found.bits_per_weight == pytest.approx(value + shared, rel=1e-12)


def test_groups_scales_and_zero_points_can_be_chosen() -> None:
    assert load_format("int4:group=64").bits_per_weight == load_format("int4_g64").bits_per_weight == 4.3125
    assert load_format("AWQ:group=32").bits_per_weight == 4.625
    assert load_format("int4:group=64:zero=0").bits_per_weight == 4.25
    assert load_format("int8:group=128:scale=32").bits_per_weight == 8.25
    assert load_format("nvfp4:group=32").compute_dtype == "fp4"
    assert load_format("int4:group=64").id == load_format("int4:zero=4:group=64").id


@settings(max_examples=50)
@given(group=st.integers(1, 4096), more=st.integers(1, 4096))
def test_larger_groups_take_fewer_bits(group: int, more: int) -> None:
    one, other = (load_format(f"int4:group={n}").bits_per_weight for n in (group, group + more))
    assert 4.0 < other < one


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("q4_0:group=64", "q4_0 has no groups to choose"),
        ("int4:gruop=64", "did you mean 'group'"),
        ("int4:group=-1", "must be a whole number from 1"),
        ("int4:group=1e3", "must be a whole number"),
        ("int4:group=head", "is of a KV cache alone"),
        ("int4:", "unknown"),
    ],
)
def test_other_choices_are_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_format(name)


def test_an_unknown_base_is_an_unknown_format() -> None:
    with pytest.raises(UnknownName, match="int44"):
        load_format("int44:group=64")


def test_one_scale_for_each_token_and_head() -> None:
    assert cache_format("int8:group=head", load_model(LLAMA)) == "int8:group=128"
    assert cache_format("int4:group=head", load_model("deepseek-v3")) == "int4:group=576", "one for each latent"
    assert cache_format("fp8", load_model(LLAMA)) == "fp8"


def test_activations_and_their_scales() -> None:
    found = parse_activation(" FP8:static ")
    assert found is not None and (found.dtype, found.scales) == ("fp8", "static")
    assert parse_activation("none") is None


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: pruning_of("layer=0.2"), "did you mean 'layers'"),
        (lambda: pruning_of("layers=1.5"), "above 0 and below 1"),
        (lambda: pruning_of("layers"), "above 0 and below 1"),
        (lambda: pruning_of("layers=x"), "must be PART=SHARE"),
        (lambda: pruning_of("ffn=0.1+ffn=0.2"), "given twice"),
        (lambda: compression_of(low_rank="1.5"), "must be a share"),
        (lambda: compression_of(low_rank="1.0"), "must be a share"),
        (lambda: compression_of(low_rank="-1"), "must be a share"),
        (lambda: compression_of(low_rank="nan"), "must be a share"),
        (lambda: compression_of(quality=float("inf")), "must be a number"),
        (lambda: parse_sparsity("1:4"), "must be 2:4, or a share"),
        (lambda: parse_sparsity("1.0"), "must be 2:4, or a share"),
        (lambda: parse_activation("fp9"), "unknown dtype"),
        (lambda: parse_activation("bf16:static"), "8 and fewer bits"),
        (lambda: parse_activation("fp8:often"), "static or dynamic"),
        (lambda: pruned(heads=0.05), "nothing of the 8 key-value heads"),
        (lambda: pruned(experts=0.5), "has no experts"),
        (lambda: pruned("mamba-2.8b", heads=0.5), "has no attention"),
    ],
)
def test_what_cannot_be_is_refused(made: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        made()  # type: ignore[operator]


def test_every_part_that_is_named_can_be_pruned() -> None:
    for part in PRUNED:
        model = pruned("mixtral-8x7b", **{part: 0.5})
        assert count_parameters(model).total < count_parameters(load_model("mixtral-8x7b")).total


# Operators


def test_quantised_activations_are_operators_of_their_own() -> None:
    arch, how = load_model(LLAMA), Precision(compute="fp8", weight_bits=8.0)

    def named(quantize: str, *fusions: str) -> dict[str, float]:
        precision = Precision("fp8", weight_bits=8.0, quantize=quantize)
        graph = lower_step(arch, "prefill", 2, 64, 64, Lowering(precision, fusions=frozenset(fusions)))
        return {o.name: o.read_bytes for o in graph.operators}

    plain = lower_step(arch, "prefill", 2, 64, 64, Lowering(how))
    assert not any(".quantize" in o.name for o in plain.operators)
    static = named("static")
    inputs = {name for name in static if name.endswith(".quantize")}
    assert inputs == {f"{n}.quantize" for n in ("attention.q", "attention.out", "mlp.gate", "mlp.down")}
    whole = {o.name: o.read_bytes for o in plain.operators}
    assert static["mlp.up"] == whole["mlp.up"] / 2.0, "products read a byte for each activation"
    assert not any(".quantize" in name for name in named("static", "quantize"))
    left = {name for name in named("dynamic", "quantize") if ".quantize" in name}
    assert left == {"attention.out.quantize"}, "attention has no whole rows to find the largest value of"


def test_sparse_products_pass_over_half_of_their_depth() -> None:
    arch = load_model(LLAMA)
    dense = lower_step(arch, "prefill", 1, 512, 512, Lowering(Precision()))
    half = Precision(sparse_bits=9.0, sparse_gain=2.0)
    sparse = lower_step(arch, "prefill", 1, 512, 512, Lowering(half))
    for one, other in zip(dense.operators, sparse.operators, strict=True):
        if one.kind == OpKind.GEMM and one.weight_bytes and "head" not in one.name:
            assert other.flops == one.flops / 2.0 and other.k == one.k / 2.0
            assert other.weight_bytes == pytest.approx(one.weight_bytes * 9.0 / 16.0)
            assert other.read_bytes == one.read_bytes and other.write_bytes == one.write_bytes
        else:
            assert other == one, "attention, norms and the head stay as they are"


def test_cached_values_of_fewer_bits_are_unpacked() -> None:
    arch = load_model(LLAMA)
    wide, narrow = (
        next(o for o in lower_step(arch, "decode", 4, 1, 1000, how).operators if o.name == "attention.scores")
        for how in (
            Lowering(Precision(kv_bits=bits), fusions=frozenset(("flash",))) for bits in (16.0, 4.125)
        )
    )  # fmt: skip
    assert narrow.vector_flops - wide.vector_flops == 4 * 1000 * KV_HEADS * 2 * HEAD
    assert narrow.read_bytes < wide.read_bytes


def test_mlps_stay_mlps() -> None:
    assert isinstance(pruned(ffn=0.5).groups[0].mlp, FeedForward)
