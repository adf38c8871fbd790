"""Why one scenario differs from another: what each cause adds to the difference of a metric, down to the last digit.

Two accounts. By operators: the seconds that a time consists of, by operator family and by what bounds them, those of
one subtracted from those of the other. By facts: everything in which the two differ (``decisions.differences``), one
fact after the other in a stated order, from the first to the second. A fact adds what the metric changes when it alone
is changed in the first scenario (``alone``); what is left of the whole difference is their interaction. And it adds
what the metric changes when it is changed after those before it (``in_order``), of which nothing is left. A fact that
cannot change without the next (a runtime that exists on the other device only) changes together with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from hardware_specs.errors import InputError
from simulator.decisions.differences import Change, changes_between
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.simulate import simulate

TIMES: Final[dict[str, tuple[str, ...]]] = {
    "ttft_s": ("encode", "prefill"), "tpot_s": ("decode",), "e2e_s": (), "step_time_s": (), "makespan_s": (),
}  # fmt: skip
"""Metrics that are sums of seconds, and the phases whose operators they consist of; (): the breakdown of the result."""
_BOUNDS: Final = {"collective": "communication", "transfer": "communication", "host": "overhead", "bubble": "waiting"}
"""What bounds the seconds of families that have no operators of their own."""
_REST: Final = ("between operators", "waiting")
_ROUNDING: Final = 1e-12


class Piece(NamedTuple):
    """Seconds of an operator family that are bound by the same thing, in one scenario and in the other [s]."""

    family: str
    bound: str
    before: float
    after: float

    @property
    def delta(self) -> float:
        """What it adds to the difference."""
        return self.after - self.before


class Cause(NamedTuple):
    """A fact (or several that can only change together), and what it adds to the difference of the metric.

    Args:
        facts: in words.
        before, after: as they are in the first and in the second scenario, in words.
        alone: changed alone in the first scenario; None where that cannot be, or the metric then has no value.
        in_order: changed after all causes before it.
    """

    facts: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    alone: float | None
    in_order: float


class Delta(NamedTuple):
    """The difference of a metric between two scenarios.

    Args:
        pieces: of a time by operators, the largest difference first; empty for other metrics.
        causes: by facts in their order, those without any effect left out; ``idle`` counts these.
        interaction: what all ``alone`` leave of the difference; causes that cannot change alone count with 0.
    """

    metric: str
    before: float
    after: float
    pieces: tuple[Piece, ...]
    causes: tuple[Cause, ...]
    interaction: float
    idle: int

    @property
    def total(self) -> float:
        """The whole difference."""
        return self.after - self.before


def delta_of(first: Scenario, second: Scenario, metric: str) -> Delta:
    """Why ``metric`` of ``second`` is not that of ``first``.

    Raises:
        InputError: a scenario that cannot be simulated, or the metric has no value in one of them.
    """
    results = simulate(first), simulate(second)
    before, after = (_value(result, metric) for result in results)
    pieces = pieces_of(*results, metric) if metric in TIMES else ()
    causes = _causes(first, second, metric, before, after)
    felt = tuple(cause for cause in causes if cause.alone or cause.in_order)
    interaction = math.fsum([after - before, *(-(cause.alone or 0.0) for cause in felt)])
    return Delta(metric, before, after, pieces, felt, interaction, len(causes) - len(felt))


def _value(result: Result, metric: str) -> float:
    value = result.metrics.get(metric)
    if value is None:
        if metric not in result.metrics:
            raise InputError(f"{metric} is no metric of {result.title} (it has {', '.join(result.metrics)})")
        raise InputError(f"{metric} has no value for {result.title}: {result.reasons.get(metric, 'no reason given')}")
    return value


def pieces_of(first: Result, second: Result, metric: str) -> tuple[Piece, ...]:
    """A time of two results by operator family and bound; differences sum to that of the times, the largest first.

    Nothing where one of them has no such account.
    """
    one, other = seconds_by_cause(first, metric), seconds_by_cause(second, metric)
    if not one or not other:
        return ()
    keys = dict.fromkeys((*one, *other))
    found = [Piece(*key, one.get(key, 0.0), other.get(key, 0.0)) for key in keys]
    return tuple(sorted(found, key=lambda piece: (-abs(piece.delta), piece.family, piece.bound)))


def seconds_by_cause(result: Result, metric: str) -> dict[tuple[str, str], float]:
    """The seconds of a time by operator family and bound; they sum to it.

    Families of a whole run are those of its breakdown, parted by the bounds of their operators; there are none where
    the metric is a part of the run (inference after training). Of a phase on one pool the operators fill what the host
    leaves, as in that breakdown; of several pools, what operators leave of the phase, or hide behind each other, is a
    piece of its own.
    """
    whole = _value(result, metric)
    if not TIMES[metric] and not math.isclose(math.fsum(result.breakdown.values()), whole, rel_tol=1e-6):
        return {}
    found = _of_phase(result, metric, whole) if TIMES[metric] else _of_breakdown(result)
    rest = math.fsum([whole, *(-value for value in found.values())])
    if abs(rest) > _ROUNDING * whole:
        found[_REST] = rest
    return found


def _of_breakdown(result: Result) -> dict[tuple[str, str], float]:
    """The breakdown of a result, each family parted by what bounds its operators."""
    bounds: dict[str, dict[str, float]] = {}
    for operator in (o for phase in result.phases for o in phase.operators):
        own = bounds.setdefault(operator.family, {})
        own[operator.bound] = own.get(operator.bound, 0.0) + operator.time_s
    found: dict[tuple[str, str], float] = {}
    for family, seconds in result.breakdown.items():
        own = bounds.get(family) or {_BOUNDS.get(family, "overhead"): 1.0}
        total = math.fsum(own.values())
        found |= {(family, bound): seconds * share / total for bound, share in own.items()}
    return found


def _of_phase(result: Result, metric: str, whole: float) -> dict[tuple[str, str], float]:
    """The operators of the phases of a metric, scaled to it."""
    first, last = result.metrics["ttft_s"] or 0.0, result.metrics["e2e_s"] or 0.0
    span = first if metric == "ttft_s" else last - first
    operators = [o for phase in result.phases if phase.name in TIMES[metric] for o in phase.operators]
    host = math.fsum(o.time_s for o in operators if o.family == "host")
    rest = math.fsum(o.time_s for o in operators if o.family != "host")
    scale = (span - host) / rest if len(result.pools) == 1 and rest > 0.0 else 1.0
    found: dict[tuple[str, str], float] = {}
    for o in operators:
        key, share = (o.family, o.bound), 1.0 if o.family == "host" else scale
        found[key] = found.get(key, 0.0) + o.time_s * share * whole / span
    return found


def _causes(first: Scenario, second: Scenario, metric: str, before: float, after: float) -> list[Cause]:
    """All differences in their order, those that cannot be changed without the next together with it."""
    found: list[Cause] = []
    waiting: list[Change] = []
    now, reached = first, before
    changes = changes_between(first, second)
    for place, change in enumerate(changes):
        waiting.append(change)
        now = change.apply(now)
        value = after if place == len(changes) - 1 else _asked(now, metric)
        if value is None:
            continue
        alone = value if not found else _asked(_all_applied(first, waiting), metric)
        found.append(
            Cause(
                tuple(each.what for each in waiting), tuple(each.before for each in waiting),
                tuple(each.after for each in waiting), None if alone is None else alone - before, value - reached,
            )
        )  # fmt: skip
        reached, waiting = value, []
    return found


def _all_applied(scenario: Scenario, changes: Sequence[Change]) -> Scenario:
    for change in changes:
        scenario = change.apply(scenario)
    return scenario


def _asked(scenario: Scenario, metric: str) -> float | None:
    """The metric; None where the scenario cannot be simulated or has no value of it."""
    try:
        return simulate(scenario).metrics.get(metric)
    except InputError:
        return None
