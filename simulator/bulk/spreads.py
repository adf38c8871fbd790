"""How sure the times of many batches are: ``uncertainty.intervals`` on whole arrays.

What operators of a family share is summed by time, what is each one's own by squares: an operator repeats its error in
every layer and in all steps that differ by their context alone (``steps.pricing.errors_by_family``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.assemble import collective_error_of
from simulator.bulk.features import Floats
from simulator.prepared import Prepared
from simulator.uncertainty.intervals import FAMILY_CORRELATION, OTHER_BIAS, WHOLE_RUN, Z80
from workloads.operators import FAMILIES

Ints = npt.NDArray[np.int64]

_COLLECTIVE: Final = FAMILIES.index("collective")
_COUNT: Final = len(FAMILIES)


@dataclass(frozen=True)
class StepSums:
    """Seconds of steps by operator family, and what is known of their errors.

    Args:
        seconds: [families, s], repeats included.
        shared: the same times the standard deviations that operators share, [families, s].
        squares: sums of squares of what is each one's own, of operators that the context leaves alone, [families, s].
        alone: seconds times the standard deviation of its own of each operator that the context changes, [c, s].
        families: family of each of these, [c, s].
    """

    seconds: Floats
    shared: Floats
    squares: Floats
    alone: Floats
    families: Ints


class Sums(NamedTuple):
    """One phase of each batch: by family seconds, shared errors and squared own errors, [families, n] each."""

    seconds: Floats
    shared: Floats
    squares: Floats


def prefill_sums(sums: StepSums, repeats: Floats, owner: Ints, group: Ints, count: int) -> Sums:
    """The prefill of ``count`` batches from their steps.

    Args:
        repeats, owner: of each step, and the batch that it belongs to, [s].
        group: which steps of a batch differ by their context alone, numbered over all, ascending, [s].
    """

    def by_owner(values: Floats, places: Ints) -> Floats:
        return np.stack([np.bincount(places, value, count) for value in values])

    groups = int(group[-1]) + 1 if len(group) else 0
    first = np.searchsorted(group, np.arange(groups))
    times = np.bincount(group, repeats, groups)
    squares = sums.squares[:, first] * times**2
    for alone, families in zip(sums.alone, sums.families, strict=True):
        squares[families[first], np.arange(groups)] += np.bincount(group, repeats * alone, groups) ** 2
    return Sums(
        by_owner(sums.seconds * repeats, owner), by_owner(sums.shared * repeats, owner),
        by_owner(squares, owner[first]),
    )  # fmt: skip


def decode_sums(summed: Floats, squares: Floats, families: Ints, steps: Floats) -> Sums:
    """The decode of batches.

    Args:
        summed: seconds and shared errors by family and the errors of operators that the context changes, over all steps
            of each batch, [2 families + c, n].
        squares: of one step without these, [families, n].
        families: family of each of these operators, [c].
        steps: decode steps, [n].
    """
    seconds, shared, alone = summed[:_COUNT], summed[_COUNT : 2 * _COUNT], summed[2 * _COUNT :]
    whole = squares * steps**2
    for own, family in zip(alone, families.tolist(), strict=True):
        whole[family] += own**2
    return Sums(seconds, shared, whole)


class Phase(NamedTuple):
    """A phase of each batch: its sums, its seconds, and those of them that the host takes, [n]."""

    sums: Sums
    total_s: Floats
    host_s: Floats


def run_sd(prepared: Prepared, phases: list[Phase]) -> Floats:
    """Standard deviation of the log of the seconds of ``phases`` together, as ``intervals.run_sd`` has it, [n].

    Families are scaled to what the phase takes without its host, as pipelines overlap them.
    """
    scaled = []
    for sums, total_s, host_s in phases:
        busy = sums.seconds.sum(axis=0)
        scaled.append(sums.seconds * np.divide(total_s - host_s, busy, out=np.zeros_like(busy), where=busy > 0.0))
    seconds = np.sum(scaled, axis=0)
    alone = np.sum([phase.sums.seconds for phase in phases], axis=0)
    some = np.maximum(alone, 1e-300)
    shared = np.sum([phase.sums.shared for phase in phases], axis=0) / some
    own = np.sqrt(np.sum([phase.sums.squares for phase in phases], axis=0)) / some
    collective = collective_error_of(prepared)
    shared[_COLLECTIVE], own[_COLLECTIVE] = collective.shared, collective.own
    host_s = np.sum([phase.host_s for phase in phases], axis=0)[None, :]
    seconds = np.concatenate([seconds, host_s])
    other = np.full_like(host_s, OTHER_BIAS)
    weights = seconds / seconds.sum(axis=0)
    loads = weights * np.concatenate([shared, other])
    variance = (loads**2 + (weights * np.concatenate([own, other])) ** 2).sum(axis=0)
    variance += FAMILY_CORRELATION * (loads.sum(axis=0) ** 2 - (loads**2).sum(axis=0))
    return np.asarray(np.hypot(np.sqrt(variance), WHOLE_RUN[prepared.pool.device.device_class]))


def interval80(value: Floats, sd: Floats, share: bool) -> tuple[Floats, Floats]:
    """Ends of the 80% interval of a metric [n]; a ``share`` of a peak does not exceed 1."""
    low, high = value * np.exp(-Z80 * sd), value * np.exp(Z80 * sd)
    if not share:
        return low, high
    most = np.maximum(1.0, value)
    return np.minimum(low, most), np.minimum(high, most)
