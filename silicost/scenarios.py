"""From names and numbers to a ``Scenario``: what the flags of a command and the calls of the public API say."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.facts import Fact, Mark
from hardware_specs.files import is_path
from hardware_specs.overrides import apply_overrides
from hardware_specs.prices import price_of
from hardware_specs.records import DeviceSpec, LinkSpec, SiteSpec, SystemSpec
from hardware_specs.sites import DEFAULT_SITE, load_site
from hardware_specs.systems import group_of, links_of, load_system, system_for
from hardware_specs.threads import with_threads
from hardware_specs.units import parse_quantity
from simulator.checks import check_count
from simulator.scenario import Formats, Plan, Pool, Scenario, StaticBatch, TrainStep, TrainThenInfer, Workload, trains
from workloads.compression import Compression, cache_format, compression_of, derived
from workloads.lowering.dataflow import Dataflow
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import default_runtime, load_runtime

LIFE_S = 3.0 * 365.25 * 86400.0
"""Years over which a purchase is spread [s]; assumed, the usual depreciation of servers."""
_DESIGN = "design."
OVERRIDABLE = ("device", "runtime", "link", "site", "system")
Record = TypeVar("Record", bound=msgspec.Struct)


def inference_scenario(
    model: str | Architecture, device: str, *, batch: int, isl: int, osl: int, **hardware: Any
) -> Scenario:
    """A static batch: ``batch`` prompts of ``isl`` tokens, each answered with ``osl`` tokens.

    Args:
        model: catalogue name, path of a ``config.json``, or an architecture.
        device: catalogue name, or path of a TOML file.
        hardware: as ``one_pool`` takes it.

    Raises:
        InputError: an unknown name, or numbers that contradict each other.
        TypeError: a keyword that ``one_pool`` does not take.
    """
    _check_keywords("inference_scenario", hardware)
    return one_pool(StaticBatch(_model(model), batch, isl, osl), device, **hardware)


def training_scenario(
    model: str | Architecture, device: str, *, global_batch: int, seq_len: int, lora_rank: int = 0,
    optimizer: str = "adamw", **hardware: Any,
) -> Scenario:  # fmt: skip
    """One optimizer step on ``global_batch`` sequences of ``seq_len`` tokens; the rest as ``inference_scenario``."""
    _check_keywords("training_scenario", hardware)
    return one_pool(TrainStep(_model(model), global_batch, seq_len, lora_rank, optimizer), device, **hardware)


def _check_keywords(function: str, given: Mapping[str, Any]) -> None:
    """Refuse keywords that ``one_pool`` does not have, in the name of the function that was called.

    Raises:
        TypeError: with the nearest and all that are allowed.
    """
    known = [name for name, p in signature(one_pool).parameters.items() if p.kind is Parameter.KEYWORD_ONLY]
    for name in given:
        if name not in known:
            close = nearest(name, known)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{function}() has no keyword {name!r}{hint} (allowed: {', '.join(known)})")


def one_pool(
    work: Workload, device: str, *, count: int | None = None, tp: int | None = None, pp: int = 1, dp: int = 1,
    ep: int = 1, runtime: str = "", dtype: str = "bf16", weight_dtype: str = "", kv_dtype: str = "", system: str = "",
    site: str = DEFAULT_SITE, price: str = "", changes: Mapping[str, str] | None = None, micro_batch: int = 1,
    recompute: str = "none", cp: int = 1, vpp: int = 1, seq_parallel: bool = False, zero: int = -1,
    schedule: str = "", etp: int = 0, cp_comm: str = "p2p", shard: int = 0, overlap: str = "", offload: str = "",
    stages: tuple[int, ...] = (), recipe: str = "", prune: str | Mapping[str, float] = "",
    low_rank: str | float = "", sparsity: str | float = "", activation_dtype: str = "", quality: float = 0.0,
    threads: int = 0,
) -> Scenario:  # fmt: skip
    """``work`` on equal devices.

    Args:
        count: devices; default tp x pp x dp x cp. With ``count`` alone, all of them are tensor parallel.
        runtime: catalogue name; default the device's usual one.
        weight_dtype: storage format; default that in which the model is shipped, else ``dtype``.
        system: catalogue name; default the usual host, links and network around such devices.
        price: "2.5 USD/h" per device; default the catalogue's.
        micro_batch, recompute, cp, vpp, seq_parallel, zero, schedule, etp, cp_comm, shard, overlap, offload, stages: of
            training, as in ``Plan``; recipe as in ``Formats``.
        prune, low_rank, sparsity, activation_dtype, quality: as ``workloads.compression.compression_of`` takes them.
        changes: what-if overrides by dotted path ("device.memory.bandwidth" = "6 TB/s" or "2x").
        threads: cores in use on each CPU; 0: all.

    Raises:
        InputError: an unknown name, or numbers that contradict each other.
    """
    check_whole({"--count": count, "--tp": tp, "--pp": pp, "--dp": dp, "--ep": ep, "--cp": cp, "--vpp": vpp})
    compression = compression_of(prune, low_rank, activation_dtype, sparsity, quality)
    work = compressed(work, compression)
    changed = split_changes(changes or {})
    spec = on_threads(changed_device(device, changed["device"]), threads)
    rest = pp * dp * cp
    ways = tp if tp is not None else (count // rest if count is not None and count % rest == 0 else 1)
    plan = Plan(
        ways, pp, dp, ep, micro_batch, recompute, cp, vpp, seq_parallel, zero, schedule, etp, cp_comm, shard, overlap,
        offload, stages,
    )  # fmt: skip
    devices = count if count is not None else plan.devices
    whole = load_system(system) if system else system_for(spec, devices)
    whole = apply_overrides(whole, changed["system"], "--set system.")
    formats = formats_of(work, compression, dtype, weight_dtype or shipped_format(work), kv_dtype, recipe)
    pool = make_pool(
        spec.id,
        spec,
        devices,
        runtime,
        formats,
        plan,
        price,
        changed,
        training=trains(work),
        group=group_of(whole, spec.id).id,
    )
    return Scenario(work, whole, changed_links(whole, changed["link"]), (pool,), changed_site(site, changed["site"]))


def on_threads(spec: DeviceSpec, threads: int) -> DeviceSpec:
    """``spec`` with so many of its cores in use; 0: all.

    Raises:
        InputError: it is no CPU, or has fewer cores.
    """
    if not threads:
        return spec
    if spec.device_class != "cpu":
        raise InputError(f"--threads {threads}: {spec.id} is a {spec.device_class}; only CPUs have threads", "threads")
    cores = spec.compute.units
    if threads < 0 or (cores and threads > cores.value):
        most = f"1 to {cores.value:g}, its cores" if cores else "1 or more"
        raise InputError(f"--threads {threads} on {spec.id}: must be {most}", "threads")
    return with_threads(spec, threads)


def compressed(work: Workload, how: Compression) -> Workload:
    """``work`` with the model that compression leaves.

    Raises:
        InputError: a part that the model does not have; a dataflow, whose operators are written out.
    """
    if not how.prune and not how.low_rank:
        return work
    if isinstance(work, Dataflow):
        raise InputError(f"{'--prune' if how.prune else '--low-rank'}: a dataflow has no model; write smaller sizes")
    if isinstance(work, TrainThenInfer):
        train, infer = (
            msgspec.structs.replace(part, model=derived(part.model, how)) for part in (work.train, work.infer)
        )
        return msgspec.structs.replace(work, train=train, infer=infer)
    return msgspec.structs.replace(work, model=derived(work.model, how))


def formats_of(work: Workload, how: Compression, dtype: str, weight: str, kv: str, recipe: str = "") -> Formats:
    """Number formats with what compression says of them.

    Raises:
        InputError: a cache with a scale for each head, of a model without attention.
    """
    cache = kv if isinstance(work, Dataflow) else cache_format(kv, work.model)
    return Formats(dtype, weight, cache, recipe, how.activation, how.sparsity, how.quality)


def changed_device(name: str, changes: Mapping[str, str]) -> DeviceSpec:
    """The device ``name`` with what-if changes; "design.<key>" changes the design that its file was made from.

    Raises:
        InputError: an unknown name or field, a file without a design, or a design that cannot be made.
    """
    own = {path.removeprefix(_DESIGN): text for path, text in changes.items() if path.startswith(_DESIGN)}
    others = {path: text for path, text in changes.items() if not path.startswith(_DESIGN)}
    return apply_overrides(_designed(name, own) if own else load_device(name), others, "--set device.")


def _designed(name: str, changes: Mapping[str, str]) -> DeviceSpec:
    from hardware_specs.accelerators.changes import changed
    from hardware_specs.accelerators.devices import device_of
    from hardware_specs.accelerators.estimates import estimate
    from hardware_specs.accelerators.files import load_design

    if not is_path(name):
        raise InputError(f"--set device.{_DESIGN}...: {clipped(name)} has no design; give a file of silicost design")
    design = changed(load_design(Path(name)), changes, f"--set device.{_DESIGN}")
    found = estimate(design)
    if found.reasons:
        raise InputError(f"{design.id} cannot be made: {found.reasons[0].text}", found.reasons[0].code)
    return device_of(design, found=found)


def shipped_format(work: Workload) -> str:
    """The storage format in which the model of an inference is shipped; "" where that is the dtype's own."""
    return work.model.quantization if isinstance(work, StaticBatch) else ""


