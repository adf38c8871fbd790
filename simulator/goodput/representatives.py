"""A step on devices whose slow-downs are known, by the few ranks that stand for all of them.

Devices are numbered as Megatron does: those of a stage of a pipeline first, then pipelines, then stages. The devices of
a stage exchange after every part of a layer and so go at the pace of the slowest; pipelines meet at the end of a step.
A pipeline is then known by the slowest rank of each of its stages, and of all pipelines only those can be the last
whose stages no other one has all as slow: in a schedule of a fixed order nothing ends later for a shorter action. With
k slow devices there are at most k + 1 of them, whatever the number of devices, and what comes of them is what comes of
all, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware_specs.errors import InputError
from simulator.goodput.pipelines import Pipelines
from simulator.goodput.slowdowns import Floats
from simulator.schedules.actions import Program
from simulator.schedules.timeline import run


@dataclass(frozen=True, eq=False)
class Representatives:
    """Pipelines that stand for all of a job.

    Attributes:
        factors: slow-down of the slowest rank of each stage, shape [pipelines, stages]; no row is below another one.
        ranks: number of that device, same shape.
    """

    factors: Floats
    ranks: np.ndarray[tuple[int, int], np.dtype[np.int64]]


def representatives(known: Mapping[int, float], layout: Pipelines) -> Representatives:
    """The pipelines that can be the slowest.

    Args:
        known: slow-down of devices by number; that of all others is 1.

    Raises:
        InputError: a device that the job does not have, a factor that is not positive and finite.
    """
    for device, factor in known.items():
        if not 0 <= device < layout.devices:
            raise InputError(f"device {device}; the job has devices 0 to {layout.devices - 1}")
        if not 0.0 < factor < np.inf:
            raise InputError(f"factor {factor} of device {device}; allowed: above 0")
    own: dict[int, dict[int, dict[int, float]]] = {}
    for device, factor in known.items():
        stage, within = divmod(device, layout.ranks * layout.replicas)
        own.setdefault(within // layout.ranks, {}).setdefault(stage, {})[device] = factor
    plain = next((replica for replica in range(layout.replicas) if replica not in own), None)
    rows = [*sorted(own), *([plain] if plain is not None else [])]
    found = [_stages(replica, own.get(replica, {}), layout) for replica in rows]
    factors = np.array([[factor for factor, _ in stages] for stages in found])
    kept = _not_below(factors)
    return Representatives(factors[kept], np.array([[rank for _, rank in stages] for stages in found])[kept])


def _stages(replica: int, known: Mapping[int, Mapping[int, float]], layout: Pipelines) -> list[tuple[float, int]]:
    """Factor and number of the slowest rank of each stage of a pipeline."""
    found = []
    for stage in range(layout.stages):
        first = (stage * layout.replicas + replica) * layout.ranks
        slow = known.get(stage, {})
        typical = next((rank for rank in range(first, first + layout.ranks) if rank not in slow), None)
        each = [(factor, -rank) for rank, factor in slow.items()]
        if typical is not None:
            each.append((1.0, -typical))
        factor, rank = max(each)
        found.append((factor, -rank))
    return found


def _not_below(factors: Floats) -> list[int]:
    """Rows that no other row has at least equalled in every column; of equal ones the first."""
    order = sorted(range(len(factors)), key=lambda row: (-float(factors[row].sum()), row))
    kept: list[int] = []
    for row in order:
        if not any((factors[other] >= factors[row]).all() for other in kept):
            kept.append(row)
    return sorted(kept)


def known_slowdown(known: Mapping[int, float], layout: Pipelines) -> float:
    """How much longer a step lasts with these devices; ``m max + b (sum - max)`` as in ``pipelines``; 1 is not at all.

    Raises:
        InputError: as ``representatives``.
    """
    factors = representatives(known, layout).factors
    slowest = factors.max(axis=1)
    times = layout.micro_batches * slowest + layout.bubble * (factors.sum(axis=1) - slowest)
    return float(times.max() / (layout.micro_batches + layout.bubble * (layout.stages - 1)))


def scheduled_s(known: Mapping[int, float], layout: Pipelines, program: Program, seconds: Any, send_s: Any = 0.0
                ) -> float:  # fmt: skip
    """Time of a step of a schedule with these devices [s]: each representative pipeline is run.

    Args:
        program: of ``layout.stages`` ranks (``schedules.registry.program``).
        seconds: of each kind of action on each stage of the program on typical devices, shape [4, stages] [s].
        send_s: as in ``schedules.timeline.run`` [s].

    Raises:
        InputError: as ``representatives``; a program of other ranks, or one that has a stage on several ranks.
    """
    if program.ranks != layout.stages:
        raise InputError(f"a program of {program.ranks} ranks; the layout has {layout.stages} stages")
    stages = program.stage_of.ravel()
    if len(set(stages.tolist())) < len(stages):
        raise InputError(f"schedule {program.name}: a stage on several ranks has no slow-down of its own")
    rank_of = np.empty(program.stage_count, np.int64)
    for rank, held in enumerate(program.stage_of):
        rank_of[held] = rank
    factors = representatives(known, layout).factors[:, rank_of]
    return max(run(program, np.asarray(seconds) * each, send_s).total_s for each in factors)
