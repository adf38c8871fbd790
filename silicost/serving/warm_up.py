"""Whether a run of conversations is long enough to see them at their usual mix of first and later turns."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from silicost.serving.tables import TrafficTable
from workloads.traffic.law_words import law_of_times, law_of_tokens
from workloads.traffic.lengths import whole_tokens
from workloads.traffic.record import Traffic
from workloads.traffic.sessions import MOST_TURNS

WARM_SHARE: Final = 2.0 / 3.0
"""Share of a run that may pass until as many conversations end as begin."""
_POINTS: Final[npt.NDArray[np.float64]] = np.linspace(0.0, 1.0, 4096, endpoint=False) + 0.5 / 4096.0


def warm_up_notes(table: TrafficTable, traffic: Traffic, answer_s: float) -> tuple[str, ...]:
    """What to say of a run most of which passes before its first conversations end.

    Early on there are few late turns, whose prompts are the longest: load, cache and latencies are then below those of
    a service that runs on. It warms up for the mean length of a conversation, turns x (think + answer).

    Args:
        answer_s: mean time of an answer [s].
    """
    if table.sessions is None or not traffic.requests:
        return ()
    turns = law_of_tokens(table.sessions.turns, "turns")
    mean_turns = float(np.minimum(whole_tokens(turns, _POINTS), MOST_TURNS).mean())
    think_s = float(np.maximum(law_of_times(table.sessions.think, "think").at(_POINTS), 0.0).mean())
    length_s = mean_turns * (think_s + answer_s)
    lasts_s = float(traffic.arrival_s[-1] - traffic.arrival_s[0])
    if table.concurrency:
        lasts_s = traffic.requests / table.concurrency * (think_s + answer_s)
        enough = table.concurrency * mean_turns / WARM_SHARE
    else:
        # Arrivals grow in proportion to time for ``length_s``, and are rate x turns from then on.
        enough = (table.rate or 0.0) * mean_turns * length_s * (1.0 / WARM_SHARE - 0.5)
    if length_s <= WARM_SHARE * lasts_s or mean_turns <= 1.0:
        return ()
    return (
        f"mostly warm-up: requests arrive for {lasts_s:.3g} s and a conversation lasts {length_s:.3g} s on average, so "
        f"that late turns with long prompts are rare; about {_rounded(enough)} requests would be enough",
    )


def _rounded(count: float) -> str:
    """A number of requests, up to two digits."""
    unit = 10 ** max(math.floor(math.log10(max(count, 1.0))) - 1, 0)
    return f"{math.ceil(count / unit) * unit:,}"
