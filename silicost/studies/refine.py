"""The best points of a study again, on the event engine, and what choosing by the closed form would have cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hardware_specs.errors import InputError
from silicost.studies.cells import scenario_of
from silicost.studies.study import Study, better_of
from simulator.explore import reading
from simulator.explore.points import Column
from simulator.placement.inference import placed_inference
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch
from simulator.simulate import simulate

_TOP = re.compile(r"top=(\d+)")
MOST_REFINED = 100_000


@dataclass(frozen=True)
class Refined:
    """Points that the engine ran.

    ``rows`` have the axes, the metric by the closed form and by the engine; ``regret`` is how much worse, as a share,
    the closed form's first choice is than the engine's by the engine's own account; ``farthest`` the largest relative
    difference between the two.
    """

    metric: str
    rows: list[dict[str, Any]]
    regret: float
    farthest: float


def parse_refine(text: str) -> int:
    """How many points "top=50" is.

    Raises:
        InputError: any other text.
    """
    found = _TOP.fullmatch(text.strip())
    if found is None or not 1 <= int(found[1]) <= MOST_REFINED:
        raise InputError(f"--refine {text!r}: must be top=N, N from 1 to {MOST_REFINED}, for example top=50")
    return int(found[1])


def refine(asked: Study, stored: reading.Study, most: int) -> Refined:
    """Run the ``most`` best feasible points by the first metric on the engine.

    Raises:
        InputError: the study is not of inference, or a part cannot be read.
    """
    metric = asked.metrics[0]
    if asked.trains or asked.engine:
        raise InputError("--refine: needs a study of inference that is answered in closed form")
    sign = 1.0 if better_of(metric) == "lower" else -1.0
    best = pd.DataFrame()
    for batch in stored.batches([*asked.space.names, metric, "feasible"]):
        frame = batch.to_pandas()
        frame = frame[frame["feasible"].to_numpy(bool) & np.isfinite(frame[metric].to_numpy(float))]
        frame = frame.assign(_cost=sign * frame[metric])
        best = pd.concat([best, frame.nsmallest(most, "_cost")], ignore_index=True).nsmallest(most, "_cost")
    units = {axis.name: axis.unit for axis in asked.space.ranges}
    rows = []
    for record in best.to_dict("records"):
        axes = {name: _plain(record[name], units.get(name, "")) for name in asked.space.names}
        closed = float(record[metric])
        rows.append({**axes, metric: closed, "engine": _engine(scenario_of({**asked.fixed, **axes}), metric)})
    if not rows:
        return Refined(metric, [], 0.0, 0.0)
    engine = np.array([row["engine"] for row in rows])
    chosen = sign * engine
    regret = float(abs(engine[0] / engine[chosen.argmin()] - 1.0))
    far = float(max(abs(row["engine"] / row[metric] - 1.0) for row in rows))
    return Refined(metric, rows, regret, far)


def _engine(scenario: Scenario, metric: str) -> float:
    """A metric of one pool on the event engine."""
    work = scenario.workload
    result: Result = placed_inference(scenario, work) if isinstance(work, StaticBatch) else simulate(scenario)
    own: Mapping[str, float | None] = {
        **result.metrics, "memory_bytes": result.memory.total, "device_j": result.energy.device,
        "facility_j": result.energy.facility,
    }  # fmt: skip
    value = own[metric]
    return float("nan") if value is None else value


def _plain(value: Any, unit: str) -> Any:
    """A value as scenarios take it: numbers of a continuous axis with its unit."""
    plain = value.item() if isinstance(value, np.generic) else value
    return Column.of_numbers(np.array([plain]), unit).value(0) if unit else plain
