"""From samples of one machine to its calibration: the device as a spec, and fitted parameters of its law.

Peaks and bandwidths are the best that any probe reached; the shares of them that operators reach are fitted, one entry
for each kind of operator and dtype, to all samples of it. How far off they are comes from fits that left shapes out,
and from predictions without any entry for the operators.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.records import DeviceSpec
from simulator.calibration.entry import Measured, Scope, calibrate, calibrate_together, texts_of, uncalibrated
from simulator.calibration.fit import Sample, fit_parameters, interval_of
from simulator.calibration.samples import Measurement
from simulator.devices.model import DeviceModel, compile_device
from simulator.devices.registry import Parameter, law_of
from workloads.graph import columns_of
from workloads.operators import FAMILY, OpKind
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import Factors, Runtime

FEWEST: Final = 4
"""Samples of an entry: fewer say nothing about its parameters."""
RULE: Final = (
    "probes on this machine: mean absolute log ratio minimised on all samples; residuals of shapes left out of fits; "
    "peaks, bandwidths, page rate and which kernel runs few rows are from all samples"
)
_STEPS: Final = 250
_SHORT: Final = 60
_VECTOR_ROWS: Final = (1.0, 2.0, 3.0, 4.0)
_ONE: Final = Fact(1.0, "number", "1", Mark.ASSUMED, "a calibration of this runtime's own kernels")
_PRODUCTS: Final = (OpKind.GEMM, OpKind.BATCHED_GEMM)
_VECTORS: Final = tuple(kind for kind, family in FAMILY.items() if family == "vector" and kind != OpKind.STREAM_COPY)
_PAGES: Final = "page_bytes_per_s"
_NO_PAGES: Final = 1e12
"""Rate above which pages are not seen."""
_MOST_ERROR: Final = 1.0
"""Mean error on shapes left out up to which an entry that is better in the median is kept."""
_NOT_MODELLED: Final = ("dispatch", "scaling", "registers")


@dataclass(frozen=True, slots=True)
class Part:
    """Samples that one entry is fitted to."""

    runtime: str
    kinds: tuple[OpKind, ...]
    dtype: str
    rows: tuple[Measurement, ...]

    @property
    def scope(self) -> Scope:
        """What the entry holds for."""
        return Scope(tuple(kind.name.lower() for kind in self.kinds), (self.dtype,))

    @property
    def label(self) -> str:
        """Id of the entry behind the device."""
        kinds = "vector" if len(self.kinds) > 2 else "+".join(kind.name.lower() for kind in self.kinds)
        return f"{self.runtime}-{kinds}-{self.dtype}"


def parts_of(measurements: Iterable[Measurement], cores: int) -> list[Part]:
    """Samples by runtime, kinds and dtype: of calls on all ``cores``, on a GPU of kernels without their launches."""
    found: dict[tuple[str, tuple[OpKind, ...], str], list[Measurement]] = defaultdict(list)
    for each in measurements:
        if not each.runtime or each.threads not in (0, cores) or each.variant in _NOT_MODELLED:
            continue
        kind = each.operator.kind
        found[each.runtime, _PRODUCTS if kind in _PRODUCTS else (kind,), each.operator.dtype].append(each)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], item[0][1][0], item[0][2]))
    return [Part(*key, tuple(rows)) for key, rows in ordered if len(rows) >= FEWEST]


def fit_machine(
    spec: DeviceSpec, measurements: Sequence[Measurement], environment: Mapping[str, str], date: str,
    tell: Callable[[str, int, int], None] = lambda name, done, of: None,
) -> Calibrations:  # fmt: skip
    """The calibration of a machine.

    Args:
        spec: its device, without a calibration.
        date: when the samples were measured, ISO.
        tell: told of progress.
    """
    cores = int(spec.compute.units.value) if spec.compute.units else 0
    parts = parts_of(measurements, cores)
    entries: list[Calibration] = []
    # Products show little of the pages of their results: vector operators are fitted first, and say what pages cost.
    for number, part in enumerate(sorted(parts, key=lambda part: part.kinds == _PRODUCTS)):
        tell(part.label, number, len(parts))
        entry = entry_of(spec, part, date, page_rate(entries, part.runtime) if part.kinds == _PRODUCTS else {})
        if entry is not None:
            entries.append(entry)
    entries += vector_entries(spec, parts, date)
    tell("", len(parts), len(parts))
    return Calibrations(
        id=spec.id, calibrations=tuple(entries), environment=dict(environment),
        device=spec if spec.device_class == "cpu" else None,
        notes="Measured on the machine that is described under environment; shares of peaks and bandwidths are fitted.",
    )  # fmt: skip


def measured_of(spec: DeviceSpec, part: Part) -> Measured:
    """Samples as a fit takes them: with the class priors of the bare device, and no factors of the runtime."""
    model = compile_device(spec, neutral(load_runtime(part.runtime)), calibrated=False)
    columns = columns_of([each.operator for each in part.rows])
    sample = Sample(model, columns, np.array([each.time_s for each in part.rows]))
    return Measured(sample, tuple(each.shape for each in part.rows), tuple(each.probe for each in part.rows))


def neutral(runtime: Runtime) -> Runtime:
    """``runtime`` whose kernels are as fast as the law: the entry is fitted to them themselves, without launches."""
    factors = Factors(**dict.fromkeys(Factors.__struct_fields__, _ONE))
    launch = (
        msgspec.structs.replace(runtime.launch, value=0.0, text="0 s") if not runtime.graph_mode else runtime.launch
    )
    return msgspec.structs.replace(runtime, factors=factors, launch=launch)


def free_of(spec: DeviceSpec, kind: OpKind) -> list[Parameter]:
    """Parameters that fits of a kind may move."""
    parameters = law_of(spec.device_class).parameters
    return [parameter for parameter in parameters if parameter.free and FAMILY[kind] in parameter.families]


def page_rate(entries: Iterable[Calibration], runtime: str) -> dict[str, float]:
    """What pages of new results cost under a runtime, by the entries that show it; empty where none does."""
    found = [
        entry.facts[_PAGES].value
        for entry in entries
        if runtime in entry.runtimes and _PAGES in entry.facts and entry.facts[_PAGES].value < _NO_PAGES
    ]
    return {_PAGES: float(np.median(found))} if found else {}


def entry_of(spec: DeviceSpec, part: Part, date: str, known: Mapping[str, float]) -> Calibration | None:
    """The entry of one part; None where the class priors are as close to the shapes that its fits left out.

    Args:
        known: parameters whose values other samples show.
    """
    rows = measured_of(spec, part)
    free = [parameter for parameter in free_of(spec, part.kinds[0]) if parameter.name not in known]
    if not free:
        return None
    about = Fit(f"{spec.id}-{part.label}", (), RULE, date, split_by=("shape",))
    rows = Measured(rows.sample._replace(model=with_records(rows.sample.model, known)), rows.keys, rows.sources)
    given = {**known, **(kernels_of(rows, free) if part.kinds == _PRODUCTS else {})}
    rows = Measured(rows.sample._replace(model=with_records(rows.sample.model, given)), rows.keys, rows.sources)
    entry = calibrate(rows, free, about, part.scope, hold_out=False, most_steps=_STEPS)
    entry = msgspec.structs.replace(
        entry, parameters={**entry.parameters, **{n: _given_text(n, v) for n, v in given.items()}}
    )
    priors = uncalibrated([("", rows)])
    better = entry.residuals.median < priors.median and entry.residuals.mape < _MOST_ERROR
    if entry.residuals.mape >= priors.mape and not better:
        return None
    return _accounted(entry, rows, free, priors.mape)


def _given_text(name: str, value: float) -> str:
    return f"{value:.4g} B/s" if name == _PAGES else f"{value:g}"


def kernels_of(rows: Measured, free: Sequence[Parameter]) -> dict[str, float]:
    """How many rows a library multiplies as matrix-vector products: the number that a short fit likes best."""
    if not any(parameter.name == "gemm_strip_penalty" for parameter in free):
        return {}
    found: dict[float, float] = {}
    for most in _VECTOR_ROWS:
        model = with_records(rows.sample.model, {"gemm_vector_rows": most})
        fitted = fit_parameters([rows.sample._replace(model=model)], free, _SHORT)
        found[most] = float(np.abs(fitted.residuals).mean())
    return {"gemm_vector_rows": min(_VECTOR_ROWS, key=lambda most: found[most])}


def vector_entries(spec: DeviceSpec, parts: Sequence[Part], date: str) -> list[Calibration]:
    """One entry for all vector operators of a runtime and dtype: what kinds that were not measured are priced with."""
    together: dict[tuple[str, str], list[Part]] = defaultdict(list)
    for part in parts:
        if part.kinds[0] in _VECTORS:
            together[part.runtime, part.dtype].append(part)
    entries = []
    for (runtime, dtype), those in together.items():
        if len(those) < 2:
            continue
        whole = Part(runtime, _VECTORS, dtype, ())
        about = Fit(f"{spec.id}-{whole.label}", (), "as for one kind; residuals of kinds left out", date)
        free = free_of(spec, OpKind.NORM)
        rows = [(part.label, measured_of(spec, part)) for part in those]
        entry = calibrate_together(rows, free, about, whole.scope, most_steps=_STEPS)
        if entry.residuals.mape < uncalibrated(rows).mape:
            left_out = msgspec.structs.replace(entry, held_out_error_family=entry.residuals.mape)
            entries.append(msgspec.structs.replace(left_out, runtimes=(runtime,)))
    return entries


def _accounted(entry: Calibration, rows: Measured, free: Sequence[Parameter], unseen: float) -> Calibration:
    """``entry`` with the intervals of its parameters and the errors on what fits left out."""
    values = {name: fact.value for name, fact in entry.facts.items()}
    low, high = interval_of([rows.sample], values, free, rows.keys)
    low = {name: min(end, values[name]) for name, end in low.items()}
    high = {name: max(end, values[name]) for name, end in high.items()}
    ends = zip(texts_of(low, free).items(), texts_of(high, free).values(), strict=True)
    return msgspec.structs.replace(
        entry,
        intervals={name: (least, most) for (name, least), most in ends if name in entry.parameters},
        held_out_error_shape=entry.residuals.mape,
        held_out_error_family=unseen,
    )


def with_records(model: DeviceModel, values: Mapping[str, float]) -> DeviceModel:
    """``model`` with ``values`` in every record."""
    records = model.records.copy()
    for name, value in values.items():
        records[name] = value
    return replace(model, records=records)
