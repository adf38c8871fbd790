"""The numbers of a scenario that a what-if may turn: its sizes, its price, and every fact with a ``--set`` path.

A knob of facts is turned by a factor of what it is, as ``--set PATH=2x`` does, in every pool that it means. A parameter
of a device's law is turned by one factor in the class prior and in all calibrations that hold for the device, which
differ by operator: so the scenario as it stands is the value 1x, where ``--set`` would put one value in place of all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.facts import Fact, Mark
from hardware_specs.overrides import SET_BY_USER, apply_overrides
from hardware_specs.records import DeviceSpec
from hardware_specs.units import format_quantity, parse_quantity
from simulator.checks import COUNTS
from simulator.devices.registry import Parameter, law_of
from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Pool, Scenario, StaticBatch, TrainStep, TrainThenInfer, Workload
from simulator.simulate import simulate
from simulator.steps.inference_result import inference_result
from simulator.steps.training_result import training_result
from simulator.timeline import Timeline
from workloads.lowering.dataflow import Dataflow
from workloads.runtimes.catalogue import HIGHEST_FACTOR

ASKED: Final = "asked"
"""Mark of what the question itself says: sizes, and a price that the user gives."""
_LAW: Final = "device.parameters."
_RELATIVE: Final = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(x|%)\s*")
_WHOLE: Final = frozenset(f"device.{table}.{name}" for table, names in COUNTS.items() for name in names)
_BUILDERS: Final = ("device.price.", "device.ports.pcie_", "device.ports.scaleup_domain", "device.logic.")
"""What acts where a scenario is built (its price, its host) or says what a device is; no number of the prediction."""
_SHAPES: Final = ("max_domain", "ring_extent")
"""Fields of a link that say which groups it can join."""
_RANGES: Final = {"memory_utilisation": (0.0, 1.0), "achieved_fraction": (0.0, 1.0), "pue": (1.0, math.inf)}


class Knob(NamedTuple):
    """A number that can be turned.

    Args:
        path: as ``--set`` calls it ("device.memory.bandwidth"), or "batch", "isl", "osl", "global_batch", "seq_len",
            "steps", "price".
        what: in words, with the record that it is of.
        dimension: as ``hardware_specs.units`` has it.
        value: what it is now [SI unit of the dimension]; NaN for a price that is not known.
        mark: "sourced", "assumed" or "calibrated", as facts are; "asked" for what the question says.
        origin: source, reason or rule behind the value.
        step: 0 where any number will do; else values are multiples of it.
        low, high: the physical range.
    """

    path: str
    what: str
    dimension: str
    value: float
    mark: str
    origin: str
    step: float = 0.0
    low: float = 0.0
    high: float = math.inf

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies in the physical range."""
        return value > 0.0 and self.low <= value <= self.high and (not self.step or value % self.step == 0.0)

    def written(self, value: float, digits: int = 4) -> str:
        """``value`` with its unit, as the commands take it."""
        if self.step:
            return f"{value:.0f}"
        scale, unit = _WRITTEN.get(self.dimension, (0.0, ""))
        return f"{value / scale:.{digits}g} {unit}" if unit else format_quantity(value, self.dimension, digits)


_WRITTEN: Final = {"usd_per_s": (1.0 / 3600.0, "USD/h"), "usd_per_j": (1.0 / 3.6e6, "USD/kWh"),
                   "g_per_j": (1.0 / 3.6e6, "g/kWh"), "j_per_flop": (1e-12, "pJ/FLOP"),
                   "j_per_byte": (8e-12, "pJ/bit")}  # fmt: skip
Setting = tuple[Knob, float]
"""A knob and the value that it is turned to [SI]."""


