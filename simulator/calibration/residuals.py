"""What is left of measured over predicted on rows that a fit has not seen, as numbers that an interval is made of.

Split conformal prediction: the interval of a new point is cut from the residuals of points that the fit has not seen
either; Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005; Lei et al., JASA 113(523), 2018,
doi:10.1080/01621459.2017.1307116. What was left out together counts together: folds, or devices, weigh the same however
many rows they have. Rows of one group are alike, so that a sample of few groups says less than its rows seem to: the
ends move out by (1 + 1 / groups).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hardware_specs.calibrations import Residuals
from simulator.uncertainty.intervals import Z80

Floats = npt.NDArray[np.float64]

LEVELS: Final = (0.025, 0.1, 0.9, 0.975)


def residuals_of(log_ratio: Floats, groups: Sequence[str], blocks: Sequence[str]) -> Residuals:
    """Residuals of rows.

    Args:
        log_ratio: ln(predicted / measured) of rows that the fit has not seen, shape [n].
        groups: group of each row: rows of one are alike.
        blocks: what each row was left out with, a fold or a device: what rows of one have in common is the shared
            error, and each weighs the same.

    Raises:
        ValueError: no rows.
    """
    if not len(log_ratio):
        raise ValueError("no row was left out: nothing says how far off the fit is")
    r = -log_ratio
    off = np.abs(np.expm1(log_ratio))
    names = np.array(blocks, object)
    _, place, count = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    weight = 1.0 / (len(count) * count[place])
    means = np.array([_middle(r[names == name]) for name in sorted(set(blocks))])
    within = np.array([_spread(r[names == name]) ** 2 for name in sorted(set(blocks))])
    unique = sorted(set(groups))
    return Residuals(
        rows=len(r),
        groups=len(unique),
        mape=_short((weight * off).sum()),
        median=_short(np.median(off)),
        shared=_short(np.sqrt(np.mean(means**2))),
        own=_short(np.sqrt(within.mean())),
        quantiles=tuple(_short(end) for end in _ends(r, weight, len(unique))),
    )


def _ends(r: Floats, weight: Floats, groups: int) -> list[float]:
    """Quantiles at ``LEVELS`` of weighted rows, moved out for the size of the sample."""
    order = np.argsort(r, kind="stable")
    ordered, share = r[order], np.cumsum(weight[order])
    n = len(ordered)
    ends = []
    for level in LEVELS:
        # The residual of one more row may lie beyond any of the n: tails hold (n + 1) / n of their share.
        tail = level if level < 0.5 else 1.0 - level
        tail *= n / (n + 1.0) if n * tail > 1.0 else 0.0
        sought = tail if level < 0.5 else 1.0 - tail
        ends.append(float(ordered[min(int(np.searchsorted(share, sought)), n - 1)]))
    middle = float(ordered[min(int(np.searchsorted(share, 0.5)), n - 1)])
    return [middle + (end - middle) * (1.0 + 1.0 / groups) for end in ends]


def _middle(r: Floats) -> float:
    """Mean of the middle half: outliers count as rows, not by how far out they are."""
    low, high = np.quantile(r, (0.25, 0.75))
    inside = r[(low <= r) & (r <= high)]
    return float(inside.mean() if len(inside) else np.median(r))


def _spread(r: Floats) -> float:
    """Standard deviation of the normal that has these 10% and 90% quantiles."""
    low, high = np.quantile(r, (0.1, 0.9))
    return float(high - low) / (2.0 * Z80)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
