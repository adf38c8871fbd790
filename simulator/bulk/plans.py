"""All plans of a training step on a number of devices, as columns: those that a model, a batch and a schedule allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator.scenario import RECOMPUTE, Plan, TrainStep
from simulator.schedules.registry import code_of, names, schedules
from simulator.steps.offload import KINDS
from workloads.lowering.plan import Sharding, check_sharding
from workloads.models.architecture import Architecture, Experts
from workloads.runtimes.record import OVERLAPS

Ints = npt.NDArray[np.integer]

MOST_PLANS: Final = 200_000_000
"""Plans of a space at most."""


def _subsets(words: Iterable[str]) -> tuple[str, ...]:
    """All sets of some words, as flags have them; the place of each is its bits."""
    names = tuple(words)
    return tuple(",".join(w for bit, w in enumerate(names) if code >> bit & 1) for code in range(2 ** len(names)))


OVERLAP: Final = ("", *(text or "none" for text in _subsets(OVERLAPS)))
"""What may move beside the math: "" as the plan of the scenario says, then all sets of ``OVERLAPS`` by their bits."""
OFFLOAD: Final = ("", *_subsets(KINDS)[1:])
"""What may lie off the devices: "" as the plan of the scenario says, then all sets of kinds by their bits."""


class Plans(NamedTuple):
    """Plans, shape [n] each: ways, pieces of a stage, sequences of a micro-batch; ``recompute`` as a place in
    ``scenario.RECOMPUTE``, ``sequence`` 0 or 1, stage of ZeRO, code of the schedule; places in ``OVERLAP`` and
    ``OFFLOAD``."""

    tp: Ints
    pp: Ints
    dp: Ints
    cp: Ints
    ep: Ints
    vpp: Ints
    micro_batch: Ints
    recompute: Ints
    sequence: Ints
    zero: Ints
    schedule: Ints
    overlap: Ints
    offload: Ints

    def take(self, rows: Any) -> Plans:
        """The plans with these indices, or where a mask is true."""
        return Plans(*(column[rows] for column in self))


class Bounds(NamedTuple):
    """What a search tries: the most ways of each kind, and the choices that have names; of what may move beside the
    math all sets of ``overlaps``, of stages of ZeRO below 3 of those of them that are in ``below``, that mean something
    to a plan (none: as the plan of the scenario says)."""

    tp: int = 64
    pp: int = 128
    cp: int = 16
    ep: int = 64
    vpp: int = 16
    micro_batch: int = 64
    recompute: tuple[str, ...] = RECOMPUTE
    zero: tuple[int, ...] = (0, 1, 2, 3)
    schedules: tuple[str, ...] = ()
    overlaps: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()
    offloads: tuple[str, ...] = ("",)


def plan_space(work: TrainStep, count: int, bounds: Bounds, pads_heads: bool = False) -> Plans:
    """Every plan of ``work`` on ``count`` devices inside ``bounds``, in the order of its columns.

    Tensor parallel ways cut the heads, pipeline stages have a layer each at least and pieces of equal length,
    micro-batches divide what a replica has; schedules hold what they need of ranks, micro-batches and pieces.

    Raises:
        InputError: no plan at all, or more than ``MOST_PLANS``.
    """
    arch = work.model
    codes = _schedules(bounds)
    parts: list[Ints] = []
    total = 0
    for tp, pp, dp, cp in _layouts(arch, work, count, bounds, pads_heads):
        replica = work.global_batch // dp
        micro = np.array([m for m in range(1, min(replica, bounds.micro_batch) + 1) if replica % m == 0], np.int64)
        pieces = np.array(_pieces(arch, pp, bounds.vpp), np.int64)
        block = _product(
            np.array(_experts(arch, tp * dp * cp, bounds.ep), np.int64), pieces, micro,
            np.array([RECOMPUTE.index(name) for name in bounds.recompute], np.int64),
            np.array([0, 1] if tp > 1 and work.seq_len // cp % tp == 0 else [0], np.int64),
            np.array(_stages(bounds, pp, dp * cp), np.int64), codes,
        )  # fmt: skip
        block = block[:, _fits(block, pp, replica)]
        block = _with_options(block, bounds, tp, pp, dp * cp)
        ways = np.repeat(np.array([[tp], [pp], [dp], [cp]], np.int64), block.shape[1], axis=1)
        parts.append(np.concatenate([ways, block]))
        total += block.shape[1]
        if total > MOST_PLANS:
            raise InputError(f"more than {MOST_PLANS:,} plans; bound the search")
    if not total:
        raise InputError(
            f"no plan: {count} devices, global batch {work.global_batch} and {arch.layers} layers of {arch.id} have no "
            "tp x pp x dp x cp in common"
        )
    return Plans(*np.concatenate(parts, axis=1, dtype=np.int32))


def _layouts(
    arch: Architecture, work: TrainStep, count: int, bounds: Bounds, pads_heads: bool
) -> Iterator[tuple[int, int, int, int]]:  # fmt: skip
    for tp in _divisors(count, bounds.tp):
        if not _cuts(arch, tp, pads_heads):
            continue
        for pp in _divisors(count // tp, min(bounds.pp, arch.layers)):
            for cp in _divisors(count // (tp * pp), bounds.cp):
                dp = count // (tp * pp * cp)
                if work.global_batch % dp == 0 and work.seq_len % (2 * cp if cp > 1 else 1) == 0:
                    yield tp, pp, dp, cp


def _cuts(arch: Architecture, tp: int, pads_heads: bool) -> bool:
    try:
        check_sharding(arch, Sharding(tp), pads_heads)
    except InputError:
        return False
    return True


def _experts(arch: Architecture, ranks: int, most: int) -> list[int]:
    """Ways to cut the experts over the ranks of a stage."""
    counts = [group.mlp.count for group in arch.groups if isinstance(group.mlp, Experts)]
    if not counts:
        return [1]
    return [ep for ep in _divisors(ranks, most) if all(each % ep == 0 for each in counts)]


def _pieces(arch: Architecture, pp: int, most: int) -> list[int]:
    """Pieces of equal length that a stage may hold."""
    if pp == 1 or arch.layers % pp:
        return [1]
    return _divisors(arch.layers // pp, most)


def _schedules(bounds: Bounds) -> Ints:
    known = schedules()
    names = bounds.schedules or tuple(name for name, each in known.items() if len(each.paths))
    return np.array([code_of(name) for name in names], np.int64)


def _fits(block: Ints, pp: int, replica: int) -> npt.NDArray[np.bool_]:
    """Which rows (ep, vpp, micro-batch, recompute, sequence, zero, schedule) a schedule can run; without stages the
    first schedule stands for all."""
    pieces, micro, schedule = block[1], block[2], block[6]
    found = np.zeros(block.shape[1], np.bool_)
    if pp == 1:
        found[:] = (schedule == schedule.min()) & (pieces == 1) if len(schedule) else False
        return found
    for code, each in enumerate(schedules().values()):
        for v in np.unique(pieces):
            if each.chunks and v != 1:
                continue
            for m in np.unique(micro):
                if each.fits(pp, replica // int(m), int(each.chunks or v)):
                    found |= (schedule == code) & (pieces == v) & (micro == m)
    return found


def _stages(bounds: Bounds, pp: int, replicas: int) -> tuple[int, ...]:
    """Stages of ZeRO that differ: one where there is nothing to cut; pipeline stages keep whole gradients, so that
    there 2 is 1."""
    if replicas == 1:
        return bounds.zero[:1]
    return tuple(stage for stage in bounds.zero if stage != 2 or pp == 1 or 1 not in bounds.zero)


def _with_options(block: Ints, bounds: Bounds, tp: int, pp: int, replicas: int) -> Ints:
    """Each row with all that may move beside its math, and all that may lie off its devices.

    Without stages nothing is sent, without tensor parallelism there is nothing to exchange in a layer; replicas gather
    weights where ZeRO cuts something.
    """
    words = tuple(OVERLAPS)
    meant = {"tensor": tp > 1, "pipeline": pp > 1, "gradients": replicas > 1, "weights": replicas > 1}
    bits = [1 << words.index(word) for word in words if word in bounds.overlaps and meant[word]]
    codes = np.array(sorted({sum(chosen) for n in range(len(bits) + 1) for chosen in combinations(bits, n)}), np.int64)
    overlaps = codes + 1 if bounds.overlaps else np.zeros(1, np.int64)
    offloads = np.array([OFFLOAD.index(name) for name in bounds.offloads], np.int64)
    options = _product(overlaps, offloads)
    whole = np.concatenate([
        np.repeat(block, options.shape[1], axis=1), np.tile(options, (1, block.shape[1])),
    ])  # fmt: skip
    gathers = 1 << words.index("weights")
    unable = sum(1 << words.index(word) for word in bounds.overlaps - bounds.below)
    asked = np.where(whole[7] > 0, whole[7] - 1, 0)
    idle = ((whole[5] == 0) & (asked & gathers > 0)) | ((whole[5] < 3) & (asked & unable > 0))
    return whole[:, ~idle]


def _product(*columns: Ints) -> Ints:
    """All combinations, [columns, n], the last column fastest."""
    return np.stack([grid.ravel() for grid in np.meshgrid(*columns, indexing="ij")])


def _divisors(number: int, most: int) -> list[int]:
    return [d for d in range(1, min(number, most) + 1) if number % d == 0]


def plan_of(base: Plan, plans: Plans, row: int) -> Plan:
    """One plan as scenarios have it; ``base`` says what no column does."""
    each = {name: int(column[row]) for name, column in plans._asdict().items()}
    return msgspec.structs.replace(
        base, tp=each["tp"], pp=each["pp"], dp=each["dp"], cp=each["cp"], ep=each["ep"], vpp=each["vpp"],
        micro_batch=each["micro_batch"], recompute=RECOMPUTE[each["recompute"]], sequence=bool(each["sequence"]),
        zero=each["zero"], schedule=names()[each["schedule"]], overlap=OVERLAP[each["overlap"]] or base.overlap,
        offload=OFFLOAD[each["offload"]] or base.offload,
    )  # fmt: skip
