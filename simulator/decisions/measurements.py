"""Which measurements could be made next, and what each would leave of the errors.

A measurement is a calibration of the operators of one family on one device under one runtime in one dtype. It is taken
to leave what the calibrations in the catalogue leave: the median of their errors on rows that their fits had not seen
(assumed: the next one is like those before it). Of correlated errors it settles a part as well (conditioning of normal
variables).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.calibrations import Calibration, calibration_names, calibrations_of
from simulator.decisions.terms import Term
from simulator.uncertainty.intervals import COLLECTIVE_IN_NODE, Error
from workloads.operators import FAMILY

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FAMILY_OF_KIND = {kind.name.lower(): family for kind, family in FAMILY.items()}


class Measurement(NamedTuple):
    """Operators of one ``family`` measured on a device under a runtime.

    Args:
        terms: places of the terms of which it tells something.
        noise: variance with which it shows each of these, shape [terms].
        now, after: standard deviations of the log error, the largest of its sources; after it as assumed.
    """

    device: str
    device_class: str
    runtime: str
    family: str
    dtype: str
    terms: Ints
    noise: Floats
    now: Error
    after: Error


@cache
def left_by_calibrations(family: str) -> Error | None:
    """Medians of what calibrations of devices leave of the errors of a family, shared and own; None without any.

    Of collectives: what fits to a library leave inside a node.
    """
    if family == "collective":
        return Error(COLLECTIVE_IN_NODE, COLLECTIVE_IN_NODE)
    found = calibrations_of_family(family)
    if not found:
        return None
    return Error(*(median(getattr(entry.residuals, name) for entry in found) for name in ("shared", "own")))


@cache
def calibrations_of_family(family: str) -> tuple[Calibration, ...]:
    """The entries of the catalogue for operators of a family that were measured on one device under a runtime."""
    entries = (entry for name in calibration_names() for entry in calibrations_of(name) if entry.runtimes)
    return tuple(entry for entry in entries if any(_FAMILY_OF_KIND.get(kind) == family for kind in entry.operators))


def possible_measurements(terms: Sequence[Term]) -> list[Measurement]:
    """All measurements that would tell something of one of ``terms``, in the order of the terms."""
    groups: dict[tuple[str, str, str, str, str], list[int]] = {}
    for place, term in enumerate(terms):
        source = term.source
        groups.setdefault((*source[:4], source.dtype), []).append(place)
    found = []
    for key, places in groups.items():
        after = left_by_calibrations(key[3])
        told = [place for place in places if after is not None and _left(terms[place], after) < terms[place].sd]
        if after is not None and told:
            now = Error(*(max((t.sd for t in map(terms.__getitem__, places) if _is_own(t) is own), default=0.0)
                          for own in (False, True)))  # fmt: skip
            left = Error(min(now.shared, after.shared), min(now.own, after.own))
            found.append(Measurement(*key, np.array(told), _noise([terms[p] for p in told], after), now, left))
    return found


def settled_by(loads: Floats, covariance: Floats, measurement: Measurement) -> Floats:
    """The part of the covariance of some losses that a measurement settles, shape [A, A].

    Args:
        loads: of the losses on the terms, shape [A, K].
        covariance: of the terms, shape [K, K].
    """
    gain = loads @ covariance[:, measurement.terms]
    seen = covariance[np.ix_(measurement.terms, measurement.terms)] + np.diag(measurement.noise)
    return np.asarray(gain @ np.linalg.solve(seen, gain.T))


def all_together(measurements: Sequence[Measurement]) -> Measurement:
    """All of some measurements as one."""
    first = measurements[0]
    terms, noise = (np.concatenate(rows) for rows in zip(*((m.terms, m.noise) for m in measurements), strict=True))
    return first._replace(terms=terms, noise=noise)


def _is_own(term: Term) -> bool:
    return term.operator is not None


def _left(term: Term, after: Error) -> float:
    """What is left of a term; collectives have one term for both."""
    if term.source.family == "collective":
        return float(np.hypot(*after))
    return after.own if _is_own(term) else after.shared


def _noise(terms: Sequence[Term], after: Error) -> Floats:
    """Variance n of what shows a term of variance v, so that 1 / (1 / v + 1 / n) is left."""
    before = np.array([term.sd for term in terms]) ** 2
    left = np.array([_left(term, after) for term in terms]) ** 2
    return np.asarray(before * left / (before - left))
