"""What pools of a scenario cannot run: refused, or moved to the host by rules of placement.

A pool of a CPU stands beside the devices, with rules that name the operators; what crosses the host link is priced and
shown as any transfer between pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from hardware_specs.devices import load_device
from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec, SystemNode, SystemSpec
from hardware_specs.systems import links_of
from simulator.compatibility import OPERATOR_NAMES, Support, missing, refusal, words_of
from simulator.placement.rules import Placer, placer_of
from simulator.scenario import Formats, Plan, Pool, Rule, Scenario, StaticBatch, TrainStep, TrainThenInfer
from workloads.lowering.dataflow import Dataflow
from workloads.models.architecture import Experts, LayerGroup
from workloads.runtimes.catalogue import default_runtime

USUAL_HOST: Final = "xeon-8480-plus"
"""CPU of a host whose processor no file names. Assumed: that of a DGX H100, as common in servers as any."""

_PHASES: Final = {"attention_prefill": ("prefill", "encode", "forward"), "attention_decode": ("decode",)}
_FLOW_KINDS: Final = {
    "moe": "experts",
    "attention_prefill": "attention",
    "convolution": "convolution",
    "softmax": "softmax",
}


def check_placed(scenario: Scenario) -> None:
    """Refuse a scenario of several pools one of which must run what it cannot.

    Raises:
        InputError: the operator, why it does not run there, and what to use instead.
    """
    placer = placer_of(scenario)
    for pool in scenario.pools:
        for cell in missing(pool, words_of(scenario.workload)):
            if cell.operator == "training" or _lands(scenario, placer, pool.name, cell.operator):
                if cell.operator == "training" and isinstance(scenario.workload, TrainThenInfer):
                    continue
                raise InputError(f"pool {pool.name}: {refusal(cell)}", "compatibility")


def with_fallback(scenario: Scenario, host: str = "") -> tuple[Scenario, tuple[str, ...]]:
    """``scenario`` with what its only pool cannot run on a CPU of the host; and what was moved, in words.

    Args:
        host: the CPU; default one of the system's own, else ``USUAL_HOST``.

    Raises:
        InputError: several pools (rules place their operators already), or what no host can take over: training and
            products.
    """
    if scenario.mixed:
        check_placed(scenario)
        return scenario, ()
    pool = scenario.pools[0]
    cells = missing(pool, words_of(scenario.workload))
    if not cells:
        return scenario, ()
    stuck = next((cell for cell in cells if not _names(scenario, cell.operator)), None)
    if stuck is not None:
        raise InputError(f"{refusal(stuck)}; a host cannot take it over", "compatibility")
    system, beside = _with_host(scenario.system, pool, host)
    rules = tuple(dict.fromkeys(rule for cell in cells for rule in _rules(scenario, cell, beside.name)))
    # Every pool is cut by its own plan; rules of operators come first, so that they count.
    moved = msgspec.structs.replace(
        scenario, system=system, links=links_of(system) | scenario.links, pools=(pool, beside),
        rules=(*rules, *scenario.rules),
    )  # fmt: skip
    check_placed(moved)
    notes = tuple(
        f"{cell.operator} runs on the host ({beside.device.id}), its tensors cross {system.host_link}: {cell.how} "
        f"({cell.origin})"
        for cell in cells
    )
    return moved, notes


def _with_host(system: SystemSpec, pool: Pool, host: str) -> tuple[SystemSpec, Pool]:
    """The system with a CPU among its groups, and the pool of it."""
    own = [g for g in system.groups if g.device != pool.device.id and load_device(g.device).device_class == "cpu"]
    chosen = next((g for g in own if not host or g.device == host), None)
    spec = load_device(chosen.device if chosen else host or USUAL_HOST)
    if spec.device_class != "cpu":
        raise InputError(f"--fallback {host}: is a {spec.device_class}; a host is a CPU (silicost devices list)")
    if chosen is None:
        chosen = SystemNode(spec.id, 1, system.host_link, "none", id="host" if spec.id == pool.device.id else spec.id)
        system = msgspec.structs.replace(
            system, id=f"{system.id}-with-host", groups=(*system.groups, chosen), notes=f"{system.notes} CPU: assumed"
        )
    runtime = default_runtime(spec)
    return system, Pool("host", spec, 1, runtime, _host_formats(pool.formats, spec), Plan(), group=chosen.id)


def _host_formats(asked: Formats, spec: DeviceSpec) -> Formats:
    """The formats of the host: those of the pool, but math in bf16 where the pool's is narrower, and activations
    quantised only where the host has units for that. Products stay on the pool, so neither changes what they are."""
    dtype = asked.dtype if BITS[asked.dtype] >= 16 else "bf16"
    activation = asked.activation if asked.activation.partition(":")[0] in spec.compute.peaks else ""
    return msgspec.structs.replace(asked, dtype=dtype, activation=activation, recipe="")


def _names(scenario: Scenario, word: str) -> tuple[str, ...]:
    """Names of the operators that ``word`` stands for."""
    if isinstance(scenario.workload, Dataflow):
        kind = _FLOW_KINDS.get(word, "")
        return tuple(o.name for o in scenario.workload.operators if o.kind == kind)
    return OPERATOR_NAMES.get(word, ())


def _rules(scenario: Scenario, cell: Support, host: str) -> Iterator[Rule]:
    """Rules that place what ``cell`` is about on the host."""
    flow = isinstance(scenario.workload, Dataflow)
    for name in _names(scenario, cell.operator):
        if cell.operator == "attention_decode" and not flow:
            yield Rule(host, "decode", operator=name)
        elif cell.operator == "attention_prefill" and not flow:
            encoder = isinstance(scenario.workload, StaticBatch) and scenario.workload.model.is_encoder
            yield Rule(host, "encode" if encoder else "prefill", operator=name)
        else:
            yield Rule(host, operator=name)


def _lands(scenario: Scenario, placer: Placer, pool: str, word: str) -> bool:
    """Whether some operator that ``word`` stands for is placed on ``pool``."""
    work = scenario.workload
    if isinstance(work, Dataflow):
        return any(placer.pool(name, "forward") == pool for name in _names(scenario, word))
    training = isinstance(work, TrainStep)
    phases = ("forward", "backward") if training else _PHASES.get(word, ("prefill", "decode", "encode"))
    if isinstance(work, StaticBatch):
        own = ("encode",) if work.model.is_encoder else ("prefill", "decode") if work.osl > 1 else ("prefill",)
        phases = tuple(phase for phase in phases if phase in own)
    return any(
        placer.pool(name, phase, layer) == pool
        for layer in _layers(work.model.groups, word) for phase in phases for name in OPERATOR_NAMES.get(word, ())
    )  # fmt: skip


def _layers(groups: tuple[LayerGroup, ...], word: str) -> Iterator[int]:
    """Numbers of the layers that have what ``word`` stands for."""
    layer = 0
    for group in groups:
        has = {
            "moe": isinstance(group.mlp, Experts), "ssm_scan": group.ssm is not None and group.ssm.scans,
        }.get(word, group.attention is not None)  # fmt: skip
        yield from range(layer, layer + group.count) if has else ()
        layer += group.count
