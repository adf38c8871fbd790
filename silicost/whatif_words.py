"""What the answers to what-ifs come to, in words: lines that tables and pages share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reports.numbers import number, quantity
from simulator.metrics import BY_NAME

if TYPE_CHECKING:
    from silicost.questions import Span
    from simulator.decisions.break_even import BreakEven
    from simulator.decisions.deltas import Delta
    from simulator.decisions.inverse import Answer, Bound
    from simulator.decisions.knobs import Knob
    from simulator.decisions.purchases import Purchases
    from simulator.decisions.superiority import Superiority

MOST_WORDS: Final = 4
"""Facts of one cause that are named."""


def gain_percent(gain: float) -> str:
    """A gain (the logarithm of a ratio) in percent."""
    return f"{number(100.0 * math.expm1(gain))}%"


def what_to_buy(metric: str, dimension: str, found: Purchases, budget_usd: float) -> str:
    """What to buy, in a line."""
    under = f" for at most {quantity(budget_usd, 'usd')}" if math.isfinite(budget_usd) else ""
    how = f"of {found.sets:,} sets" if found.exact else f"by {found.sets} greedy steps, for there are too many sets"
    if not found.best.options:
        return f"buy nothing{under}: no set improves {metric} ({how})"
    value = quantity(found.best.value if found.best.value is not None else math.nan, dimension)
    gain = f", better by {gain_percent(found.best.gain)}" if found.best.gain is not None else ", which makes it run"
    chosen = " + ".join(found.best.options)
    return f"buy {chosen}{under}: {metric} {value}{gain}, for {quantity(found.best.cost_usd, 'usd')} ({how})"


def where_they_cross(names: tuple[str, str], metric: str, span: Span, found: BreakEven) -> str:
    """The crossovers in a line."""
    knob = span.knob
    where = f"{span.label} {range_of(knob, span.low, span.high)}"
    if not found.crossovers:
        return f"no crossover of {metric} over {where}: {who_is_better(found.stretches[0].state, names)} all along"
    points = ", ".join(
        f"{knob.written(each.at)} ({who_is_better(each.before, names)}, then {who_is_better(each.after, names)})"
        for each in found.crossovers[:4]
    )
    more = f" and {len(found.crossovers) - 4} more" if len(found.crossovers) > 4 else ""
    count = "one crossover" if len(found.crossovers) == 1 else f"{len(found.crossovers)} crossovers"
    sure = "every number was looked at" if found.exact else "pairs of crossovers between two points may be missed"
    return f"{count} of {metric} over {where}: at {points}{more}; {sure}"


def who_is_better(state: str, names: tuple[str, str]) -> str:
    """Which one is better."""
    alone = "only {} runs"
    words = {
        "a": names[0], "b": names[1], "equal": "equal", "only a": alone.format(names[0]),
        "only b": alone.format(names[1]), "neither": "neither runs",
    }  # fmt: skip
    return words[state]


def range_of(knob: Knob, low: float, high: float) -> str:
    """A range of a knob, or its one value."""
    return knob.written(low) if low == high else f"{knob.written(low)} to {knob.written(high)}"


def what_is_required(bounds: Sequence[Bound], span: Span, found: Answer) -> str:
    """The answer in a line."""
    knob = span.knob
    held = " and ".join(map(bound_in_words, bounds))
    where = f"{knob.path} from {knob.written(span.low)} to {knob.written(span.high)}"
    if found.kind == "nowhere":
        return f"{held}: no {where} holds it; closest at {knob.written(found.nearest)}, where {what_binds(found)} binds"
    if found.kind == "everywhere":
        return f"{held}: every {where} holds it"
    assert found.value is not None
    now = f"now {knob.written(knob.value)}" if knob.value == knob.value else "no value is known now"
    kind = "least" if found.kind == "between" else found.kind
    value = f"{knob.written(found.value, 6)} ({now})"
    beyond = "above" if kind == "largest" else "below"
    return f"{kind} {knob.path} that holds {held}: {value}; {beyond} it {what_binds(found)} binds"


def what_binds(found: Answer) -> str:
    """What ends an answer, in words."""
    return {"memory": "the memory", "refused": "what the input allows"}.get(found.binding, found.binding)


def bound_in_words(bound: Bound) -> str:
    """A bound with the unit of its metric."""
    return f"{bound.metric} {bound.relation} {quantity(bound.value, BY_NAME[bound.metric].dimension)}"


def dimension_of(found: Delta) -> str:
    """The dimension of the metric."""
    return BY_NAME[found.metric].dimension


def how_much_differs(names: tuple[str, str], found: Delta) -> str:
    """The difference in a line."""
    dimension = dimension_of(found)
    ratio = found.after / found.before if found.before else math.inf
    return (
        f"{found.metric}: {quantity(found.before, dimension)} ({names[0]}) to {quantity(found.after, dimension)} "
        f"({names[1]}), {signed(found.total, dimension)} or {number(ratio)} times"
    )


def signed(value: float, dimension: str, of: float = 0.0) -> str:
    """A difference with its sign; rounding of ``of`` is none."""
    if abs(value) <= 1e-12 * abs(of):
        return "0"
    return f"+{quantity(value, dimension)}" if value > 0.0 else quantity(value, dimension)


def some(words: Sequence[str]) -> str:
    """The first few of several words."""
    rest = len(words) - MOST_WORDS
    return " + ".join(words[:MOST_WORDS]) + (f" + {rest} more" if rest > 0 else "")


def who_wins(names: tuple[str, str], found: Superiority) -> str:
    """The chance in a line."""
    low, middle, high = (number(math.exp(value)) for value in found.ratio)
    sure = f" (Monte Carlo error {percent(found.error)})" if found.error else ""
    return (
        f"{names[0]} beats {names[1]} by {found.metric} with a chance of {percent(found.chance)}{sure}: it is {middle} "
        f"times as good (80%: {low} to {high})"
    )


def percent(share: float) -> str:
    """A share with three digits."""
    return f"{number(100.0 * share)}%"
