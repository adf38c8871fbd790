"""Parameter counts against counts done by hand and those the makers publish."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.models.catalogue import load_model, model_names
from workloads.models.parameters import count_parameters

# Exact counts of the checkpoints' tensors, tied matrices once; each can be done by hand from the shapes in the file.
EXACT = {
    "gpt2": 124_439_808,  # 50257*768 + 1024*768 + 12*(12*768^2 + 13*768) + 2*768
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "llama-2-7b": 6_738_415_616,  # 2*32000*4096 + 32*(4*4096^2 + 3*4096*11008 + 2*4096) + 4096
    "llama-2-70b": 68_976_648_192,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "mistral-7b": 7_248_023_552,
    "mistral-7b-v0.1": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen3-8b": 8_190_735_360,
    "qwen3-235b-a22b": 235_093_634_560,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_419_200,
    "gemma-2b": 2_506_172_416,
    "gemma-2-9b": 9_241_705_984,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "falcon-7b": 6_921_720_704,
    "opt-350m": 331_196_416,
    "opt-6.7b": 6_658_473_984,
    "bloom-7b1": 7_069_016_064,
    "mpt-7b": 6_649_286_656,
    "gpt-neox-20b": 20_554_567_680,
    "starcoder2-3b": 3_030_371_328,
    "gpt-oss-20b": 20_914_757_184,
    "mamba-130m": 129_135_360,
    "mamba-2.8b": 2_768_345_600,
    "mamba2-2.7b": 2_702_599_680,
    "lfm2-350m": 354_483_968,
    "lfm2-1.2b": 1_170_340_608,
    "lfm2-2.6b": 2_569_272_320,
    "bert-base-uncased": 109_482_240,  # (30522+512+2)*768 + 2*768 + 12*(12*768^2 + 13*768) + 768^2 + 768
    "bert-large": 335_141_888,
    "distilbert-base-uncased": 66_362_880,
}
PUBLISHED = [name for name in model_names() if load_model(name).published_params]
WITH_ACTIVE = [name for name in model_names() if load_model(name).published_active]


@pytest.mark.parametrize(("name", "expected"), EXACT.items())
def test_exact_counts(name: str, expected: int) -> None:
    assert count_parameters(load_model(name)).total == expected


def test_most_shipped_models_have_a_published_count() -> None:
    assert len(PUBLISHED) >= 140
    assert len(WITH_ACTIVE) >= 20


NOT_ITS_SHAPES = ("stablelm-2-12b",)
"""Models whose notes say why the published count is none of these shapes."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published(name: str) -> None:
    arch = load_model(name)
    assert arch.published_params is not None
    to_the_parameter = arch.published_params % 1_000_000 != 0 and name not in NOT_ITS_SHAPES
    tolerance = 1e-6 if to_the_parameter else 0.01
    assert count_parameters(arch).total == pytest.approx(arch.published_params, rel=tolerance)
    assert name not in NOT_ITS_SHAPES or arch.notes


def test_most_published_counts_are_exact() -> None:
    exact = [
        name for name in PUBLISHED if load_model(name).published_params == count_parameters(load_model(name)).total
    ]
    assert len(exact) > 0.8 * len(PUBLISHED)
    assert {"falcon-7b", "falcon-40b", "falcon-180b", "gpt-j-6b", "llama-3.1-405b", "mistral-7b"} <= set(exact)


@pytest.mark.parametrize("name", WITH_ACTIVE)
def test_active_counts_fit_the_published(name: str) -> None:
    """Makers count active parameters with or without embedding, head and vision tower, and round to 1B."""
    arch = load_model(name)
    count = count_parameters(arch)
    least = count.active - count.embedding - count.head - count.extra
    assert arch.published_active is not None
    assert 0.95 * least <= arch.published_active <= 1.05 * count.active


def by_hand_mamba(hidden: int, layers: int, vocab: int) -> int:
    inner, state, rank = 2 * hidden, 16, hidden // 16
    mixer = hidden * 2 * inner + inner * 5 + inner * (rank + 2 * state) + rank * inner + inner
    return vocab * hidden + layers * (mixer + inner * state + inner + inner * hidden + hidden) + hidden


def test_mamba_by_hand() -> None:
    assert count_parameters(load_model("mamba-2.8b")).total == by_hand_mamba(2560, 64, 50280)


def test_deepseek_v3_by_part() -> None:
    hidden, heads = 7168, 128
    attention = (
        hidden * 1536 + 1536 * heads * 192 + hidden * (512 + 64) + 512 * heads * (128 + 128) + heads * 128 * hidden
    )
    count = count_parameters(load_model("deepseek-v3"))
    assert count.attention == 61 * attention
    assert count.experts == 58 * 256 * 3 * hidden * 2048
    assert count.mlp == 3 * 3 * hidden * 18432 + 58 * (3 * hidden * 2048 + 256 * hidden + 256)
    assert count.embedding == count.head == 129_280 * hidden
    assert count.norms == 61 * (2 * hidden + 1536 + 512) + hidden


