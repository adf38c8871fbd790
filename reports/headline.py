"""What a page says first about each result, and in which order results stand in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from reports.numbers import cell_of, metric_of
from reports.text import short
from simulator.metrics import METRICS
from simulator.result import Result

HEADLINES: Final[tuple[str, ...]] = (
    "step_time_s", "output_tokens_per_s", "makespan_s", "tpot_s", "ttft_s", "mfu", "tokens_per_s_per_device",
    "j_per_output_token", "usd_per_million_output_tokens", "usd_per_step", "max_batch",
)  # fmt: skip
"""Metrics of a card, in order; the first that a result has is set large."""

_ON_CARD: Final = 6


def headlines_of(result: Result) -> tuple[str, ...]:
    """The metrics of a result's card; of a result that has none of the usual ones, its first."""
    usual: tuple[str, ...] = tuple(name for name in HEADLINES if name in result.metrics)
    if "output_tokens_per_s" in usual:
        usual = tuple(name for name in usual if name != "tokens_per_s_per_device")
    return (usual or tuple(result.metrics))[:_ON_CARD]


def metrics_of(results: Sequence[Result]) -> tuple[str, ...]:
    """Every metric that some result has: documented ones in their documented order, others after them."""
    present = dict.fromkeys(name for result in results for name in result.metrics)
    documented = [metric.name for metric in METRICS if metric.name in present]
    return (*documented, *(name for name in present if name not in documented))


def best_of(results: Sequence[Result], name: str) -> int | None:
    """The place of the best result by the metric ``name`` among those that fit; None without a competition.

    Fractions of a device's own peak (MFU, MBU) have no best: they compare a device with itself.
    """
    better = metric_of(name).better if metric_of(name).dimension != "fraction" else ""
    cells = [cell_of(result, name).value if result.fits else None for result in results]
    known = [(value, place) for place, value in enumerate(cells) if value is not None]
    if len(known) < 2 or not better:
        return None
    value, place = min(known) if better == "lower" else max(known, key=lambda pair: (pair[0], -pair[1]))
    return place if sum(other == value for other, _ in known) == 1 else None


def ranked(results: Sequence[Result]) -> list[int]:
    """Places of ``results``: what fits first, the best by its own first headline first, unknown values last."""

    def key(place: int) -> tuple[bool, float, int]:
        result = results[place]
        name = next(iter(headlines_of(result)), "")
        value = cell_of(result, name).value
        if value is None:
            return not result.fits, math.inf, place
        return not result.fits, -value if metric_of(name).better == "higher" else value, place

    return sorted(range(len(results)), key=key)


def kind_name(kind: str) -> str:
    """What kind of question a result answers, in a word."""
    return short(kind, 40)


def device_class(result: Result) -> str:
    """The device class of a result; "mixed" where several work together."""
    classes = {pool.device_class for pool in result.pools}
    return classes.pop() if len(classes) == 1 else "mixed"
