"""Fit the shipped calibrations to measured operators.

    python benchmarks/fit_operators.py POINTS... [--out FOLDER] [--only TEXT] [--date DATE]

Every (device, runtime, operators, dtypes, weights) with enough rows becomes an entry of ``<device>.toml``; what at
least two devices measured becomes an entry of ``<class>.toml``, fitted to their seen rows together, with residuals of
devices left out. ``--only`` fits what contains this text in "device runtime operators dtypes" and keeps the other
entries as they are. What is printed: rows and groups seen, the error of fits that left groups out, and that on the
groups held out for good. ``calibration_sizes.py`` records how large the calls were, without a fit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from hardware_specs.calibrations import Calibration, Residuals, calibrations_of
from hardware_specs.devices import load_device
from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.files import write_text
from simulator.calibration.entry import Measured, Scope, calibrate, calibrate_together, uncalibrated
from simulator.calibration.fit import Sample
from simulator.calibration.write import calibrations_text
from simulator.devices.calibrated import WEIGHTS, stack_of, weights_of
from simulator.devices.model import compile_device
from simulator.devices.registry import Parameter, law_of
from simulator.validation.groups import group_keys, split_of
from simulator.validation.operators import OPS
from simulator.validation.ops import DEVICES, OpTable, kernels_alone, operators_in, rows_by_pair
from simulator.validation.points import Points, read_points
from workloads.graph import OpColumns
from workloads.operators import FAMILY, OpKind
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Factors, Runtime

FEWEST_ROWS: Final = 30
RULE: Final = "groups of rows ordered by digest, every fourth held out; mean absolute log ratio minimised on the others"
KINDS_RULE: Final = "one value for all kinds measured, for kinds that were not; residuals of kinds left out"
CLASS_RULE: Final = "one value for all devices measured, on rows that their own fits saw; residuals of devices left out"
_ONE: Final = Fact(1.0, "number", "1", Mark.ASSUMED, "a fit to this runtime's own kernels")
_PRODUCTS: Final = (OpKind.GEMM, OpKind.BATCHED_GEMM)
_VECTORS: Final = tuple(kind.name.lower() for kind, family in FAMILY.items() if family == "vector")


_FLASH_2: Final = ({"prefill_group": 1.0}, {"decode_lone_piece": 1000.0})
_KERNELS: Final[dict[tuple[str, str], tuple[dict[str, float], dict[str, float]]]] = {
    ("a100-sxm-80gb", "vllm"): _FLASH_2,
    ("rtx-4090", "vllm"): _FLASH_2,
    ("h100-sxm-80gb", "trtllm"): ({"prefill_group": 1.0}, {"decode_group": 32.0, "decode_packed_units": 0.25}),
}
"""What kernels of prefill and decode attention do, by device and stack: FlashAttention-2 gives each query head tiles of
its own and starts from never splitting heads that share no keys; TensorRT-LLM packs at most 32 query heads, and only if
pieces reach a quarter of the multiprocessors (decoderXQAImplJIT.cpp)."""


class Target(NamedTuple):
    """What one entry is fitted for; ``device`` may be a class, ``runtime`` "" for any."""

    device: str
    runtime: str
    operators: tuple[str, ...]
    dtypes: tuple[str, ...]
    weights: str

    @property
    def label(self) -> str:
        """For ``--only`` and for the eye."""
        words = (self.device, self.runtime or "any", "+".join(self.operators), "+".join(self.dtypes))
        return " ".join(words) + (f" {self.weights}" if self.weights != "plain" else "")

    @property
    def id(self) -> str:
        """The id of the entry."""
        return self.label.replace(" ", "-")

    @property
    def family(self) -> str:
        """The operator family."""
        return FAMILY[OpKind[self.operators[0].upper()]]

    @property
    def scope(self) -> Scope:
        """What the entry holds for."""
        return msgspec.convert((self.operators, self.dtypes, self.weights), Scope)


class Rows(NamedTuple):
    """Rows of one target: as operators, and which rows of the table they are."""

    runtime: Runtime
    columns: OpColumns
    table: OpTable
    numbers: np.ndarray

    def given(self, device: str) -> dict[str, float]:
        """What is known of the kernels, as parameters."""
        family = FAMILY[OpKind(int(self.columns.kind[0]))]
        prefill, decode = _KERNELS.get((device, stack_of(self.runtime.id)), ({}, {}))
        return {"attention_prefill": prefill, "attention_decode": decode}.get(family, {})

    def measured(self, device: str, split_by: tuple[str, ...], neutral: bool) -> Measured:
        """For a fit: with the runtime's factors, or ``neutral``."""
        runtime = kernels_alone(self.runtime)
        if neutral:
            ones = Factors(**dict.fromkeys(Factors.__struct_fields__, _ONE))
            runtime = msgspec.structs.replace(runtime, factors=ones)
        model = compile_device(load_device(device), runtime, calibrated=False, timed_alone=True)
        model = replace(model, records=model.records.copy())
        for name, value in self.given(device).items():
            model.records[name] = value
        keys = group_keys(self.table.sizes[self.numbers], self.table.notes[self.numbers], split_by)
        sources = self.table.sources[self.numbers].tolist()
        sample = Sample(model, self.columns, self.table.outcome.observed[self.numbers])
        return Measured(sample, tuple(keys), tuple(sources))


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("hardware_specs/data/calibrations"))
    parser.add_argument("--only", default="")
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    arguments = parser.parse_args()
    try:
        found = fit_all(dict(measured_rows(arguments.points)), arguments.only, arguments.date)
        write(found, arguments.out, partly=bool(arguments.only))
    except InputError as error:
        sys.exit(f"error: {error}")


