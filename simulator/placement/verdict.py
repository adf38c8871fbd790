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
        return "It does not fit."
    known = [(each.step_s, each) for each in alone if each.step_s is not None]
    if not known:
        return "It is needed: no pool alone has room for the step."
    alone_s, fastest = min(known, key=lambda pair: pair[0])
    why = _why(mixture, step_s, held_back)
    if step_s >= alone_s:
        return f"It does not pay: {fastest.pool} alone takes {alone_s:.3g} s a step, it takes {step_s:.3g} s; {why}."
    faster = f"{alone_s / step_s:.3g} times as fast as {fastest.pool} alone"
    own = usd_per_million(mixture, fastest.tokens)
    prices = [price for each in alone if (price := each.usd_per_million_tokens) is not None]
    if own is None or not prices:
        return f"It is {faster}; what it costs is unknown."
    dearer = own / min(prices) - 1.0
    if dearer <= 0.0:
        return f"It pays: {faster}, and a token costs {-dearer:.0%} less."
    return f"It buys time, not tokens: {faster}, at {dearer:.0%} more a token; {why}."


def _why(mixture: Result, step_s: float, held_back: str) -> str:
    """What keeps a mixture from the sum of its parts."""
    moved = mixture.breakdown.get("transfer", 0.0) / step_s
    idle = max(mixture.pools, key=lambda pool: 1.0 - pool.busy_s / step_s)
    waits = 1.0 - idle.busy_s / step_s
    if held_back:
        return f"{held_back} has no memory for its part"
    if moved > 0.1 and moved > waits / 2.0:
        return f"transfers take {moved:.0%} of the step"
    if waits > 0.05:
        return f"{idle.name} waits {waits:.0%} of it"
    return "all are busy, but cost more than they add"
