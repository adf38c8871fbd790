"""Results: pure data, readable without the simulator, and their documented JSON form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from simulator.display import html_of
from simulator.timeline import Timeline

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of the JSON form: it grows by one when a key goes away or changes its meaning."""


_NO_CALLS: Final = ("collective", "transfer", "host")
"""Families that no law of a device prices."""
UNSAID = {
    "cp": 1, "vpp": 1, "sequence": False, "zero": -1, "schedule": "", "etp": 0, "cp_comm": "p2p", "shard": 0,
    "overlap": "", "offload": "", "stages": (),
}  # fmt: skip
"""Fields of plans that are said in words where they have another value than here."""


def plan_in_words(plan: dict[str, Any]) -> str:
    """A plan as tables have it: the ways to cut the work, and what is unusual about it."""
    said = {name: value for name, value in plan.items() if name not in UNSAID or value not in (UNSAID[name], [])}
    return ", ".join(f"{name} {value}" for name, value in said.items())


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
    ``bound`` is "compute", "memory", "communication" or "overhead", whichever is largest. ``interpolated_s`` is spent
    in calls of a size between those that were measured on the device, ``extrapolated_s`` in calls beyond them; of the
    rest it is not recorded, or no law of the device prices it.
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
    interpolated_s: float = 0.0
    extrapolated_s: float = 0.0


class PhaseCost(msgspec.Struct, frozen=True):
    """One phase (a name of ``simulator.scenario.PHASES``, or "step" of a dataflow): its operators and its time."""

    name: str
    time_s: float
    operators: tuple[OperatorCost, ...]


class Reach(NamedTuple):
    """How the time of the operators of one device lies to what was measured on it [s].

    ``total_s`` is that of all operators but collectives, ``interpolated_s`` of those in calls of a size between
    measured ones; ``extrapolated_s`` has that of those beyond them by kind, the longest first. The rest is not
    recorded.
    """

    total_s: float
    interpolated_s: float
    extrapolated_s: dict[str, float]

    @property
    def unrecorded_s(self) -> float:
        """Time of which nothing is recorded [s]."""
        return max(self.total_s - self.interpolated_s - sum(self.extrapolated_s.values()), 0.0)


class Roof(msgspec.Struct, frozen=True):
    """A roof of the roofline figure: a peak rate [FLOP/s] or a bandwidth [B/s] of one device."""

    device: str
    label: str
    kind: str
    value: float


class Provenance(msgspec.Struct, frozen=True):
    """What a result rests on: one input number (or rule), its mark and its origin.

    ``path`` is how ``--set`` calls it ("device.parameters.gemm_peak"), "" where that cannot change it.
    """

    what: str
    value: str
    mark: str
    origin: str
    path: str = ""


class Result(msgspec.Struct, frozen=True):
    """Everything one simulation says.

    ``memory`` and ``memory_capacity_bytes`` are those of the fullest device of all ``pools``; ``fits`` is about all.
    ``metrics`` holds numbers by documented name (see ``simulator.metrics``); a metric without a value is None
    and ``reasons`` says why. ``configuration`` is what was asked: numbers and words, the plan a table of its own, and
    with several pools a list of these. ``laws_hash`` is that of the code that gave the answer. ``nearby`` are the
    same at other batches, for pages: their metrics, memory and phases. ``run`` are the figures of a long run of a
    training step by name (docs: goodput), in SI units; empty where none was asked for. ``name`` is what a reader calls
    it beside others, for pages; "": by its devices.
    """

    kind: str
    title: str
    scenario_hash: str
    seed: int
    laws_hash: str
    silicost_version: str
    configuration: dict[str, Any]
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
    nearby: tuple[Result, ...] = ()
    run: dict[str, float] = {}
    name: str = ""

    @property
    def asked(self) -> dict[str, str]:
        """The configuration in words, for tables: each different word of several pools once, counts pool by pool."""
        words = {key: str(value) for key, value in self.configuration.items() if not isinstance(value, (dict, list))}
        rows = self.configuration.get("pools", [self.configuration])
        for key in dict.fromkeys(key for row in rows for key in row):
            values = [row[key] for row in rows if key in row]
            if isinstance(values[0], dict):
                plans = [plan_in_words(plan) for plan in values]
                words[key] = " | ".join(dict.fromkeys(plans))
            else:
                several = map(str, values)
                words[key] = " + ".join(several if key == "count" else dict.fromkeys(several))
        return words

    def reach_of(self, device: str) -> Reach:
        """Whether the calls on a device lie between measured ones; without operators in the result all times are 0."""
        ran = [o for phase in self.phases for o in phase.operators if o.device == device and o.family not in _NO_CALLS]
        beyond: dict[str, float] = {}
        for operator in ran:
            if operator.extrapolated_s > 0.0:
                beyond[operator.kind] = beyond.get(operator.kind, 0.0) + operator.extrapolated_s
        longest = dict(sorted(beyond.items(), key=lambda item: (-item[1], item[0])))
        return Reach(math.fsum(o.time_s for o in ran), math.fsum(o.interpolated_s for o in ran), longest)

    def as_json(self) -> dict[str, Any]:
        """The stable JSON form (docs: JSON keys): metrics at top level, SI units, no operators or timeline."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "title": self.title,
            **{name: _json_number(name, value) for name, value in self.metrics.items()},
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
            "laws_hash": self.laws_hash,
            "silicost_version": self.silicost_version,
        }

    def to_pandas(self) -> pd.DataFrame:
        """Metrics by name in SI units: value, ends of the 80 and 95% intervals (NaN: none), why there is no value."""
        import pandas as pd

        ends = ("p2_5", "p10", "p90", "p97_5")
        rows = {
            name: [value, *(getattr(self.intervals.get(name), end, None) for end in ends), self.reasons.get(name, "")]
            for name, value in self.metrics.items()
        }
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["value", *ends, "reason"])
        return frame.rename_axis("metric").astype(dict.fromkeys(("value", *ends), float))

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None (text) where no room above has said how."""
        return html_of(self)

    def _memory_json(self, memory: MemoryUse) -> dict[str, float]:
        """Parts and total; inference results have no gradients and optimizer states, training results no KV cache."""
        absent = {"inference": ("gradients", "optimizer"), "training": ("kv",)}.get(self.kind, ())
        parts = {name: value for name, value in msgspec.structs.asdict(memory).items() if name not in absent}
        return {**parts, "total": memory.total}

    def _pool_json(self, pool: PoolUse) -> dict[str, Any]:
        return {
            "name": pool.name,
            "device": pool.device,
            "device_class": pool.device_class,
            "count": pool.count,
            "runtime": pool.runtime,
            "memory_bytes": self._memory_json(pool.memory),
            "memory_capacity_bytes": pool.capacity_bytes,
            "fits": pool.fits,
            "energy_device_j": pool.energy_j,
            "busy_s": pool.busy_s,
        }


def _json_number(name: str, value: float | None) -> float | int | None:
    """A metric as JSON has it: what counts sequences is a whole number."""
    return int(value) if value is not None and name == "max_batch" else value
