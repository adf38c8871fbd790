"""Frozen records of hardware: devices, links, systems and prices. Every number is a ``Fact``."""

from __future__ import annotations

from typing import Literal

import msgspec

from hardware_specs.facts import (
    AnyFact,
    Bytes,
    BytesPerSecond,
    Flops,
    GramsPerJoule,
    Hertz,
    Number,
    Seconds,
    Usd,
    UsdPerJoule,
    UsdPerSecond,
    Watts,
)

DeviceClass = Literal["cpu", "gpu", "tpu", "fpga", "asic"]
PriceKind = Literal["on-demand", "spot", "reserved", "marketplace"]
DEVICE_CLASSES: tuple[DeviceClass, ...] = ("cpu", "gpu", "tpu", "fpga", "asic")


class Memory(msgspec.Struct, frozen=True):
    """The main memory of a device: DRAM, or the SRAM of a chip that has no other.

    ``usable`` is what a program can allocate where that is known (an H100-80GB reports 81,559 MiB).
    """

    kind: str
    capacity: Bytes
    bandwidth: BytesPerSecond
    usable: Bytes | None = None


class Cache(msgspec.Struct, frozen=True):
    """The largest on-chip memory: last-level cache, VMEM, SBUF, BRAM+URAM."""

    kind: str
    capacity: Bytes
    bandwidth: BytesPerSecond | None = None


class Compute(msgspec.Struct, frozen=True):
    """What computes: ``peaks`` maps a compute dtype to its dense rate [FLOP/s].

    ``units`` counts the schedulable units (SM, CU, core, NeuronCore, TensorCore); ``array_rows`` and
    ``array_cols`` are the shape of one systolic array and ``arrays`` how many there are, where it has any.
    ``half_accumulate_gain`` is how much faster 16-bit products run when they accumulate in fp16 instead of fp32, which
    ``peaks`` are for; None: not at all. ``sparse`` maps a dtype to how much faster products run whose weights are 2:4
    sparse, two zeros in every four; a dtype that it lacks has no units for them.
    """

    peaks: dict[str, Flops]
    units: Number | None = None
    unit_name: str = ""
    clock_base: Hertz | None = None
    clock_boost: Hertz | None = None
    arrays: Number | None = None
    array_rows: Number | None = None
    array_cols: Number | None = None
    half_accumulate_gain: Number | None = None
    sparse: dict[str, Number] = {}


class Power(msgspec.Struct, frozen=True):
    """Board or socket power: ``tdp`` is the sustained limit, ``idle`` the draw with a loaded model at rest."""

    tdp: Watts | None = None
    idle: Watts | None = None


class Ports(msgspec.Struct, frozen=True):
    """How a device joins others.

    ``scaleup`` is the id of a link (``hardware_specs.links``), "" where there is none; ``scaleup_bandwidth`` is per
    direction, all links of one device together (None: the link's nominal figure); ``scaleup_topology`` is prose.
    """

    scaleup: str = ""
    scaleup_bandwidth: BytesPerSecond | None = None
    scaleup_topology: str = ""
    scaleup_domain: Number | None = None
    pcie_generation: Number | None = None
    pcie_lanes: Number | None = None


class Logic(msgspec.Struct, frozen=True):
    """Programmable resources of an FPGA; ``slrs`` are its super logic regions (dies)."""

    luts: Number | None = None
    dsps: Number | None = None
    slrs: Number | None = None
    on_chip_ram: str = ""


class DevicePrice(msgspec.Struct, frozen=True):
    """List prices of one device; None where no source gives one (then results say so, never 0)."""

    purchase: Usd | None = None
    cloud: UsdPerSecond | None = None


class DeviceSpec(msgspec.Struct, frozen=True):
    """One device as its makers and measurers describe it.

    ``parameters`` holds law parameters fitted for this very device; they replace the priors of its class.
    """

    id: str
    device_class: DeviceClass
    vendor: str
    name: str
    default_runtime: str
    compute: Compute
    memory: Memory
    cache: Cache | None = None
    power: Power = Power()
    ports: Ports = Ports()
    logic: Logic = Logic()
    price: DevicePrice = DevicePrice()
    year: int | None = None
    process_node: str = ""
    form_factor: str = ""
    notes: str = ""
    parameters: dict[str, AnyFact] = {}

    @property
    def usable_bytes(self) -> float:
        """Bytes a program can allocate: the known usable size, else the nominal capacity."""
        return (self.memory.usable or self.memory.capacity).value


class LinkSpec(msgspec.Struct, frozen=True):
    """One kind of link: bandwidth per direction of one attachment, latency of one message.

    The attachment is what one device (scale-up: all its lanes) or one adapter (scale-out) has. ``latency`` is that
    of one hop of a short message, without a library's set-up; ``achieved_fraction`` is what a plain large copy
    reaches of ``bandwidth``. ``topology`` is how the link usually joins a group (a ``SystemNode.topology``), or
    "fat-tree" for networks. An axis of a torus closes into a ring where its extent is a multiple of ``ring_extent``
    (None: always); in three dimensions all axes must be, for rings are switched between whole cubes.
    """

    id: str
    name: str
    category: Literal["scale-up", "scale-out", "host", "chip-to-chip"]
    bandwidth: BytesPerSecond
    latency: Seconds
    achieved_fraction: Number
    topology: str = ""
    max_domain: Number | None = None
    ring_extent: Number | None = None
    in_network_reduction: bool = False
    notes: str = ""


