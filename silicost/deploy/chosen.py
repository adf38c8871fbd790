"""The plan that is to be launched: read from the JSON of a result, a recommendation or a search over plans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_folder
from simulator.scenario import Plan

_LARGEST: Final = 64 * 1024 * 1024
_MOST: Final = 1_000_000_000
_ASIDE: Final = ("system", "site", "device_class", "weight_note")
"""Keys of a configuration that say nothing that software is launched with."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What a result was of (``simulator.configuration``)."""

    model: str
    device: str
    count: int
    runtime: str
    dtype: str = "bf16"
    weight_dtype: str = ""
    kv_dtype: str = ""
    recipe: str = ""
    plan: Plan
    batch: int = 0
    isl: int = 0
    osl: int = 0
    global_batch: int = 0
    seq_len: int = 0
    lora_rank: int = 0
    optimizer: str = "adamw"

    @property
    def trains(self) -> bool:
        """Whether it is a training step."""
        return self.global_batch > 0


class Chosen(NamedTuple):
    """A plan: its configuration, where in the file it stands, facts of its provenance by path, and keys unknown here.

    ``serving``: the replicas that traffic needs, where the result is of traffic.
    """

    configuration: Configuration
    place: str
    facts: Mapping[str, str]
    unknown: Mapping[str, Any]
    replicas: int = 0


def read_chosen(path: Path, row: int, flags: Mapping[str, Any]) -> Chosen:
    """The plan in row ``row`` (from 1) of a file, or of ``result.json`` in a folder.

    Args:
        flags: what a row of ``silicost train --search`` does not say: model, device, global_batch, seq_len, dtype,
            runtime.

    Raises:
        InputError: no such file, no JSON, a row that is not there, or something that no plan is.
    """
    if is_folder(path):
        path = path / "result.json"
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: more than 64 MiB: no result is so large")
        whole = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{clipped(str(path))}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON; give result.json of --out, or what --format json printed") from None
    found, place = _row(whole, row, path.name)
    if "step_time_s" in found and "tp" in found and "configuration" not in found:
        return _of_search(found, place, flags)
    for name, value in flags.items():
        if value:
            raise InputError(f"--{name.replace('_', '-')}: stands in the result; only a row of --search needs it")
    configuration = found.get("configuration")
    if not isinstance(configuration, dict):
        where = f"{path.name}: {place.rstrip('.')}" if place else path.name
        raise InputError(
            f"{where}: has no configuration; give result.json of --out, what --format json printed, or where a "
            "recommendation ranked it without simulating it, one with a higher --top"
        )
    if "pools" in configuration:
        raise InputError(f"{place}: several pools: launch each by itself")
    facts = {
        entry["path"]: str(entry["value"])
        for entry in found.get("provenance", ())
        if isinstance(entry, dict) and entry.get("path") and "value" in entry
    }
    replicas = found.get("replicas", 0)
    return Chosen(_converted(configuration, place), f"{place}configuration", facts, _unknown(configuration),
                  replicas if isinstance(replicas, int) else 0)  # fmt: skip


def _row(whole: Any, row: int, name: str) -> tuple[dict[str, Any], str]:
    """A row of whatever lists plans, and how its place is written."""
    rows, at = whole, ""
    for key in ("ranked", "front"):
        if isinstance(whole, dict) and isinstance(whole.get(key), list):
            rows, at = whole[key], key
    if isinstance(rows, dict):
        if row != 1:
            raise InputError(f"--row {row}: {name} has one result")
        return rows, ""
    if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows):
        raise InputError(f"{name}: holds no result; give result.json of --out, or what --format json printed")
    if not 1 <= row <= len(rows):
        raise InputError(f"--row {row}: {name} has {len(rows)}")
    return rows[row - 1], f"{at}[{row - 1}]."


def _converted(configuration: dict[str, Any], place: str) -> Configuration:
    """The record, checked: a launch must not say what no software takes.

    Raises:
        InputError: a field that is missing, of another type, or out of range.
    """
    try:
        found = msgspec.convert(configuration, Configuration)
    except msgspec.ValidationError as error:
        raise InputError(f"{place}configuration: {error}") from None
    sizes = {name: (getattr(found, name), 0) for name in ("batch", "isl", "osl", "global_batch", "seq_len")}
    ways = {f"plan.{name}": (getattr(found.plan, name), 1) for name in ("tp", "pp", "dp", "cp", "ep")}
    for name, (value, least) in {"count": (found.count, 1), **sizes, **ways}.items():
        if not least <= value <= _MOST:
            raise InputError(f"{place}configuration.{name} {value}: must be from {least} to {_MOST}")
    if found.plan.devices != found.count:
        raise InputError(
            f"{place}configuration.count {found.count}: tp x pp x dp x cp of its plan are {found.plan.devices}; they "
            "must be equal"
        )
    return found


def _unknown(configuration: Mapping[str, Any]) -> dict[str, Any]:
    known = (*Configuration.__struct_fields__, *_ASIDE)
    return {key: value for key, value in configuration.items() if key not in known}


def _of_search(found: Mapping[str, Any], place: str, flags: Mapping[str, Any]) -> Chosen:
    """A row of ``silicost train --search``, which says the plan alone."""
    for name in ("model", "device", "global_batch", "seq_len"):
        if not flags.get(name):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: a row of --search does not say it; give it as it was asked")
    plan = {key: value for key, value in found.items() if key in Plan.__struct_fields__}
    ways = [plan.get(key, 1) for key in ("tp", "pp", "dp", "cp")]
    if not all(isinstance(way, int) and way >= 1 for way in ways):
        raise InputError(f"{place}: tp, pp, dp and cp must be whole numbers above 0")
    count = 1
    for way in ways:
        count *= way
    from hardware_specs.devices import load_device
    from workloads.runtimes.catalogue import default_runtime

    runtime = flags.get("runtime") or default_runtime(load_device(flags["device"]), True).id
    configuration = {
        "model": flags["model"], "device": flags["device"], "count": count, "runtime": runtime,
        "dtype": flags.get("dtype") or "bf16", "global_batch": flags["global_batch"], "seq_len": flags["seq_len"],
        "plan": plan,
    }  # fmt: skip
    return Chosen(_converted(configuration, place), place.rstrip("."), {}, {})
