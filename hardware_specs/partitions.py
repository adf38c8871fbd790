"""Partitions of a device: hardware that is cut into instances with their own multiprocessors, caches and memory.

NVIDIA's Multi-Instance GPU cuts a GPU into compute slices (7, or 4 of small ones) and memory slices (8 or 4); a profile
such as ``3g.40gb`` is an instance of 3 compute slices with 40 GB. Of the whole device an instance has::

    rate of math, vector rate    multiprocessors of the instance / multiprocessors of the device
    capacity, bandwidth          memory slices / memory slices of the device
    last-level cache             the same, unless the table says otherwise
    idle power, power limit      compute slices / compute slices of the device (assumed: nothing measures instances)
    price                        the larger of the shares of compute and memory slices

The last is the dominant share: what an instance keeps others from having. Instances reach no other device by a
scale-up link, and share the PCIe lanes of theirs.

Reference: NVIDIA, "Multi-Instance GPU User Guide", RN-08625, chapters "Concepts" (a memory slice is an eighth of
capacity and bandwidth) and "Supported MIG Profiles"; Ghodsi et al., "Dominant Resource Fairness", NSDI 2011.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.facts import AnyFact, Bytes, Fact, Mark, Number
from hardware_specs.records import Cache, Compute, DevicePrice, DeviceSpec, Memory, Ports, Power

SEPARATOR = ":"
"""Between the name of a device and a profile: ``a100-sxm-80gb:3g.40gb``."""


class Profile(msgspec.Struct, frozen=True):
    """One kind of instance: its slices, its multiprocessors, and how many fit on a device.

    ``usable`` is the memory that the driver reports for it (None: the share of what the device has); ``cache_slices``
    are counted as memory slices are (None: as many).
    """

    name: str
    compute_slices: Number
    memory_slices: Number
    units: Number
    instances: Number
    usable: Bytes | None = None
    cache_slices: Number | None = None


class PartitionTable(msgspec.Struct, frozen=True):
    """The profiles of some devices (ids), and the slices that these have."""

    id: str
    devices: tuple[str, ...]
    compute_slices: Number
    memory_slices: Number
    profiles: tuple[Profile, ...]
    notes: str = ""

    def compute_share(self, profile: Profile) -> float:
        """Compute slices of an instance over those of the device."""
        return profile.compute_slices.value / self.compute_slices.value

    def memory_share(self, profile: Profile) -> float:
        """Memory slices of an instance over those of the device."""
        return profile.memory_slices.value / self.memory_slices.value

    def cache_share(self, profile: Profile) -> float:
        """Share of the last-level cache that an instance has."""
        return (profile.cache_slices or profile.memory_slices).value / self.memory_slices.value

    def price_share(self, profile: Profile) -> float:
        """Share of the device's price that an instance bears: its dominant share."""
        return max(self.compute_share(profile), self.memory_share(profile))


_CATALOGUE = Catalogue("partition", PartitionTable, Path(__file__).parent / "data" / "partitions")


def partition_tables() -> tuple[PartitionTable, ...]:
    """All tables, in the order of their names.

    Raises:
        InputError: a broken file.
    """
    return tuple(_CATALOGUE.load(name) for name in _CATALOGUE.names())


def profile_names(device: str) -> tuple[str, ...]:
    """Profiles of the device with this id, as its table lists them; none where it cannot be partitioned."""
    table = _table_of(device)
    return tuple(profile.name for profile in table.profiles) if table else ()


def profile_of(device: str, name: str) -> tuple[PartitionTable, Profile]:
    """The table of a device and its profile called ``name``.

    Raises:
        InputError: the device cannot be partitioned, or not so; carries what is nearest and allowed.
    """
    table = _table_of(device)
    if table is None:
        known = ", ".join(sorted(each for table in partition_tables() for each in table.devices))
        raise InputError(f"{clipped(device + SEPARATOR + name)}: {device} has no partitions (those that have: {known})")
    profiles = {profile.name: profile for profile in table.profiles}
    if name not in profiles:
        close = nearest(name, profiles)
        hint = f"; did you mean {device + SEPARATOR + close[0]!r}?" if close else ""
        raise InputError(
            f"{device}: no partition {clipped(name)!r}{hint} (allowed: {', '.join(profiles)}; a partition is "
            "compute slices and memory)"
        )
    return table, profiles[name]


def partitions_that_fit(spec: DeviceSpec, profile: str) -> int:
    """How many instances of ``profile`` one device holds at once.

    Raises:
        InputError: as ``profile_of``.
    """
    return int(profile_of(spec.id, profile)[1].instances.value)


