"""What a predicted time consists of: by part and by operator family.

An operator takes the longer of its compute and its memory time, launches and fixed costs beside them, and some of the
shorter one where the two do not overlap fully. So the longer one counts whole, the shorter one with what the operator
takes beyond the longer one. Collectives are communication. What no operator takes is the host's, or waiting: the bubble
of pipeline stages. All parts together are the predicted time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.steps.pricing import PricedGraph
from workloads.operators import FAMILIES, FAMILY_CODES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Seconds = dict[tuple[str, str], float]
"""Seconds by family and part."""

PARTS: Final = ("compute", "memory", "communication", "launch", "host", "bubble")
"""``launch``: gaps between operators and the fixed cost of a call."""

_NOISE: Final = 1e-9
"""A share of an operator's time that is none but the rounding of a difference."""


def split(kinds: Ints, times: Floats, time_s: Floats, compute_s: Floats, memory_s: Floats, overhead_s: Floats,
          communication_s: Floats) -> Seconds:  # fmt: skip
    """Seconds of operators, each run ``times`` times; all shapes [n]."""
    body = time_s - overhead_s - communication_s
    slow, quick = np.maximum(compute_s, memory_s), np.minimum(compute_s, memory_s)
    short = np.clip(body - slow, 0.0, quick)
    short = np.where(short > _NOISE * body, short, 0.0)
    long = body - short
    is_math = compute_s >= memory_s
    rows = {
        "compute": np.where(is_math, long, short), "memory": np.where(is_math, short, long),
        "communication": communication_s, "launch": overhead_s,
    }  # fmt: skip
    families = FAMILY_CODES[kinds]
    found: Seconds = {}
    for part, seconds in rows.items():
        sums = np.bincount(families, seconds * times, len(FAMILIES))
        found |= {(family, part): value for family, value in zip(FAMILIES, sums.tolist(), strict=True) if value > 0.0}
    return found


def split_graphs(steps: Iterable[tuple[PricedGraph, float]]) -> Seconds:
    """Seconds of some graphs, each so many times."""
    whole: Seconds = {}
    for priced, times in steps:
        own = split(
            priced.graph.columns.kind, priced.graph.repeat * times, priced.time_s, priced.compute_s, priced.memory_s,
            priced.overhead_s, priced.communication_s,
        )  # fmt: skip
        whole = added(whole, own)
    return whole


def added(one: Mapping[tuple[str, str], float], other: Mapping[tuple[str, str], float]) -> Seconds:
    """Sums by key."""
    return {key: one.get(key, 0.0) + other.get(key, 0.0) for key in (*one, *(key for key in other if key not in one))}


def scaled(seconds: Mapping[tuple[str, str], float], scale: float) -> Seconds:
    """``seconds`` times ``scale``."""
    return {key: value * scale for key, value in seconds.items()}


def by_part(seconds: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Sums by part, in the order of ``PARTS``, without parts that take no time."""
    sums = dict.fromkeys(PARTS, 0.0)
    for (_, part), value in seconds.items():
        sums[part] += value
    return {part: value for part, value in sums.items() if value != 0.0}


def by_family(seconds: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """Parts of each family, the longest family first."""
    rows: dict[str, dict[str, float]] = {}
    for (family, part), value in seconds.items():
        rows.setdefault(family, {})[part] = value
    return dict(sorted(rows.items(), key=lambda row: -sum(row[1].values())))