class SystemNode(msgspec.Struct, frozen=True):
    """A group: ``count`` equal devices of one node and the link (with its topology) that joins them.

    ``id`` is what pools and shared links call it; "" becomes the device. In a ``pcie-tree`` each socket of the node has
    ``socket_devices`` (None: one socket has all); rings through several cross between them at ``socket_bandwidth``.
    """

    device: str
    count: int
    link: str
    topology: Literal["switch", "full-mesh", "ring", "torus-2d", "torus-3d", "pcie-tree", "none"]
    shape: tuple[int, ...] = ()
    id: str = ""
    socket_devices: Number | None = None
    socket_bandwidth: BytesPerSecond | None = None

    def __post_init__(self) -> None:
        if not self.id:
            msgspec.structs.force_setattr(self, "id", self.device)


class SharedLink(msgspec.Struct, frozen=True):
    """A link of a node that several devices share: a NIC of two GPUs, the uplink of a PCIe switch, a socket's bus.

    What these devices send to and receive from the host, other groups and other nodes by way of the link ``over`` (an
    id of ``hardware_specs.links`` that the system names) crosses it; a group's collectives inside a node do not.

    ``bandwidth`` is per direction, nominal as that of ``over``, whose ``achieved_fraction`` holds here too. ``groups``
    are those whose devices cross it (default all), ``devices`` the first and last number within a node (default all).
    With ``each`` there is one such link for every so many devices of a group, in order (0: one for all of them).
    """

    name: str
    over: str
    bandwidth: BytesPerSecond
    groups: tuple[str, ...] = ()
    devices: tuple[int, ...] = ()
    each: int = 0

    def crossed_by(self, group: str, number: int) -> str:
        """Name of the link that device ``number`` of a node's ``group`` crosses; "" for none."""
        if self.groups and group not in self.groups:
            return ""
        if self.devices and not self.devices[0] <= number <= self.devices[-1]:
            return ""
        return f"{self.name} {group} {number // self.each}" if self.each else self.name


class SystemSpec(msgspec.Struct, frozen=True):
    """Nodes of possibly different devices, the network between nodes, and what a node draws beside its devices.

    ``groups`` lists the device groups of one node; ``host_link`` joins a device with the host and with the other
    groups; ``network`` joins nodes; ``shared_links`` are what several devices must share of these two. ``host_power``
    is the draw of CPU, DRAM, fans and NICs of a node; ``host_speed`` how fast one of its threads is, over one of the
    Xeon Platinum 8480 in a DGX H100 (None: as fast).
    ``host_memory`` and ``storage`` (NVMe) are of a node and can hold what training moves off the devices; what is None
    is not known.

    Leaf switches of the network carry ``network_oversubscription`` times less to the tier above them than to the nodes
    below (None: as much). Each of ``network_rails`` equal runs of a node's devices hangs on a leaf of its own, so that
    devices of the same number meet there (None: all devices of a node hang on one); a leaf reaches
    ``network_leaf_nodes`` nodes (None: with rails all of the system, without them a single one).
    """

    id: str
    name: str
    groups: tuple[SystemNode, ...]
    host_link: str
    nodes: int = 1
    network: str = ""
    network_bandwidth_per_device: BytesPerSecond | None = None
    host_power: Watts | None = None
    host_speed: Number | None = None
    host_memory: Bytes | None = None
    host_memory_bandwidth: BytesPerSecond | None = None
    storage: Bytes | None = None
    storage_bandwidth: BytesPerSecond | None = None
    shared_links: tuple[SharedLink, ...] = ()
    network_rails: Number | None = None
    network_leaf_nodes: Number | None = None
    network_oversubscription: Number | None = None
    notes: str = ""


class HostSpec(msgspec.Struct, frozen=True):
    """What devices usually stand in when the user names no system: the box, what it draws, how boxes are joined.

    A device stands in the host that names its id (patterns such as ``"rtx-*"``), else its scale-up link, else its form
    factor (patterns), else its class. ``devices`` is how many a node holds; a ``fixed`` node always holds that many (an
    HGX board), others hold as many as are asked for. Cards that PCIe joins hang on sockets of ``socket_devices``, as
    ``SystemNode`` has it; ``speed`` is ``host_speed`` of ``SystemSpec``, ``memory`` its ``host_memory``. ``host_link``
    joins device and host;
    ``own_pcie``: by the device's own PCIe lanes instead, where these are known.
    """

    id: str
    name: str
    devices: int
    network: str
    host_link: str
    power: Watts
    power_per_device: Watts
    speed: Number | None = None
    memory: Bytes | None = None
    memory_bandwidth: BytesPerSecond | None = None
    storage: Bytes | None = None
    storage_bandwidth: BytesPerSecond | None = None
    network_bandwidth_per_device: BytesPerSecond | None = None
    socket_devices: Number | None = None
    socket_bandwidth: BytesPerSecond | None = None
    fixed: bool = False
    own_pcie: bool = True
    device_ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    form_factors: tuple[str, ...] = ()
    device_classes: tuple[DeviceClass, ...] = ()
    notes: str = ""


class PriceSpec(msgspec.Struct, frozen=True):
    """A price of one device-hour at one provider on one day (the fact's date).

    ``reserved`` covers terms and capacity blocks; ``marketplace`` offers of single owners, which vary by the hour.
    An instance's price is divided by its devices (of a CPU server: by its sockets).
    """

    device: str
    provider: str
    region: str
    usd_per_s: UsdPerSecond
    kind: PriceKind
    instance: str = ""


class PriceList(msgspec.Struct, frozen=True):
    """The prices of one file."""

    prices: tuple[PriceSpec, ...]


class SiteSpec(msgspec.Struct, frozen=True):
    """Where hardware stands: electricity price, PUE and carbon intensity of the grid."""

    id: str
    name: str
    electricity: UsdPerJoule
    pue: Number
    carbon: GramsPerJoule
    notes: str = ""
