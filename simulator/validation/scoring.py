"""Figures of merit of predictions against measurements.

With y the measurement, p the prediction, [l, u] its 80% interval and a = 0.2::

    APE            = |p / y - 1|
    log ratio      = ln(p / y)
    bias           = median of p / y
    interval score = ln(u / l) + 2 / a * (ln(l / y) if y < l, ln(y / u) if y > u, else 0)

The interval score is that of Winkler on the logarithm, so that rows of any size count alike: the width of the interval
plus a penalty for what lies outside; smaller is better. Source: Gneiting and Raftery, "Strictly proper scoring rules,
prediction, and estimation", JASA 102(477), 2007, eq. 43, doi:10.1198/016214506000001437. Kendall's tau-b is the rank
correlation of predictions and measurements.

What intervals of one's own are worth shows beside the constant band [p / c, p c] with the smallest c that holds as many
measurements: its score on the same rows is what theirs must beat. Whether coverage is what was promised is an exact
binomial test, two-sided. It takes rows as independent, which rows of one source and device are not: the number of these
pairs says how many there are at worst.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np

from simulator.validation.outcome import Floats, Outcome, Words

ALPHA: Final = 0.2
"""What an 80% interval leaves outside."""
PROMISED: Final = {"80": 1.0 - ALPHA, "95": 0.95}
"""Share of measurements that intervals should hold, by their name."""

MOST_REASONS: Final = 20
"""Reasons that a group lists one by one."""

FIGURES: Final = (
    "mape", "mape_with_skipped", "median_ape", "p90_ape", "median_abs_log_ratio", "bias", "kendall_tau",
    "coverage_80", "coverage_95", "interval_score", "constant_band_score",
)  # fmt: skip
"""Names of the figures of a group of rows."""

TESTS: Final = ("coverage_80_p", "coverage_95_p")
"""Names of p-values, which have no mean."""


def figures_of(rows: Outcome, origins: Words) -> dict[str, Any]:
    """Figures of one group of rows, as fractions; null where no row was predicted.

    ``n`` rows were predicted and count in the figures, ``skipped`` were not; ``mape_with_skipped`` counts these as
    100% off. ``fitted_rows`` of the predicted ones were seen by a fit, ``assumed_rows`` rest on assumptions; they come
    from ``source_devices`` origins.

    Args:
        origins: source and device of each row in a word, shape as ``rows``.
    """
    known = np.isfinite(rows.predicted) & (rows.predicted > 0.0)
    skipped = int((~known).sum())
    seen = rows.take(known)
    return {
        "n": len(seen),
        "skipped": skipped,
        "skip_reasons": reasons_of(rows.skip_reason[~known]),
        **_errors(seen, skipped),
        "fitted_rows": int(seen.fitted.sum()),
        "source_devices": len(set(origins[known].tolist())),
        "assumed_rows": int((seen.assumed != "").sum()),
    }


def _errors(seen: Outcome, skipped: int) -> dict[str, float | None]:
    """The figures of predicted rows."""
    figures: dict[str, float | None] = dict.fromkeys((*FIGURES, *TESTS))
    total = len(seen) + skipped
    if not len(seen):
        return figures | {"mape_with_skipped": 1.0 if total else None}
    ratio = seen.predicted / seen.observed
    ape = np.abs(ratio - 1.0)
    inside = {
        "80": int(((seen.low_80 <= seen.observed) & (seen.observed <= seen.high_80)).sum()),
        "95": int(((seen.low_95 <= seen.observed) & (seen.observed <= seen.high_95)).sum()),
    }
    return {
        "mape": float(ape.mean()),
        "mape_with_skipped": float((ape.sum() + skipped) / total),
        "median_ape": float(np.median(ape)),
        "p90_ape": float(np.quantile(ape, 0.9)),
        "median_abs_log_ratio": float(np.median(np.abs(np.log(ratio)))),
        "bias": float(np.median(ratio)),
        "kendall_tau": kendall_tau(seen.observed, seen.predicted),
        **{f"coverage_{level}": count / len(seen) for level, count in inside.items()},
        "interval_score": float(interval_scores(seen.observed, seen.low_80, seen.high_80).mean()),
        "constant_band_score": constant_band_score(seen.observed, seen.predicted, inside["80"]),
        **{f"coverage_{level}_p": coverage_p(count, len(seen), level) for level, count in inside.items()},
    }


def coverage_p(inside: int, rows: int, level: str) -> float:
    """How likely coverage is at least as far from what ``level`` promises as ``inside`` of ``rows``, if the promise
    holds and rows are independent."""
    from scipy.stats import binomtest

    return float(binomtest(inside, rows, PROMISED[level]).pvalue)


def constant_band_score(observed: Floats, predicted: Floats, inside: int) -> float:
    """Mean interval score of the band [p / c, p c] whose c is the smallest that holds ``inside`` measurements."""
    distance = np.sort(np.abs(np.log(observed / predicted)))
    half = distance[inside - 1] if inside else 0.0
    return float(np.mean(2.0 * half + 2.0 / ALPHA * np.maximum(distance - half, 0.0)))


def interval_scores(observed: Floats, low: Floats, high: Floats) -> Floats:
    """Winkler's score of 80% intervals on the logarithm, shape as ``observed``."""
    y, lower, upper = np.log(observed), np.log(low), np.log(high)
    missed: Floats = np.maximum(lower - y, 0.0) + np.maximum(y - upper, 0.0)
    return upper - lower + 2.0 / ALPHA * missed


def kendall_tau(observed: Floats, predicted: Floats) -> float | None:
    """Rank correlation (tau-b); None for fewer than two rows, or where one side is constant."""
    if len(observed) < 2:
        return None
    from scipy.stats import kendalltau

    tau = float(kendalltau(observed, predicted).statistic)
    return tau if np.isfinite(tau) else None


def reasons_of(reasons: Words) -> dict[str, int]:
    """How often each reason occurs, most frequent first; beyond the first ones they are counted together."""
    ordered = sorted(Counter(reasons.tolist()).items(), key=lambda item: (-item[1], item[0]))
    others = sum(count for _, count in ordered[MOST_REASONS:])
    return dict(ordered[:MOST_REASONS]) | ({"other reasons": others} if others else {})


def mean_of(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures averaged over groups, each group counting once; ``without_prediction`` groups have no figure but that
    with skipped rows."""
    means: dict[str, Any] = {
        "groups": len(groups),
        "without_prediction": sum(group["n"] == 0 for group in groups),
    }
    for name in FIGURES:
        values = [group[name] for group in groups if group[name] is not None]
        means[name] = float(np.mean(values)) if values else None
    return means
