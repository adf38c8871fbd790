"""From a question to a ranking: all devices looked at, the first ones simulated, their chances compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from silicost.recommend import batches, traffic, training
from silicost.recommend.candidates import (
    Candidate,
    Chances,
    Loser,
    against_first,
    chances_of,
    headroom,
    loss,
    refine,
)
from silicost.recommend.question import Question, devices_of
from silicost.studies.cells import scenario_of
from simulator.simulate import simulate

Told = Callable[[int, int], None]


class Recommendation(NamedTuple):
    """What was found: candidates, the best first; losers; designs that were priced; chances of the first ones."""

    asked: Question
    ranked: list[Candidate]
    losers: list[Loser]
    questions: int
    chances: Chances | None

    @property
    def chance(self) -> float | None:
        """The chance that the first beats the second; None without two that are compared."""
        return self.chances.first_beats[1] if self.chances is not None else None


def recommend(asked: Question, told: Told = lambda done, of: None) -> Recommendation:
    """Rank the hardware for a question.

    Args:
        told: is told how many of how many devices are looked at.

    Raises:
        InputError: no device of the catalogue, a model that no law prices.
    """
    found, losers, priced = {"inference": _inference, "traffic": _traffic, "training": _training}[asked.kind](
        asked, told
    )  # fmt: skip
    ranked = sorted(found, key=lambda each: (loss(asked, each), each.device.id))
    compared = chances_of(asked, ranked[: asked.top])
    return Recommendation(asked, ranked, sorted(losers, key=_order), priced, compared)


def _order(loser: Loser) -> tuple[float, str]:
    return loser.off, loser.device


_Found = tuple[list[Candidate], list[Loser], int]


def _inference(asked: Question, told: Told) -> _Found:
    found, losers, priced = _each(asked, told, batches.best_of)
    ranked = sorted(found, key=lambda each: (loss(asked, each), each.device.id))
    first = [refine(each, asked.metric) for each in ranked[: asked.top]]
    return [*first, *ranked[asked.top :]], losers, priced


def _traffic(asked: Question, told: Told) -> _Found:
    found, losers, priced = _each(asked, told, traffic.screened)
    served, others = traffic.finalists(asked, found)
    named = [replace(each, result=simulate(scenario_of(each.question))) for each in served]
    return named, [*losers, *others], priced


def _training(asked: Question, told: Told) -> _Found:
    devices = devices_of(asked)
    found, losers, priced = training.best_plans(asked, devices)
    told(len(devices), len(devices))
    ranked = sorted(found, key=lambda each: (loss(asked, each), each.device.id))
    return [training.refine_plan(asked, each) for each in ranked], losers, priced


def _each(asked: Question, told: Told, look: Callable[[Question, Any], tuple[Candidate | Loser, int]]) -> _Found:
    found: list[Candidate] = []
    losers: list[Loser] = []
    priced = 0
    devices = devices_of(asked)
    for number, spec in enumerate(devices, start=1):
        answer, many = look(asked, spec)
        priced += many
        losers.append(answer) if isinstance(answer, Loser) else found.append(answer)
        told(number, len(devices))
    return found, losers, priced


def json_of(found: Recommendation) -> dict[str, Any]:
    """The keys that programs read [SI units, USD]."""
    asked = found.asked
    said = {
        name: value for name, value in msgspec.structs.asdict(asked).items() if value not in ("", 0, 0.0, None)
    }  # fmt: skip
    return {
        "schema": 1, "asked": {"kind": asked.kind, "metric": asked.metric, **said},
        "ranked": [_row(found, place) for place in range(len(found.ranked))],
        "losers": [{"device": each.device, "device_class": each.device_class, "reason": each.code, "why": each.why}
                   for each in found.losers],
        "questions": found.questions, "chance": found.chance,
        "chance_rests_on": found.chances.how if found.chances is not None else None,
    }  # fmt: skip


def _row(found: Recommendation, place: int) -> dict[str, Any]:
    asked, each = found.asked, found.ranked[place]
    chances = found.chances
    compared = chances is not None and place < len(chances.best)
    value = each.metrics[asked.metric]
    return {
        "rank": place + 1, "device": each.device.id, "device_class": each.device.device_class, "count": each.count,
        "plan": each.plan, "metric": asked.metric, "value": value,
        "interval_80": None if each.interval is None else {"p10": each.interval[0], "p90": each.interval[1]},
        "chance_best": chances.best[place] if chances is not None and compared else None,
        "first_beats_it": chances.first_beats[place] if chances is not None and compared and place else None,
        "usd_per_hour": each.usd_per_hour, "price": each.price_origin or None, "rated_w": each.rated_w,
        "metrics": dict(each.metrics),
        "memory": {
            "needed_bytes": each.memory_bytes, "usable_bytes": each.usable_bytes,
            "headroom": 1.0 - each.memory_bytes / each.usable_bytes,
        },
        "slo_headroom": headroom(asked.limits, each), "bound": each.bound, **each.more,
        "why_not_first": against_first(asked, found.ranked[0], each) or None,
        "configuration": each.result.configuration if each.result is not None else None,
    }  # fmt: skip
