"""The points of a study by its first two objectives, as its page draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.study import Cloud, FrontPoint, Shares
from silicost.studies.page_points import Axes, Kept, configuration_of, words_of
from silicost.studies.summary import Summary

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_COLOURS: Final = 6


def cloud_of(
    found: Summary, kept: Kept, axes: Axes, names: Sequence[str], shares: Sequence[Shares], units: Mapping[str, str]
) -> Cloud | None:
    """Points by the first two objectives; None without two."""
    if len(found.objectives) < 2:
        return None
    own = [names.index(each.metric) for each in found.objectives]
    objectives = tuple(f"{each.metric}:{each.better}" for each in found.objectives)
    front = tuple(
        FrontPoint(float(row[names[own[0]]]), float(row[names[own[1]]]), tuple(float(row[names[k]]) for k in own),
                   configuration_of(row, found.axes, units))
        for row in found.front
    )  # fmt: skip
    if kept.bins:
        return Cloud(own[0], own[1], objectives, front, bins=kept.bins, left_out=kept.off)
    x, y = (kept.frame[names[k]].to_numpy(float) for k in own[:2])
    feasible = kept.frame["feasible"].to_numpy(bool)
    with np.errstate(invalid="ignore"):
        here = feasible & (x > 0.0) & (y > 0.0) & np.isfinite(x) & np.isfinite(y)
    rows = kept.frame.loc[here, list(found.axes)]
    columns = [_coded(rows[name], units.get(name, "")) for name in found.axes]
    coloured = _coloured(axes, shares, own[:2])
    sign = -1.0 if found.objectives[0].better == "higher" else 1.0
    legend, colours = _legend(axes, coloured, here, sign * x[here])
    return Cloud(
        own[0], own[1], objectives, front, names=tuple(found.axes), labels=tuple(labels for labels, _ in columns),
        x_values=x[here], y_values=y[here],
        codes=np.stack([codes for _, codes in columns], axis=1),
        colours=colours, coloured_by="" if coloured is None else axes.factors[coloured].name, legend=legend,
        left_out=int((feasible & ~here).sum()),
    )  # fmt: skip


def _coded(column: pd.Series[Any], unit: str) -> tuple[tuple[str, ...], Ints]:
    """The values of a column in words, and the place of each row's."""
    values, codes = np.unique(column.astype(object) if column.dtype.name == "category" else column, return_inverse=True)
    return tuple(words_of(value, unit) for value in values.tolist()), codes


def _coloured(axes: Axes, shares: Sequence[Shares], metrics: Sequence[int]) -> int | None:
    """The factor that dots are coloured by: of names, else of a few numbers, the one that explains most."""
    able = [k for k, f in enumerate(axes.factors) if not f.binned and (not f.places or len(f.levels) <= _COLOURS)]
    weights = {k: sum(np.nan_to_num(shares[m].of[k]) for m in metrics) for k in able}
    return max(able, key=lambda k: (not axes.factors[k].places, weights[k], -k), default=None)


def _legend(axes: Axes, coloured: int | None, here: Bools, costs: Floats) -> tuple[tuple[str, ...], Ints]:
    """Levels with a colour, the ``_COLOURS`` with the best points by the first objective, and the colour of each point;
    -1 for others."""
    if coloured is None:
        return (), np.full(int(here.sum()), -1, np.int64)
    factor, codes = axes.factors[coloured], axes.codes[coloured][here]
    best = np.full(len(factor.levels), np.inf)
    np.minimum.at(best, codes, costs)
    chosen = sorted(np.argsort(best, kind="stable")[:_COLOURS].tolist())
    table = np.full(len(factor.levels), -1, np.int64)
    table[chosen] = np.arange(len(chosen))
    return tuple(factor.levels[k] for k in chosen), table[codes]
