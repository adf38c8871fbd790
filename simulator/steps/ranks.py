"""Pipeline ranks: the layers of each, where the embedding and the head are, how many micro-batches are in flight."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from simulator.scenario import Plan
from simulator.schedules.closed import closed_peak
from simulator.schedules.registry import code_of, schedule_of
from workloads.lowering.plan import stage_layers
from workloads.models.architecture import Architecture


class Rank(NamedTuple):
    """What a device of a pipeline rank has.

    ``layers`` of each group it holds, of which a micro-batch leaves activations of ``kept``; ``embeds`` and ``heads``
    say whether the embedding and the head are there.
    """

    number: int
    layers: tuple[int, ...]
    kept: tuple[float, ...]
    embeds: bool
    heads: bool


def ranks_of(arch: Architecture, plan: Plan) -> tuple[Rank, ...]:
    """All pipeline ranks of a plan, first to last.

    Pieces of an interleaved schedule are counted with the stage of their rank. A schedule that runs both ways holds
    two stages on each rank, of which a micro-batch passes one; one whose pieces turn back has both ends on one rank.
    """
    return _ranks(tuple(group.count for group in arch.groups), plan.pp, plan.stages, plan.schedule)


def fullest_ranks(arch: Architecture, plan: Plan) -> tuple[Rank, ...]:
    """Ranks that may be the fullest: no rank before them holds as much of everything.

    Later ranks never have more micro-batches in flight than earlier ones.
    """
    found: list[Rank] = []
    for rank in ranks_of(arch, plan):
        if not any(_covers(other, rank) for other in found):
            found.append(rank)
    return tuple(found)


def _covers(one: Rank, other: Rank) -> bool:
    mine, theirs = (row.layers + row.kept + (row.embeds, row.heads) for row in (one, other))
    return all(a >= b for a, b in zip(mine, theirs, strict=True))


@lru_cache(maxsize=4096)
def _ranks(counts: tuple[int, ...], pp: int, lengths: tuple[int, ...], name: str) -> tuple[Rank, ...]:
    rows = stage_layers(counts, pp, lengths)
    schedule = schedule_of(name) if name and pp > 1 else None
    chunks = schedule.chunks or 1 if schedule else 1
    pieces = [[schedule.stage_of(r, c, pp) if schedule else r for c in range(chunks)] for r in range(pp)]
    last = max(max(own) for own in pieces)
    copies = schedule.copies if schedule else 1
    found = []
    for number, own in enumerate(pieces):
        held = [rows[stage] for stage in own] if copies > 1 else [rows[number]]
        layers = tuple(map(sum, zip(*held, strict=True)))
        found.append(Rank(number, layers, tuple(each / copies for each in layers), 0 in own, last in own))
    return tuple(found)


def ends_apart(plan: Plan) -> bool:
    """Whether the embedding and the head are on different ranks."""
    if plan.pp == 1:
        return False
    schedule = schedule_of(plan.schedule) if plan.schedule else None
    return schedule is None or schedule.chunks < 2 or schedule.stage_of(0, schedule.chunks - 1, plan.pp) < plan.pp


def in_flight(plan: Plan, micro_batches: int, rank: int = 0) -> float:
    """Micro-batches whose activations a rank holds at once, in parts of its layers.

    1F1B holds pp - rank; with v pieces of the model on a stage the first rank 1 + (p - 1)/(p v) times as many
    (Narayanan et al., arXiv:2104.04473; Korthikanti et al., arXiv:2205.05198, section 4.2.1); of other schedules as
    ``schedules.closed`` says.
    """
    if plan.pp == 1:
        return 1.0
    name = plan.schedule or ("interleaved" if plan.vpp > 1 else "1f1b")
    if name == "1f1b":
        return float(min(plan.pp - rank, micro_batches))
    chunks = schedule_of(name).chunks or plan.vpp
    return float(closed_peak(code_of(name), plan.pp, micro_batches, chunks, rank))
