"""Scenario files: TOML tables [workload] [traffic] [system] [runtime] [plan] [site] to a ``Scenario``.

Docs: scenario files. Unknown keys, keys of another kind of workload and wrong types are refused with their place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TypeVar

import msgspec

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.files import beside, is_path
from hardware_specs.overrides import apply_overrides
from hardware_specs.reader import convert, read_toml
from hardware_specs.records import DeviceSpec, SystemNode, SystemSpec
from hardware_specs.systems import group_of, load_system_and_devices, system_for
from silicost.scenario_places import in_keys
from silicost.scenario_tables import (
    TRAFFIC,
    CompressTable,
    PoolTable,
    PrivacyTable,
    ScenarioTable,
    SystemTable,
    TrafficTable,
    WorkloadTable,
)
from silicost.scenarios import (
    changed_links,
    changed_site,
    check_whole,
    compressed,
    formats_of,
    make_pool,
    shipped_format,
    split_changes,
)
from simulator.scenario import Plan, Pool, Privacy, Scenario, StaticBatch, TrainStep, TrainThenInfer, Workload
from workloads.compression import Compression, compression_of
from workloads.lowering.dataflow import Dataflow
from workloads.models.catalogue import load_model

Record = TypeVar("Record", bound=msgspec.Struct)


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with the package."""
    folder = resources.files("silicost").joinpath("data/scenarios")
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_scenario(name: str) -> tuple[Scenario, str]:
    """The scenario in the TOML file ``name``, or the shipped one of that name; and its description.

    Raises:
        UnknownName: neither a file nor a shipped scenario.
        InputError: a broken file, or a scenario that contradicts itself.
    """
    path = Path(name)
    if not name.endswith(".toml"):
        known = shipped_scenarios()
        if name not in known:
            raise UnknownName("scenario", name, known, "a .toml file, or one of " + ", ".join(known))
        path = Path(str(resources.files("silicost").joinpath(f"data/scenarios/{name}.toml")))
    table = convert(read_toml(path), ScenarioTable, path.name, {})
    return build(table, path.name, path.parent), table.description


def build(table: ScenarioTable, place: str, folder: Path) -> Scenario:
    """The scenario that a file's tables describe; ``place`` names the file in errors, paths begin in ``folder``."""
    table, own = _by_id(_with_paths(table, folder))
    work = workload_of(table.workload, table.traffic, place)
    compression, work = _compressed(table.compress, work, place)
    _check_training_keys(table, place)
    changes = f"{place}: system.set: "
    changed = split_changes(table.system.set, changes)
    system, devices = _system(table.system, own, place)
    system = apply_overrides(system, changed["system"], f"{changes}system.")
    own |= devices
    rows = _pool_rows(table, system, place)
    pools = tuple(_pool(row, table, system, own, changed, place, work, compression) for row in rows)
    if table.plan.layers and (table.workload.kind != "training" or len(pools) == 1):
        raise InputError(f"{place}: plan.layers {table.plan.layers!r}: of several pools that train a model")
    return Scenario(
        work, system, changed_links(system, changed["link"], changes), pools,
        changed_site(table.site.name, changed["site"], changes), table.plan.place, table.title, table.seed,
        table.plan.layers, _privacy(table.privacy, pools, place),
    )  # fmt: skip


def _compressed(table: CompressTable, work: Workload, place: str) -> tuple[Compression, Workload]:
    """What [compress] says, and the workload with the model that it leaves."""
    asked = (table.prune, table.low_rank, table.activation_dtype, table.sparsity, table.quality)
    try:
        compression = compression_of(*asked)
        return compression, compressed(work, compression)
    except InputError as error:
        raise InputError(f"{place}: {in_keys(str(error))}", error.code) from None


def _with_paths(table: ScenarioTable, folder: Path) -> ScenarioTable:
    """Every path in the file as it is seen from the current directory."""

    def moved(record: Record, *fields: str) -> Record:
        return msgspec.structs.replace(record, **{field: beside(getattr(record, field), folder) for field in fields})

    pools = tuple(moved(pool, "device", "runtime") for pool in table.plan.pools)
    return msgspec.structs.replace(
        table,
        workload=moved(table.workload, "model"),
        system=moved(table.system, "name", "device"),
        runtime=moved(table.runtime, "name"),
        plan=msgspec.structs.replace(table.plan, pools=pools),
        site=moved(table.site, "name"),
    )


