"""Latencies of a served run: objectives, distributions, quantiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from reports.serving import Curve, Distribution, Ends, LatencyRow, Mark, Measured, Objective
from simulator.serving.outcome import LATENCIES, QUANTILES

if TYPE_CHECKING:
    from silicost.serving.answer import Answer
    from simulator.serving.slo import Bound

MOST_POINTS: Final = 150
"""Points of a curve at most."""
MOST_CURVES: Final = 5
"""Tenants that have curves of their own at most."""
TITLES: Final = {"ttft_s": "TTFT", "tpot_s": "TPOT", "itl_s": "ITL", "e2e_s": "E2E", "queue_s": "Queue"}
_DRAWN: Final = ("ttft_s", "tpot_s", "e2e_s")
MEANINGS: Final = {
    "ttft_s": "From the arrival of a request to the first token of its answer, all stages before included.",
    "tpot_s": "Mean gap between the tokens of an answer: (E2E - TTFT) / (tokens - 1); a request of one token has none.",
    "itl_s": "Every single gap between tokens, of all answers together.",
    "e2e_s": "From the arrival of a request to the last token of its answer.",
    "queue_s": "From the moment at which the stage that answers could begin to the one at which it begins.",
}
Columns = dict[str, npt.NDArray[Any]]


def objectives_of(answer: Answer) -> tuple[Objective, ...]:
    """Every bound of every tenant, beside what was measured."""
    table = answer.requests
    found = []
    for place, (name, slo) in enumerate(answer.fleet.slos.items()):
        own = table["tenant"] == place
        for bound in slo.bounds if slo else ():
            found.append(_objective(answer, name, own, bound))
    return tuple(found)


def _objective(answer: Answer, name: str, own: npt.NDArray[np.bool_], bound: Bound) -> Objective:
    kind = f"{bound.kind}_s"
    done = own & answer.requests["completed"]
    values = answer.requests[kind][done]
    known = values[np.isfinite(values)]
    kept = float(((values <= bound.seconds) | ~np.isfinite(values)).sum()) / max(int(own.sum()), 1)
    value = float(np.quantile(known, bound.share)) if len(known) else math.nan
    field = next((field for field, share in QUANTILES.items() if abs(share - bound.share) < 1e-9), "")
    _, low, high = with_ends(answer, f"{kind}.{field}" if field and not name else "", value)
    return Objective(name, TITLES[kind], bound.share, bound.seconds, value, low, high, kept)


def with_ends(answer: Answer, name: str, value: float | None) -> tuple[float, float, float]:
    """A number and the ends of its interval by the name that programs read; NaN for what is not known."""
    low, high = answer.intervals.get(name, (None, None))
    value, low, high = (math.nan if end is None else end for end in (value, low, high))
    return value, low, high


def distributions_of(answer: Answer) -> tuple[Distribution, ...]:
    """Shares of all requests by time to the first token, gap and whole time."""
    found = []
    for kind in _DRAWN:
        there = answer.requests["output"] > 1 if kind == "tpot_s" else np.ones(len(answer.requests["output"]), np.bool_)
        curves = _curves(answer, kind, there)
        if curves:
            scale = float(curves[0].share[-1])
            found.append(Distribution(TITLES[kind], curves, _marks(answer, kind), _ends(answer, kind, scale)))
    return tuple(found)


def _curves(answer: Answer, kind: str, there: npt.NDArray[np.bool_]) -> tuple[Curve, ...]:
    tenants = [name for name in answer.fleet.slos if name]
    curves = [_curve("all requests", answer.requests, kind, there)]
    if 1 < len(tenants) <= MOST_CURVES:
        curves += [
            _curve(name, answer.requests, kind, there & (answer.requests["tenant"] == place))
            for place, name in enumerate(tenants)
        ]
    return tuple(curve for curve in curves if len(curve.at_s)) if len(curves[0].at_s) else ()


def _curve(name: str, table: Any, kind: str, there: npt.NDArray[np.bool_]) -> Curve:
    """Points of the curve: evenly over the requests, and closer to its end, where objectives lie."""
    values = table[kind][there]
    known = np.sort(values[np.isfinite(values)])
    count = len(known)
    if not count:
        return Curve(name, np.empty(0), np.empty(0))
    even = np.linspace(0.0, count - 1.0, MOST_POINTS - 30)
    tail = (count - 1.0) * (1.0 - np.geomspace(0.1, 1e-4, 30))
    ranks = np.unique(np.round(np.concatenate([even, tail])).astype(np.int64))
    return Curve(name, known[ranks], (ranks + 1.0) / max(int(there.sum()), 1))


def _marks(answer: Answer, kind: str) -> tuple[Mark, ...]:
    """Bounds of this latency; equal ones of several tenants once."""
    marks: dict[tuple[float, float], list[str]] = {}
    for name, slo in answer.fleet.slos.items():
        for bound in slo.bounds if slo else ():
            if f"{bound.kind}_s" == kind:
                marks.setdefault((bound.seconds, bound.share), []).append(name)
    everybody = len(answer.fleet.slos)
    return tuple(Mark("" if len(names) == everybody else ", ".join(names), *key) for key, names in marks.items())


def _ends(answer: Answer, kind: str, scale: float) -> tuple[Ends, ...]:
    found = []
    for field, share in QUANTILES.items():
        low, high = answer.intervals.get(f"{kind}.{field}", (None, None))
        if low is not None and high is not None:
            found.append(Ends(field, share * scale, low, high))
    return tuple(found)


def latency_rows_of(answer: Answer) -> tuple[LatencyRow, ...]:
    """Mean and quantiles of every kind, with intervals."""
    rows = []
    for kind in LATENCIES:
        values = []
        for field, value in answer.found.outcome.latencies[kind]._asdict().items():
            ends = with_ends(answer, f"{kind}.{field}", value)
            values.append(Measured(f"{kind}.{field}", field, "s", ends[0], ends[1], ends[2], "no request has one"))
        rows.append(LatencyRow(TITLES[kind], MEANINGS[kind], tuple(values)))
    return tuple(rows)
