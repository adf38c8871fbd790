"""How well predictions order the plans of one model: what a choice by prediction costs.

A comparison is all training steps of one table that train one model on as many of one device with one global batch,
sequence length, precision and task, and differ in their plan; it takes ``FEWEST`` plans. Of each

    tau    = Kendall's tau-b of predicted and measured step times
    regret = measured time of the plan that is predicted fastest / least measured time - 1

Plans that are predicted alike to the last digit count as one choice: of these the slowest is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from simulator.validation.outcome import Floats, Outcome
from simulator.validation.points import Points
from simulator.validation.scoring import kendall_tau

FEWEST: Final = 4
"""Plans below which there is no order to speak of."""
SAME: Final = ("model", "layers", "hidden", "n_devices", "global_batch", "seq_len", "precision", "task")
"""Columns in which the rows of a comparison agree, beside source and device."""
PLAN: Final = ("tp", "pp", "dp", "cp", "ep", "vpp", "micro_batch", "recompute", "fsdp", "zero_stage", "seq_parallel")
"""Columns that say what differs."""


def rankings_of(scored: Sequence[tuple[Points, Outcome]]) -> list[dict[str, Any]]:
    """Figures of points files and what was predicted of their rows, by source and device, sorted.

    ``comparisons`` and their ``rows``, of which fits have ``seen`` some; mean and least tau; mean, median and largest
    regret, as fractions.
    """
    parts = [_table(points, outcome) for points, outcome in scored if points.kind == "training"]
    if not parts:
        return []
    table = pd.concat(parts, ignore_index=True)
    found: dict[tuple[str, str], list[tuple[int, int, float | None, float]]] = {}
    keyed: Iterable[tuple[Any, pd.DataFrame]] = table.groupby(["source", "device", *SAME], sort=True)
    for key, rows in keyed:
        if len(rows[list(PLAN)].drop_duplicates()) < FEWEST:
            continue
        observed, predicted = rows["observed"].to_numpy(float), rows["predicted"].to_numpy(float)
        figures = (kendall_tau(observed, predicted), regret(observed, predicted))
        source, device = (str(word) for word in key[:2])
        found.setdefault((source, device), []).append((len(rows), int(rows["fitted"].sum()), *figures))
    return [_figures(source, device, of) for (source, device), of in found.items()]


def regret(observed: Floats, predicted: Floats) -> float:
    """By how much the choice that predictions make is slower than the best one, as a fraction."""
    chosen = observed[predicted == predicted.min()].max()
    return float(chosen / observed.min() - 1.0)


def _table(points: Points, outcome: Outcome) -> pd.DataFrame:
    """Labels, times and marks of the rows that were predicted."""
    columns: dict[str, Any] = {name: points.text(name) for name in ("device", *SAME, *PLAN)}
    columns |= {"source": points.sources(), "observed": outcome.observed, "predicted": outcome.predicted}
    kept = np.isfinite(outcome.predicted) & (outcome.left_out == "")
    return pd.DataFrame(columns | {"fitted": outcome.fitted}).iloc[np.flatnonzero(kept)]


def _figures(source: str, device: str, of: Sequence[tuple[int, int, float | None, float]]) -> dict[str, Any]:
    rows, seen, taus, regrets = zip(*of, strict=True)
    known = [tau for tau in taus if tau is not None]
    return {
        "source": source, "device": device, "comparisons": len(of), "rows": sum(rows), "seen": sum(seen),
        "kendall_tau": float(np.mean(known)) if known else None, "least_tau": min(known) if known else None,
        "regret": float(np.mean(regrets)), "median_regret": float(np.median(regrets)), "most_regret": max(regrets),
    }  # fmt: skip
