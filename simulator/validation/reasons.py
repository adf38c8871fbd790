"""Why a prediction may be off, by rule: what it lacks to rest on, and what its row does not say.

These are circumstances, not proofs: each is true of the row, none says that it is the cause.
"""

from __future__ import annotations

from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from simulator.devices.calibrated import choice_of
from simulator.devices.model import native_dtype
from simulator.validation.cells import Row
from simulator.validation.one_pool import device_of
from simulator.validation.operators import COLLECTIVES
from simulator.validation.weights import weight_format
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.match import match_runtime

SOFTWARE = {"ops": "software", "inference": "engine", "training": "framework"}
"""The column that names the software, by the kind of points."""


_SEEN = "seen by its fit: the form of the law misses it"


def reasons_of_row(kind: str, row: Row, runtime: str, regime: str, provenance: str, fitted: bool) -> list[str]:
    """What may make the prediction of ``row`` wrong, the weightiest first; none is known for some rows.

    Args:
        runtime, regime, provenance, fitted: as its prediction says.
    """
    spec = device_of(row["device"])
    found = []
    if not match_runtime(row.get(SOFTWARE[kind], ""), spec)[1]:
        found.append(f"software not named: {runtime} taken")
    emulated = _stand_in(kind, row, spec)
    if emulated:
        found.append(emulated)
    found += _unsaid(kind, row)
    if row.get("op", "").lower() in COLLECTIVES:
        return [*found, _SEEN if fitted else "extrapolated: links or a size of group that no fit has seen"]
    found.append(_rests_on(kind, spec, runtime, provenance, fitted))
    if regime == "overhead":
        found.append("short: launch and host decide")
    return [reason for reason in found if reason]


def _rests_on(kind: str, spec: DeviceSpec, runtime: str, provenance: str, fitted: bool) -> str:
    """What is weak about the parameters of the law; "" for parameters fitted to this very device and software."""
    used = list(choice_of(spec, load_runtime(runtime)).entries)
    if kind == "ops":
        used = [chosen for chosen in used if f"fit {chosen.entry.fit.id}" in provenance]
    if not used:
        return "" if ": fits " in provenance else f"no calibration: priors of class {spec.device_class}"
    if not any(chosen.own_device for chosen in used):
        return "calibrated on other devices of the class"
    if not any(chosen.own_runtime for chosen in used):
        return "calibrated under other software"
    if kind != "ops":
        return ""
    return _SEEN if fitted else "extrapolated: sizes that its fit has not seen"


def _stand_in(kind: str, row: Row, spec: DeviceSpec) -> str:
    """The dtype at whose rate another one is computed, where this device lacks it."""
    try:
        dtype = _dtype(kind, row)
        native = native_dtype(spec, dtype) if dtype in COMPUTE_DTYPES else dtype
    except InputError:
        return ""
    return f"{dtype} computed as {native}" if native != dtype else ""


def _dtype(kind: str, row: Row) -> str:
    if kind == "inference":
        return weight_format(row.get("weight_dtype", ""), 2.0)[0]
    return row.get("dtype" if kind == "ops" else "precision", "").lower()


def _unsaid(kind: str, row: Row) -> list[str]:
    """What the row leaves open and the prediction had to take."""
    found = []
    batch_kind = row.get("batch_kind", "exact")
    if kind == "inference" and batch_kind not in ("", "exact"):
        found.append(f"batch is no exact one but {batch_kind!r}")
    if kind == "training" and row.get("recompute", "") not in ("none", "selective", "full"):
        found.append("recomputation not stated: none taken")
    return found
