"""What training moves off the devices, to the memory or the storage of their host, and what that costs.

- ``optimizer``: fp32 masters and moments lie on the host, whose processors update them: gradients go down beside every
  backward and are added up there, updated weights come back beside the update (Ren et al., "ZeRO-Offload",
  arXiv:2101.06840).
- ``weights``: every micro-batch fetches the layers of its stage twice (Rajbhandari et al., "ZeRO-Infinity",
  arXiv:2104.07857).
- ``activations``: what a backward needs goes to the host in the forward and comes back before it.

A device and its host exchange over the host link, at once in both directions; devices that share a link, and those of
a node that take part its memory and its storage, have an equal part each. Weights come and activations go beside a
forward, both come beside a backward and gradients go: what is longer than these shows, one layer's part at least. The
host's update is bound by its memory: ``HOST_SHARE`` of the nominal bandwidth is reached. The math of one layer goes on
while the next one is under way, so that two are on the device.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Fact
from simulator.network.topology import Network
from simulator.scenario import Plan
from workloads.optimizers import optimizer_of

KINDS: Final = ("weights", "activations", "optimizer")
PLACES: Final = ("host", "nvme")
HOST_SHARE: Final = 0.5
"""Share of a host's memory bandwidth that an update of many parameters reaches, assumed: an update reads and writes
seven streams at once."""
FORWARD: Final = 1.0 / 3.0
"""Part of a micro-batch that its forward takes."""
LAYERS: Final = 2.0
"""Layers on the device of what lies off it: one in use, the next under way."""


class Offloads(NamedTuple):
    """Where each lies: "" (on the devices), "host" or "nvme"."""

    weights: str = ""
    activations: str = ""
    optimizer: str = ""


def offloads_of(plan: Plan) -> Offloads:
    """What a plan moves off the devices: "all", or a list of kinds, each with ":nvme" or ":host" (the default) behind.

    Raises:
        InputError: a kind or a place that there is not, or a kind twice.
    """
    found: dict[str, str] = {}
    words = KINDS if plan.offload == "all" else [word.strip() for word in plan.offload.split(",") if plan.offload]
    for word in words:
        kind, _, place = word.partition(":")
        if kind not in KINDS:
            raise UnknownName("kind", kind, KINDS, f"allowed: all, {', '.join(KINDS)}", "--offload")
        if (place or "host") not in PLACES:
            raise UnknownName("place", place, PLACES, f"allowed: {', '.join(PLACES)}", f"--offload {kind}")
        if kind in found:
            raise InputError(f"--offload {plan.offload}: {kind} is there twice")
        found[kind] = place or "host"
    return Offloads(**found)


def check_optimizer(where: Offloads, optimizer: str) -> None:
    """Refuse to leave an optimizer to the host that multiplies matrices.

    Raises:
        UnknownName: no such optimizer.
        InputError: with its name.
    """
    if optimizer_of(optimizer).orthogonal and where.optimizer:
        raise InputError(f"--offload optimizer: {optimizer} multiplies matrices, which hosts are too slow for")


class Store(NamedTuple):
    """What one device has of its host: rates of the link per direction, of an update in memory, of storage [B/s], and
    room in memory and storage [B]."""

    link_bytes_per_s: float
    update_bytes_per_s: float
    storage_bytes_per_s: float
    memory_bytes: float
    storage_bytes: float


NO_STORE: Final = Store(1.0, 1.0, 1.0, 0.0, 0.0)
"""Of a device that moves nothing."""


def store_of(network: Network, needed: Offloads) -> Store:
    """A device's part of its host, for what is ``needed``.

    Raises:
        InputError: something about the host is not known.
    """
    if not any(needed):
        return NO_STORE
    host = network.host
    devices = float(min(network.group.count, len(network.ranks)))
    shares = [each.bytes_per_s / each.devices for each in network.shared(host, network.ranks).values()]
    link = min([host.bandwidth.value * host.achieved_fraction.value, *shares])
    memory, rate = (_known(network, name) for name in ("host_memory", "host_memory_bandwidth"))
    room, drives = 0.0, 1.0
    if "nvme" in needed:
        room, drives = (_known(network, name) for name in ("storage", "storage_bandwidth"))
    return Store(link, HOST_SHARE * rate / devices, drives / devices, memory / devices, room / devices)


def _known(network: Network, name: str) -> float:
    fact: Fact | None = getattr(network.system, name)
    if fact is None:
        example = "1TB" if not name.endswith("bandwidth") else "400GB/s"
        raise InputError(f"--offload: {name} of system {network.system.id} is not known; --set system.{name}={example}")
    return fact.value


class Sizes(NamedTuple):
    """Bytes of one device: weights of its layers as they are computed with, and the part of them that is its own;
    activations that one micro-batch leaves, and how many of these it holds; gradients that it has summed up, optimizer
    states of its part, weights of its part; layers of its stage. Numbers, or arrays of one shape."""

    held: Any
    own: Any
    activations: Any
    in_flight: Any
    gradients: Any
    states: Any
    updated: Any
    layers: Any


class Offloading(NamedTuple):
    """What lies where, what the host has, and how much it is."""

    where: Offloads
    store: Store
    sizes: Sizes


NOTHING: Final = Offloading(Offloads(), NO_STORE, Sizes(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
"""All on the devices."""


class Costs(NamedTuple):
    """What a micro-batch on a stage shows more [s], what the end of a step does (update included) [s], and bytes that
    are needed in memory and storage of the host for one device."""

    micro_s: Any
    end_s: Any
    memory_bytes: Any
    storage_bytes: Any


def costs_of(moved: Offloading, stage_s: Any) -> Costs:
    """What moving costs.

    Args:
        stage_s: one micro-batch on the slowest stage [s].
    """
    where, store, sizes = moved
    zero = 0.0 * sizes.held * stage_s
    weights = sizes.own if where.weights else zero
    kept = sizes.activations if where.activations else zero
    drives = (sizes.own if where.weights == "nvme" else 0.0) + (
        sizes.activations if where.activations == "nvme" else 0.0
    )
    made, micro_s = sizes.gradients if where.optimizer else zero, zero
    ways = ((np.maximum(weights, kept), FORWARD), (np.maximum(weights + kept, made), 1.0 - FORWARD))
    for crossed, part in ways:
        moved_s = np.maximum(crossed / store.link_bytes_per_s, drives / store.storage_bytes_per_s)
        micro_s = micro_s + np.maximum(moved_s - part * stage_s, moved_s / sizes.layers)
    end_s = zero
    if where.optimizer:
        touched_s = (2.0 * sizes.states + sizes.gradients + sizes.updated) / store.update_bytes_per_s
        paged_s = 2.0 * sizes.states / store.storage_bytes_per_s if where.optimizer == "nvme" else zero
        back_s = zero if where.weights else sizes.updated / store.link_bytes_per_s
        end_s = np.maximum(np.maximum(touched_s, paged_s), back_s)
    needs = (sizes.own, sizes.activations * sizes.in_flight, sizes.states + sizes.gradients)
    memory, storage = (
        zero + sum((need for need, there in zip(needs, where, strict=True) if there == place), start=zero)
        for place in PLACES
    )
    return Costs(micro_s, end_s, memory, storage)


def kept_activations(where: Offloads, kept: Any, in_flight: Any, layers: Any) -> Any:
    """Activations on the device [B]: of all micro-batches in flight, or of two layers of one.

    Args:
        kept: what one micro-batch leaves on a stage of ``layers`` [B].
    """
    whole = kept * in_flight
    return np.minimum(whole, LAYERS * kept / layers) if where.activations else whole


def kept_gradients(where: Offloads, whole: Any, layers: Any) -> Any:
    """Gradients on the device [B]: of all ``layers``, or of two on their way to the host."""
    return whole * np.minimum(LAYERS / layers, 1.0) if where.optimizer else whole


def check_room(store: Store, costs: Costs) -> None:
    """Refuse what a host cannot hold.

    Raises:
        InputError: with what is needed and what is there.
    """
    rooms = zip(PLACES, costs[2:], (store.memory_bytes, store.storage_bytes), strict=True)
    for place, need, room in rooms:
        if need > room:
            raise InputError(
                f"--offload: needs {need / 1e9:.4g} GB of {place} for each device, there are {room / 1e9:.4g} GB"
            )
