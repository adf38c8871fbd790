"""Memory of pools that hold part of a model: the weights of what runs there, the cache of its attention."""

from __future__ import annotations

from dataclasses import dataclass

from simulator import memory
from simulator.placement.rules import Placer
from simulator.prepared import Prepared
from simulator.result import MemoryUse
from simulator.scenario import StaticBatch
from workloads.lowering.plan import Precision
from workloads.models.architecture import Architecture, LayerGroup
from workloads.models.parameters import count_parameters

_PROBES = {
    "attention": "attention.out",
    "mlp": "mlp.down",
    "experts": "moe.experts",
    "ssm": "ssm.out",
}
"""An operator of each part of a layer: the part's weights lie where it runs."""

CACHE_OPERATORS = ("attention.scores", "attention.qk", "ssm.scan")
"""Operators that read what earlier tokens have left: fused attention, unfused attention, a state space scan."""


@dataclass(frozen=True)
class Homes:
    """Pools that hold each part of each layer, by (layer, part); of the embedding and the head; of each cache."""

    parts: dict[tuple[int, str], frozenset[str]]
    embedding: frozenset[str]
    head: frozenset[str]
    caches: dict[tuple[int, str], frozenset[str]]


@dataclass(frozen=True)
class Held:
    """Parameters of the stack, and of the embedding and the head, on one device of a pool; experts are in the stack."""

    stack: float
    ends: float


def layer_homes(arch: Architecture, placer: Placer, phases: tuple[str, ...]) -> Homes:
    """Where weights and caches must lie so that every phase finds them."""

    def pools(operator: str, layer: int | None = None) -> frozenset[str]:
        return frozenset(placer.pool(operator, phase, layer) for phase in phases)

    layers = range(arch.layers)
    parts = {(layer, part): pools(probe, layer) for layer in layers for part, probe in _PROBES.items()}
    caches = {(layer, reader): pools(reader, layer) for layer in layers for reader in CACHE_OPERATORS}
    return Homes(parts, pools("embedding"), pools("head.logits"), caches)


def held_parameters(prepared: Prepared, arch: Architecture, homes: Homes) -> Held:
    """What one device of a pool holds of the model, cut by its plan; norms lie wherever a part of their layer does."""
    sharding, name = prepared.how.sharding, prepared.pool.name
    count = count_parameters(arch)
    stack = 0.0
    layer = 0
    for group in count.groups:
        sizes = {
            "attention": group.attention / sharding.tp, "mlp": group.mlp / sharding.tp,
            "experts": group.experts / (sharding.ep * sharding.expert_tp), "ssm": group.ssm / sharding.tp,
        }  # fmt: skip
        for _ in range(group.layers):
            here = [size for part, size in sizes.items() if size and name in homes.parts[layer, part]]
            stack += sum(here) + (group.norms if here else 0.0)
            layer += 1
    if name in homes.head:
        stack += count.norms - sum(group.layers * group.norms for group in count.groups)
    if name in homes.embedding:
        stack += count.extra
    ends = count.embedding * (name in homes.embedding) + count.head * (name in homes.head)
    if not count.head and name in homes.head - homes.embedding:
        ends += count.embedding
    return Held(stack, ends / sharding.tp)


def pool_memory(prepared: Prepared, work: StaticBatch, homes: Homes, batch: int) -> MemoryUse:
    """Bytes on one device of a pool when every sequence has reached its full length."""
    arch, p, pool = work.model, prepared.precision, prepared.pool
    tp = prepared.how.sharding.tp
    reader = "attention.scores" if prepared.how.fused("flash") else "attention.qk"
    layers = [group for group in arch.groups for _ in range(group.count)]
    cache = sum(
        cache_bytes(group, name, work.isl + work.osl, p, tp)
        for layer, group in enumerate(layers)
        for name in (reader, "ssm.scan")
        if pool.name in homes.caches[layer, name]
    )
    held = held_parameters(prepared, arch, homes)
    rows = batch * work.isl
    if pool.runtime.prefill_chunk:
        rows = min(rows, max(pool.runtime.prefill_chunk, batch))
    return MemoryUse(
        weights=(p.weight_bits * held.stack + p.head_bits * held.ends) / 8.0,
        kv=batch * cache,
        activations=memory.inference_activation_bytes(arch, rows, batch, p, tp),
        overhead=pool.runtime.context.value,
    )


def cache_bytes(group: LayerGroup, reader: str, tokens: float, precision: Precision, tp: int = 1) -> float:
    """What ``reader`` reads of one sequence of ``tokens`` in one layer on one device [B]."""
    if reader == "ssm.scan":
        return memory.state_cache_bytes(group.ssm, tp)
    return memory.attention_cache_bytes(group.attention, tokens, precision, tp)
