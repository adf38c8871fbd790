"""Rates of the steady part of a run: what it gives and costs between the first tenth and the last tenth of arrivals.

A run begins with an empty queue and ends with batches that get smaller; rates over all of it are those of a run that
long, and below what the same fleet gives hour after hour. In the window from the arrival of the request at one tenth of
all to that at nine tenths, requests count that are answered in it, and tokens that are made in it: of each answer the
first when it came, the others spread evenly up to the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.assemble import paid_usd
from simulator.prepared import Prepared
from simulator.serving.fleet import FleetServed
from simulator.serving.outcome import ratio
from simulator.serving.shared_devices import power_of_bins, sharers

RATES: Final = ("steady_requests_per_s", "steady_output_tokens_per_s")
COSTS: Final = ("steady_j_per_output_token", "steady_usd_per_million_output_tokens")
EDGE: Final = 0.1
"""Share of the arrivals that a window leaves out at each end."""
ANSWERS: Final = 3.0
LEAST_BINS: Final = 10
"""A window lasts at least so many mean answers, and bins of time."""

Columns = Mapping[str, npt.NDArray[Any]]
Values = dict[str, float | None]


def steady_values(served: FleetServed, pools: Sequence[Prepared], table: Columns) -> tuple[Values, dict[str, str]]:
    """Requests and output tokens a second, joules and dollars per output token in the steady window, and why not.

    Args:
        pools: a replica of each.
        table: requests, as ``fleet_outcome.request_table`` has them.
    """
    found: Values = dict.fromkeys((*RATES, *COSTS))
    begin_s, end_s, why = _window(served, table)
    if why:
        return found, dict.fromkeys(found, why)
    seconds = end_s - begin_s
    last_s = table["last_token_s"]
    tokens = _tokens(table, begin_s, end_s)
    found["steady_requests_per_s"] = float(((last_s >= begin_s) & (last_s < end_s)).sum()) / seconds
    found["steady_output_tokens_per_s"] = tokens / seconds
    if any(setup.scaling for setup in served.setups):
        return found, dict.fromkeys(COSTS, "a pool scales: what its replicas take is not steady")
    joules = [_joules(served, number, ready, begin_s, end_s) for number, ready in enumerate(pools)]
    found["steady_j_per_output_token"] = ratio(sum(joules), tokens)
    usd, reasons = 0.0, dict.fromkeys(COSTS, "no token was made") if tokens <= 0.0 else {}
    for number, ready in enumerate(pools):
        held = served.setups[number].replicas / ready.pool.plan.pp
        paid, unknown = paid_usd(
            (ready,), {ready.pool.name: joules[number]}, held * seconds / len(sharers(served, number))
        )
        if paid is None:
            return found, reasons | {"steady_usd_per_million_output_tokens": unknown}
        usd += paid
    found["steady_usd_per_million_output_tokens"] = ratio(1e6 * usd, tokens)
    return found, reasons


def _window(served: FleetServed, table: Columns) -> tuple[float, float, str]:
    """From when to when a run is steady [s], and why it is not."""
    came_s = np.sort(table["arrival_s"][np.isfinite(table["arrival_s"])])
    took_s = table["e2e_s"][table["completed"]]
    if not len(came_s) or not len(took_s):
        return 0.0, 0.0, "no request was answered"
    begin_s, end_s = (float(came_s[int(share * (len(came_s) - 1))]) for share in (EDGE, 1.0 - EDGE))
    least_s = max(ANSWERS * float(took_s.mean()), LEAST_BINS * served.bin_s)
    if end_s - begin_s < least_s:
        return begin_s, end_s, (
            f"the run is too short: {end_s - begin_s:.3g} s from the first to the last tenth of arrivals, and "
            f"{ANSWERS:.0f} answers take {ANSWERS * float(took_s.mean()):.3g} s; give more requests"
        )  # fmt: skip
    return begin_s, end_s, ""


def _tokens(table: Columns, begin_s: float, end_s: float) -> float:
    """Tokens of answers that were made in a window."""
    done = table["completed"] & (table["output"] > 0)
    first_s, last_s = table["first_token_s"][done], table["last_token_s"][done]
    more = table["output"][done] - 1.0
    inside_s = np.maximum(np.minimum(last_s, end_s) - np.maximum(first_s, begin_s), 0.0)
    span_s = last_s - first_s
    at_once = span_s <= 0.0
    began = (first_s >= begin_s) & (first_s < end_s)
    shares = np.where(at_once, began, inside_s / np.where(at_once, 1.0, span_s))
    return float(began.sum() + (more * shares).sum())


def _joules(served: FleetServed, pool: int, prepared: Prepared, begin_s: float, end_s: float) -> float:
    """Energy of the devices of a pool in a window, bins that it cuts by their part in it [J]."""
    bins, width = served.bins.shape[1], served.bin_s
    starts_s = np.arange(bins) * width
    inside_s = np.clip(np.minimum(starts_s + width, end_s) - np.maximum(starts_s, begin_s), 0.0, width)
    return float(power_of_bins(served, pool, prepared, bins) @ inside_s)
