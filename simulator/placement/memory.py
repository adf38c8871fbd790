"""Memory of pools that hold part of a model: the weights of what runs there, the cache of its attention."""

from __future__ import annotations

from dataclasses import dataclass

from simulator import memory
from simulator.placement.rules import Placer
from simulator.prepared import Prepared
from simulator.result import MemoryUse
from simulator.scenario import StaticBatch
from workloads.models.architecture import Architecture
from workloads.models.parameters import count_parameters

_PROBES = {
    "attention": "attention.out",
    "mlp": "mlp.down",
    "experts": "moe.experts",
    "ssm": "ssm.out",
}
"""An operator of each part of a layer: the part's weights lie where it runs."""


@dataclass(frozen=True)
class Homes:
    """Pools that hold each part of each layer, by (layer, part); of the embedding and the head; of each cache."""

    parts: dict[tuple[int, str], frozenset[str]]
    embedding: frozenset[str]
    head: frozenset[str]
    caches: dict[int, frozenset[str]]


def layer_homes(arch: Architecture, placer: Placer, phases: tuple[str, ...]) -> Homes:
    """Where weights and caches must lie so that every phase finds them."""
    layers = range(arch.layers)
    parts = {
        (layer, part): frozenset(placer.pool(probe, phase, layer) for phase in phases)
        for layer in layers
        for part, probe in _PROBES.items()
    }
    caches = {layer: frozenset(placer.pool("attention.scores", phase, layer) for phase in phases) for layer in layers}
    ends = (frozenset(placer.pool(name, phase) for phase in phases) for name in ("embedding", "head.logits"))
    return Homes(parts, next(ends), next(ends), caches)


def pool_memory(prepared: Prepared, work: StaticBatch, homes: Homes, batch: int) -> MemoryUse:
    """Bytes on one device of a pool when every sequence has reached its full length."""
    arch, p, pool = work.model, prepared.precision, prepared.pool
    sharding = prepared.how.sharding
    count = count_parameters(arch)
    stack = cache = 0.0
    layer = 0
    for group, each in zip(arch.groups, count.groups, strict=True):
        expert_ways = sharding.ep * sharding.expert_tp
        sizes = {
            "attention": each.attention / sharding.tp, "mlp": each.mlp / sharding.tp,
            "experts": each.experts / expert_ways, "ssm": each.ssm / sharding.tp,
        }  # fmt: skip
        for _ in range(group.count):
            stack += sum(size for part, size in sizes.items() if pool.name in homes.parts[layer, part])
            if pool.name in homes.caches[layer]:
                tokens = work.isl + work.osl
                cache += batch * memory.layer_kv_bytes(group, tokens, p, sharding.tp)
            layer += 1
    ends = count.embedding * (pool.name in homes.embedding) + count.head * (pool.name in homes.head)
    if not count.head and pool.name in homes.head - homes.embedding:
        ends += count.embedding
    rows = batch * work.isl
    if pool.runtime.prefill_chunk:
        rows = min(rows, max(pool.runtime.prefill_chunk, batch))
    return MemoryUse(
        weights=(p.weight_bits * stack + p.head_bits * ends / sharding.tp) / 8.0,
        kv=cache,
        activations=memory.inference_activation_bytes(arch, rows, batch, p, sharding.tp),
        overhead=pool.runtime.context.value,
    )
