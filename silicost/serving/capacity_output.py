"""What a search for capacity came to, as programs and people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from silicost.serving.capacity import Capacity, Needed, devices_of, figures_of
from silicost.serving.output import DIMENSIONS, shown
from simulator.explore.pareto import non_dominated
from simulator.serving.capacity import TOLERANCE

if TYPE_CHECKING:
    import pandas as pd

    from silicost.serving.answer import Fleet
    from silicost.serving.capacity_designs import Found
    from silicost.serving.capacity_split import Sized, Split

AT_HIGHEST: Final = ("usd_per_million_output_tokens", "j_per_output_token")
AT_RATE: Final = ("usd_per_hour", "j_per_output_token")
"""Objectives of the front: at the highest rate of each design, and at a rate to be served."""
LOWER: Final = ("usd_per_hour", "usd_per_million_output_tokens", "j_per_output_token", "devices")
_DIMENSIONS: Final = {**DIMENSIONS, "usd_per_hour": "usd"}
_SPLIT: Final = (
    "usd_per_hour", "usd_per_million_output_tokens", "j_per_output_token", "ttft_s.p99", "tpot_s.p99", "utilisation",
)  # fmt: skip
VERDICTS: Final = ("fits", "feasible", "reason", "detail")
_FIRST: Final = (
    "requests_per_s", "goodput_requests_per_s", "output_tokens_per_s", "utilisation", "running_mean",
    "kv_peak_fraction", "usd_per_hour", "usd_per_million_output_tokens", "usd_per_thousand_requests",
    "j_per_output_token", "j_per_request",
)  # fmt: skip


def json_of(found: Found) -> dict[str, Any]:
    """The keys that programs read, of one fleet."""
    capacity, needed = found
    highest, fleet = capacity.highest, capacity.subject.fleet
    replicas, devices = replicas_of(fleet), devices_of(fleet)
    rate = highest.rate_per_s
    low, high = capacity.interval or (None, None)
    return {
        "rate_per_s": rate, "above_per_s": highest.above_per_s if np.isfinite(highest.above_per_s) else None,
        "tolerance": TOLERANCE, "intervals": {"rate_per_s": {"p10": low, "p90": high}} if capacity.interval else {},
        "binds": list(highest.binds), "replicas": replicas, "devices": devices,
        "rate_per_s_per_replica": rate / replicas if replicas else None, "rate_per_s_per_device": rate / devices,
        "saturated_per_s": capacity.subject.saturated_per_s, "requests": capacity.subject.requests,
        "at_rate": _run(capacity.answer, capacity.latencies), "fleet": _fleet(needed, fleet.pools[0].devices),
        "trials": [{"rate_per_s": t.rate_per_s, "broken": list(t.broken)} for t in highest.trials],
        "reversals": [{"rate_per_s": t.rate_per_s, "broken": list(t.broken)} for t in highest.reversals],
        "why": capacity.why[1] or None, "notes": list(notes_of(found)),
    }  # fmt: skip


def replicas_of(fleet: Fleet) -> int | None:
    """Replicas of a fleet of one pool; None of others, whose replicas are not alike."""
    return fleet.pools[0].table.replicas if len(fleet.pools) == 1 else None


def notes_of(found: Found) -> tuple[str, ...]:
    """What a reader should know, each thing once."""
    return tuple(dict.fromkeys((*found.capacity.notes, *(found.needed.notes if found.needed else ()))))


def _run(answer: Any, latencies: Mapping[str, Any]) -> dict[str, Any] | None:
    if answer is None:
        return None
    figures = figures_of(answer, {})
    reasons = {name: why for name, why in answer.found.outcome.reasons.items() if name in figures}
    return {**{name: each._asdict() for name, each in latencies.items()}, **figures, "reasons": reasons}


def _fleet(needed: Needed | None, each: int) -> dict[str, Any] | None:
    if needed is None:
        return None
    return {
        "replicas": needed.replicas, "devices": needed.replicas * each,
        "at_rate": _run(needed.answer, needed.latencies),
    }  # fmt: skip


def rate_rows(capacity: Capacity) -> list[dict[str, str]]:
    """The rate and what it is bounded by."""
    highest, fleet = capacity.highest, capacity.subject.fleet
    devices = devices_of(fleet)
    rows = [
        {
            "what": "rate_per_s",
            "value": shown(highest.rate_per_s, ""),
            "note": "; but ".join((_bound(capacity), *capacity.doubts)),
        }
    ]
    if capacity.interval:
        low, high = (shown(end, "") for end in capacity.interval)
        rows.append({"what": "80% interval", "value": f"{low} to {high}", "note": "the search again at both ends"})
    replicas = replicas_of(fleet)
    if replicas:
        each = highest.rate_per_s / replicas
        rows.append(
            {
                "what": "rate_per_s_per_replica",
                "value": shown(each, ""),
                "note": f"{replicas} replica{'s' * (replicas > 1)}",
            }
        )
    rows += [
        {"what": "rate_per_s_per_device", "value": shown(highest.rate_per_s / devices, ""),
         "note": f"{devices} device{'s' * (devices > 1)}"},
        {"what": "saturated_per_s", "value": shown(capacity.subject.saturated_per_s, ""),
         "note": "where all requests are there at once"},
    ]  # fmt: skip
    return rows


def _bound(capacity: Capacity) -> str:
    highest = capacity.highest
    if not np.isfinite(highest.above_per_s):
        return "no rate that was tried breaks the objectives"
    return f"{shown(highest.above_per_s, '')} breaks {', '.join(highest.binds)}"


def run_rows(figures: Mapping[str, float | None]) -> list[dict[str, str]]:
    """Latencies and costs of a run."""
    latencies = [name for name in figures if name.startswith(("ttft_s.", "tpot_s.", "e2e_s.", "queue_s."))]
    kept = [name for name in latencies if name.endswith((".p50", ".p90", ".p99"))]
    return [
        {"what": name, "value": shown(figures[name], "s" if name in latencies else _DIMENSIONS.get(name, ""))}
        for name in (*kept, *_FIRST)
        if figures.get(name) is not None
    ]


@dataclass
class Summary:
    """What a search over designs found: rows in all and feasible, reasons of the others with an example of each, the
    best row by objective, and the rows that no other is better than in both ``objectives``."""

    axes: tuple[str, ...]
    objectives: tuple[str, ...]
    rows: int
    feasible: int
    reasons: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    best: dict[str, dict[str, Any]] = field(default_factory=dict)
    front: list[dict[str, Any]] = field(default_factory=list)


def summarise(frame: pd.DataFrame, axes: Sequence[str], at_rate: bool) -> Summary:
    """The best designs of a table, and those of the front.

    Args:
        at_rate: a rate is to be served; else each design is at its highest.
    """
    good = frame[frame["feasible"].to_numpy(bool)]
    wanted = AT_RATE if at_rate else AT_HIGHEST
    priced = bool(len(good)) and bool(np.isfinite(good[wanted[0]].to_numpy(float)).any())
    objectives = wanted if priced else ("devices", wanted[1])
    found = Summary(tuple(axes), objectives, len(frame), len(good))
    wrong = frame[~frame["feasible"].to_numpy(bool)]
    for reason, detail in zip(wrong["reason"].astype(str), wrong["detail"].astype(str), strict=True):
        found.reasons[reason] += 1
        found.details.setdefault(reason, detail)
    for name in (wanted[0], wanted[1], "devices" if at_rate else "rate_per_s_per_device"):
        values = good[name].to_numpy(float) if len(good) else np.zeros(0)
        if np.isfinite(values).any():
            place = int(np.nanargmin(values) if name in LOWER else np.nanargmax(values))
            found.best[name] = plain(good.iloc[place].to_dict())
    if len(good):
        front = good[non_dominated(good[list(objectives)].to_numpy(float))]
        found.front = [plain(row) for row in front.sort_values(objectives[0], kind="stable").to_dict("records")]
    return found


def plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Plain values without verdicts; None for what is not known."""
    values = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in row.items()}
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in values.items()
        if key not in VERDICTS
    }


