"""What a prediction says about each row of a points file, as columns beside the file's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from hardware_specs.devices import load_device
from hardware_specs.facts import fits_in, group_digest
from hardware_specs.records import DeviceSpec
from simulator.devices.calibrated import choice_of
from simulator.devices.registry import law_of
from simulator.result import Interval
from simulator.uncertainty.intervals import Z80, Z95
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.object_]
Truths = npt.NDArray[np.bool_]


class Prediction(NamedTuple):
    """One row: what it was scored on (``observed``), what was predicted, or why nothing was (``skip_reason``).

    ``left_out`` says why the row is no part of the scores at all: its run is scored by another row, for example.
    ``assumed`` names what had to be assumed, columns joined by "+".
    """

    observed: float = np.nan
    predicted: float = np.nan
    low_80: float = np.nan
    high_80: float = np.nan
    low_95: float = np.nan
    high_95: float = np.nan
    regime: str = ""
    runtime: str = ""
    device_class: str = ""
    fitted: bool = False
    provenance: str = ""
    skip_reason: str = ""
    left_out: str = ""
    assumed: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Predictions of n rows as columns of shape [n], named as in ``Prediction``; NaN is no number."""

    observed: Floats
    predicted: Floats
    low_80: Floats
    high_80: Floats
    low_95: Floats
    high_95: Floats
    regime: Words
    runtime: Words
    device_class: Words
    fitted: Truths
    provenance: Words
    skip_reason: Words
    left_out: Words
    assumed: Words

    def __len__(self) -> int:
        return len(self.observed)

    def take(self, rows: Any) -> Outcome:
        """The rows with these indices, or where a mask is true."""
        return Outcome(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def frame(self) -> pd.DataFrame:
        """As a table."""
        return pd.DataFrame({field.name: getattr(self, field.name) for field in fields(self)})


_TYPES = {"str": object, "float": np.float64, "bool": np.bool_}


def blank(rows: int) -> Outcome:
    """An outcome that predicts nothing, to be filled column by column."""
    columns: dict[str, Any] = {}
    for name, default in Prediction._field_defaults.items():
        columns[name] = np.full(rows, default, _TYPES[type(default).__name__])
    return Outcome(**columns)


def outcome_of(rows: Sequence[Prediction]) -> Outcome:
    """Rows as columns."""
    outcome = blank(len(rows))
    for place, name in enumerate(Prediction._fields):
        getattr(outcome, name)[:] = [row[place] for row in rows]
    return outcome


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Several outcomes one below the other."""
    names = [field.name for field in fields(Outcome)]
    return Outcome(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def filled(row: Prediction, predicted: float, known: Interval | None, scale: float, regime: str) -> Prediction:
    """``row`` with a predicted value, the ends of its interval times ``scale``, and what bounds it."""
    row = row._replace(predicted=predicted, regime=regime)
    if known is None:
        return row
    p2_5, p10, p90, p97_5 = (end * scale for end in msgspec.structs.astuple(known))
    return row._replace(low_80=p10, high_80=p90, low_95=p2_5, high_95=p97_5)


def widened(row: Prediction, assumed: Sequence[tuple[str, str]], log_sd: float) -> Prediction:
    """``row`` with what was assumed, as pairs of the column that it stands for and words, and with intervals that
    ``log_sd`` widens: an error independent of the others."""
    if not assumed:
        return row
    row = row._replace(
        assumed="+".join(sorted({column for column, _ in assumed})),
        provenance=f"{row.provenance}; assumed: {', '.join(words for _, words in assumed)}",
    )
    half = math.log(row.high_80 / row.low_80) / (2.0 * Z80) if row.low_80 > 0.0 else math.nan
    more = math.hypot(half, log_sd) - half
    return row._replace(
        low_80=row.low_80 * math.exp(-Z80 * more), high_80=row.high_80 * math.exp(Z80 * more),
        low_95=row.low_95 * math.exp(-Z95 * more), high_95=row.high_95 * math.exp(Z95 * more),
    )  # fmt: skip


def provenance_of(spec: DeviceSpec, runtime: Runtime, named: bool) -> str:
    """What a prediction rests on, in a line: fits of the device or the priors of its class, and the runtime.

    ``named`` says that the software column named the runtime; otherwise it is the usual one of the device.
    """
    fitted = sorted({fit.id for fit in fits_in(spec)})
    entries = choice_of(spec, runtime).entries
    own = sum(chosen.own_device for chosen in entries)
    device = f"priors of class {spec.device_class}"
    if entries:
        device = f"{own} calibrations of it, {len(entries) - own} of its class, else {device}"
    if fitted:
        device = f"fits {', '.join(fitted)}"
    chosen = runtime.id if named else f"{runtime.id} (its usual runtime; the row names none)"
    return f"{spec.id}: {device}; runtime {chosen}"


RUN_GROUPS: Final = ("device", "model")
"""How fits of runtimes group the rows of measured runs."""

TP_GROUPS: Final = ("tp",)
"""How a fit to one number of tensor parallel ways groups them, so that all others are held out."""


def run_key(device: str, model: str) -> str:
    """The key of the group of runs of ``model`` on ``device``."""
    return f"device={device} model={model}"


@cache
def is_fitted(runtime: str, device: str, *tables: str, model: str = "", tp: str = "") -> bool:
    """Whether a number of the runtime, the device or its law was set from rows of ``device`` in one of ``tables``.

    A fit that grouped runs did not see those of a ``model``, or of as many tensor parallel ways ``tp``, that it left
    out; others saw whole tables.
    """
    spec = load_device(device)
    fits = {*fits_in(load_runtime(runtime)), *fits_in(spec), *law_of(spec.device_class).fits}
    groups: dict[tuple[str, ...], str] = {
        RUN_GROUPS: group_digest(run_key(device, model)) if model else "",
        TP_GROUPS: group_digest(f"tp={tp.removesuffix('.0')}") if tp else "",
    }
    return any(
        fit.covers(table, device) and groups.get(fit.split_by, "") in (*fit.digests, "")
        for fit in fits
        for table in tables
    )
