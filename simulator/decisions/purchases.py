"""Which knob to buy: what changes of a scenario, each at a cost, gain of a metric, alone and together under a budget.

The gain of a metric is by how many times it becomes better, as a logarithm: 0.1 is about 10%, and gains of changes that
do not interact add up. Sets are weighed exactly, one by one, while there are at most ``MOST_SETS`` of them under the
budget; beyond that one change is added at a time, that with the most gain per dollar (Dantzig's greedy rule for the
knapsack problem), which may miss changes that pay only together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from hardware_specs.errors import InputError
from simulator.decisions.knobs import Setting, result_at
from simulator.scenario import Scenario

MOST_SETS: Final = 2048
"""Sets that are weighed one by one."""


class Option(NamedTuple):
    """A change that can be bought once: knobs at values, for ``cost_usd`` in all [USD]."""

    name: str
    settings: tuple[Setting, ...]
    cost_usd: float

    @property
    def paths(self) -> frozenset[str]:
        """The knobs that it turns: of options that share one, one alone can be bought."""
        return frozenset(knob.path for knob, _ in self.settings)


class Purchase(NamedTuple):
    """Some options bought together.

    Args:
        value: of the metric; None where it has none, the design does not fit or cannot be asked: ``reason`` says why.
        gain: ln of how many times better the metric is than without; None where either has no value.
    """

    options: tuple[str, ...]
    cost_usd: float
    value: float | None
    gain: float | None
    reason: str = ""

    @property
    def gain_per_usd(self) -> float | None:
        """Gain by dollar; None without a gain, or for what is free."""
        return self.gain / self.cost_usd if self.gain is not None and self.cost_usd > 0.0 else None


class Purchases(NamedTuple):
    """What can be bought.

    Args:
        base: without any option.
        singles: each option alone, the most gain per dollar first.
        best: the set under the budget with the best metric; of equal ones the cheapest.
        frontier: sets that no set of the same or a lower cost is better than, the cheapest first.
        exact: all sets under the budget were weighed; ``sets`` of them.
    """

    base: Purchase
    singles: tuple[Purchase, ...]
    best: Purchase
    frontier: tuple[Purchase, ...]
    exact: bool
    sets: int


def weigh(
    scenario: Scenario, metric: str, better: str, options: Sequence[Option], budget_usd: float = math.inf
) -> Purchases:
    """What ``options`` gain of ``metric``, alone and together for at most ``budget_usd``.

    Args:
        better: "lower" or "higher".

    Raises:
        InputError: ``scenario`` itself cannot be simulated.
    """
    base = _bought(scenario, metric, better, (), None)

    def bought(chosen: Sequence[Option]) -> Purchase:
        return _bought(scenario, metric, better, chosen, base.value) if chosen else base

    singles = sorted(map(bought, ((option,) for option in options)), key=_by_gain_per_usd)
    allowed = list(itertools.islice(_sets(options, budget_usd), MOST_SETS + 1))
    exact = len(allowed) <= MOST_SETS
    every = [bought(chosen) for chosen in allowed] if exact else list(_greedy(options, budget_usd, bought, better))
    best = min(every, key=lambda each: (_loss(each, better), each.cost_usd, each.options))
    return Purchases(base, tuple(singles), best, tuple(_frontier(every, better)), exact, len(every))


def _bought(scenario: Scenario, metric: str, better: str, chosen: Sequence[Option], before: float | None) -> Purchase:
    names, cost = tuple(option.name for option in chosen), math.fsum(option.cost_usd for option in chosen)
    try:
        result = result_at(scenario, [setting for option in chosen for setting in option.settings])
    except InputError as error:
        if not chosen:
            raise
        return Purchase(names, cost, None, None, str(error))
    value = result.metrics.get(metric)
    if not result.fits:
        return Purchase(names, cost, None, None, "does not fit the memory")
    if not value:
        return Purchase(names, cost, None, None, result.reasons.get(metric, f"no value of {metric}"))
    gain = math.log(value / before) * (1.0 if better == "higher" else -1.0) if before else None
    return Purchase(names, cost, value, gain if chosen or before else (0.0 if not chosen else None))


def _by_gain_per_usd(each: Purchase) -> tuple[float, float, tuple[str, ...]]:
    """The most gain per dollar first; what is free and gains goes before all."""
    if each.gain is None:
        return (math.inf, 0.0, each.options)
    rate = each.gain_per_usd
    return (-(math.copysign(math.inf, each.gain) if rate is None and each.gain else rate or 0.0), -each.gain,
            each.options)  # fmt: skip


def _loss(each: Purchase, better: str) -> float:
    """What is made small."""
    if each.value is None:
        return math.inf
    return -each.value if better == "higher" else each.value


def _sets(options: Sequence[Option], budget_usd: float) -> Iterator[tuple[Option, ...]]:
    """Every set of options that turn no knob twice and cost at most the budget, the empty one first."""

    def more(chosen: tuple[Option, ...], cost: float, first: int) -> Iterator[tuple[Option, ...]]:
        yield chosen
        taken = frozenset().union(*(option.paths for option in chosen))
        for i in range(first, len(options)):
            if cost + options[i].cost_usd <= budget_usd and not options[i].paths & taken:
                yield from more((*chosen, options[i]), cost + options[i].cost_usd, i + 1)

    return more((), 0.0, 0)


def _greedy(
    options: Sequence[Option], budget_usd: float, bought: Callable[[Sequence[Option]], Purchase], better: str
) -> Iterator[Purchase]:
    """The sets that come of adding the option with the most further gain per dollar, until none gains."""
    chosen: tuple[Option, ...] = ()
    now = bought(chosen)
    yield now
    while True:
        taken = frozenset().union(*(option.paths for option in chosen))
        spent = math.fsum(option.cost_usd for option in chosen)
        left = [o for o in options if o not in chosen and not o.paths & taken and spent + o.cost_usd <= budget_usd]
        tried = [(option, bought((*chosen, option))) for option in left]
        good = [(option, each) for option, each in tried if _loss(each, better) < _loss(now, better)]
        if not good:
            return
        option, now = max(good, key=lambda pair: (_further(now, pair[1], pair[0]), pair[0].name))
        chosen = (*chosen, option)
        yield now


def _further(now: Purchase, then: Purchase, option: Option) -> float:
    """What an option adds to the gain, by dollar."""
    assert then.value is not None
    gain = abs(math.log(then.value / now.value)) if now.value else math.inf
    return gain / option.cost_usd if option.cost_usd > 0.0 else math.inf


def _frontier(every: Iterable[Purchase], better: str) -> Iterator[Purchase]:
    """What is better than all that costs no more."""
    least = math.inf
    for each in sorted(every, key=lambda p: (p.cost_usd, _loss(p, better), len(p.options), p.options)):
        if _loss(each, better) < least:
            least = _loss(each, better)
            yield each
