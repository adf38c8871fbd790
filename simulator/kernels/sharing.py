"""Max-min fair rates of flows on shared links, by progressive filling (water-filling).

All flows grow at the same rate until a link is full; its flows are frozen there and the others grow on. The result
is the only allocation in which no flow can gain without a smaller one losing. Bertsekas and Gallager, "Data
Networks", 2nd ed. 1992, section 6.5.2. A flow may put a multiple of its own bytes on a link (a collective crosses
device links and network links with different byte counts).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@njit(cache=True)
def max_min_rates(capacity: Floats, starts: Ints, links: Ints, multiples: Floats) -> Any:
    """Rates of all flows.

    Args:
        capacity: bytes per second of each link, shape [l].
        starts: ``links[starts[f]:starts[f + 1]]`` are the links of flow f, shape [f + 1].
        links: link indices of all flows one after the other.
        multiples: bytes on that link for each byte of the flow, as ``links``; positive.

    Returns:
        Bytes per second of each flow, shape [f]; infinite for a flow that crosses no link.
    """
    flows = len(starts) - 1
    rates = np.full(flows, np.inf)
    frozen = np.zeros(flows, np.bool_)
    left = capacity.copy()
    open_flows = 0
    for f in range(flows):
        frozen[f] = starts[f] == starts[f + 1]
        open_flows += not frozen[f]
    level = 0.0
    while open_flows > 0:
        load = np.zeros(len(capacity))
        for f in range(flows):
            if not frozen[f]:
                for j in range(starts[f], starts[f + 1]):
                    load[links[j]] += multiples[j]
        tightest, lowest = -1, np.inf
        for link in range(len(capacity)):
            if load[link] > 0.0 and left[link] / load[link] < lowest:
                tightest, lowest = link, left[link] / load[link]
        # The water only rises: where two links fill at once, rounding must not lower it.
        level = max(level, lowest)
        for f in range(flows):
            if frozen[f]:
                continue
            for j in range(starts[f], starts[f + 1]):
                frozen[f] = frozen[f] or links[j] == tightest
            if frozen[f]:
                rates[f] = level
                open_flows -= 1
                for j in range(starts[f], starts[f + 1]):
                    left[links[j]] -= level * multiples[j]
    return rates
