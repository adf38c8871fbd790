"""Measured calls beside what a calibration predicts for them, its entries, and rates of products over rows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.errors import InputError, nearest
from hardware_specs.records import DeviceSpec
from hardware_specs.units import dimension_of, parse_quantity
from reports.calibration import Entry, Parameter, Point, ProductPanel, RateCurve, RatePoint
from reports.palette import family_rank
from simulator.calibration.machine_fit import Part, measured_of, parts_of, with_records
from simulator.calibration.samples import Measurement
from simulator.devices.model import DeviceModel, cost_on_devices
from simulator.devices.registry import law_of
from simulator.kernels.roofline import TIME
from simulator.uncertainty.intervals import Z80, prior_error
from workloads.graph import columns_of
from workloads.operators import FAMILY, Operator, OpKind

MOST_PANELS: Final = 6
_FEWEST_ROWS: Final = 3
"""Different numbers of rows that make a curve."""
_STEPS: Final = 60
_WAYS: Final = frozenset({"graph", "queued", "eager"})
"""Words of a variant that say how a call was started, not what it does."""
_WIDE: Final = "all vector operators"
_WHOLE_VECTOR: Final = 4
"""Kinds of operators of an entry from which on it is that of all vector operators."""


class Price(NamedTuple):
    """What a calibration predicts for a call [s], with the 80% interval, and the entry ("": priors of the class)."""

    predicted_s: float
    low_80_s: float
    high_80_s: float
    priced_by: str


NOTHING: Final = Price(math.nan, math.nan, math.nan, "")


class Priced(NamedTuple):
    """A part of the samples with the model that prices it; ``entry`` None: the priors of the class."""

    part: Part
    model: DeviceModel
    entry: Calibration | None


def priced_parts(found: Calibrations, measurements: Sequence[Measurement]) -> tuple[list[Priced], dict[str, str]]:
    """The parts that entries are fitted to, as ``found`` prices them, and why those of some runtimes are not.

    Raises:
        InputError: an entry names a parameter that the law of the device does not have.
    """
    spec = found.device
    if spec is None:
        return [], {}
    priced, failed = [], {}
    for part in parts_of(measurements, cores_of(spec)):
        entry = entry_for(found, part)
        try:
            model = measured_of(spec, part).sample.model
        except InputError as error:
            failed[part.runtime] = str(error)
            continue
        priced.append(Priced(part, with_records(model, _values(spec, entry)), entry))
    return priced, failed


def cores_of(spec: DeviceSpec | None) -> int:
    """Units of a device; 0 where they are not known."""
    return int(spec.compute.units.value) if spec is not None and spec.compute.units else 0


def entry_for(found: Calibrations, part: Part) -> Calibration | None:
    """The entry that prices a part: of its runtime, kind and dtype, the one of the fewest kinds."""
    kind = part.kinds[0].name.lower()
    fitting = [
        entry
        for entry in found.calibrations
        if kind in entry.operators and part.dtype in (entry.dtypes or (part.dtype,)) and part.runtime in entry.runtimes
    ]
    return min(fitting, key=lambda entry: len(entry.operators), default=None)


def _values(spec: DeviceSpec, entry: Calibration | None) -> dict[str, float]:
    """The parameters of an entry.

    Raises:
        InputError: one that the law does not have.
    """
    known = [parameter.name for parameter in law_of(spec.device_class).parameters]
    for name in entry.facts if entry else ():
        if name not in known:
            close = nearest(name, known)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"calibration {entry.fit.id if entry else ''}: no law parameter {name!r}{hint} (allowed: "
                f"{', '.join(known)})"
            )
    return {name: fact.value for name, fact in entry.facts.items()} if entry else {}


def prices_of(priced: Sequence[Priced]) -> dict[int, Price]:
    """What the calibration predicts, by the identity of the measurement."""
    prices: dict[int, Price] = {}
    for part, model, entry in priced:
        seconds = cost_on_devices((model,), columns_of([each.operator for each in part.rows]))[0, TIME]
        low, high = _interval(model, part, entry)
        label = label_of(entry) if entry else ""
        for each, predicted in zip(part.rows, seconds.tolist(), strict=True):
            prices[id(each)] = Price(predicted, predicted * low, predicted * high, label)
    return prices


def _interval(model: DeviceModel, part: Part, entry: Calibration | None) -> tuple[float, float]:
    """Ends of the 80% interval over the prediction: what left-out shapes were off by, or what priors are."""
    if entry is not None:
        return math.exp(entry.residuals.quantiles[1]), math.exp(entry.residuals.quantiles[2])
    error = prior_error(model.spec.device_class, FAMILY[part.kinds[0]])
    sd = math.hypot(error.shared, error.own)
    return math.exp(-Z80 * sd), math.exp(Z80 * sd)


def points_of(measurements: Sequence[Measurement], prices: Mapping[int, Price]) -> tuple[Point, ...]:
    """Measured calls in the order of their samples."""
    points = []
    for each in measurements:
        o = each.operator
        points.append(
            Point(
                what_of(each), o.family, o.dtype, each.runtime, o.flops or o.vector_flops, o.moved_bytes, each.time_s,
                each.low_s, each.high_s, *prices.get(id(each), NOTHING), each.power_w, each.clock_hz,
            )
        )  # fmt: skip
    return tuple(points)


def what_of(each: Measurement) -> str:
    """A call in words: its kind, what it does, its sizes and dtype."""
    o = each.operator
    if o.family.startswith("attention"):
        sizes = f"queries {o.m:g}, keys {o.n:g}, heads {o.heads:g} (KV {o.kv_heads:g}) of {o.k:g}, batch {o.batch:g}"
    elif o.family in ("gemm", "moe"):
        sizes = f"m {o.m:g}, n {o.n:g}, k {o.k:g}" + (f", batch {o.batch:g}" if o.batch != 1.0 else "")
    else:
        sizes = f"{o.m:,.10g} × {o.n:,.10g}" if o.n != 1.0 else f"{o.m:,.10g}"
    words = [word for word in each.variant.split() if word not in (*_WAYS, "scaling", o.name)]
    return f"{' '.join([kind_word(o.kind), *words])}, {sizes}, {o.dtype}"


def kind_word(kind: OpKind) -> str:
    """A kind of operator in words."""
    words = {OpKind.GEMM: "product", OpKind.BATCHED_GEMM: "batched product"}
    return words.get(kind, kind.name.lower().replace("_", " "))


def label_of(entry: Calibration) -> str:
    """The operators of an entry in words."""
    if len(entry.operators) > _WHOLE_VECTOR:
        return _WIDE
    if "gemm" in entry.operators:
        return "matrix products"
    return ", ".join(name.replace("_", " ") for name in entry.operators)


def entries_of(found: Calibrations) -> tuple[Entry, ...]:
    """The entries of a calibration and what their law says of parameters: by family, those of many kinds last."""
    device_class = found.device.device_class if found.device else ""
    entries = [_entry(entry, device_class) for entry in found.calibrations]
    return tuple(sorted(entries, key=lambda e: (family_rank(e.family), e.label == _WIDE, e.label, e.runtime, e.dtype)))


def _entry(entry: Calibration, device_class: str) -> Entry:
    left, by_shape = entry.residuals, entry.held_out_error_shape is not None
    families = [FAMILY[OpKind[name.upper()]] for name in entry.operators if name.upper() in OpKind.__members__]
    return Entry(
        label=label_of(entry),
        family=families[0] if families else "",
        dtype=", ".join(entry.dtypes) or "all",
        runtime=", ".join(entry.runtimes) or "any runtime",
        samples=entry.fit.rows or 0,
        shapes=len(entry.fit.digests),
        median=left.median if by_shape else math.nan,
        mean=left.mape if by_shape else math.nan,
        unseen=math.nan if entry.held_out_error_family is None else entry.held_out_error_family,
        low_80=math.exp(left.quantiles[1]),
        high_80=math.exp(left.quantiles[2]),
        parameters=_parameters(entry, device_class),
    )


def _parameters(entry: Calibration, device_class: str) -> tuple[Parameter, ...]:
    known = {each.name: each for each in law_of(device_class).parameters} if device_class else {}
    found = []
    for name, fact in entry.facts.items():
        law = known.get(name)
        place = f"calibration {entry.fit.id}: interval of {name}"
        ends = [parse_quantity(text, dimension_of(text), place) for text in entry.intervals.get(name, ())]
        low, high = ends if len(ends) == 2 else (math.nan, math.nan)
        found.append(
            Parameter(
                name, law.meaning if law else "", fact.dimension, fact.value, low, high,
                law.low if law else 0.0, law.high if law else 0.0,
            )
        )  # fmt: skip
    return tuple(found)


def products_of(priced: Sequence[Priced]) -> tuple[ProductPanel, ...]:
    """Rates of products over rows, for the weights that were measured with the most rows; small ones first."""
    groups: dict[tuple[float, float], list[tuple[Priced, list[Measurement]]]] = defaultdict(list)
    for each in priced:
        weights: dict[tuple[float, float], list[Measurement]] = defaultdict(list)
        for row in each.part.rows:
            if _is_plain(row):
                weights[row.operator.n, row.operator.k].append(row)
        for key, rows in weights.items():
            if len({row.operator.m for row in rows}) >= _FEWEST_ROWS:
                groups[key].append((each, sorted(rows, key=lambda row: row.operator.m)))
    ranked = sorted(groups, key=lambda key: (-sum(len(rows) for _, rows in groups[key]), key))[:MOST_PANELS]
    return tuple(
        ProductPanel(n, k, tuple(_curve(each, rows) for each, rows in groups[n, k]))
        for n, k in sorted(ranked, key=lambda key: (key[0] * key[1], key))
    )


def _is_plain(row: Measurement) -> bool:
    """Whether a call is a product with weights, forward."""
    o = row.operator
    return o.kind == OpKind.GEMM and o.weight_bytes > 0.0 and not set(row.variant.split()) - _WAYS


def _curve(priced: Priced, rows: Sequence[Measurement]) -> RateCurve:
    last = rows[-1].operator
    measured = {row.operator.m for row in rows}
    between = np.geomspace(min(measured), max(measured), _STEPS).round().tolist()
    grid = sorted(measured | set(between))
    operators = [_with_rows(last, m) for m in grid]
    seconds = cost_on_devices((priced.model,), columns_of(operators))[0, TIME].tolist()
    peak, bandwidth = priced.model.peak_flops(last.dtype), priced.model.spec.memory.bandwidth.value
    return RateCurve(
        dtype=last.dtype,
        runtime=priced.part.runtime,
        points=tuple(
            RatePoint(o.m, o.flops / row.time_s, o.flops / row.high_s, o.flops / row.low_s)
            for row in rows
            for o in (row.operator,)
        ),
        rows=tuple(grid),
        law=tuple(o.flops / time_s for o, time_s in zip(operators, seconds, strict=True)),
        roof=tuple(min(peak, o.flops * bandwidth / o.weight_bytes) for o in operators),
    )


def _with_rows(product: Operator, m: float) -> Operator:
    """``product`` with m rows: what belongs to activations goes with them, weights stay."""
    part = m / product.m
    unpacked = product.vector_flops if product.dequantize else product.vector_flops * part
    return replace(
        product, m=m, flops=product.flops * part, vector_flops=unpacked, read_bytes=product.read_bytes * part,
        write_bytes=product.write_bytes * part,
    )  # fmt: skip
