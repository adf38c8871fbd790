"""The choice between predicted alternatives, the chance that it is wrong, and the measurement that lessens it most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.decisions.chances import Outlook, chances, outlook
from simulator.decisions.measurements import Measurement, all_together, possible_measurements, settled_by
from simulator.decisions.terms import Loads, Source, Term, covariance_of, joined_terms

Floats = npt.NDArray[np.float64]


class Alternative(NamedTuple):
    """What may be chosen: its predicted cost (a log loss, less is better) and the terms of the error of that."""

    name: str
    loss: float
    loads: Loads


class Option(NamedTuple):
    """A measurement that may be made next, and what may come of the choice after it."""

    measurement: Measurement
    after: Outlook


class Doubt(NamedTuple):
    """A source's share of the variance of the log ratio between the choice and its rival."""

    source: Source
    share: float


@dataclass(frozen=True)
class Advice:
    """A choice and what to measure before it is made.

    Args:
        chances: of each alternative to be the best.
        chosen, rival: places of the two likeliest alternatives; without a rival there is nothing to choose.
        now: what may come of choosing at once.
        options: measurements that lessen the chance of a wrong choice, the best one first.
        after_all: what may come of the choice after all measurements that could be made.
        doubts: what the log ratio of the two likeliest alternatives owes to each source after the best measurement, the
            largest share first; ``ratio_sd`` is its standard deviation now and then.
    """

    chances: tuple[float, ...]
    chosen: int
    rival: int | None
    now: Outlook
    options: tuple[Option, ...]
    after_all: Outlook
    doubts: tuple[Doubt, ...]
    ratio_sd: tuple[float, float]


_NO_GAIN = 1e-6
"""A measurement that lessens the chance of a wrong choice by less tells nothing."""


def advise(alternatives: Sequence[Alternative]) -> Advice:
    """Weigh ``alternatives`` against each other.

    Raises:
        ValueError: none is given.
    """
    if not alternatives:
        raise ValueError("nothing to choose from")
    terms, loads = joined_terms([each.loads for each in alternatives])
    covariance = covariance_of(terms)
    mean, spread = np.array([each.loss for each in alternatives]), loads @ covariance @ loads.T
    likely = chances(mean, spread)
    order = sorted(range(len(mean)), key=lambda i: (-likely[i], mean[i], i))
    now = outlook(mean, spread)
    found = [
        Option(each, outlook(mean, spread, settled_by(loads, covariance, each)))
        for each in possible_measurements(terms)
    ]
    useful = [option for option in found if option.after.flip < now.flip - _NO_GAIN]
    options = tuple(sorted(useful, key=lambda option: (option.after.flip, option.after.regret, option.measurement[:5])))
    after_all = now
    if found:
        every = all_together([option.measurement for option in found])
        after_all = outlook(mean, spread, settled_by(loads, covariance, every))
    doubts, before, then = _doubts(terms, loads, covariance, order, options)
    rival = order[1] if len(order) > 1 else None
    return Advice(
        tuple(likely.tolist()), order[0], rival, now, options, after_all, tuple(doubts), (before, then)
    )  # fmt: skip


def _doubts(
    terms: Sequence[Term], loads: Floats, covariance: Floats, order: Sequence[int], options: Sequence[Option]
) -> tuple[list[Doubt], float, float]:
    """What the ratio of the two likeliest alternatives owes to each source, and its standard deviation now and then.

    The share of a term is l_j (C l)_j / l C l, l being the difference of the loads: shares sum to 1.
    """
    if len(order) < 2:
        return [], 0.0, 0.0
    gap = loads[order[0]] - loads[order[1]]
    before = float(gap @ covariance @ gap)
    left = covariance
    if options:
        left = covariance - settled_by(np.eye(len(terms)), covariance, options[0].measurement)
    parts = gap * (left @ gap)
    variance = float(parts.sum())
    shares: dict[Source, float] = {}
    for term, part in zip(terms, parts.tolist(), strict=True):
        shares[term.source] = shares.get(term.source, 0.0) + (part / variance if variance > 0.0 else 0.0)
    doubts = sorted((Doubt(*item) for item in shares.items()), key=lambda doubt: (-doubt.share, doubt.source))
    return doubts, math.sqrt(max(before, 0.0)), math.sqrt(max(variance, 0.0))
