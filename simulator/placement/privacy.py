"""Who may see what: refusing placements that bring data to pools that must not see it.

Every operator of a model sees activations, which are derived from prompts and count as prompts; one with parameters
sees weights; attention over a cache, and what writes it, sees the KV cache. Gradients and optimizer states count as
weights, training data as prompts. Links, switches and hosts that only pass data on see nothing (encrypted in transit).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hardware_specs.errors import InputError
from simulator.placement.rules import Placer, placer_of
from simulator.scenario import Scenario, StaticBatch, TrainStep, TrainThenInfer
from workloads.lowering.dataflow import Dataflow
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import Lowering, Precision
from workloads.models.architecture import Architecture

WORDS = {
    "prompts": "prompts (and activations, which derive from them)", "weights": "weights",
    "kv": "keys and values (the KV cache)",
}  # fmt: skip
"""Classes of data, and how messages call them."""
CACHE_PARTS = (
    "attention.k", "attention.v", "attention.qk", "attention.scores", "attention.softmax", "attention.pv", "ssm.conv",
    "ssm.scan",
)  # fmt: skip
"""What the names of operators begin with that write or read what later tokens need."""


class Sight(NamedTuple):
    """One operator that sees a class of data on a pool, and the pool from which it comes ("": the host)."""

    data: str
    source: str
    pool: str
    phase: str
    layer: int | None
    operator: str


def check_privacy(scenario: Scenario) -> None:
    """Refuse a scenario whose rules show a pool what it may not see.

    Raises:
        InputError: names the data, from where to where it flows, and the phase, layer and operator that needs it there.
    """
    if not scenario.privacy.limits:
        return
    for sight in sights(scenario):
        allowed = scenario.privacy.allowed(sight.data)
        if allowed is None or sight.pool in allowed:
            continue
        where = f", layer {sight.layer}" if sight.layer is not None else ""
        source = f"from pool {sight.source}" if sight.source else "from the host"
        raise InputError(
            f"[privacy] {sight.data}: pool {sight.pool!r} may not see {WORDS[sight.data]}, but needs them {source}: "
            f"{sight.phase}{where}, operator {sight.operator} (allowed: {', '.join(allowed) or 'no pool'})",
            "privacy",
        )


def sights(scenario: Scenario) -> Iterator[Sight]:
    """Everything that an operator sees somewhere, phase by phase, layer by layer."""
    work, placer = scenario.workload, placer_of(scenario)
    if isinstance(work, Dataflow):
        yield from _of_dataflow(work, placer)
        return
    if scenario.layers:
        last = work.model.layers - 1
        for index, pool in enumerate(scenario.pools):
            source = scenario.pools[index - 1].name if index else ""
            for data in ("prompts", "weights"):
                yield Sight(data, source if data == "prompts" else "", pool.name, "forward", min(index, last), "layers")
        return
    for phase in _phases(work):
        yield from _of_model(scenario, work.model, placer, phase)


def _phases(work: StaticBatch | TrainStep | TrainThenInfer) -> tuple[str, ...]:
    training = ("forward", "backward", "update")
    if isinstance(work, TrainStep):
        return training
    batch = work.infer if isinstance(work, TrainThenInfer) else work
    inference: tuple[str, ...] = ("encode",) if batch.model.is_encoder else ("prefill", "decode")[: 1 + (batch.osl > 1)]
    return (*training, *inference) if isinstance(work, TrainThenInfer) else inference


def _of_model(scenario: Scenario, arch: Architecture, placer: Placer, phase: str) -> Iterator[Sight]:
    """What the operators of a phase see; a cache comes from the pool that made it in the prefill."""
    fusions = frozenset.intersection(*(frozenset(pool.runtime.fusions) for pool in scenario.pools))
    how = Lowering(Precision(), fusions=fusions)
    graph = lower_step(arch, "encode" if arch.is_encoder else "prefill", 1, 1, 1.0, how)
    before, layer = "", -1
    for block in graph.blocks:
        inside = block.label.startswith("layers")
        for _ in range(block.repeat):
            layer += inside
            at = layer if inside else None
            for operator in graph.operators[block.start : block.stop]:
                pool = placer.pool(operator.name, phase, at)
                if phase != "update":
                    yield Sight("prompts", before, pool, phase, at, operator.name)
                if operator.weight_bytes > 0.0 or operator.name == "embedding":
                    yield Sight("weights", "", pool, phase, at, operator.name)
                if phase in ("prefill", "decode") and operator.name.startswith(CACHE_PARTS):
                    made = placer.pool(operator.name, "prefill", at) if phase == "decode" else before
                    yield Sight("kv", made, pool, phase, at, operator.name)
                before = pool


def _of_dataflow(work: Dataflow, placer: Placer) -> Iterator[Sight]:
    places = {operator.name: placer.pool(operator.name, "forward") for operator in work.operators}
    for operator in work.operators:
        source = next((places[name] for name in operator.inputs if name in places), "")
        for phase in ("forward", "backward") if work.train else ("forward",):
            pool = placer.pool(operator.name, phase)
            yield Sight("prompts", source, pool, phase, None, operator.name)
            if operator.kind == "gemm" and operator.parameter:
                yield Sight("weights", "", pool, phase, None, operator.name)
