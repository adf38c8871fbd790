"""What a result rests on: every input number with its mark, its origin, and the path by which ``--set`` changes it."""

from __future__ import annotations

from collections.abc import Sequence

from hardware_specs.facts import Fact
from simulator.prepared import Prepared
from simulator.result import Provenance
from simulator.scenario import Pool, Scenario, StaticBatch, TrainStep, TrainThenInfer
from simulator.uncertainty.intervals import TRAINING_STEP, WHOLE_RUN


def provenance_of(prepared: Sequence[Prepared]) -> tuple[Provenance, ...]:
    """Model, devices with facts and priors, runtimes, links, site and prices of a run on these pools."""
    scenario = prepared[0].scenario
    rows: list[Provenance] = []
    if isinstance(scenario.workload, (StaticBatch, TrainStep, TrainThenInfer)):
        model = scenario.workload.model
        rows.append(Provenance(f"model {model.id}", "architecture", "sourced", model.source or "given by the user"))
        rows += [Provenance(f"compression of {model.id}", each, "assumed", "asked for") for each in model.derived]
    for each in prepared:
        own = (*each.model.provenance, *_pool_rows(each.pool))
        rows += [_of_device(row, each.pool.device.id) for row in own] if scenario.mixed else own
    rows += _common_rows(scenario)
    trains = isinstance(scenario.workload, TrainStep)
    rows += [_of_whole_runs(name, trains) for name in dict.fromkeys(each.pool.device.device_class for each in prepared)]
    reason = "residuals of the calibrations in use; for other operators a table of the class"
    rows.append(Provenance("intervals", "log-normal, errors of a family shared", "assumed", reason))
    return tuple(dict.fromkeys(rows))


def _of_whole_runs(device_class: str, trains: bool) -> Provenance:
    """The row of what runs err beyond their operators; of a training step what it leaves of these too."""
    if trains and device_class in TRAINING_STEP:
        spread = TRAINING_STEP[device_class]
        words = f"{spread.beyond:g}, and {spread.operators:g} of that of operators"
        return Provenance(f"error of training steps on {device_class}", words, "calibrated", "steps held out of fits")
    value = f"{WHOLE_RUN[device_class]:g}"
    return Provenance(f"error of whole runs on {device_class}", value, "calibrated", "runs measured on the class")


def note(what: str, fact: Fact, path: str = "") -> Provenance:
    """The row of a fact."""
    return Provenance(what, fact.text, fact.mark.value, fact.origin, path)


def _of_device(row: Provenance, device: str) -> Provenance:
    """Among several devices a path says which one it means, as ``system.set`` of scenario files does."""
    if not row.path.startswith("device."):
        return row
    path = f"device.{device}.{row.path.removeprefix('device.')}"
    return Provenance(row.what, row.value, row.mark, row.origin, path)


def _common_rows(scenario: Scenario) -> list[Provenance]:
    """Site, host and links."""
    site, system = scenario.site, scenario.system
    rows = [
        note(f"{site.id} electricity", site.electricity, "site.electricity"),
        note(f"{site.id} PUE", site.pue, "site.pue"),
        note(f"{site.id} carbon intensity", site.carbon, "site.carbon"),
    ]
    for what, field in (
        ("host power", "host_power"),
        ("network bandwidth per device", "network_bandwidth_per_device"),
    ):
        fact = getattr(system, field)
        if fact is not None:
            rows.append(note(f"{system.id} {what}", fact, f"system.{field}"))
    rows += [note(f"{system.id} {shared.name} bandwidth", shared.bandwidth) for shared in system.shared_links]
    for name, link in scenario.links.items():
        for field in ("bandwidth", "latency", "achieved_fraction"):
            rows.append(note(f"{name} {field.replace('_', ' ')}", getattr(link, field), f"link.{name}.{field}"))
    return rows


def _pool_rows(pool: Pool) -> list[Provenance]:
    """Memory, runtime reserve and price of a pool."""
    spec, runtime = pool.device, pool.runtime
    field = "capacity" if spec.memory.usable is None else "usable"
    rows = [
        note(f"{spec.id} memory capacity", getattr(spec.memory, field), f"device.memory.{field}"),
        note(f"{runtime.id} memory utilisation", runtime.memory_utilisation, "runtime.memory_utilisation"),
        note(f"{runtime.id} context", runtime.context, "runtime.context"),
    ]
    if pool.formats.quality:
        said = "the user's own figure; nothing is computed from it"
        rows.append(Provenance("quality of the compressed model", f"{pool.formats.quality:g}", "assumed", said))
    if pool.usd_per_device_s is not None:
        rows.append(note(f"price of {spec.id} ({pool.price_origin})", pool.usd_per_device_s))
    return rows