def cell(name: str, value: Any) -> Any:
    """A value of a table as people read it."""
    if value is None or not isinstance(value, (int, float)) or isinstance(value, bool):
        return value
    return shown(float(value), "s" if name.partition(".")[0].endswith("_s") and "." in name and "rate" not in name
                 else _DIMENSIONS.get(name, ""))  # fmt: skip


def split_json(found: Split) -> dict[str, Any]:
    """The keys that programs read, of a search over pairs of pools."""
    return {
        "rate_per_s": found.rate_per_s, "pays": found.pays, "said": found.said,
        "disaggregated": [_sized(each) for each in found.split], "aggregated": [_sized(each) for each in found.whole],
        "refused": [{"devices": dict(each.pools), "why": each.why} for each in found.refused],
    }  # fmt: skip


def _sized(each: Sized) -> dict[str, Any]:
    return {
        "pools": [{"pool": name or "all", "device": device, "replicas": count}
                  for name, (device, count) in each.pools.items()],
        "devices": each.devices, "tried": each.tried, "at_rate": _run(each.answer, each.latencies),
        "notes": list(each.notes),
    }  # fmt: skip


def split_rows(found: Split) -> list[dict[str, Any]]:
    """Fleets that serve the rate, the cheapest of each kind first."""
    from silicost.serving.capacity_split import words

    rows = []
    for each in (*found.split, *found.whole):
        figures = each.figures
        row: dict[str, Any] = {"fleet": words(each), "devices": each.devices}
        rows.append(row | {name: cell(name, figures[name]) for name in _SPLIT})
    return rows
