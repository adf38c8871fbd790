"""What pools that share a training step hold: parameters, and who updates them; activations, gradients and states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from simulator import memory
from simulator.memory import tied_parameters
from simulator.placement.memory import Homes, held_bytes, held_parameters, pieces_of, ways_of
from simulator.prepared import Prepared
from simulator.result import MemoryUse
from simulator.scenario import TrainStep
from simulator.steps.replicas import adapter_parameters, shards_of, state_bytes
from simulator.steps.train_step import recomputed
from simulator.steps.training_result import loss_bytes
from workloads.models.architecture import Architecture


class Share(NamedTuple):
    """Trained parameters of some part of the model: in all, and on one device of the pool that updates them."""

    whole: float
    each: float


Trained = Mapping[tuple[str, str], Share]
"""Trained parameters by the pool that holds and the one that updates them."""


def trained_on_pools(work: TrainStep, prepared: Sequence[Prepared], homes: Homes, updates: Homes) -> Trained:
    """Which parameters are updated where; adapters are spread as the layers that they belong to."""
    shares: dict[tuple[str, str], Share] = {}
    ways = {each.pool.name: ways_of(each.how.sharding) for each in prepared}
    for piece in pieces_of(work.model):
        if not piece.parameters or (work.lora_rank and piece.layer is None):
            continue
        holder, updater = (min(where[piece.operator, piece.layer]) for where in (homes, updates))
        before = shares.get((holder, updater), Share(0.0, 0.0))
        own = piece.parameters / ways[updater][piece.cut]
        shares[holder, updater] = Share(before.whole + piece.parameters, before.each + own)
    if work.lora_rank:
        scale = adapter_parameters(work) / sum(share.whole for share in shares.values())
        return {key: Share(share.whole * scale, share.each * scale) for key, share in shares.items()}
    return shares


def updated_by(trained: Trained, pool: str) -> float:
    """Parameters that one device of a pool updates, before they are cut over replicas."""
    return sum(share.each for (_, updater), share in trained.items() if updater == pool)


def tied_apart(arch: Architecture, homes: Homes) -> tuple[str, str] | None:
    """The pools of the embedding and of a head that is tied to it, where these are two."""
    first, last = min(homes["embedding", None]), min(homes["head.logits", None])
    return (first, last) if tied_parameters(arch) and first != last else None


def pool_memory(
    each: Prepared, work: TrainStep, homes: Homes, trained: Trained, in_flight: float, passes: int = 1
) -> MemoryUse:
    """Bytes on one device of a pool; a layer that is cut between pools is counted in full on each.

    Args:
        in_flight: micro-batches that have begun and not ended.
        passes: how often the pool runs for each of them; what every one leaves is kept.
    """
    arch, p, name, plan = work.model, each.precision, each.pool.name, each.pool.plan
    runtime, cut = each.pool.runtime, each.how.sharding
    held = held_parameters(each, arch, homes)
    weights, gradients, states = state_bytes(work, p.attention, runtime)
    counts = _layers_here(arch, (layer for (_, layer), pools in homes.items() if name in pools and layer is not None))
    heads = name in homes["head.logits", None]
    logit_bytes = loss_bytes(runtime, plan.tp)
    activations = memory.training_activation_bytes(
        arch, plan.micro_batch, work.seq_len, recomputed(plan, runtime), each.how.fused("flash"), cut,
        in_flight * passes, logit_bytes, counts, heads,
    )  # fmt: skip
    own = sum(share.whole for (holder, _), share in trained.items() if holder == name) / plan.tp
    ends = tied_apart(arch, homes)
    if ends and ends[1] == name and not work.lora_rank:
        own += tied_parameters(arch) / plan.tp
    updated, shards = updated_by(trained, name), shards_of(work, plan, runtime)
    return MemoryUse(
        weights=held_bytes(held, p) + (own * weights if work.lora_rank else 0.0),
        activations=activations,
        gradients=max(own, updated) * gradients / shards.gradients,
        optimizer=updated * states / shards.states,
        overhead=runtime.context.value,
    )


def _layers_here(arch: Architecture, layers: Iterable[int]) -> tuple[int, ...]:
    """How many different ``layers`` of each group there are."""
    found, first = set(layers), 0
    counts = []
    for group in arch.groups:
        counts.append(sum(layer in found for layer in range(first, first + group.count)))
        first += group.count
    return tuple(counts)
