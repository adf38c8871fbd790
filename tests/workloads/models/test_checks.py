"""Architectures that cannot exist are refused, with the field, its value and what is allowed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hardware_specs.errors import InputError
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.models.checks import check_architecture

ATTENTION = Attention("gqa", 8, 2, 64)
LATENT = Attention("mla", 8, 8, 192, v_head_dim=128, kv_lora=512, rope_dim=64)
GOOD = Architecture("good", 512, 1000, (LayerGroup(2, ATTENTION, FeedForward(2048)),))


def with_group(**changes: Any) -> Architecture:
    return msgspec.structs.replace(GOOD, groups=(msgspec.structs.replace(GOOD.groups[0], **changes),))


def with_attention(base: Attention = ATTENTION, **changes: Any) -> Architecture:
    return with_group(attention=msgspec.structs.replace(base, **changes))


def with_arch(**changes: Any) -> Architecture:
    return msgspec.structs.replace(GOOD, **changes)


def test_a_good_one_passes_through() -> None:
    assert check_architecture(GOOD, "here") is GOOD
    for group in (
        LayerGroup(1, LATENT),
        LayerGroup(1, ATTENTION, Experts(8, 8, 64)),
        LayerGroup(1, ssm=StateSpace(1024, 16, dt_rank=32)),
        LayerGroup(1, ssm=StateSpace(1024, 128, heads=16)),
        LayerGroup(1, ssm=StateSpace(1024, 0, conv=3)),
    ):
        check_architecture(with_arch(groups=(group,)), "here")


@pytest.mark.parametrize(
    ("arch", "fragment"),
    [
        (with_arch(hidden=0), "here: hidden is 0; allowed: a whole number from 1 to 10000000"),
        (with_arch(hidden=10_000_001), "hidden is 10000001"),
        (with_arch(vocab=-1), "vocab is -1"),
        (with_arch(learned_positions=-2), "learned_positions is -2"),
        (with_arch(extra_embeddings=-1), "extra_embeddings is -1"),
        (with_arch(embedding_dim=-1), "embedding_dim is -1"),
        (with_arch(max_positions=-5), "max_positions is -5"),
        (with_arch(groups=()), "groups is empty"),
        (with_arch(published_params=-1.0), "published_params is -1.0; allowed: up to 1e15, or none"),
        (with_arch(published_params=0.0), "published_params is 0.0"),
        (with_arch(published_active=float("nan")), "published_active is nan"),
        (with_arch(extra_params=float("inf")), "extra_params is inf"),
        (with_arch(default_dtype="bf17"), "default_dtype is 'bf17'; allowed: fp64"),
        (with_arch(quantization="int44"), "quantization is 'int44'; did you mean 'int4'"),
        (with_group(count=0), "groups[0].count is 0"),
        (with_group(norms=17), "groups[0].norms is 17; allowed: a whole number from 0 to 16"),
        (with_group(attention=None, mlp=None), "groups[0] has no part"),
        (with_group(mlp=FeedForward(0)), "groups[0].mlp.width is 0"),
        (with_group(mlp=Experts(8, 9, 64)), "groups[0].mlp.top_k is 9; allowed: a whole number from 1 to 8"),
        (with_group(mlp=Experts(0, 1, 64)), "groups[0].mlp.count is 0"),
        (with_group(mlp=Experts(8, 2, 64, shared_width=-1)), "shared_width is -1"),
        (with_group(mlp=Experts(8, 2, 64, dense_width=-1)), "dense_width is -1"),
        (with_attention(heads=0), "groups[0].attention.heads is 0"),
        (with_attention(kv_heads=3), "kv_heads is 3; it must divide heads (8)"),
        (with_attention(head_dim=0), "head_dim is 0"),
        (with_attention(window=-1), "window is -1"),
        (with_attention(LATENT, kv_lora=0), "kind 'mla' needs kv_lora of at least 1"),
        (with_attention(LATENT, rope_dim=192), "rope_dim between 1 and head_dim - 1; they are 512 and 192"),
        (with_group(ssm=StateSpace(0, 16, dt_rank=4)), "groups[0].ssm.inner is 0"),
        (with_group(ssm=StateSpace(64, 16)), "ssm.heads is 0; without dt_rank it must divide inner (64)"),
        (with_group(ssm=StateSpace(64, 16, heads=7)), "ssm.heads is 7"),
    ],
)
def test_impossible_numbers(arch: Architecture, fragment: str) -> None:
    with pytest.raises(InputError) as caught:
        check_architecture(arch, "here")
    assert fragment in str(caught.value)
    assert str(caught.value).startswith("here")
