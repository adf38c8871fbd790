"""From measured operators to a calibration: fitted parameters, and an honest account of how far off they are.

The first fold of groups is held out for good. The parameters are fitted to the other folds; their residuals, of which
intervals are made, come from fits that leave one more fold out in turn. What a class is given for devices that were
never measured is fitted to several devices at once, and its residuals come from leaving one device out in turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.calibrations import Calibration, Residuals
from hardware_specs.facts import Fit, group_digest
from simulator.calibration.fit import Sample, fit_parameters, log_ratios
from simulator.calibration.residuals import residuals_of
from simulator.calibration.sizes import measured_sizes
from simulator.calibration.split import HELD_OUT, folds_of, spread_over
from simulator.devices.registry import Parameter

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ROWS = 3000
"""Rows of a device that a fit looks at, spread over the logarithm of the measured time."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Measured operators of one device under one runtime, and the key of each one's group."""

    sample: Sample
    keys: tuple[str, ...]
    sources: tuple[str, ...]

    def take(self, rows: Ints) -> Measured:
        """The rows with these indices."""
        model, columns, measured_s = self.sample
        picked = Sample(model, columns.take(rows), measured_s[rows])
        chosen = rows.tolist()
        return Measured(picked, tuple(self.keys[i] for i in chosen), tuple(self.sources[i] for i in chosen))

    @property
    def folds(self) -> Ints:
        """The fold of each row."""
        return folds_of(self.keys)

    @property
    def seen(self) -> Measured:
        """The rows that fits may look at."""
        return self.take(np.flatnonzero(self.folds != HELD_OUT))

    @property
    def device(self) -> str:
        """The device that was measured."""
        return self.sample.model.spec.id


class Scope(NamedTuple):
    """What a calibration holds for; see ``Calibration``."""

    operators: tuple[str, ...]
    dtypes: tuple[str, ...]
    weights: Literal["plain", "packed", "scaled"] = "plain"


def calibrate(
    rows: Measured, free: Sequence[Parameter], about: Fit, scope: Scope, *, hold_out: bool = True, most_steps: int = 700
) -> Calibration:
    """A calibration of one device under one runtime.

    Args:
        about: id, sources, rule, date and split columns of the fit; rows and digests are filled in.
        hold_out: no fit sees the first fold; else the parameters come from all rows, and every fold is left out once
            for the residuals alone.
        most_steps: see ``fit_parameters``.

    Raises:
        ValueError: too few rows, or a range without room.
    """
    folds = rows.folds
    seen = np.flatnonzero(folds != HELD_OUT) if hold_out else np.arange(len(folds))
    values = _fitted([rows.take(seen)], free, most_steps)
    inner = folds[seen]
    if len(set(inner.tolist())) < 2:
        inner = 1 + np.arange(len(seen)) % 3
    ratios: list[Floats] = []
    groups: list[str] = []
    blocks: list[str] = []
    for fold in sorted(set(inner.tolist())):
        out = rows.take(seen[inner == fold])
        ratios.append(log_ratios([out.sample], _fitted([rows.take(seen[inner != fold])], free, most_steps)))
        groups += out.keys
        blocks += [str(fold)] * len(out.keys)
    entry = Calibration(
        operators=scope.operators,
        parameters=texts_of(values, free),
        fit=filled(about, [rows.take(seen)]),
        residuals=residuals_of(np.concatenate(ratios), groups, blocks),
        dtypes=scope.dtypes,
        runtimes=(rows.sample.model.runtime.id,),
        weights=scope.weights,
        measured=measured_sizes([rows.sample.columns.take(seen)]),
    )
    held = rows.take(np.flatnonzero(folds == HELD_OUT))
    if not hold_out or not held.keys:
        return entry
    shipped = {name: fact.value for name, fact in entry.facts.items()}
    left = residuals_of(log_ratios([held.sample], shipped), held.keys, [str(HELD_OUT)] * len(held.keys))
    return msgspec.structs.replace(entry, held_out=left)


def calibrate_together(
    parts: Sequence[tuple[str, Measured]],
    free: Sequence[Parameter],
    about: Fit,
    scope: Scope,
    *,
    most_steps: int = 700,
) -> Calibration:
    """One set of parameters for several parts: devices of a class, kinds of operators of a device.

    Args:
        parts: name and rows of each; residuals come from fits that left all parts of one name out.

    Raises:
        ValueError: parts of fewer than two names.
    """
    names = sorted({name for name, _ in parts})
    if len(names) < 2:
        raise ValueError("what holds for several is shown on at least two")
    ratios: list[Floats] = []
    groups: list[str] = []
    for left_out in names:
        values = _fitted([rows for name, rows in parts if name != left_out], free, most_steps)
        for name, rows in parts:
            if name == left_out:
                ratios.append(log_ratios([rows.sample], values))
                groups += [name] * len(rows.keys)
    every = [rows for _, rows in parts]
    return Calibration(
        operators=scope.operators,
        parameters=texts_of(_fitted(every, free, most_steps), free),
        fit=filled(about, every),
        residuals=residuals_of(np.concatenate(ratios), groups, groups),
        dtypes=scope.dtypes,
        weights=scope.weights,
        measured=measured_sizes([rows.sample.columns for rows in every]),
    )


def uncalibrated(parts: Sequence[tuple[str, Measured]]) -> Residuals:
    """How far off the priors are on the same rows, each name weighing the same."""
    ratios = np.concatenate([log_ratios([rows.sample], {}) for _, rows in parts])
    names = [name for name, rows in parts for _ in rows.keys]
    return residuals_of(ratios, names, names)


def _fitted(rows: Sequence[Measured], free: Sequence[Parameter], most_steps: int = 700) -> dict[str, float]:
    most = MOST_ROWS // len(rows)
    samples = [each.take(spread_over(each.sample.measured_s, most)).sample for each in rows]
    return fit_parameters(samples, free, most_steps).values


def filled(about: Fit, rows: Sequence[Measured]) -> Fit:
    """``about`` with the devices, sources, rows and groups that were used, and the hash of the rows."""
    groups = sorted({group_digest(key) for each in rows for key in each.keys})
    digest = hashlib.sha256()
    for each in rows:
        for name in ("kind", "dtype", "m", "n", "k", "batch"):
            digest.update(np.ascontiguousarray(getattr(each.sample.columns, name)).tobytes())
        digest.update(each.sample.measured_s.tobytes())
    return msgspec.structs.replace(
        about,
        devices=tuple(sorted({each.device for each in rows})),
        sources=tuple(sorted({source for each in rows for source in each.sources})),
        rows=sum(len(each.keys) for each in rows),
        groups=(" ".join(groups),),
        rows_sha256=digest.hexdigest(),
    )


_UNITS = {"s": (1e6, " us"), "bytes_per_s": (1.0, " B/s"), "bytes": (1.0, " B"), "flops": (1.0, " FLOP/s")}


def texts_of(values: Mapping[str, float], free: Sequence[Parameter]) -> dict[str, str]:
    """Values of parameters with their units, four digits."""
    texts = {}
    for parameter in free:
        scale, unit = _UNITS.get(parameter.dimension, (1.0, ""))
        texts[parameter.name] = f"{values[parameter.name] * scale:.4g}{unit}"
    return texts
