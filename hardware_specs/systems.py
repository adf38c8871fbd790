"""Systems: nodes of devices on links; the shipped ones by name, and the usual one around any device."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.devices import device_names, load_device, split_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Fact, Mark
from hardware_specs.files import beside, is_path
from hardware_specs.hosts import host_of
from hardware_specs.links import link_names, load_link
from hardware_specs.records import DeviceSpec, HostSpec, LinkSpec, SharedLink, SystemNode, SystemSpec

_CATALOGUE = Catalogue("system", SystemSpec, Path(__file__).parent / "data" / "systems")
TORUS_DIMENSIONS = {"torus-2d": 2, "torus-3d": 3}


def system_names() -> tuple[str, ...]:
    """All system names, sorted."""
    return _CATALOGUE.names()


def load_system(name: str | Path) -> SystemSpec:
    """The system called ``name``, or described in a TOML file.

    Raises:
        UnknownName: no such system, or it names a device or link that does not exist.
        InputError: a broken file, or counts and shapes that contradict each other.
    """
    return load_system_and_devices(name)[0]


def load_system_and_devices(name: str | Path) -> tuple[SystemSpec, dict[str, DeviceSpec]]:
    """As ``load_system``; with the devices that a system file names by paths (from its own folder on), by id."""
    system = _CATALOGUE.load(name)
    own: dict[str, DeviceSpec] = {}
    groups = []
    for group in system.groups:
        if is_path(group.device):
            device = load_device(beside(group.device, _CATALOGUE.path_of(name).parent))
            own[device.id] = device
            names = {"device": device.id, "id": device.id if group.id == group.device else group.id}
            group = msgspec.structs.replace(group, **names)
        groups.append(group)
    system = msgspec.structs.replace(system, groups=tuple(groups))
    check_system(system, frozenset(own))
    return system, own


def check_system(system: SystemSpec, own: frozenset[str] = frozenset()) -> None:
    """Refuse a system whose counts, shapes, devices or links make no sense; ``own`` devices are in no catalogue.

    Raises:
        UnknownName: an unknown device or link.
        InputError: no groups, a count below one, a shape whose product is not the count.
    """
    place = f"system {system.id}"
    if not system.groups or system.nodes < 1:
        raise InputError(f"{place}: needs at least one group and one node; it has {len(system.groups)}, {system.nodes}")
    for i, group in enumerate(system.groups):
        if group.count < 1:
            raise InputError(f"{place}: groups[{i}].count: must be at least 1, not {group.count}")
        if group.device not in own and split_device(group.device)[0] not in device_names():
            raise UnknownName(
                f"device in groups[{i}] of {place}", group.device, device_names(), "silicost devices list"
            )
        dimensions = TORUS_DIMENSIONS.get(group.topology, 0)
        if len(group.shape) != dimensions or (dimensions and math.prod(group.shape) != group.count):
            raise InputError(
                f"{place}: groups[{i}].shape: must be {dimensions} extents that multiply to {group.count} for "
                f"{group.topology!r}, not {list(group.shape)}"
            )
    ids = [group.id for group in system.groups]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"{place}: two groups are called {name!r}; give them different ids")
    if system.nodes > 1 and not system.network:
        raise InputError(f"{place}: network: must name a link, for there are {system.nodes} nodes")
    links_of(system)
    check_leaves(system)
    for shared in system.shared_links:
        _check_shared(shared, system)


def check_leaves(system: SystemSpec) -> None:
    """Refuse rails, leaves and an oversubscription that make no sense; what-ifs are checked again where they are used.

    Raises:
        InputError: naming the field and what is allowed.
    """
    place = f"system {system.id}"
    for name in ("network_rails", "network_leaf_nodes"):
        fact = getattr(system, name)
        if fact is not None and not (fact.value >= 1.0 and fact.value.is_integer()):
            raise InputError(f"{place}: {name} {fact.text}: must be a whole number from 1 on")
    ratio, rails = system.network_oversubscription, system.network_rails
    if ratio is not None and not 1.0 <= ratio.value < math.inf:
        raise InputError(f"{place}: network_oversubscription {ratio.text}: must be from 1 (as much up as down) on")
    for group in system.groups:
        if rails is not None and group.count % rails.value:
            raise InputError(
                f"{place}: network_rails {rails.text}: must divide the {group.count} devices of group {group.id!r}"
            )


def _check_shared(shared: SharedLink, system: SystemSpec) -> None:
    place = f"system {system.id}: shared link {shared.name!r}"
    if [other.name for other in system.shared_links].count(shared.name) > 1:
        raise InputError(f"{place}: there are two of this name")
    usable = [system.host_link, *([system.network] if system.network else [])]
    if shared.over not in usable:
        raise InputError(f"{place}: over {shared.over!r}: must be the host link or the network: {', '.join(usable)}")
    groups = {group.id: group for group in system.groups}
    for name in shared.groups:
        if name not in groups:
            raise UnknownName(f"group of {place}", name, groups, f"it has {', '.join(groups)}")
    counts = [groups[name].count for name in shared.groups or groups]
    span = shared.devices
    if span and not (len(counts) == 1 and len(span) == 2 and 0 <= span[0] <= span[1] < counts[0]):
        raise InputError(
            f"{place}: devices {list(span)}: must be the first and last device of one group, from 0 to {counts[0] - 1}"
        )
    if shared.each < 0:
        raise InputError(f"{place}: each {shared.each}: must be 0 (one link for all) or a number of devices")


def group_of(system: SystemSpec, device: str, group: str = "") -> SystemNode:
    """The group called ``group``; without a name, the one of ``device``.

    Raises:
        InputError: no such group, one of other devices, or several of this device and no name.
    """
    if group:
        groups = {each.id: each for each in system.groups}
        if group not in groups:
            raise UnknownName(f"group of system {system.id}", group, groups, f"it has {', '.join(groups)}")
        if groups[group].device != device:
            raise InputError(f"group {group!r} of system {system.id} has {groups[group].device}, not {device}")
        return groups[group]
    fitting = [each for each in system.groups if each.device == device]
    if not fitting:
        has = ", ".join(each.device for each in system.groups)
        raise InputError(f"system {system.id} has no {device}; it has {has}")
    if len(fitting) > 1:
        names = ", ".join(each.id for each in fitting)
        raise InputError(f"system {system.id} has several groups of {device}: {names}; say which group")
    return fitting[0]


def links_of(system: SystemSpec) -> dict[str, LinkSpec]:
    """Every link that the system names, by id.

    Raises:
        UnknownName: a link that does not exist.
    """
    named = {group.link for group in system.groups} | {system.host_link, system.network} - {""}
    for name in sorted(named):
        if name not in link_names():
            raise UnknownName(f"link of system {system.id}", name, link_names())
    return {name: load_link(name) for name in sorted(named)}


def system_for(device: DeviceSpec, count: int) -> SystemSpec:
    """The usual system around ``count`` devices: their host (``hosts.host_of``), scale-up link and network.

    The node is the scale-up domain, so an NVL72 rack and a TPU slice are one node. Cards whose scale-up link joins
    fewer of them than the node holds and ``count`` asks for (bridges of two) are joined by PCIe instead. A fixed
    host is whole even if ``count`` needs only a part of it.

    Args:
        count: devices, at least 1.

    Returns:
        A system with ``nodes`` x ``groups[0].count`` >= ``count``; its host power is marked as assumed.

    Raises:
        InputError: ``count`` below 1.
    """
    if count < 1:
        raise InputError(f"{count} devices: must be at least 1")
    host = host_of(device)
    host_link = _pcie_link(device) if host.own_pcie else ""
    link = load_link(_group_link(device, count, host, host_link))
    most = _node_limit(device, link, host)
    nodes = math.ceil(count / most)
    per_node = most if host.fixed else math.ceil(count / nodes)
    topology = link.topology if per_node > 1 else "none"
    group = SystemNode(
        device=device.id,
        count=per_node,
        link=link.id,
        topology=topology,  # type: ignore[arg-type]  # a test holds links of groups to the vocabulary
        shape=torus_shape(per_node, TORUS_DIMENSIONS.get(topology, 0)),
        socket_devices=host.socket_devices,
        socket_bandwidth=host.socket_bandwidth,
    )
    return SystemSpec(
        id=f"{count}x-{device.id}",
        name=f"{count} x {device.name} in: {host.name}",
        groups=(group,),
        host_link=host_link or host.host_link,
        nodes=nodes,
        network=host.network,
        network_bandwidth_per_device=host.network_bandwidth_per_device,
        host_power=_host_power(host, per_node),
        host_speed=host.speed,
        host_memory=host.memory,
        host_memory_bandwidth=host.memory_bandwidth,
        storage=host.storage,
        storage_bandwidth=host.storage_bandwidth,
        notes=host.notes,
    )


def _pcie_link(device: DeviceSpec) -> str:
    """The link of the device's PCIe lanes, "" where they are not known."""
    generation, lanes = device.ports.pcie_generation, device.ports.pcie_lanes
    return f"pcie{generation.value:g}-x{lanes.value:g}" if generation and lanes else ""