def make_pool(
    name: str, spec: DeviceSpec, count: int, runtime: str, formats: Formats, plan: Plan, price: str,
    changed: Mapping[str, Mapping[str, str]], place: str = "--set ", priced: str = "--price", training: bool = False,
    group: str = "",
) -> Pool:  # fmt: skip
    """One pool under its runtime and price; ``place`` and ``priced`` say where changes and price were written."""
    software = load_runtime(runtime) if runtime else default_runtime(spec, training)
    software = apply_overrides(software, changed["runtime"], f"{place}runtime.")
    fact, origin, owned = _price(spec, price, priced)
    return Pool(name, spec, count, software, formats, plan, fact, origin, owned, group)


def split_changes(changes: Mapping[str, str], place: str = "--set ") -> dict[str, dict[str, str]]:
    """Overrides by the record they change; the first word of each path names it. ``place`` begins errors.

    Raises:
        InputError: another first word.
    """
    split: dict[str, dict[str, str]] = {kind: {} for kind in OVERRIDABLE}
    for path, text in changes.items():
        kind, _, rest = path.partition(".")
        if kind not in split or not rest:
            close = nearest(kind, OVERRIDABLE)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            allowed = ", ".join(f"{k}." for k in OVERRIDABLE)
            raise InputError(f"{place}{clipped(path)}={clipped(text)}: must begin with one of {allowed}{hint}")
        split[kind][rest] = text
    return split


