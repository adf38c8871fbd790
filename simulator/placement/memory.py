"""Memory of pools that hold part of a model: the weights of what runs there, the cache of its attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from simulator import memory
from simulator.placement.rules import Placer
from simulator.prepared import Prepared
from simulator.result import MemoryUse
from simulator.scenario import StaticBatch
from simulator.steps.prefill import chunk_tokens
from workloads.lowering.plan import Precision, Sharding
from workloads.models.architecture import Architecture, LayerGroup
from workloads.models.parameters import count_parameters

CACHE_READERS = (("attention.scores", "attention.qk"), ("ssm.scan", "ssm.conv"))
"""Operators that read what earlier tokens have left: attention (fused or not), and a state space scan, or the
convolution of a mixer without one."""

Homes = Mapping[tuple[str, int | None], frozenset[str]]
"""Pools that need what an operator of a layer keeps, by operator and layer."""


Cut = Literal["tp", "experts", "expert factors", "whole", "norms"]


class Piece(NamedTuple):
    """Parameters that lie where ``operator`` of ``layer`` runs; ``cut`` says over which ways, ``end`` marks the
    embedding and the head."""

    operator: str
    layer: int | None
    parameters: float
    cut: Cut = "tp"
    end: bool = False


class Held(NamedTuple):
    """Parameters on one device of a pool: of products in the stack, of its norms, of embedding and head, of experts."""

    stack: float
    norms: float
    ends: float
    experts: float


def pieces_of(arch: Architecture) -> list[Piece]:
    """All parameters of a model by where they belong; norms go with the first part of their layer."""
    count = count_parameters(arch)
    layer = 0
    found = []
    for group in count.groups:
        parts: list[tuple[str, float, Cut]] = [
            ("attention.out", group.attention - group.whole_attention, "tp"), ("ssm.out", group.ssm, "tp"),
            ("mlp.down", group.mlp - group.whole_products * (group.mlp > 0), "tp"),
            ("moe.experts", group.experts - group.whole_experts, "experts"),
            ("attention.out", group.whole_attention, "whole"), ("moe.experts", group.whole_experts, "expert factors"),
            ("mlp.down" if group.mlp else "ssm.out", group.whole_products, "whole"),
        ]  # fmt: skip
        there = [part for part in parts if part[1] > 0]
        for _ in range(group.layers):
            found += [Piece(operator, layer, size, cut) for operator, size, cut in there]
            found += [Piece(operator, layer, group.norms, "norms") for operator, _, _ in there[:1]]
            layer += 1
    last_norms = count.norms - sum(group.layers * group.norms for group in count.groups)
    ends = [
        Piece("embedding", None, count.embedding, end=True), Piece("embedding", None, count.extra, "whole"),
        Piece("head.logits", None, count.head, end=True), Piece("head.logits", None, last_norms, "norms"),
    ]  # fmt: skip
    return [*found, *ends]


def homes_of(arch: Architecture, placer: Placer, phases: tuple[str, ...]) -> Homes:
    """Where weights and caches must lie so that every phase finds them."""
    keys = {(piece.operator, piece.layer) for piece in pieces_of(arch)}
    if "update" not in phases:
        keys |= {(reader, layer) for readers in CACHE_READERS for reader in readers for layer in range(arch.layers)}
    return {
        (operator, layer): frozenset(placer.pool(operator, phase, layer) for phase in phases)
        for operator, layer in sorted(keys, key=str)
    }


def ways_of(sharding: Sharding) -> dict[str, int]:
    """Ways that pieces are cut, by ``Piece.cut``."""
    return {
        "tp": sharding.tp, "experts": sharding.ep * sharding.expert_tp, "expert factors": sharding.ep, "whole": 1,
        "norms": 1,
    }  # fmt: skip


def held_parameters(prepared: Prepared, arch: Architecture, homes: Homes) -> Held:
    """What one device of a pool holds of the model, cut by its plan. A tied head elsewhere needs the embedding too."""
    sharding, name = prepared.how.sharding, prepared.pool.name
    ways = ways_of(sharding)
    stack = norms = ends = embedding = experts = 0.0
    for piece in pieces_of(arch):
        if name not in homes[piece.operator, piece.layer]:
            continue
        size = piece.parameters / ways[piece.cut]
        if piece.end:
            ends += size
        elif piece.cut == "norms":
            norms += size
        elif piece.cut in ("experts", "expert factors"):
            experts += size
        else:
            stack += size
    count = count_parameters(arch)
    if not count.head and name in homes["head.logits", None] - homes["embedding", None]:
        embedding = count.embedding / sharding.tp
    return Held(stack, norms, ends + embedding, experts)


def held_bytes(held: Held, precision: Precision) -> float:
    """Weights in their formats, norms in that of activations [B]."""
    packed = precision.stack_bits * held.stack + precision.weight_bits * held.experts
    packed += precision.head_bits * held.ends
    return packed / 8.0 + precision.activation_bytes * held.norms


def pool_memory(prepared: Prepared, work: StaticBatch, homes: Homes, batch: int) -> MemoryUse:
    """Bytes on one device of a pool when every sequence has reached its full length."""
    arch, p, pool = work.model, prepared.precision, prepared.pool
    tp = prepared.how.sharding.tp
    attention = "attention.scores" if prepared.how.fused("flash") else "attention.qk"
    state = CACHE_READERS[1]
    layers = [group for group in arch.groups for _ in range(group.count)]
    cache = sum(
        cache_bytes(group, reader, work.isl + work.osl, p, tp)
        for layer, group in enumerate(layers)
        for reader in (attention, state[group.ssm is not None and not group.ssm.scans])
        if pool.name in homes[reader, layer]
    )
    held = held_parameters(prepared, arch, homes)
    rows = max(chunk_tokens(batch, work.isl, pool.runtime.prefill_chunk, pool.plan.pp, arch.is_encoder), batch)
    return MemoryUse(
        weights=held_bytes(held, p),
        kv=batch * cache,
        activations=memory.inference_activation_bytes(arch, rows, batch, p, tp),
        overhead=pool.runtime.context.value,
    )


def cache_bytes(group: LayerGroup, reader: str, tokens: float, precision: Precision, tp: int = 1) -> float:
    """What ``reader`` reads of one sequence of ``tokens`` in one layer on one device [B]."""
    if reader in CACHE_READERS[1]:
        return memory.state_cache_bytes(group.ssm, tp)
    return memory.attention_cache_bytes(group.attention, tokens, precision, tp)
