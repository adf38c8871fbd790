"""How many replicas for prompts and how many for answers serve a rate, and whether that pays.

For each pair of devices the search begins with as many pairs of one replica each as the rate asks for. The fewest for
prompts, and the fewest for answers, are found beside that many of the other; between them the front of numbers that
hold is walked, one more for prompts against fewer for answers, and left where it cannot become cheaper. Replicas are
taken to help: numbers above one that holds are not tried. The best pair is compared with the cheapest fleet whose
replicas do both (Zhong et al., DistServe, arXiv:2401.09670, asks for goodput per device; here it is dollars).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError, UnknownName
from silicost.serving.answer import Answer, Fleet, serve
from silicost.serving.capacity import (
    MOST_REPLICAS,
    Capacity,
    capacity_of,
    devices_of,
    figures_of,
    latencies_of,
    notes_of,
    replicas_for,
)
from silicost.serving.capacity_runs import (
    Subject,
    at_rate,
    cannot_last,
    judge,
    long_enough,
    saturated_of,
    with_replicas,
)
from silicost.serving.tables import FleetTable
from simulator.serving.capacity import fewest
from simulator.serving.outcome import Latency

MOST_PROBES: Final = 80
"""Pairs of numbers that are tried for one pair of devices at most."""
PREFILL: Final = "prefill"
DECODE: Final = "decode"


class Sized(NamedTuple):
    """A fleet that serves the rate: devices and replicas by pool, its run, and how many numbers were tried."""

    pools: Mapping[str, tuple[str, int]]
    devices: int
    answer: Answer
    latencies: Mapping[str, Latency]
    tried: int
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, float | None]:
        """What its run came to."""
        return figures_of(self.answer, self.latencies)


class Refused(NamedTuple):
    """Devices by pool that cannot serve the rate, and why."""

    pools: Mapping[str, str]
    why: str


class Split(NamedTuple):
    """What serves a rate: pairs of pools and fleets of one pool, each best first; whether the best pair pays, and in
    words why (not)."""

    rate_per_s: float
    split: tuple[Sized, ...]
    whole: tuple[Sized, ...]
    refused: tuple[Refused, ...]
    pays: bool
    said: str


def find_split(fleet: FleetTable, prefill: Sequence[str], decode: Sequence[str], rate_per_s: float) -> Split:
    """The numbers of replicas for prompts and for answers that serve a rate, beside fleets that do both.

    Args:
        fleet: traffic, objectives and a pool for prompts and one for answers that differ by their devices alone.
        prefill, decode: devices of the two.

    Raises:
        InputError: traffic or keys that cannot be.
    """
    found: list[Sized] = []
    whole: list[Sized] = []
    refused: list[Refused] = []
    for one in prefill:
        for other in decode:
            search = partial(split_of, fleet, one, other, rate_per_s)
            _take(search, {PREFILL: one, DECODE: other}, found, refused)
    for device in dict.fromkeys((*prefill, *decode)):
        _take(partial(whole_of, fleet, device, rate_per_s), {"": device}, whole, refused)
    key = _key((*found, *whole))
    found.sort(key=key)
    whole.sort(key=key)
    pays, said = _verdict(found, whole)
    return Split(rate_per_s, tuple(found), tuple(whole), tuple(refused), pays, said)


def split_of(fleet: FleetTable, prefill: str, decode: str, rate_per_s: float) -> Sized | str:
    """The cheapest numbers of replicas of two devices that serve a rate, or why there are none."""
    pools = tuple(
        msgspec.structs.replace(pool, device=device, replicas=1)
        for pool, device in zip(fleet.pool, (prefill, decode), strict=True)
    )
    single = capacity_of(msgspec.structs.replace(fleet, pool=pools), "flags", intervals=False)
    if single.why[0]:
        return single.why[1]
    sized = long_enough(single.subject.fleet, rate_per_s, single.subject.answer_s)
    start = max(1, math.ceil(rate_per_s / single.rate_per_s * (1.0 - 1e-9)))
    most = min(2 * start + 8, MOST_REPLICAS)
    overloads = _overloads(replace(single.subject, fleet=sized), rate_per_s, most)
    tried: list[tuple[int, int]] = []

    @cache
    def holds(prompts: int, answers: int) -> bool:
        tried.append((prompts, answers))
        there = with_replicas(sized, {PREFILL: prompts, DECODE: answers})
        return not (overloads(prompts, answers) or judge(there, rate_per_s, (1.0, 1.0)))

    both = fewest(lambda number: holds(number, number), start, most)
    if both is None:
        return f"not even {most} of each hold"
    numbers = _walked(holds, both, _weights(sized), lambda: len(tried) >= MOST_PROBES)
    there = with_replicas(sized, dict(zip((PREFILL, DECODE), numbers, strict=True)))
    notes = notes_of(sized, rate_per_s, single.subject.answer_s)
    if len(tried) >= MOST_PROBES:
        notes += ("not all numbers were tried; a cheaper pair may exist",)
    named = {PREFILL: (prefill, numbers[0]), DECODE: (decode, numbers[1])}
    return _sized(there, rate_per_s, named, len(tried), notes)


def _overloads(subject: Subject, rate_per_s: float, most: int) -> Callable[[int, int], bool]:
    """Whether numbers of replicas complete less than the rate although a run is too short to show it.

    Args:
        subject: one replica of each.
        most: replicas of a side that are tried: beside so many, one of the other side is saturated by itself.
    """
    if not cannot_last(subject, rate_per_s, 0.0):
        return lambda prompts, answers: False
    alone_per_s = [saturated_of(with_replicas(subject.fleet, {other: most})) for other in (DECODE, PREFILL)]

    def overloads(prompts: int, answers: int) -> bool:
        apart_per_s = min(prompts * alone_per_s[0], answers * alone_per_s[1])
        return rate_per_s > max(apart_per_s, min(prompts, answers) * subject.saturated_per_s)

    return overloads


def whole_of(fleet: FleetTable, device: str, rate_per_s: float) -> Sized | str:
    """The fewest replicas of a device that do both and serve a rate, or why there are none."""
    pool = msgspec.structs.replace(fleet.pool[0], name="", device=device, replicas=1)
    single: Capacity = capacity_of(
        msgspec.structs.replace(fleet, pool=(pool,), stage=(), link=()), "flags", intervals=False
    )
    if single.why[0]:
        return single.why[1]
    needed = replicas_for(single, rate_per_s)
    if needed is None:
        return f"no number of replicas up to {MOST_REPLICAS:,} serves {rate_per_s:g}/s"
    named = {"": (device, needed.replicas)}
    devices = devices_of(single.subject.fleet) * needed.replicas
    return Sized(named, devices, needed.answer, needed.latencies, 1, needed.notes)


def _take(
    search: Callable[[], Sized | str], pools: Mapping[str, str], found: list[Sized], refused: list[Refused]
) -> None:  # fmt: skip
    try:
        one = search()
    except InputError as error:
        if not error.code or isinstance(error, UnknownName):
            raise
        one = str(error)
    if isinstance(one, Sized):
        found.append(one)
    else:
        refused.append(Refused(pools, one))


def _walked(
    holds: Callable[[int, int], bool], both: int, weights: tuple[float, float], enough: Callable[[], bool]
) -> tuple[int, int]:  # fmt: skip
    """The cheapest pair of numbers up to ``both`` each that holds, on the walk that the module describes."""
    least_prompts = _least(lambda number: holds(number, both), both)
    least_answers = _least(partial(holds, both), both)
    best, answers = (both, least_answers), both
    cost = both * weights[0] + least_answers * weights[1]
    for prompts in range(least_prompts, both + 1):
        if enough() or prompts * weights[0] + least_answers * weights[1] > cost:
            break
        answers = _least(partial(holds, prompts), answers, least_answers)
        if prompts * weights[0] + answers * weights[1] < cost:
            best, cost = (prompts, answers), prompts * weights[0] + answers * weights[1]
        if answers == least_answers:
            break
    return best


def _least(holds: Callable[[int], bool], high: int, low: int = 1) -> int:
    """The smallest number from ``low`` to ``high``, which holds, whose greater ones hold as well, by bisection."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _weights(fleet: Fleet) -> tuple[float, float]:
    """What a replica of each pool costs: dollars a second, or devices where a price is not known."""
    prices = [pool.prepared.pool.usd_per_device_s for pool in fleet.pools]
    each = [
        pool.devices * (price.value if price else 1.0) if all(prices) else float(pool.devices)
        for pool, price in zip(fleet.pools, prices, strict=True)
    ]
    return each[0], each[1]