def _group_link(device: DeviceSpec, count: int, host: HostSpec, pcie: str) -> str:
    """What joins the devices of a node: the scale-up link, unless its domain is too small and PCIe is there."""
    domain = device.ports.scaleup_domain
    too_small = domain is not None and domain.value < min(count, host.devices)
    if device.ports.scaleup and not (too_small and pcie):
        return device.ports.scaleup
    return pcie or host.host_link


def _node_limit(device: DeviceSpec, link: LinkSpec, host: HostSpec) -> int:
    """Most devices of one node: what the host holds and the scale-up link reaches."""
    if link.id != device.ports.scaleup:
        return host.devices if host.own_pcie else 1
    domain = device.ports.scaleup_domain or link.max_domain
    return min(host.devices, int(domain.value)) if domain else host.devices


def torus_shape(count: int, dimensions: int) -> tuple[int, ...]:
    """Extents of the most cubic torus of ``count`` chips, smallest first; () for no dimensions.

    8 chips in two dimensions are 2 x 4, 16 in three 2 x 2 x 4, as cloud providers cut their slices.
    """
    if dimensions == 0:
        return ()
    divisors = [d for d in range(1, count + 1) if count % d == 0]
    shapes = (
        (*head, count // math.prod(head))
        for head in product(divisors, repeat=dimensions - 1)
        if count % math.prod(head) == 0
    )
    return min((tuple(sorted(shape)) for shape in shapes), key=lambda shape: (sum(shape), shape))


def _host_power(host: HostSpec, devices: int) -> Fact:
    """Draw of a node beside its devices [W]."""
    watts = host.power.value + host.power_per_device.value * devices
    reason = f"{host.name}: {host.power.origin}" if host.power.value else f"{host.name}: {host.power_per_device.origin}"
    return Fact(watts, "w", f"{watts:g} W", Mark.ASSUMED, reason)