def knobs_of(scenario: Scenario) -> tuple[Knob, ...]:
    """Every knob of ``scenario``: sizes, price, then devices, runtimes, links, site and system.

    Facts of value 0 are none, for no factor changes them. Parameters of laws are knobs on one pool only.
    """
    found = [*_sizes(scenario), *_prices(scenario)]
    for pool in scenario.pools:
        prefix = f"device.{pool.device.id}." if scenario.mixed else "device."
        found += _of_record(pool.device, prefix, pool.device.id)
        found += _of_record(pool.runtime, "runtime.", pool.runtime.id)
    if not scenario.mixed and isinstance(scenario.workload, (StaticBatch, TrainStep)):
        found = [knob for knob in found if not knob.path.startswith(_LAW)]
        found += _of_law(scenario)
    for name, link in scenario.links.items():
        found += (k for k in _of_record(link, f"link.{name}.", name) if not k.path.endswith(_SHAPES))
    found += _of_record(scenario.site, "site.", scenario.site.id)
    found += _of_record(scenario.system, "system.", scenario.system.id)
    known: dict[str, Knob] = {}
    for knob in found:
        known.setdefault(knob.path, knob)
    return tuple(known.values())


def knob_of(scenario: Scenario, path: str, place: str = "") -> Knob:
    """The knob called ``path``.

    Raises:
        InputError: there is none, with those whose path is like it.
    """
    known = {knob.path: knob for knob in knobs_of(scenario)}
    if path in known:
        return known[path]
    if path == "price":
        return Knob("price", "price of a device", "usd_per_s", math.nan, ASKED, "no price is known")
    holding = [name for name in known if len(path) > 2 and path in name]
    close = (holding or nearest(path, known))[:3]
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise InputError(
        f"{place + ': ' if place else ''}unknown knob {clipped(path)!r}{hint} (silicost sensitivity lists them)"
    )


def value_of(knob: Knob, text: str, place: str = "") -> float:
    """The SI value that ``text`` gives a knob: a quantity with its unit, or a factor ("2x", "150%") of what it is.

    Raises:
        InputError: no such quantity, a wrong unit, or a value that the knob cannot have.
    """
    where = f"{place + ': ' if place else ''}{knob.path}={clipped(text)}"
    match = _RELATIVE.fullmatch(text)
    if match and math.isnan(knob.value):
        raise InputError(f"{where}: {knob.origin}; give an absolute value")
    if match:
        value = knob.value * float(match[1]) * (0.01 if match[2] == "%" else 1.0)
        value = knob.step * round(value / knob.step) if knob.step else value
    else:
        value = parse_quantity(text, knob.dimension, where)
    if not knob.allows(value):
        raise InputError(f"{where}: must be {range_in_words(knob)}")
    return value


def range_in_words(knob: Knob) -> str:
    """What values a knob takes."""
    kind = "a whole number" if knob.step else f"a {knob.dimension}" if knob.dimension != "number" else "a number"
    if knob.step > 1.0:
        kind = f"a multiple of {knob.step:.0f}"
    most = f" and at most {knob.written(knob.high)}" if math.isfinite(knob.high) else ""
    least = f"at least {knob.written(knob.low)}" if knob.low > 0.0 else "above 0"
    return f"{kind} {least}{most}"


def scenario_at(scenario: Scenario, settings: Iterable[Setting]) -> Scenario:
    """``scenario`` with knobs turned; parameters of laws must be turned by ``result_at``.

    Raises:
        InputError: a value that no such number can have.
    """
    for knob, value in settings:
        if knob.path in _SIZES:
            scenario = msgspec.structs.replace(scenario, workload=_resized(scenario.workload, knob.path, round(value)))
        elif knob.path == "price":
            scenario = _priced(scenario, knob, value)
        elif value != knob.value:
            scenario = _turned(scenario, knob.path, value / knob.value)
    return scenario


def result_at(scenario: Scenario, settings: Sequence[Setting]) -> Result:
    """What ``scenario`` does with knobs turned.

    Raises:
        InputError: a value that no such number can have, or a scenario that contradicts itself.
    """
    law = {knob.path.removeprefix(_LAW): value / knob.value for knob, value in settings if _is_of_law(scenario, knob)}
    changed = scenario_at(scenario, [each for each in settings if not _is_of_law(scenario, each[0])])
    return _under_scaled_law(changed, law) if law else simulate(changed)


