"""Memory by hand: caches of each kind of layer, cuts of weights, states of the optimizer."""

from __future__ import annotations

import pytest
from hypothesis import given
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