def measured_rows(places: Sequence[Path]) -> Iterator[tuple[Target, Rows]]:
    """The rows of points files by target; few rows, and families without free parameters, are left out."""
    tables = [each.table.assign(source=each.sources()) for each in read_points(places, "ops")]
    points = Points("ops", "measured operators", pd.concat(tables, ignore_index=True).fillna(""))
    table = OpTable(points)
    usable = (table.outcome.skip_reason == "") & np.isin(table.words, list(OPS))
    parts: dict[Target, list[tuple[Runtime, OpColumns, np.ndarray]]] = defaultdict(list)
    for (device, software), rows in rows_by_pair(points.text("device"), points.text("software")).items():
        if not usable[rows].any():
            continue
        spec = load_device(DEVICES.get(device, device))
        runtime = match_runtime(software, spec)[0]
        columns, priced = operators_in(table, spec, rows[usable[rows]])
        codes = np.column_stack([columns.kind, columns.dtype, weights_of(columns)])
        unique, inverse = np.unique(codes, axis=0, return_inverse=True)
        for number, (kind, dtype, weights) in enumerate(unique.tolist()):
            here = np.flatnonzero(inverse.ravel() == number)
            for kinds in _kinds(kind):
                target = Target(spec.id, runtime.id, kinds, _alike(dtype), WEIGHTS[weights])
                parts[target].append((runtime, columns.take(here), priced[here]))
    for target, pieces in sorted(parts.items(), key=lambda item: item[0]):
        runtimes, columns_, numbers = zip(*pieces, strict=True)
        if sum(map(len, numbers)) >= FEWEST_ROWS and _free(target):
            joined = OpColumns(*(np.concatenate(each) for each in zip(*columns_, strict=True)))
            yield target, Rows(runtimes[0], joined, table, np.concatenate(numbers))


def _kinds(kind: int) -> list[tuple[str, ...]]:
    """Kinds of the entries that rows of ``kind`` count for.

    Products with and without a batch share an entry. A vector operator has its own and counts for one of all vector
    operators, which is for those that were not measured.
    """
    if kind in _PRODUCTS:
        return [tuple(each.name.lower() for each in _PRODUCTS)]
    own = [(OpKind(kind).name.lower(),)]
    return [*own, _VECTORS] if FAMILY[OpKind(kind)] == "vector" else own


def _alike(dtype: int) -> tuple[str, ...]:
    """Dtypes that share one entry with ``dtype``: the two 16-bit ones."""
    name = COMPUTE_DTYPES[dtype]
    return ("bf16", "fp16") if name in ("bf16", "fp16") else (name,)


def _free(target: Target) -> list[Parameter]:
    """The parameters of the law that fits of the family may move."""
    parameters = law_of(load_device(target.device).device_class).parameters
    return [parameter for parameter in parameters if parameter.free and target.family in parameter.families]


def fit_all(measured: Mapping[Target, Rows], only: str, date: str) -> dict[str, list[Calibration]]:
    """Entries by device and class, fitted on all cores."""
    own = [(target, rows, date) for target, rows in measured.items() if only in target.label]
    shared = [(target, parts, date) for target, parts in of_classes(measured).items() if only in target.label]
    found: dict[str, list[Calibration]] = defaultdict(list)
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        jobs = [(target.device, pool.submit(_entry, target, rows, date)) for target, rows, date in own]
        jobs += [(target.device, pool.submit(_class_entry, target, parts, date)) for target, parts, date in shared]
        for device, job in jobs:
            entry = job.result()
            if entry is not None:
                found[device].append(entry)
    return found