def _by_id(table: ScenarioTable) -> tuple[ScenarioTable, dict[str, DeviceSpec]]:
    """The tables with devices by their ids, and those devices that the file names by paths."""
    own: dict[str, DeviceSpec] = {}

    def named(record: Record) -> Record:
        name: str = getattr(record, "device")  # noqa: B009  # of either kind of table
        if not is_path(name):
            return record
        spec = load_device(name)
        own[spec.id] = spec
        return msgspec.structs.replace(record, device=spec.id)

    plan = msgspec.structs.replace(table.plan, pools=tuple(map(named, table.plan.pools)))
    return msgspec.structs.replace(table, system=named(table.system), plan=plan), own


def workload_of(work: WorkloadTable, traffic: TrafficTable, place: str) -> Workload:
    """The workload of a kind; refuses keys of [traffic] that are missing or belong to another kind."""
    required, optional = TRAFFIC[work.kind]
    default = TrafficTable()
    for key in (name for name in TrafficTable.__struct_fields__ if name != "kind"):
        value = getattr(traffic, key)
        if key in required and value is None:
            raise InputError(
                f"{place}: traffic: missing key {key!r}; workload kind {work.kind!r} needs {', '.join(required)}"
            )
        if key not in (*required, *optional) and value != getattr(default, key):
            raise InputError(
                f"{place}: traffic.{key} does not belong to workload kind {work.kind!r} "
                f"(allowed: {', '.join((*required, *optional))})"
            )
    check_whole({f"{place}: traffic.{key}": getattr(traffic, key) for key in required}, most=1_000_000_000)
    t = traffic
    if work.kind == "dataflow":
        return Dataflow(
            work.operators, work.inputs, t.batch or 0, work.train, _steps(t, place), work.input_bytes_per_sample,
            work.optimizer,
        )  # fmt: skip
    if not work.model:
        raise InputError(f"{place}: workload: missing key 'model'; kind {work.kind!r} needs one (silicost models list)")
    model = load_model(work.model)
    infer = StaticBatch(model, t.batch or 0, t.isl or 0, t.osl or 0)
    train = TrainStep(model, t.global_batch or 0, t.seq_len or 0, work.lora_rank)
    if work.kind == "inference":
        return infer
    return train if work.kind == "training" else TrainThenInfer(train, t.steps or 0, infer)


def _check_training_keys(table: ScenarioTable, place: str) -> None:
    """Refuse keys about training where no model is trained."""
    work, plan = table.workload, table.plan
    own = {f"{place}: pool {_name_of(row)}: micro_batch": row.micro_batch for row in plan.pools}
    if work.kind in ("training", "train-then-infer"):
        check_whole({f"{place}: plan.micro_batch": plan.micro_batch, **own})
        return
    given = {
        "workload.lora_rank": work.lora_rank or None, "plan.micro_batch": plan.micro_batch,
        "plan.recompute": plan.recompute,
        **{f"pool {_name_of(row)}: micro_batch": row.micro_batch for row in plan.pools},
    }  # fmt: skip
    for key, value in given.items():
        if value is not None:
            raise InputError(
                f"{place}: {key} does not belong to workload kind {work.kind!r} (allowed: training, train-then-infer)"
            )


def _steps(traffic: TrafficTable, place: str) -> int:
    """Steps of a dataflow: given, or epochs x samples / batch, rounded up."""
    given = [key for key in ("samples", "epochs") if getattr(traffic, key) is not None]
    if traffic.steps is not None and given:
        raise InputError(f"{place}: traffic: give either steps, or samples and epochs, not steps and {given[0]}")
    if len(given) == 1:
        raise InputError(f"{place}: traffic: samples and epochs go together; only {given[0]!r} is there")
    steps = traffic.steps
    if given:
        check_whole({f"{place}: traffic.{k}": getattr(traffic, k) for k in given}, most=1_000_000_000)
        steps = math.ceil((traffic.samples or 0) / (traffic.batch or 1)) * (traffic.epochs or 0)
    return 1 if steps is None else steps


def _system(table: SystemTable, own: Mapping[str, DeviceSpec], place: str) -> tuple[SystemSpec, dict[str, DeviceSpec]]:
    """The system, and the devices that its own file names by paths."""
    if bool(table.name) == bool(table.device):
        found = "both" if table.name else "none"
        raise InputError(f"{place}: system: needs either 'name' or 'device' (with 'count'); it has {found}")
    if table.name:
        if table.count is not None:
            raise InputError(f"{place}: system.count: a named system has its own; pools take one in [[plan.pools]]")
        return load_system_and_devices(table.name)
    check_whole({f"{place}: system.count": table.count})
    device = own[table.device] if table.device in own else load_device(table.device)
    return system_for(device, table.count or 1), {}