def test_gpt_oss_by_part() -> None:
    count = count_parameters(load_model("gpt-oss-20b"))
    assert count.attention == 24 * (2880 * (64 + 16) * 64 + (64 + 16) * 64 + 64 * 64 * 2880 + 2880 + 64)
    assert count.experts == 24 * 32 * (3 * 2880 * 2880 + 3 * 2880)
    assert count.active == count.total - 24 * 28 * (3 * 2880 * 2880 + 3 * 2880)


def test_short_convolution_by_part() -> None:
    """LFM2-700M: ten mixers of 4 d^2 + 3 d, six of attention with 24 heads of 64 on 8."""
    count, d = count_parameters(load_model("lfm2-700m")), 1536
    assert count.ssm == 10 * (4 * d * d + 3 * d)
    assert count.attention == 6 * (2 * d * d + 2 * d * 8 * 64)
    assert count.norms == 16 * 2 * d + 6 * 2 * 64 + d
    assert count.total == 742_489_344


def test_delta_rule_by_part() -> None:
    """Qwen 3.5 27B: 48 linear layers with 16 key heads and 48 value heads of 128, 16 layers of gated attention."""
    count = count_parameters(load_model("qwen3.5-27b"))
    keys, values, hidden = 16 * 128, 48 * 128, 5120
    mixer = hidden * (2 * keys + 2 * values + 2 * 48) + 4 * (2 * keys + values) + 2 * 48 + values * hidden
    assert count.ssm == 48 * mixer
    assert count.attention == 16 * (hidden * 256 * (2 * 24 + 2 * 4) + 24 * 256 * hidden)
    assert count.norms == 64 * 2 * hidden + 48 * 128 + 16 * 2 * 256 + hidden


@pytest.mark.parametrize(
    ("affine", "full", "weights"),
    [("none", False, 0), ("weight", False, 2), ("both", False, 4), ("weight", True, 12), ("both", True, 24)],
)
def test_weights_of_query_and_key_norms(affine: str, full: bool, weights: int) -> None:
    plain = Architecture("x", 64, 100, (LayerGroup(1, Attention("gqa", 8, 4, 8)),))
    attention = msgspec.structs.replace(
        Attention("gqa", 8, 4, 8), qk_norm=True, qk_norm_full=full, qk_norm_affine=affine
    )
    normed = msgspec.structs.replace(plain, groups=(LayerGroup(1, attention),))
    assert count_parameters(normed).total - count_parameters(plain).total == 8 * weights


@pytest.mark.parametrize("name", model_names())
def test_the_total_is_the_sum_of_its_parts(name: str) -> None:
    count = count_parameters(load_model(name))
    parts = (
        count.embedding,
        count.attention,
        count.mlp,
        count.experts,
        count.ssm,
        count.norms,
        count.head,
        count.extra,
    )
    assert count.total == sum(parts)
    assert min(parts) >= 0
    assert 0 < count.active <= count.total
    assert (count.active == count.total) == (count.experts == 0)


@st.composite
def small_models(draw: st.DrawFn) -> Architecture:
    hidden = 16 * draw(st.integers(1, 8))
    heads = draw(st.sampled_from([1, 2, 4]))
    mlp = draw(
        st.one_of(
            st.builds(FeedForward, width=st.integers(1, 64), gated=st.booleans(), bias=st.booleans()),
            st.builds(Experts, count=st.integers(4, 9), top_k=st.integers(1, 3), width=st.integers(1, 32)),
        )
    )
    ssm = draw(st.none() | st.builds(StateSpace, inner=st.just(32), state=st.integers(1, 16), heads=st.just(4)))
    attention = Attention("gqa", heads, 1, 8, qkv_bias=draw(st.booleans()))
    group = LayerGroup(draw(st.integers(1, 5)), attention, mlp, ssm, norms=draw(st.integers(0, 4)))
    return Architecture("x", hidden, draw(st.integers(1, 500)), (group,), tied=draw(st.booleans()))


@given(small_models())
def test_splitting_a_group_changes_nothing(arch: Architecture) -> None:
    (group,) = arch.groups
    single = msgspec.structs.replace(group, count=1)
    split = msgspec.structs.replace(arch, groups=(single,) * group.count)
    assert count_parameters(split).total == count_parameters(arch).total
    assert count_parameters(split).active == count_parameters(arch).active


@given(small_models())
def test_untying_adds_one_embedding(arch: Architecture) -> None:
    tied, free = (msgspec.structs.replace(arch, tied=value) for value in (True, False))
    assert count_parameters(free).total - count_parameters(tied).total == arch.vocab * arch.hidden
