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
    load = np.zeros(len(capacity))
    for f in range(flows):
        frozen[f] = starts[f] == starts[f + 1]
        for j in range(starts[f], starts[f + 1]):
            load[links[j]] += multiples[j]
    open_flows = flows - int(frozen.sum())
    while open_flows > 0:
        tightest, level = -1, np.inf
        for link in range(len(capacity)):
            if load[link] > 0.0:
                share = max(left[link], 0.0) / load[link]
                if share < level:
                    tightest, level = link, share
        for f in range(flows):
            if frozen[f]:
                continue
            crosses = False
            for j in range(starts[f], starts[f + 1]):
                if links[j] == tightest:
                    crosses = True
            if not crosses:
                continue
            frozen[f] = True
            rates[f] = level
            open_flows -= 1
            for j in range(starts[f], starts[f + 1]):
                left[links[j]] -= level * multiples[j]
                load[links[j]] -= multiples[j]
        load[tightest] = 0.0
    return rates
