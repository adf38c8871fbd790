"""Results: pure data, readable without the simulator, and their documented JSON form."""

from __future__ import annotations

from typing import Any

import msgspec

from simulator.timeline import Timeline


class Interval(msgspec.Struct, frozen=True):
    """A predictive interval: 80% between ``p10`` and ``p90``, 95% between ``p2_5`` and ``p97_5``."""

    p2_5: float
    p10: float
    p90: float
    p97_5: float


class MemoryUse(msgspec.Struct, frozen=True):
    """Bytes on the fullest device [B]."""

    weights: float
    kv: float = 0.0
    activations: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    overhead: float = 0.0

    @property
    def total(self) -> float:
        """Sum of all parts [B]."""
        return self.weights + self.kv + self.activations + self.gradients + self.optimizer + self.overhead


class Energy(msgspec.Struct, frozen=True):
    """Energy at three boundaries [J]: the devices, the nodes they sit in, the facility (PUE)."""

    device: float
    node: float
    facility: float


class PoolUse(msgspec.Struct, frozen=True):
    """What one pool of equal devices contributes: its fullest device's memory, its energy, its busy time.

    ``memory`` and ``capacity_bytes`` are of one device [B], ``energy_j`` of all of them [J]; ``busy_s`` is how long
    each of them computes or communicates [s].
    """

    name: str
    device: str
    device_class: str
    count: int
    runtime: str
    memory: MemoryUse
    capacity_bytes: float
    energy_j: float
    busy_s: float

    @property
    def fits(self) -> bool:
        """Whether everything fits the memory that the runtime may use."""
        return self.memory.total <= self.capacity_bytes


class OperatorCost(msgspec.Struct, frozen=True):
    """One operator of a phase with all its repeats: what bounds it and how long it takes.

    ``time_s`` = max(compute, memory, communication) as the law joins them, plus ``overhead_s``.
    ``bound`` is "compute", "memory", "communication" or "overhead", whichever is largest.
    """

    name: str
    kind: str
    family: str
    device: str
    repeat: float
    flops: float
    moved_bytes: float
    time_s: float
    compute_s: float
    memory_s: float
    communication_s: float
    overhead_s: float
    energy_j: float
    bound: str
    dtype: str = ""


class PhaseCost(msgspec.Struct, frozen=True):
    """One phase (prefill, decode, forward, backward, optimizer): its operators and its time."""

    name: str
    time_s: float
    operators: tuple[OperatorCost, ...]


class Roof(msgspec.Struct, frozen=True):
    """A roof of the roofline figure: a peak rate [FLOP/s] or a bandwidth [B/s] of one device."""

    device: str
    label: str
    kind: str
    value: float


class Provenance(msgspec.Struct, frozen=True):
    """What a result rests on: one input number (or rule), its mark and its origin."""

    what: str
    value: str
    mark: str
    origin: str


class Result(msgspec.Struct, frozen=True):
    """Everything one simulation says.

    ``memory`` and ``memory_capacity_bytes`` are those of the fullest device of all ``pools``; ``fits`` is about all.
    ``metrics`` holds numbers by documented name (see ``simulator.metrics``); a metric without a value is None
    and ``reasons`` says why. ``configuration`` is what was asked, in words, for tables.
    """

    kind: str
    title: str
    scenario_hash: str
    seed: int
    version: str
    configuration: dict[str, str]
    metrics: dict[str, float | None]
    memory: MemoryUse
    memory_capacity_bytes: float
    fits: bool
    energy: Energy
    bound: dict[str, str]
    breakdown: dict[str, float]
    intervals: dict[str, Interval]
    provenance: tuple[Provenance, ...]
    pools: tuple[PoolUse, ...]
    phases: tuple[PhaseCost, ...] = ()
    roofs: tuple[Roof, ...] = ()
    timeline: Timeline = Timeline(())
    reasons: dict[str, str] = {}
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The stable JSON form (docs: JSON keys): metrics at top level, SI units, no operators or timeline."""
        return {
            "kind": self.kind,
            "title": self.title,
            **self.metrics,
            "memory_bytes": self._memory_json(self.memory),
            "memory_capacity_bytes": self.memory_capacity_bytes,
            "fits": self.fits,
            "energy_j": msgspec.structs.asdict(self.energy),
            "pools": [self._pool_json(pool) for pool in self.pools],
            "bound": self.bound,
            "breakdown": self.breakdown,
            "intervals": {name: msgspec.structs.asdict(i) for name, i in self.intervals.items()},
            "reasons": self.reasons,
            "warnings": list(self.warnings),
            "configuration": self.configuration,
            "provenance": [msgspec.structs.asdict(p) for p in self.provenance],
            "scenario_hash": self.scenario_hash,
            "seed": self.seed,
            "version": self.version,
        }

    def _memory_json(self, memory: MemoryUse) -> dict[str, float]:
        """Parts and total; inference results have no gradients and optimizer states, training results no KV cache."""
        absent = {"simulate": ("gradients", "optimizer"), "train": ("kv",)}.get(self.kind, ())
        parts = {name: value for name, value in msgspec.structs.asdict(memory).items() if name not in absent}
        return {**parts, "total": memory.total}

    def _pool_json(self, pool: PoolUse) -> dict[str, Any]:
        return {**msgspec.structs.asdict(pool), "memory": self._memory_json(pool.memory), "fits": pool.fits}