def _is_of_law(scenario: Scenario, knob: Knob) -> bool:
    return not scenario.mixed and knob.path.startswith(_LAW)


def _under_scaled_law(scenario: Scenario, factors: Mapping[str, float]) -> Result:
    """The closed form of one pool with parameters of its device's law scaled in every record."""
    prepared = prepare(scenario)
    records = prepared.model.records.copy()
    for name, factor in factors.items():
        records[name] *= factor
    for record in records:
        if not record["cap_w"] > record["static_w"]:
            raise InputError(
                f"{prepared.pool.device.id}: a power limit of {record['cap_w']:.4g} W leaves nothing above the static "
                f"power of {record['static_w']:.4g} W"
            )
    scaled = replace(prepared, model=replace(prepared.model, records=records))
    if isinstance(scenario.workload, StaticBatch):
        return inference_result(scaled, scenario.workload, Timeline(()))
    assert isinstance(scenario.workload, TrainStep)
    return training_result(scaled, scenario.workload, Timeline(()))


_SIZES: Final = {
    "batch": "sequences that start together", "isl": "input tokens of each sequence",
    "osl": "output tokens of each sequence", "global_batch": "sequences of one optimizer step",
    "seq_len": "tokens of a training sequence", "steps": "optimizer steps",
}  # fmt: skip


def _sizes(scenario: Scenario) -> Iterator[Knob]:
    """How much work there is."""
    work = scenario.workload
    for name, what in _SIZES.items():
        value = _size(work, name)
        fixed = name == "osl" and isinstance(work, StaticBatch) and work.model.is_encoder
        if value and not fixed:
            step = float(_share(scenario, name))
            yield Knob(name, what, "number", float(value), ASKED, "the question", step, step)


def _share(scenario: Scenario, name: str) -> int:
    """What a size must be a multiple of: equal parts for all replicas."""
    plan = scenario.pools[0].plan
    if name == "global_batch":
        return plan.micro_batch * plan.dp
    return plan.dp if name == "batch" and isinstance(scenario.workload, Dataflow) else 1


def _size(work: Workload, name: str) -> int:
    """A size of a workload; 0 where it has none of that name."""
    if isinstance(work, TrainThenInfer):
        return work.steps if name == "steps" else _size(work.infer, name) or _size(work.train, name)
    found: int = getattr(work, name, 0)
    return found


def _resized(work: Workload, name: str, value: int) -> Workload:
    if isinstance(work, TrainThenInfer) and name != "steps":
        part = "infer" if _size(work.infer, name) else "train"
        return msgspec.structs.replace(work, **{part: _resized(getattr(work, part), name, value)})
    return msgspec.structs.replace(work, **{name: value})


def _prices(scenario: Scenario) -> Iterator[Knob]:
    """The price of a device, where one is known."""
    for pool in scenario.pools:
        fact = pool.usd_per_device_s
        if fact is not None:
            mark = ASKED if fact.origin == SET_BY_USER else fact.mark.value
            yield Knob("price", f"price of {pool.device.id}", fact.dimension, fact.value, mark, pool.price_origin)
            return


def _priced(scenario: Scenario, knob: Knob, value: float) -> Scenario:
    """All pools at a price scaled as that of the knob; where none was known at ``value`` itself."""

    def priced(pool: Pool) -> Pool:
        now = pool.usd_per_device_s
        price = value if now is None or math.isnan(knob.value) else now.value * value / knob.value
        fact = Fact(price, "usd_per_s", f"{price * 3600.0:.4g} USD/h", Mark.ASSUMED, SET_BY_USER)
        return msgspec.structs.replace(pool, usd_per_device_s=fact, price_origin=SET_BY_USER)

    return msgspec.structs.replace(scenario, pools=tuple(map(priced, scenario.pools)))


