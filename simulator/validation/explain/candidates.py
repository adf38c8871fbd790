"""Which numbers may be others in truth, in which range, and how uncertain each is.

The uncertainty of a number is the standard deviation of its logarithm: of a law parameter a quarter of its physical
range (the range taken as plus and minus two of them), or the error of its class where it has no range; of a runtime and
a link how far the numbers of the catalogue lie apart; of a datasheet ``DATASHEET``. What was measured for this very
device or runtime counts half of it. So a wide-open number moves cheaply, and a measured one does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from statistics import mean, pstdev
from typing import Final

from hardware_specs.facts import Fact, Mark
from hardware_specs.links import link_names, load_link
from hardware_specs.records import DeviceSpec
from simulator.devices.model import native_dtype
from simulator.devices.registry import Parameter, law_of
from simulator.kernels.roofline import RUNTIME_FAMILIES
from simulator.scenario import TrainStep
from simulator.uncertainty.intervals import ERRORS
from simulator.validation.explain.cases import Case, CollectiveCase, RunCase, Used
from simulator.validation.explain.setup import Candidate, Setup, least
from workloads.runtimes.catalogue import HIGHEST_FACTOR, load_all_runtimes

DATASHEET: Final = {Mark.SOURCED: 0.3, Mark.CALIBRATED: 0.3, Mark.ASSUMED: 0.6}
"""Datasheet figures. Assumed: what runs under the name of a device may be another variant (SXM, PCIe, NVL), a part of
one, shared, with ECC or fewer memory channels, at other clocks: a factor of 1.8 within two of them."""
KNOWN: Final = 0.5
"""What measuring a number leaves of its uncertainty. Assumed."""
LEAST_SD: Final = 0.1
"""Catalogues that agree more than this do so because nobody looked. Assumed."""
ABOVE: Final = 1.1
"""How far above a datasheet's figure a sourced one may lie: parts that clock higher. Assumed."""

_HOST: Final = {
    "host_step": "host time of each step",
    "host_sequence": "host time of each sequence and step",
    "host_rank": "host time of each step and tensor parallel rank but the first",
    "launch": "time to launch an operator from the host",
    "graph_launch": "gap between operators of a graph",
}
_SHARED: Final = {
    "vector_peak": "fp32 rate of the vector units",
    "cache_bandwidth": "bandwidth of the on-chip memory",
}
"""Parameters of every class that are figures of a datasheet."""


def candidates_of(case: Case) -> list[Candidate]:
    """The numbers that ``case`` may depend on; some have no effect on it."""
    used = case.used()
    found = [*_of_runtime(case, used)]
    if not isinstance(case, CollectiveCase):
        found += [*_of_datasheet(case), *_of_law(case.setup.device, used)]
    if isinstance(case, CollectiveCase) or (isinstance(case, RunCase) and case.scenario.pools[0].count > 1):
        found += _of_network(case.setup)
    return found


def _of_runtime(case: Case, used: dict[str, Used]) -> Iterator[Candidate]:
    """Host times and gaps (of runs), and factors of the families that take part."""
    runtime, names = case.setup.runtime, []
    if isinstance(case, RunCase):
        names = ["host_step", "graph_launch", *([] if runtime.graph_mode else ["launch"])]
        names += ["host_sequence"] if runtime.host_sequence else []
        names += ["host_rank"] if runtime.host_rank and case.scenario.pools[0].plan.tp > 1 else []
    for name in names:
        fact: Fact = getattr(runtime, name)
        sd = _measured_less(spread_of_runtimes(name), fact)
        what = "host time of each micro-batch" if name == "host_step" and _trains(case) else _HOST[name]
        yield Candidate(f"runtime.{name}", runtime.id, what, "s", fact.value, 0.0, math.inf, sd)
    families = [family for family in RUNTIME_FAMILIES if family in used]
    if isinstance(case, CollectiveCase) or ("collective" not in families and _communicates(case)):
        families.append("collective")
    owner = case.library if isinstance(case, CollectiveCase) and case.named else runtime.id
    for family in families:
        fact = getattr(runtime.factors, family)
        yield _factor(owner, family, fact, f"speed of {family} kernels, 1 as the law has it")
    if {"gemm", "moe"} & set(families):
        fact = runtime.factors.gemv or runtime.factors.gemm
        yield _factor(runtime.id, "gemv", fact, "speed of reading weights, 1 as the law has it")


def _trains(case: Case) -> bool:
    return isinstance(case, RunCase) and isinstance(case.scenario.workload, TrainStep)


def _communicates(case: Case) -> bool:
    return isinstance(case, RunCase) and case.scenario.pools[0].count > 1


def _factor(owner: str, family: str, fact: Fact, what: str) -> Candidate:
    sd = _measured_less(spread_of_runtimes(f"factors.{family}"), fact)
    return Candidate(f"runtime.factors.{family}", owner, what, "number", fact.value, 0.01, HIGHEST_FACTOR, sd)


def _of_datasheet(case: Case) -> Iterator[Candidate]:
    """Memory bandwidth, and the peaks of the dtypes in use."""
    spec = case.setup.device
    yield _figure("device.memory.bandwidth", spec.id, spec.memory.bandwidth, "memory bandwidth")
    for dtype in sorted({native_dtype(spec, dtype) for dtype in case.dtypes()}):
        fact = spec.compute.peaks[dtype]
        yield _figure(f"device.compute.peaks.{dtype}", spec.id, fact, f"{dtype} peak")