def partitioned(spec: DeviceSpec, profile: str) -> DeviceSpec:
    """One instance of ``profile`` as a device of its own, with the id ``<device>:<profile>``.

    Raises:
        InputError: as ``profile_of``; or the device's file does not count its multiprocessors, or has fewer than the
            instance.
    """
    table, chosen = profile_of(spec.id, profile)
    whole = spec.compute.units
    if whole is None or whole.value < chosen.units.value:
        found = whole.text if whole else "none"
        raise InputError(
            f"{spec.id}{SEPARATOR}{profile}: needs {chosen.units.text} multiprocessors; compute.units of {spec.id} "
            f"is {found}"
        )
    cut = _Cut(f"{chosen.name} of {spec.id}", chosen.units.value / whole.value, table, chosen)
    return msgspec.structs.replace(
        spec,
        id=f"{spec.id}{SEPARATOR}{profile}",
        name=f"{spec.name} {profile}",
        compute=cut.compute(spec.compute),
        memory=cut.memory(spec.memory),
        cache=cut.cache(spec.cache),
        power=cut.power(spec.power),
        ports=Ports(pcie_generation=spec.ports.pcie_generation, pcie_lanes=spec.ports.pcie_lanes),
        price=cut.price(spec.price),
        parameters={name: cut.parameter(name, fact) for name, fact in spec.parameters.items()},
        notes=f"one of {chosen.instances.text} instances of {spec.name}; {spec.notes}".removesuffix("; "),
    )


def _table_of(device: str) -> PartitionTable | None:
    return next((table for table in partition_tables() if device in table.devices), None)


class _Cut(msgspec.Struct, frozen=True):
    """What is left of the records of a device in one instance: ``math`` is its share of the multiprocessors."""

    what: str
    math: float
    table: PartitionTable
    profile: Profile

    def compute(self, whole: Compute) -> Compute:
        peaks = {dtype: self._share(fact, self.math) for dtype, fact in whole.peaks.items()}
        return msgspec.structs.replace(whole, peaks=peaks, units=self.profile.units)

    def memory(self, whole: Memory) -> Memory:
        share = self.table.memory_share(self.profile)
        usable = self.profile.usable or (self._share(whole.usable, share) if whole.usable else None)
        return msgspec.structs.replace(
            whole,
            capacity=self._share(whole.capacity, share),
            bandwidth=self._share(whole.bandwidth, share),
            usable=usable,
        )

    def cache(self, whole: Cache | None) -> Cache | None:
        if whole is None:
            return None
        share = self.table.cache_share(self.profile)
        bandwidth = self._share(whole.bandwidth, share) if whole.bandwidth else None
        return msgspec.structs.replace(whole, capacity=self._share(whole.capacity, share), bandwidth=bandwidth)

    def power(self, whole: Power) -> Power:
        share = self.table.compute_share(self.profile)
        tdp, idle = (self._assumed(fact, share) if fact else None for fact in (whole.tdp, whole.idle))
        return Power(tdp=tdp, idle=idle)

    def price(self, whole: DevicePrice) -> DevicePrice:
        share = self.table.price_share(self.profile)
        bought, cloud = (self._assumed(fact, share) if fact else None for fact in (whole.purchase, whole.cloud))
        return DevicePrice(purchase=bought, cloud=cloud)

    def parameter(self, name: str, whole: AnyFact) -> AnyFact:
        """Law parameters that are amounts of the device shrink with it; shares, times and ratios do not."""
        shares = {
            "flops": self.math,
            "bytes": self.table.cache_share(self.profile),
            "bytes_per_s": self.table.memory_share(self.profile),
            "w": self.table.compute_share(self.profile),
        }
        if name == "units":
            return self.profile.units
        return self._share(whole, shares[whole.dimension]) if whole.dimension in shares else whole

    def _share(self, whole: Fact, share: float) -> Fact:
        return _scaled(whole, share, whole.mark, f"{whole.origin}; share of {self.what}")

    def _assumed(self, whole: Fact, share: float) -> Fact:
        return _scaled(whole, share, Mark.ASSUMED, f"share of {self.what} in what the whole has ({whole.origin})")


def _scaled(whole: Fact, share: float, mark: Mark, origin: str) -> Fact:
    if share == 1.0:
        return whole
    text = f"{share:.4g} of {whole.text}"
    return msgspec.structs.replace(whole, value=whole.value * share, text=text, mark=mark, origin=origin)
