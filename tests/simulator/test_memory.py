"""Memory by hand: caches of each kind of layer, cuts of weights, states of the optimizer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import memory
from workloads.lowering.plan import Precision, Sharding, stage_layers
from workloads.models.architecture import Attention, StateSpace
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.optimizers import state_bytes_per_parameter

BF16 = Precision()


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("llama-3.1-8b", 2 * 32 * 8 * 128 * 2),  # 131,072
        ("deepseek-v3", 61 * (512 + 64) * 2),  # 70,272
        ("gpt3-175b", 2 * 96 * 96 * 128 * 2),
    ],
)
def test_cache_of_a_token(name: str, each: int) -> None:
    arch = load_model(name)
    assert memory.kv_bytes_per_sequence(arch, 1000, BF16, Sharding()) == 1000 * each


def test_a_window_bounds_the_cache() -> None:
    windowed = Attention("gqa", 8, 4, 64, window=512)
    short, full, long = (memory.attention_cache_bytes(windowed, n, BF16) for n in (256, 512, 10_000))
    assert full == long == 2 * short == 512 * 4 * 2 * 64 * 2


def test_heads_are_cut_down_to_one_and_latents_not_at_all() -> None:
    grouped = Attention("gqa", 64, 8, 128)
    cut = [memory.attention_cache_bytes(grouped, 1, BF16, tp) for tp in (1, 8, 16)]
    assert cut == [8 * 256 * 2, 256 * 2, 256 * 2]
    latent = Attention("mla", 128, 128, 192, 128, kv_lora=512, rope_dim=64)
    assert memory.attention_cache_bytes(latent, 1, BF16, 8) == 576 * 2


def test_states_do_not_grow_with_the_sequence() -> None:
    arch = load_model("mamba2-2.7b")
    one, many = (memory.kv_bytes_per_sequence(arch, n, BF16, Sharding()) for n in (1, 100_000))
    assert one == many > 0
    assert memory.state_cache_bytes(StateSpace(inner=128, state=16, conv=4)) == 128 * (16 * 4 + 4 * 2)


def test_a_short_convolution_keeps_its_last_tokens_alone() -> None:
    """LFM2-700M at 1,000 tokens: six layers of 8 KV heads of 64, ten of 3 tokens of 1536 channels, all of 16 bits."""
    arch = load_model("lfm2-700m")
    assert memory.kv_bytes_per_sequence(arch, 1000, BF16, Sharding()) == 2 * (6 * 2 * 8 * 64 * 1000 + 10 * 3 * 1536)


def test_weights_of_a_known_model() -> None:
    arch = load_model("llama-3.1-8b")
    assert memory.weight_bytes(arch, BF16, Sharding()) == 2 * count_parameters(arch).total
    assert memory.weight_bytes(arch, BF16, Sharding()) == pytest.approx(16.06e9, rel=1e-3)
    quantized = Precision(weight_bits=4.5, dequantize=True)
    assert memory.weight_bytes(arch, quantized, Sharding()) < 0.4 * 16.06e9


def test_norms_stay_in_16_bit_beside_narrow_weights() -> None:
    arch = load_model("llama-3.1-8b")
    count = count_parameters(arch)
    narrow = Precision(weight_bits=4.0, head_bits=16.0)
    packed = (count.attention + count.mlp) / 2.0
    assert memory.weight_bytes(arch, narrow, Sharding()) == packed + 2.0 * (count.embedding + count.head + count.norms)


def test_repeated_key_value_heads_take_memory() -> None:
    """16 ranks over 8 key-value heads: each holds a whole one, so that together they hold them twice."""
    arch = load_model("llama-3.1-8b")
    once, twice = (memory.held_parameters(arch, Sharding(tp=tp)).stack * tp for tp in (8, 16))
    assert twice - once == pytest.approx(32 * 2 * 8 * 128 * 4096)


@pytest.mark.parametrize("pp", [1, 3, 5, 31, 32])
def test_the_fullest_stage_is_that_of_the_split(pp: int) -> None:
    arch = load_model("llama-3.1-8b")
    fullest = max(sum(row) for row in stage_layers(tuple(g.count for g in arch.groups), pp))
    assert memory.stage_share(arch, pp) == fullest / 32


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]))
def test_all_devices_together_hold_at_least_the_model(tp: int, pp: int) -> None:
    arch = load_model("llama-3.1-8b")
    each = memory.weight_bytes(arch, BF16, Sharding(tp, 1, pp))
    whole = memory.weight_bytes(arch, BF16, Sharding())
    assert each * tp * pp >= whole
    assert each * tp * pp <= 1.15 * whole


def test_experts_are_cut_over_ep_or_tp() -> None:
    arch = load_model("mixtral-8x7b")
    count = count_parameters(arch)
    by_tp, by_ep = (memory.weight_bytes(arch, BF16, s) for s in (Sharding(8, 1, 1), Sharding(1, 8, 1)))
    dense = count.total - count.experts - count.norms
    assert by_ep - by_tp == pytest.approx(2 * dense * 7 / 8, rel=1e-6)


def test_states_of_adam() -> None:
    assert state_bytes_per_parameter("bf16") == (2.0, 4.0, 12.0)
    assert state_bytes_per_parameter("fp32") == (4.0, 4.0, 8.0)


def test_longer_steps_hold_more() -> None:
    arch = load_model("llama-3.1-8b")
    sizes = [memory.inference_activation_bytes(arch, rows, 4, BF16, 1) for rows in (1, 10, 1000)]
    assert sizes == sorted(sizes)
    logits = memory.inference_activation_bytes(arch, 0, 4, BF16, 1)
    assert logits == 4 * arch.vocab * 4


@pytest.mark.parametrize("sequence", [True, False])
def test_activations_of_sequence_parallelism(sequence: bool) -> None:
    """s b h (34 + 5 a s / h) / t a layer, and 10 of the 34 whole without it (Korthikanti et al., arXiv:2205.05198,
    table 2)."""
    arch = load_model("gpt3-175b")
    s, b, h, a, t = 2048, 2, arch.hidden, 96, 8
    cut = Sharding(tp=t, sequence=sequence)
    layer = memory.layer_training_bytes(arch, arch.groups[0], b, s, "none", False, cut)
    published = s * b * h * ((34.0 + 5.0 * a * s / h) / t if sequence else 10.0 + 24.0 / t + 5.0 * a * s / h / t)
    assert layer.kept == pytest.approx(published, rel=0.01)
    both = Sharding(tp=t, sequence=sequence, cp=4)
    part = memory.layer_training_bytes(arch, arch.groups[0], b, s, "none", True, both)
    whole = memory.layer_training_bytes(arch, arch.groups[0], b, s, "none", True, cut)
    assert 4.0 * part.kept == whole.kept


POLICIES = ("none", "selective", "full", "every:2", "every:3", "layers:2", "uniform:4", "modules:core_attn,layernorm",
            "modules:mlp,moe", "modules:moe_act,shared_experts,mla_up_proj", "vector", "half")  # fmt: skip


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("name", ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v3", "mamba-130m"])
def test_every_policy_keeps_between_all_and_the_inputs(name: str, flash: bool) -> None:
    arch, cut = load_model(name), Sharding(tp=2, sequence=True)
    counts = [float(group.count) for group in arch.groups]

    def stage(policy: str) -> memory.LayerTraining:
        return memory.stage_training_bytes(arch, counts, 1, 1024, policy, flash, cut)

    none, inputs = stage("none"), stage("full")
    for policy in POLICIES:
        assert stage(policy).again >= none.again, policy
        least = 0.25 if policy == "uniform:4" else 1.0
        assert inputs.kept * least <= stage(policy).kept <= none.kept, policy
    assert stage("uniform:4").kept == pytest.approx(inputs.kept * -(-arch.layers // 4) / arch.layers)
    assert stage("every:1") == stage("layers:10000") == inputs
    assert stage("uniform:1") == pytest.approx(inputs)
    assert stage("uniform:4").again - none.again == pytest.approx(4.0 * (inputs.again - none.again), rel=0.05)


@given(
    policy=st.sampled_from(POLICIES), cut=st.integers(0, 61), tp=st.sampled_from([1, 2, 4]), sequence=st.booleans(),
    micro_batch=st.integers(1, 4),
)  # fmt: skip
@settings(deadline=None)
def test_activations_are_additive(policy: str, cut: int, tp: int, sequence: bool, micro_batch: int) -> None:
    """Layers of two devices keep together what they would keep on one; two micro-batches twice as much as one."""
    arch = load_model("deepseek-v3")
    sharding = Sharding(tp=tp, sequence=sequence and tp > 1)
    counts = [group.count for group in arch.groups]
    below = [min(max(cut - start, 0), count) for start, count in zip((0, counts[0]), counts, strict=True)]
    above = [count - own for count, own in zip(counts, below, strict=True)]

    def kept(layers: list[int], sequences: int = micro_batch) -> float:
        return memory.stage_training_bytes(arch, layers, sequences, 512, policy, True, sharding).kept

    if policy.partition(":")[0] not in ("every", "layers", "uniform"):
        assert kept(below) + kept(above) == pytest.approx(kept(counts))
    assert kept(counts, 2 * micro_batch) == pytest.approx(2.0 * kept(counts, micro_batch))


def test_parts_of_a_layer_leave_what_they_do_not_drop() -> None:
    """Of 34 s b h + 5 a s^2 b (Korthikanti et al., arXiv:2205.05198, table 2): scores 5 a s^2 b, the MLP's inner values
    16 s b h, norms' results 4 s b h."""
    arch = load_model("gpt3-175b")
    s, b, h, a = 2048, 1, arch.hidden, 96

    def kept(policy: str) -> float:
        return memory.layer_training_bytes(arch, arch.groups[0], b, s, policy, False, Sharding()).kept

    assert kept("none") == pytest.approx(s * b * h * (34 + 5 * a * s / h))
    assert kept("modules:core_attn") == pytest.approx(34 * s * b * h)
    assert kept("modules:core_attn") == kept("selective")
    assert kept("modules:core_attn,mlp") == pytest.approx((34 - 16) * s * b * h)
    assert kept("modules:core_attn,mlp,layernorm") == pytest.approx((34 - 16 - 4) * s * b * h)
    moe = load_model("mixtral-8x7b")
    whole, act, parts = (
        memory.layer_training_bytes(moe, moe.groups[0], b, s, policy, True, Sharding()).kept
        for policy in ("none", "modules:moe_act", "modules:moe,moe_act")
    )
    assert whole - act == s * b * 2 * 14336 * 2
    assert whole - parts == s * b * (2 * 3 * 14336 * 2 + 2 * moe.hidden * 2)


@pytest.mark.parametrize("sequence", [True, False])
def test_gradients_beside_a_layer(sequence: bool) -> None:
    arch, rows, tp = load_model("llama-3.1-8b"), 1000.0, 4
    beside = memory.backward_bytes(arch, arch.groups[0], rows, Sharding(tp=tp, sequence=sequence))
    whole = 2.0 * 4096 / (tp if sequence else 1) + 2.0 * 14336 / tp + (3.0 * 4096 if sequence else 0.0)
    assert beside == 2.0 * rows * whole
