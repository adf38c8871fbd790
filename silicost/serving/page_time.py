"""A served run over time: pictures of the whole and of each pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from reports.serving import Floats, Line, OverTime, Track, Tracks
from simulator.serving.fleet_outcome import HIDDEN

if TYPE_CHECKING:
    from silicost.serving.answer import Answer
    from silicost.serving.pools import Pool
    from simulator.serving.fleet_outcome import Series

MOST_BINS: Final = 96
"""Bins that are drawn at most; more are joined."""


def over_time_of(answer: Answer) -> OverTime | None:
    """Arrivals, answers, what is in the system and power of all; queue, batch, cache, tokens ... of each pool."""
    if not answer.series or not answer.found.outcome.values["completed"]:
        return None
    end_s = answer.series[0].end_s
    width_s = float(end_s[0])
    joined = -(-len(end_s) // MOST_BINS)
    ends = np.append(end_s[joined - 1 :: joined], end_s[-1:] if len(end_s) % joined else end_s[:0])
    begins = np.append(0.0, ends[:-1])
    whole = _whole(answer, begins, ends, joined)
    pools = [_pool(pool, series, joined) for pool, series in zip(answer.fleet.pools, answer.series, strict=True)]
    groups = [Tracks("", whole + pools[0])]
    if len(pools) > 1:
        names = [pool.name for pool in answer.fleet.pools]
        groups = [Tracks("", whole), *(Tracks(name, tracks) for name, tracks in zip(names, pools, strict=True))]
    return OverTime((begins + ends) / 2.0, width_s * joined, float(ends[-1]), tuple(groups))


def _whole(answer: Answer, begins: Floats, ends: Floats, joined: int) -> tuple[Track, ...]:
    """Pictures of all requests and all pools."""
    width_s = ends[0]
    edges = np.append(begins, ends[-1])
    arrival_s = answer.requests["arrival_s"]
    came = np.histogram(arrival_s[np.isfinite(arrival_s)], edges)[0] / width_s
    last_s = answer.requests["last_token_s"]
    done = np.isfinite(last_s)
    went = np.histogram(last_s[done], edges)[0] / width_s
    middle = (begins + ends) / 2.0
    inside = np.searchsorted(np.sort(arrival_s[done]), middle) - np.searchsorted(np.sort(last_s[done]), middle)
    power_w = sum((series.columns["power_w"] for series in answer.series), np.zeros(len(answer.series[0].end_s)))
    return (
        Track("Arrivals and answers", "requests/s", (Line("arrive", came), Line("answered", went))),
        Track("Requests in the system", "count", (Line("in the system", inside.astype(np.float64)),)),
        Track("Power of all devices", "w", (Line("power", coarser(power_w, joined)),)),
    )[: 3 if len(answer.series) > 1 else 2]


def _pool(pool: Pool, series: Series, joined: int) -> tuple[Track, ...]:
    """Pictures of one pool; a share that is zero throughout is left out.

    An iteration counts in the bin in which it begins, so that a bin may hold more than its own time; more than all
    replicas or the whole cache is not drawn.
    """
    columns = {name: coarser(values, joined) for name, values in series.columns.items()}
    busy = np.minimum(columns["busy_replicas"], pool.setup.most)
    found = [
        Track("Queue", "count", (Line("waiting", columns["waiting"]),)),
        Track("Running batch", "count", (Line("running", columns["running"]),)),
    ]
    if pool.setup.limits.blocks < HIDDEN:
        found.append(Track("Cache in use", "fraction", (Line("cache", np.minimum(columns["kv_fraction"], 1.0)),)))
    names = [("prompt", "prompt_tokens_per_s"), ("output", "tokens_per_s")]
    names = names if pool.generates else [("in", "prompt_tokens_per_s")]
    found.append(
        Track(
            "Queries a second" if pool.arch is None else "Tokens a second",
            "count",
            tuple(Line(name, columns[column]) for name, column in names),
        )
    )
    found.append(Track("Power", "w", (Line("power", columns["power_w"]),)))
    found.append(Track("Busy replicas", "count", (Line("busy", busy / pool.virtual),)))
    shares = {
        name: _weighted(series.columns[f"{name}_share"], series.columns["busy_replicas"], joined)
        for name in ("host", "transfer")
    }
    lines = tuple(Line(name, values) for name, values in shares.items() if values.any())
    if lines:
        found.append(Track("Waiting for host, transfers", "fraction", lines))
    return tuple(found)


def coarser(values: Floats, joined: int) -> Floats:
    """Means of ``joined`` bins at a time, shape [ceil(bins / joined)]."""
    starts = np.arange(0, len(values), joined)
    sizes = np.minimum(joined, len(values) - starts)
    found: Floats = np.add.reduceat(values, starts) / sizes
    return found


def _weighted(share: Floats, busy: Floats, joined: int) -> Floats:
    """Shares of the busy time of joined bins."""
    part, whole = coarser(share * busy, joined), coarser(busy, joined)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)
