"""The CPU: what it is, its caches, and the clocks that it is set to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from simulator.calibration.machine.arm_parts import IMPLEMENTERS, core_name
from simulator.calibration.machine.platform_facts import PlatformFacts
from simulator.calibration.machine.system_files import SystemFiles, listed, size_bytes, whole

CPUS: Final = "sys/devices/system/cpu"

INSTRUCTION_SETS: Final = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx_vnni_int8",
    "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16", "sme", "sme2",
)  # fmt: skip
"""Instruction sets on which the kernels of linear algebra depend, as /proc/cpuinfo calls them."""
_PLAIN: Final = {re.sub("[^a-z0-9]", "", name): name for name in INSTRUCTION_SETS} | {"dotprod": "asimddp"}


class Cache(msgspec.Struct, frozen=True):
    """Caches of one kind.

    Args:
        kind: "data", "instruction" or "unified".
        bytes: size of one [B].
        cores: physical cores that share one.
        count: how many the machine has, of which ``usable`` serve CPUs that this process may use.
    """

    level: int
    kind: str
    bytes: int
    cores: int
    count: int
    usable: int


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """The CPU of a machine, all sockets; "" or None: not known.

    Args:
        model: name that the maker gave ("AMD EPYC 9654 96-Core Processor"); of ARM the core ("Neoverse-V2").
        microarchitecture: LLVM's name of the core ("znver4").
        family, model_number, stepping: as CPUID says; of ARM the architecture, the part and "r1p2".
        physical_cores, logical_cores: all that are online.
        smt: whether cores run more than one thread now.
        isa: those of ``INSTRUCTION_SETS`` that every core has.
    """

    model: str = ""
    vendor: str = ""
    architecture: str = ""
    microarchitecture: str = ""
    family: int | None = None
    model_number: int | None = None
    stepping: str = ""
    microcode: str = ""
    sockets: int | None = None
    physical_cores: int | None = None
    logical_cores: int | None = None
    smt: bool | None = None
    numa_nodes: int | None = None
    isa: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """How the clocks of the CPU are set [Hz]; "" or None: not known.

    Args:
        governor: what picks clocks, all that CPUs are set to ("performance").
        preference: energy or performance, as the governor is told.
        current_hz: mean over CPUs at the time of reading.
        boost: whether clocks above the base are allowed.
    """

    governor: str = ""
    driver: str = ""
    preference: str = ""
    min_hz: float | None = None
    max_hz: float | None = None
    base_hz: float | None = None
    current_hz: float | None = None
    boost: bool | None = None


class Topology(msgspec.Struct, frozen=True):
    """Where each logical CPU that is online lies: its physical core (named by its first CPU) and its socket."""

    cores: Mapping[int, int]
    sockets: Mapping[int, int]


def read_blocks(files: SystemFiles) -> list[dict[str, str]]:
    """What /proc/cpuinfo says of each logical CPU."""
    blocks = []
    for block in files.text("proc/cpuinfo").split("\n\n"):
        pairs = [line.partition(":") for line in block.splitlines()]
        found = {name.strip(): value.strip() for name, colon, value in pairs if colon}
        if whole(found.get("processor", "")) is not None:
            blocks.append(found)
    return blocks


def read_topology(files: SystemFiles, blocks: list[dict[str, str]]) -> Topology:
    """Cores and sockets of the CPUs that are online."""
    by_cpu = {int(block["processor"]): block for block in blocks}
    cores: dict[int, int] = {}
    sockets: dict[int, int] = {}
    first: dict[tuple[str, str], int] = {}
    for cpu in listed(files.text(f"{CPUS}/online")) or tuple(by_cpu):
        place, block = f"{CPUS}/cpu{cpu}/topology", by_cpu.get(cpu, {})
        siblings = listed(files.text(f"{place}/core_cpus_list") or files.text(f"{place}/thread_siblings_list"))
        known = (block.get("physical id", ""), block.get("core id", f"cpu {cpu}"))
        cores[cpu] = min(siblings) if siblings else first.setdefault(known, cpu)
        socket = files.number(f"{place}/physical_package_id")
        socket = whole(block.get("physical id", "")) if socket is None else socket
        if socket is not None and socket >= 0:
            sockets[cpu] = socket
    return Topology(cores, sockets)


def read_processor(
    files: SystemFiles, blocks: list[dict[str, str]], topology: Topology, allowed: frozenset[int], facts: PlatformFacts
) -> Processor:
    """The CPU, from ``files`` where they say it, else from ``facts``.

    Args:
        allowed: logical CPUs that this process may use.
    """
    physical = len(set(topology.cores.values())) or facts.physical_cores
    logical = len(topology.cores) or facts.logical_cores
    active = files.number(f"{CPUS}/smt/active")
    threads = physical is not None and logical is not None and logical > physical
    return msgspec.structs.replace(
        _identity(blocks, facts),
        architecture=files.text("proc/sys/kernel/arch") or facts.architecture,
        microarchitecture=facts.microarchitecture,
        sockets=len(set(topology.sockets.values())) or None,
        physical_cores=physical,
        logical_cores=logical,
        smt=bool(active) if active is not None else (threads if physical and logical else None),
        numa_nodes=len(files.names("sys/devices/system/node", "node[0-9]*")) or None,
        isa=_isa(blocks, facts),
        caches=_caches(files, topology, allowed),
    )


def read_clocks(files: SystemFiles, blocks: list[dict[str, str]], facts: PlatformFacts) -> Clocks:
    """How the clocks are set."""
    places = [f"{place}/cpufreq" for place in files.names(CPUS, "cpu[0-9]*")]
    places = [place for place in places if files.exists(place)]

    def all_of(name: str) -> str:
        return ", ".join(sorted({text for place in places if (text := files.text(f"{place}/{name}"))}))

    def clocks(name: str) -> list[float]:
        return [khz * 1e3 for place in places if (khz := files.number(f"{place}/{name}"))]

    said = [float(block["cpu MHz"]) * 1e6 for block in blocks if _is_clock(block)]
    return Clocks(
        governor=all_of("scaling_governor"),
        driver=all_of("scaling_driver"),
        preference=all_of("energy_performance_preference"),
        min_hz=min(clocks("scaling_min_freq"), default=None),
        max_hz=max(clocks("scaling_max_freq"), default=facts.max_clock_hz),
        base_hz=max(clocks("base_frequency"), default=None),
        current_hz=current_clock_hz(files) or (sum(said) / len(said) if said else None),
        boost=_boost(files),
    )


def times_throttled(files: SystemFiles) -> int:
    """How often CPUs and packages were slowed down for heat since the machine started; 0 where nothing counts it."""
    places = [f"{place}/thermal_throttle" for place in files.names(CPUS, "cpu[0-9]*")]
    names = ("core_throttle_count", "package_throttle_count")
    return sum(files.number(f"{place}/{name}") or 0 for place in places for name in names)


def current_clock_hz(files: SystemFiles) -> float | None:
    """Mean clock of all CPUs now [Hz]; None where nothing says it."""
    places = files.names(CPUS, "cpu[0-9]*")
    clocks = [khz * 1e3 for place in places if (khz := files.number(f"{place}/cpufreq/scaling_cur_freq"))]
    return sum(clocks) / len(clocks) if clocks else None


def last_level(caches: tuple[Cache, ...]) -> int:
    """Bytes of the last level of data cache that the usable CPUs reach; 0 where unknown."""
    kept = [cache for cache in caches if cache.kind != "instruction"]
    top = max((cache.level for cache in kept), default=0)
    return sum(cache.bytes * cache.usable for cache in kept if cache.level == top)


def _identity(blocks: list[dict[str, str]], facts: PlatformFacts) -> Processor:
    """Name, maker and numbers of the CPU, nothing else."""
    first = blocks[0] if blocks else {}
    implementer = whole(first.get("CPU implementer", ""))
    if implementer is None:
        return Processor(
            model=first.get("model name", first.get("cpu", facts.processor)),
            vendor=first.get("vendor_id", ""),
            family=whole(first.get("cpu family", "")),
            model_number=whole(first.get("model", "")),
            stepping=first.get("stepping", ""),
            microcode=first.get("microcode", ""),
        )
    parts = dict.fromkeys(whole(block.get("CPU part", "")) or 0 for block in blocks)
    names = [core_name(implementer, part) or f"part {part:#x}" for part in parts]
    variant = whole(first.get("CPU variant", ""))
    return Processor(
        model=" + ".join(sorted(names)),
        vendor=IMPLEMENTERS.get(implementer, f"implementer {implementer:#x}"),
        family=whole(first.get("CPU architecture", "")),
        model_number=whole(first.get("CPU part", "")),
        stepping="" if variant is None else f"r{variant}p{first.get('CPU revision', '?')}",
    )


def _isa(blocks: list[dict[str, str]], facts: PlatformFacts) -> tuple[str, ...]:
    """Those of ``INSTRUCTION_SETS`` that every core has."""
    flags = [set(block.get("flags", block.get("Features", "")).split()) for block in blocks]
    common = set.intersection(*flags) if flags else set()
    common = common or {_PLAIN.get(re.sub("[^a-z0-9]", "", name), "") for name in facts.features}
    return tuple(name for name in INSTRUCTION_SETS if name in common)


def _caches(files: SystemFiles, topology: Topology, allowed: frozenset[int]) -> tuple[Cache, ...]:
    one_by_one: set[tuple[int, str, int, frozenset[int]]] = set()
    for cpu in topology.cores:
        for place in files.names(f"{CPUS}/cpu{cpu}/cache", "index[0-9]*"):
            level, size = files.number(f"{place}/level"), size_bytes(files.text(f"{place}/size"))
            shared = frozenset(listed(files.text(f"{place}/shared_cpu_list"))) or frozenset([cpu])
            if level and size:
                one_by_one.add((level, files.text(f"{place}/type").lower(), size, shared))
    count: Counter[tuple[int, str, int, int]] = Counter()
    usable: Counter[tuple[int, str, int, int]] = Counter()
    for level, kind, size, shared in one_by_one:
        key = (level, kind, size, len({topology.cores.get(cpu, cpu) for cpu in shared}))
        count[key] += 1
        usable[key] += bool(shared & allowed)
    return tuple(Cache(*key, count[key], usable[key]) for key in sorted(count))


def _boost(files: SystemFiles) -> bool | None:
    boost, no_turbo = files.number(f"{CPUS}/cpufreq/boost"), files.number(f"{CPUS}/intel_pstate/no_turbo")
    if no_turbo is not None:
        return not no_turbo
    return None if boost is None else bool(boost)


def _is_clock(block: Mapping[str, str]) -> bool:
    return bool(re.fullmatch(r"[0-9]+(\.[0-9]+)?", block.get("cpu MHz", "")))