def _of_record(record: msgspec.Struct, prefix: str, owner: str) -> Iterator[Knob]:
    """The facts of a record at any depth."""
    for path, fact in facts_in(record, prefix):
        plain = path if not path.startswith("device.") else f"device.{path.removeprefix(prefix)}"
        if fact.value > 0.0 and not plain.startswith(_BUILDERS):
            field = path.removeprefix(prefix)
            low, high = _RANGES.get(field, (0.0, HIGHEST_FACTOR if field.startswith("factors.") else math.inf))
            step = 1.0 if plain in _WHOLE else 0.0
            words = field.replace(".", " ").replace("_", " ")
            yield Knob(
                path, f"{owner} {words}", fact.dimension, fact.value, fact.mark.value, fact.origin, step,
                max(low, step), high,
            )  # fmt: skip


def facts_in(record: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Fact]]:
    """The facts of a record by dotted path, at any depth, in the order of its fields."""
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, Fact):
            yield f"{prefix}{name}", value
        elif isinstance(value, msgspec.Struct):
            yield from facts_in(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            yield from ((f"{prefix}{name}.{key}", fact) for key, fact in value.items() if isinstance(fact, Fact))


def _of_law(scenario: Scenario) -> Iterator[Knob]:
    """Parameters of the law of the only device, named by its spec, fitted, or of the class prior."""
    model = prepare(scenario).model
    spec, entries = model.spec, model.choice.entries
    for parameter in law_of(spec.device_class).parameters:
        name, value = parameter.name, float(model.record[parameter.name])
        fits = [chosen.entry.fit.id for chosen in entries if name in chosen.entry.parameters]
        own = spec.parameters.get(name) or (None if fits else _same(spec, parameter, value))
        if not value > 0.0 or (own is not None and name not in spec.parameters and name != "cap_w"):
            continue
        mark = own.mark.value if own else Mark.CALIBRATED.value if fits else Mark.ASSUMED.value
        origin = own.origin if own else f"fits {', '.join(fits)}" if fits else "class prior"
        low, high = (parameter.low, parameter.high) if parameter.free else (0.0, math.inf)
        low, high = min(low, value), max(high, value)
        step = 1.0 if name.endswith("_tile") and value.is_integer() else 0.0
        yield Knob(
            f"{_LAW}{name}", f"{spec.id} {parameter.meaning}", parameter.dimension, value, mark, origin, step, low, high
        )


def _same(spec: DeviceSpec, parameter: Parameter, value: float) -> Fact | None:
    """The fact of the datasheet that a prior repeats, a clock for example, which is a knob of its own."""
    for path, fact in facts_in(spec):
        if (fact.dimension, fact.value) == (parameter.dimension, value) and not path.startswith("parameters."):
            other = apply_overrides(spec, {path: "2x"})
            if parameter.prior(other) == 2.0 * value:
                return fact
    return None


def _turned(scenario: Scenario, path: str, factor: float) -> Scenario:
    """The facts at ``path`` times ``factor``, wherever the scenario has them."""
    kind, _, rest = path.partition(".")
    text = f"{float(factor)!r}x"
    if kind in ("site", "system"):
        record = apply_overrides(getattr(scenario, kind), {rest: text}, f"{kind}.")
        return msgspec.structs.replace(scenario, **{kind: record})
    if kind == "link":
        name = next(name for name in scenario.links if rest.startswith(f"{name}."))
        field = rest.removeprefix(f"{name}.")
        link = apply_overrides(scenario.links[name], {field: text}, f"link.{name}.")
        return msgspec.structs.replace(scenario, links={**scenario.links, name: link})
    return msgspec.structs.replace(
        scenario, pools=tuple(_turned_pool(pool, kind, rest, text, scenario.mixed) for pool in scenario.pools)
    )


def _turned_pool(pool: Pool, kind: str, rest: str, text: str, mixed: bool) -> Pool:
    record: msgspec.Struct = getattr(pool, kind)
    if mixed and isinstance(record, DeviceSpec):
        if not rest.startswith(f"{record.id}."):
            return pool
        rest = rest.removeprefix(f"{record.id}.")
    if not dict(facts_in(record)).get(rest):
        return pool
    return msgspec.structs.replace(pool, **{kind: apply_overrides(record, {rest: text}, f"{kind}.")})