def _figure(path: str, owner: str, fact: Fact, what: str) -> Candidate:
    """A figure of a datasheet, or what is assumed where it has none."""
    what += " (assumed)" if fact.mark is Mark.ASSUMED else " of the datasheet"
    most = fact.value * (10.0 if fact.mark is Mark.ASSUMED else ABOVE)
    return Candidate(path, owner, what, fact.dimension, fact.value, fact.value / 100.0, most, DATASHEET[fact.mark])


def _of_law(spec: DeviceSpec, used: dict[str, Used]) -> Iterator[Candidate]:
    """Parameters of the law that fits may move, shares and times that no fit moves yet, and two of the datasheet."""
    for parameter in law_of(spec.device_class).parameters:
        families = [family for family in used if not parameter.families or family in parameter.families]
        if not families:
            continue
        heaviest = used[max(families, key=lambda family: used[family].seconds)]
        now = float(heaviest.record[parameter.name])
        found = _of_parameter(spec, parameter, now, _is_measured(spec, parameter, heaviest))
        if found is not None:
            yield found


def _is_measured(spec: DeviceSpec, parameter: Parameter, used: Used) -> bool:
    """Whether the value of a parameter was fitted on the device itself."""
    if parameter.name in spec.parameters:
        return spec.parameters[parameter.name].mark is Mark.CALIBRATED
    return used.chosen is not None and used.chosen.own_device and parameter.name in used.chosen.entry.parameters


def _of_parameter(spec: DeviceSpec, parameter: Parameter, now: float, measured: bool) -> Candidate | None:
    """A parameter as a candidate; None for one that has no range and is neither a share nor a time."""
    low, high, sd = parameter.low, parameter.high, mean(error.shared for error in ERRORS[spec.device_class].values())
    if parameter.free:
        below = least(now, low, high, parameter.dimension)
        sd = math.log((max(high, now) + below) / (min(low, now) + below)) / 4.0
    elif parameter.name in _SHARED:
        low, high, sd = now / 100.0, now * 10.0, DATASHEET[Mark.ASSUMED]
    elif parameter.name.endswith("_share") and 0.0 < now <= 1.0:
        low, high = 0.01, 1.0
    elif parameter.dimension == "s" and now > 0.0:
        low, high = 0.0, math.inf
    else:
        return None
    sd *= KNOWN if measured else 1.0
    path = f"device.parameters.{parameter.name}"
    return Candidate(path, spec.id, parameter.meaning, parameter.dimension, now, low, high, sd)


def _of_network(setup: Setup) -> Iterator[Candidate]:
    """Bandwidths, latencies and achieved fractions of the links between the devices."""
    spec, system = setup.device, setup.system
    inside = {group.link or system.host_link for group in system.groups}
    for name in dict.fromkeys((*sorted(inside), *([system.network] if system.network else []))):
        link, path = setup.links[name], f"link.{name}"
        own = name in inside and link.category == "scale-up" and spec.ports.scaleup_bandwidth is not None
        shared = name == system.network and system.network_bandwidth_per_device is not None
        if own:
            assert spec.ports.scaleup_bandwidth is not None
            fact, what = spec.ports.scaleup_bandwidth, f"bandwidth of {name}"
            yield _figure("device.ports.scaleup_bandwidth", spec.id, fact, what)
        elif shared:
            assert system.network_bandwidth_per_device is not None
            fact, what = system.network_bandwidth_per_device, f"network bandwidth of each device over {name}"
            yield _figure("system.network_bandwidth_per_device", system.id, fact, what)
        else:
            yield _figure(f"{path}.bandwidth", name, link.bandwidth, f"bandwidth of {name}")
        for field, high, what in (
            ("latency", math.inf, f"latency of a hop of {name}"),
            ("achieved_fraction", 1.0, f"share of the bandwidth of {name} that a copy reaches"),
        ):
            fact = getattr(link, field)
            low = 0.0 if high > 1.0 else 0.01
            sd = _measured_less(spread_of_links(field, link.category), fact)
            yield Candidate(f"{path}.{field}", name, what, fact.dimension, fact.value, low, high, sd)


def _measured_less(sd: float, fact: Fact) -> float:
    return sd if fact.mark is Mark.ASSUMED else sd * KNOWN


@cache
def spread_of_runtimes(field: str) -> float:
    """Standard deviation of the logarithm of a number of runtimes over the catalogue ("factors.gemm")."""
    facts = []
    for runtime in load_all_runtimes():
        table, _, name = field.rpartition(".")
        facts.append(getattr(runtime.factors if table else runtime, name))
    return _spread(fact.value for fact in facts if fact is not None)


@cache
def spread_of_links(field: str, category: str) -> float:
    """The same of a number of links of one category."""
    links = [link for link in map(load_link, link_names()) if link.category == category]
    return _spread(getattr(link, field).value for link in links)


def _spread(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values if value > 0.0]
    return max(pstdev(logs), LEAST_SD) if logs else LEAST_SD