def of_classes(measured: Mapping[Target, Rows]) -> dict[Target, list[tuple[str, Rows]]]:
    """What at least two devices of a class measured, by device."""
    together: dict[Target, list[tuple[str, Rows]]] = defaultdict(list)
    for target, rows in measured.items():
        general = target._replace(device=load_device(target.device).device_class, runtime="")
        together[general].append((target.device, rows))
    return {target: parts for target, parts in together.items() if len({device for device, _ in parts}) > 1}


def seen_by_fits(measured: Mapping[Target, Rows]) -> Iterator[tuple[str, list[Measured]]]:
    """The rows that each fit sees, by the id of its entry, in the order in which it is given them."""
    for target, rows in measured.items():
        seen = rows.measured(target.device, _split(target, rows), neutral=True).seen
        yield target.id, [part for _, part in _by_kind(seen)] if target.operators == _VECTORS else [seen]
    for target, parts in of_classes(measured).items():
        yield target.id, [_seen_by_class(target, device, rows) for device, rows in parts]


def _entry(target: Target, rows: Rows, date: str) -> Calibration | None:
    """The entry of a device, or None where the priors are closer to what it left out."""
    split_by = _split(target, rows)
    about = Fit(id=target.id, sources=(), rule=RULE, date=date, split_by=split_by)
    free = _free(target)
    measured = rows.measured(target.device, split_by, neutral=True)
    kinds = _by_kind(measured.seen) if target.operators == _VECTORS else []
    if len(kinds) > 1:
        about = msgspec.structs.replace(about, rule=KINDS_RULE)
        entry = calibrate_together(kinds, free, about, target.scope)
        entry = msgspec.structs.replace(entry, runtimes=(target.runtime,))
    elif target.operators == _VECTORS:
        return None
    else:
        entry = calibrate(measured, free, about, target.scope)
    moved = {parameter.name for parameter in free}
    given = {name: f"{value:g}" for name, value in rows.given(target.device).items() if name not in moved}
    entry = msgspec.structs.replace(entry, parameters={**entry.parameters, **given})
    plain = rows.measured(target.device, split_by, neutral=False).seen
    return _told(target, entry, uncalibrated([("", plain)]) if not kinds else uncalibrated(_by_kind(plain)))


def _class_entry(target: Target, parts: Sequence[tuple[str, Rows]], date: str) -> Calibration | None:
    """The entry of a class, or None where the priors are closer to the devices that it left out."""
    about = Fit(id=target.id, sources=(), rule=CLASS_RULE, date=date, split_by=())
    free = _free(target._replace(device=parts[0][0]))
    seen = [(device, _seen_by_class(target, device, rows)) for device, rows in parts]
    return _told(target, calibrate_together(seen, free, about, target.scope), uncalibrated(seen))


def _seen_by_class(target: Target, device: str, rows: Rows) -> Measured:
    return rows.measured(device, _split(target, rows), neutral=False).seen


def _by_kind(rows: Measured) -> list[tuple[str, Measured]]:
    """Rows by the kind of their operators."""
    kinds = rows.sample.columns.kind
    return [(OpKind(int(kind)).name.lower(), rows.take(np.flatnonzero(kinds == kind))) for kind in np.unique(kinds)]


def _split(target: Target, rows: Rows) -> tuple[str, ...]:
    return split_of(target.family, rows.table.sizes[rows.numbers], rows.table.notes[rows.numbers])


def _told(target: Target, entry: Calibration, priors: Residuals) -> Calibration | None:
    """``entry``, after telling how far off it is; None where the priors are no further off."""
    held = entry.held_out
    last = f"; held out {held.mape:.1%} of {held.rows} rows in {held.groups} groups" if held else ""
    of = ",".join(entry.fit.split_by) or ", ".join(entry.fit.devices)
    left = entry.residuals
    worse = left.mape >= priors.mape
    print(
        f"{target.label}: {entry.fit.rows} rows, {len(entry.fit.digests)} groups of {of}; left out in turn "
        f"{left.mape:.1%} (shared {left.shared:.2f}, own {left.own:.2f}){last}; priors {priors.mape:.1%}"
        f"{' (not shipped: no better)' if worse else ''}; {entry.parameters}",
        flush=True,
    )
    return None if worse else entry


def write(found: Mapping[str, Sequence[Calibration]], folder: Path, partly: bool) -> None:
    """One file per device and class; ``partly``: entries that were not fitted anew stay."""
    for name, entries in found.items():
        new = {entry.fit.id for entry in entries}
        kept = [entry for entry in calibrations_of(name) if partly and entry.fit.id not in new]
        ordered = sorted([*kept, *entries], key=lambda entry: entry.fit.id)
        folder.mkdir(parents=True, exist_ok=True)
        notes = "Written by benchmarks/fit_operators.py from measured operators; no measured row is in here."
        write_text(folder / f"{name}.toml", calibrations_text(ordered, notes))


if __name__ == "__main__":
    main()