def _sized(
    fleet: Fleet, rate_per_s: float, named: Mapping[str, tuple[str, int]], tried: int, notes: tuple[str, ...]
) -> Sized:  # fmt: skip
    answer = serve(at_rate(fleet, rate_per_s), intervals=False)
    return Sized(named, devices_of(fleet), answer, latencies_of(answer.requests), tried, notes)


def _key(fleets: Sequence[Sized]) -> Callable[[Sized], Any]:
    """What fleets are ordered by: dollars an hour; devices where a price of one is not known."""
    priced = all(each.figures["usd_per_hour"] is not None for each in fleets)
    return lambda each: each.figures["usd_per_hour"] if priced else each.devices


def _verdict(split: Sequence[Sized], whole: Sequence[Sized]) -> tuple[bool, str]:
    """Whether the best pair is cheaper than the best fleet that does both, and in words by how much."""
    if not split and not whole:
        return False, "nothing serves the rate within the objectives"
    if not split:
        return False, f"disaggregation does not pay: no pair holds the objectives, {words(whole[0])} does"
    if not whole:
        return True, f"disaggregation pays: no fleet that does both holds the objectives, {words(split[0])} does"
    key = _key((*split, *whole))
    ours, theirs = float(key(split[0])), float(key(whole[0]))
    what = "USD/h" if split[0].figures["usd_per_hour"] == ours else "devices"
    pays = ours < theirs
    apart = f"{words(split[0])} takes {ours:.4g} {what}, {words(whole[0])} {theirs:.4g}"
    energy = split[0].figures["j_per_output_token"], whole[0].figures["j_per_output_token"]
    if energy[0] and energy[1]:
        apart += f"; joules per token {energy[0]:.3g} and {energy[1]:.3g}"
    return pays, f"disaggregation {'pays' if pays else 'does not pay'}: {apart}"


def words(fleet: Sized) -> str:
    """A fleet in words: "2 x h100 for prompts and 3 x a100 for answers"."""
    ends = {PREFILL: " for prompts", DECODE: " for answers", "": ""}
    return " and ".join(f"{count} x {device}{ends[name]}" for name, (device, count) in fleet.pools.items())
