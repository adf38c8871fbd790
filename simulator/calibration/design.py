"""Which shapes to measure next: those on which fits to different parts of the samples disagree most.

Query by committee (Seung, Opper, Sompolinsky, COLT 1992, doi:10.1145/130385.130417): each fit leaves one fold of shapes
out; where their predictions for a candidate differ, the samples do not determine it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.records import DeviceSpec
from simulator.calibration.fit import fit_parameters
from simulator.calibration.machine_fit import Part, free_of, measured_of, with_records
from simulator.calibration.probes.registry import Case, Probe, Target
from simulator.calibration.split import folds_of
from simulator.devices.model import cost_on_devices
from simulator.kernels.roofline import TIME
from workloads.graph import columns_of

Floats = npt.NDArray[np.float64]

_STEPS: Final = 60
_FEWEST: Final = 12
"""Samples of a part below which folds say nothing."""


class Unsure(NamedTuple):
    """A candidate, and the standard deviation of the log of what the committee predicts for it."""

    probe: Probe
    case: Case
    log_sd: float


def most_unsure(
    spec: DeviceSpec, parts: Sequence[Part], candidates: Sequence[tuple[Probe, Case]], target: Target
) -> list[Unsure]:
    """Candidates of the parts' runtimes, kinds and dtypes, the least sure ones first."""
    found: list[Unsure] = []
    for part in parts:
        own = [
            (probe, case) for probe, case in candidates
            if case.operator.kind in part.kinds and case.operator.dtype == part.dtype
            and probe.runtime.get(target) == part.runtime
        ]  # fmt: skip
        if own and len(part.rows) >= _FEWEST:
            spread = committee_sd(spec, part, [case for _, case in own])
            found += [Unsure(probe, case, float(sd)) for (probe, case), sd in zip(own, spread, strict=True)]
    return sorted(found, key=lambda each: -each.log_sd)


def committee_sd(spec: DeviceSpec, part: Part, cases: Sequence[Case]) -> Floats:
    """How far fits that leave one fold of shapes out each disagree on ``cases``: standard deviation of the log."""
    rows, free = measured_of(spec, part), free_of(spec, part.kinds[0])
    folds = folds_of(rows.keys)
    columns = columns_of([case.operator for case in cases])
    if len(set(folds.tolist())) < 2:
        return np.zeros(len(cases))
    predicted = []
    for fold in sorted(set(folds.tolist())):
        seen = rows.take(np.flatnonzero(folds != fold)).sample
        model = with_records(seen.model, fit_parameters([seen], free, _STEPS).values)
        predicted.append(np.log(cost_on_devices((model,), columns)[0, TIME]))
    # Fits of n folds share n - 2 parts of their samples: the jackknife's factor undoes that.
    return np.std(predicted, axis=0) * np.sqrt(len(predicted) - 1.0)  # type: ignore[no-any-return]


def different(unsure: Sequence[Unsure], most: int) -> list[Unsure]:
    """The ``most`` least sure candidates, not two with the same weights or heads."""
    chosen: dict[tuple[object, ...], Unsure] = {}
    for each in unsure:
        o = each.case.operator
        chosen.setdefault((o.kind, o.dtype, o.n, o.k, o.heads, o.kv_heads), each)
    return list(chosen.values())[:most]
