"""What every architecture must satisfy, wherever it was read."""

from __future__ import annotations

from typing import Final

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError, nearest
from workloads.formats import format_names
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace

LARGEST: Final = 10_000_000
"""Upper bound of every width and count; the longest context may be a hundred times more."""


def check_architecture(arch: Architecture, place: str) -> Architecture:
    """``arch`` itself, if its numbers can belong to a model.

    Raises:
        InputError: zero, negative or absurd sizes, heads that do not divide, more experts per token than there
            are; with ``place``, the field, the value and what is allowed.
    """
    for name, value, least in (
        ("hidden", arch.hidden, 1),
        ("vocab", arch.vocab, 1),
        ("learned_positions", arch.learned_positions, 0),
        ("extra_embeddings", arch.extra_embeddings, 0),
        ("embedding_dim", arch.embedding_dim, 0),
    ):
        _within(place, name, value, least)
    _within(place, "max_positions", arch.max_positions, 0, 100 * LARGEST)
    if not arch.groups:
        raise InputError(f"{place}: groups is empty; a model needs at least one layer")
    for name, published in (("published_params", arch.published_params), ("published_active", arch.published_active)):
        if published is not None and not 0.0 < published <= 1e15:
            raise InputError(f"{place}: {name} is {published}; allowed: up to 1e15, or none where it is unknown")
    if not 0.0 <= arch.extra_params <= 1e15:
        raise InputError(f"{place}: extra_params is {arch.extra_params}; allowed: 0 to 1e15")
    if not 0.0 <= arch.low_rank <= LARGEST or (arch.low_rank > 1.0 and arch.low_rank % 1.0):
        allowed = "0 to 1 of the smaller side, or a whole number"
        raise InputError(f"{place}: low_rank is {arch.low_rank}; allowed: {allowed}")
    for index, group in enumerate(arch.groups):
        _check_group(group, f"{place}: groups[{index}]")
    _check_words(arch, place)
    return arch


def _check_words(arch: Architecture, place: str) -> None:
    """Dtype and storage format are names that exist."""
    if arch.default_dtype and arch.default_dtype not in BITS:
        raise InputError(f"{place}: default_dtype is {arch.default_dtype!r}; allowed: {', '.join(BITS)}")
    if arch.quantization and arch.quantization not in format_names():
        known = format_names()
        close = nearest(arch.quantization, known)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: quantization is {arch.quantization!r}{hint} (allowed: {', '.join(known)})")


def _check_group(group: LayerGroup, place: str) -> None:
    _within(place, "count", group.count, 1, 100_000)
    _within(place, "norms", group.norms, 0, 16)
    if group.attention is None and group.mlp is None and group.ssm is None:
        raise InputError(f"{place} has no part; a layer needs attention, mlp or ssm")
    if group.attention is not None:
        _check_attention(group.attention, f"{place}.attention")
    if isinstance(group.mlp, FeedForward):
        _within(f"{place}.mlp", "width", group.mlp.width, 1)
    if isinstance(group.mlp, Experts):
        _check_experts(group.mlp, f"{place}.mlp")
    if group.ssm is not None:
        _check_ssm(group.ssm, f"{place}.ssm")


def _check_attention(a: Attention, place: str) -> None:
    for name, value, least in (
        ("heads", a.heads, 1), ("kv_heads", a.kv_heads, 1), ("head_dim", a.head_dim, 1), ("q_lora", a.q_lora, 0),
        ("v_head_dim", a.v_head_dim, 0), ("kv_lora", a.kv_lora, 0), ("rope_dim", a.rope_dim, 0),
        ("window", a.window, 0),
    ):  # fmt: skip
        _within(place, name, value, least)
    if a.heads % a.kv_heads:
        raise InputError(f"{place}.kv_heads is {a.kv_heads}; it must divide heads ({a.heads})")
    if a.kind == "mla" and (a.kv_lora == 0 or not 0 < a.rope_dim < a.head_dim):
        raise InputError(
            f"{place}: kind 'mla' needs kv_lora of at least 1 and rope_dim between 1 and head_dim - 1; "
            f"they are {a.kv_lora} and {a.rope_dim} (head_dim {a.head_dim})"
        )


def _check_experts(e: Experts, place: str) -> None:
    _within(place, "count", e.count, 1)
    _within(place, "width", e.width, 1)
    _within(place, "top_k", e.top_k, 1, e.count)
    _within(place, "shared_width", e.shared_width, 0)
    _within(place, "dense_width", e.dense_width, 0)


def _check_ssm(s: StateSpace, place: str) -> None:
    for name, value, least in (
        ("inner", s.inner, 1), ("state", s.state, 0), ("conv", s.conv, 1), ("dt_rank", s.dt_rank, 0),
        ("heads", s.heads, 0), ("groups", s.groups, 1),
    ):  # fmt: skip
        _within(place, name, value, least)
    if s.scans and s.dt_rank == 0 and (s.heads == 0 or s.inner % s.heads):
        raise InputError(f"{place}.heads is {s.heads}; without dt_rank it must divide inner ({s.inner})")


def _within(place: str, name: str, value: int, least: int, most: int = LARGEST) -> None:
    if not least <= value <= most:
        dot = "." if ": " in place else ": "
        raise InputError(f"{place}{dot}{name} is {value}; allowed: a whole number from {least} to {most}")
