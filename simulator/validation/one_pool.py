"""From the words of a row to a scenario on equal devices in their usual system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from hardware_specs.devices import load_device
from hardware_specs.records import DeviceSpec
from hardware_specs.sites import DEFAULT_SITE, load_site
from hardware_specs.systems import group_of, links_of, system_for
from simulator.scenario import Formats, Plan, Pool, Scenario, Workload
from simulator.validation.cells import Unpredictable
from simulator.validation.ops import DEVICES
from workloads.models.architecture import Architecture, Experts
from workloads.models.catalogue import load_model, model_names
from workloads.runtimes.record import Runtime

Models = Mapping[str, Architecture]

NAMED_AS: Final = {"gpt3-xl": "gpt3-xl-wide"}
"""Models that measured rows call by the name of another: 24 heads of 128 under GPT-2's classes are 3072 wide."""


def device_of(name: str) -> DeviceSpec:
    """The device that a row names.

    Raises:
        InputError: none, or an unknown one.
    """
    if not name:
        raise Unpredictable("device missing")
    return load_device(DEVICES.get(name, name))


def model_of(name: str, models: Models) -> Architecture:
    """The model that a row names: of the catalogue, else of ``models`` (a models file), whose columns say less.

    Raises:
        InputError: none, or an unknown one.
    """
    if not name:
        raise Unpredictable("model missing")
    name = NAMED_AS.get(name, name)
    return models[name] if name in models and name not in model_names() else load_model(name)


def experts_of(model: Architecture) -> int:
    """Routed experts of a layer, 0 for none."""
    return max((group.mlp.count for group in model.groups if isinstance(group.mlp, Experts)), default=0)


def with_copies(model: Architecture, ep: int) -> Architecture:
    """``model`` with so many more experts that ``ep`` divides them: copies of some, as servers keep them."""
    groups = tuple(
        replace(group, mlp=replace(group.mlp, count=-(-group.mlp.count // ep) * ep))
        if isinstance(group.mlp, Experts)
        else group
        for group in model.groups
    )
    return replace(model, groups=groups)


def one_pool(work: Workload, spec: DeviceSpec, runtime: Runtime, plan: Plan, formats: Formats, count: int) -> Scenario:
    """``work`` on ``count`` devices; nothing of it is paid for."""
    system = system_for(spec, count)
    pool = Pool(spec.id, spec, count, runtime, formats, plan, group=group_of(system, spec.id).id)
    return Scenario(work, system, links_of(system), (pool,), load_site(DEFAULT_SITE))
