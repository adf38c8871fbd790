"""Whether a mixture of devices pays, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.placement.alone import Alone, usd_per_million
from simulator.result import Result


def verdict(mixture: Result, alone: Sequence[Alone], held_back: str = "") -> str:
    """One sentence about ``mixture`` beside what its pools would do alone.

    Args:
        held_back: a pool whose memory holds fewer layers than would balance the time.
    """
    step_s = mixture.metrics["step_time_s"]
    assert step_s is not None
    if not mixture.fits:
        return "the mixture does not fit"
    known = [(each.step_s, each) for each in alone if each.step_s is not None]
    if not known:
        return "the mixture is needed: no pool has room for the step alone"
    alone_s, fastest = min(known, key=lambda pair: pair[0])
    why = _why(mixture, step_s, held_back)
    if step_s >= alone_s:
        return f"the mixture does not pay: {fastest.pool} alone takes {alone_s:.4g} s, it {step_s:.4g} s, because {why}"
    faster = f"{alone_s / step_s:.3g} times as fast as {fastest.pool} alone"
    own = usd_per_million(mixture, fastest.tokens)
    prices = [(price, each) for each in alone if (price := each.usd_per_million_tokens) is not None]
    if own is None or not prices:
        return f"the mixture is {faster}"
    least, cheapest = min(prices, key=lambda pair: pair[0])
    if own <= least:
        return f"the mixture pays: it is {faster}, and no pool alone is cheaper a token"
    dearer = f"a token costs {own / least - 1.0:.0%} more than on {cheapest.pool} alone"
    return f"the mixture buys time, not tokens: it is {faster}, but {dearer}, because {why}"


def _why(mixture: Result, step_s: float, held_back: str) -> str:
    """What keeps a mixture from the sum of its parts."""
    moved = mixture.breakdown.get("transfer", 0.0) / step_s
    idle = max(mixture.pools, key=lambda pool: 1.0 - pool.busy_s / step_s)
    waits = 1.0 - idle.busy_s / step_s
    if held_back:
        return f"the memory of {held_back} does not hold the layers that would balance the pools"
    if moved > 0.1 and moved > waits / 2.0:
        return f"{moved:.0%} of the step goes into transfers between the pools"
    if waits > 0.05:
        return f"{idle.name} waits {waits:.0%} of the step"
    return "the devices are kept busy but cost more than they add"