def changed_links(system: SystemSpec, changes: Mapping[str, str], place: str = "--set ") -> dict[str, LinkSpec]:
    """The links of ``system``; a change names the link first ("nvlink4.bandwidth").

    Raises:
        InputError: a link that the system does not have.
    """
    links = links_of(system)
    for path, text in changes.items():
        name, _, field = path.partition(".")
        if name not in links or not field:
            close = nearest(name, links)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}link.{path}={text}: no such link here{hint} (allowed: {', '.join(links)})")
        links[name] = apply_overrides(links[name], {field: text}, f"{place}link.{name}.")
    return links


def changed_site(name: str, changes: Mapping[str, str], place: str = "--set ") -> SiteSpec:
    """The site called ``name`` with its changes."""
    return apply_overrides(load_site(name), changes, f"{place}site.")


def check_whole(numbers: Mapping[str, int | None], most: int = 1_000_000) -> None:
    """Refuse counts below one or absurdly large; None is not given.

    Raises:
        InputError: with the flag, the value and what is allowed.
    """
    for flag, value in numbers.items():
        if value is not None:
            check_count(flag, value, most)


def _price(spec: DeviceSpec, asked: str, place: str) -> tuple[Fact | None, str, bool]:
    """Price per device and second, whose it is, and whether it is that of an owned device."""
    if asked:
        value = parse_quantity(asked, "usd_per_s", place)
        if not value > 0.0:
            raise InputError(f"{place} {asked}: must be positive, for example '2.5 USD/h'")
        return Fact(value, "usd_per_s", asked, Mark.ASSUMED, "set by the user"), "set by the user", False
    known = price_of(spec.id)
    if known is not None:
        return known.usd_per_s, f"{known.provider} {known.kind}".strip(), False
    bought = spec.price.purchase
    if bought is None:
        return None, "", False
    spread = Fact(
        bought.value / LIFE_S, "usd_per_s", f"{bought.text} / 3 years", Mark.ASSUMED,
        f"no rental price is known; purchase ({bought.origin}) spread over 3 years of use without pause",
    )  # fmt: skip
    return spread, "purchase", True


def _model(model: str | Path | Architecture) -> Architecture:
    return model if isinstance(model, Architecture) else load_model(str(model))