def _pool_rows(table: ScenarioTable, system: SystemSpec, place: str) -> tuple[PoolTable, ...]:
    """The pools that the file lists, else one for each group of the system."""
    names = [_name_of(row) for row in table.plan.pools]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{place}: plan.pools: two pools are called {name!r}; give them different names")
    if table.plan.pools:
        return table.plan.pools
    if table.system.device:
        return (PoolTable(system.groups[0].device, count=table.system.count or 1),)
    return tuple(PoolTable(group.device, group.id) for group in system.groups)


def _pool(
    row: PoolTable, table: ScenarioTable, system: SystemSpec, devices: Mapping[str, DeviceSpec],
    changed: dict[str, dict[str, str]], place: str, work: Workload, compression: Compression,
) -> Pool:  # fmt: skip
    group = _group(row, system, place)
    device, plan, where = group.device, table.plan, f"{place}: pool {_name_of(row)}"
    own = ((row.pp, plan.pp), (row.dp, plan.dp), (row.ep, plan.ep))
    pp, dp, ep = (whole if mine is None else mine for mine, whole in own)
    count = group.count * system.nodes if row.count is None else row.count
    check_whole({f"{where}: {key}": value for key, value in {"count": count, "pp": pp, "dp": dp, "ep": ep}.items()})
    asked = plan.tp if row.tp is None else row.tp
    tp = max(1, count // (pp * dp)) if asked is None else asked
    check_whole({f"{where}: tp": tp})
    meant = {path: text for path, text in changed["device"].items() if _meant(path, device, system)}
    changes = {path.removeprefix(f"{device}."): text for path, text in meant.items()}
    unchanged = devices[device] if device in devices else load_device(device)
    spec = apply_overrides(unchanged, changes, f"{place}: system.set: device.")
    weight = row.weight_dtype or plan.weight_dtype or shipped_format(work)
    formats = formats_of(work, compression, row.dtype or plan.dtype, weight, row.kv_dtype or plan.kv_dtype)
    runtime = row.runtime or table.runtime.name
    training = table.workload.kind == "training" or table.workload.train
    micro_batch = plan.micro_batch if row.micro_batch is None else row.micro_batch
    cut = Plan(tp, pp, dp, ep, micro_batch or 1, plan.recompute or "none")
    return make_pool(
        _name_of(row), spec, count, runtime, formats, cut, row.price, changed,
        f"{place}: system.set: ", f"{where}: price", training, group.id,
    )  # fmt: skip


def _privacy(table: PrivacyTable, pools: tuple[Pool, ...], place: str) -> Privacy:
    """Who may see what, as names of pools.

    Raises:
        UnknownName: a name that is no pool, group, device or site here.
    """
    named: dict[str, dict[str, None]] = {}
    for pool in pools:
        for name in dict.fromkeys((pool.name, pool.group, pool.device.id)):
            named.setdefault(name, {})[pool.name] = None

    def found(names: tuple[str, ...], where: str) -> tuple[str, ...]:
        for name in names:
            if name not in named:
                raise UnknownName("pool or site", name, named, "here are " + ", ".join(named), f"{place}: {where}")
        return tuple(pool.name for pool in pools if any(pool.name in named[name] for name in names))

    sites = {name: found(members, f"privacy.sites.{name}") for name, members in table.sites.items()}
    for name, members in sites.items():
        if name in named:
            raise InputError(f"{place}: privacy.sites.{name}: a pool, group or device has this name too")
        named[name] = dict.fromkeys(members)
    given = {data: getattr(table, data) for data in ("prompts", "weights", "kv")}
    return Privacy(**{data: found(names, f"privacy.{data}") for data, names in given.items() if names is not None})


def _name_of(row: PoolTable) -> str:
    """What the rules call a pool."""
    return row.name or row.group or row.device


def _group(row: PoolTable, system: SystemSpec, place: str) -> SystemNode:
    """The group of devices that a pool names, by its id or its device."""
    if row.group:
        groups = {group.id: group for group in system.groups}
        if row.group not in groups:
            has = f"system {system.id} has {', '.join(groups)}"
            raise UnknownName("group", row.group, groups, has, f"{place}: pool {_name_of(row)!r}")
        return group_of(system, row.device or groups[row.group].device, row.group)
    devices = [group.device for group in system.groups]
    if not row.device:
        raise InputError(f"{place}: plan.pools: a pool needs 'group' or 'device' (devices here: {', '.join(devices)})")
    if row.device not in devices:
        has = f"system {system.id} has {', '.join(devices)}"
        raise UnknownName("device", row.device, devices, has, f"{place}: pool {_name_of(row)!r}")
    return group_of(system, row.device)


def _meant(path: str, device: str, system: SystemSpec) -> bool:
    """Whether a change of "device...." is about this device: it names it, or no device at all."""
    named = [group.device for group in system.groups if path.startswith(f"{group.device}.")]
    return not named or device in named
