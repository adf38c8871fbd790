"""What this process may use of the machine: CPUs by its affinity, processor time and memory by its control groups.

Control groups are nested, and the tightest limit of all that a process is in holds. Both versions are read, as machines
mount one, the other, or each for some controllers. References: the kernel's Documentation/admin-guide/cgroup-v2.rst
(cpu.max, memory.max), cgroup-v1/memory.rst and scheduler/sched-bwc.rst (cpu.cfs_quota_us).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import msgspec

from simulator.calibration.machine.platform_facts import PlatformFacts
from simulator.calibration.machine.processor import Topology
from simulator.calibration.machine.system_files import SystemFiles, listed, whole

_NO_LIMIT_BYTES: Final = 2**60
"""From here on a limit of version 1 stands for none; the kernel writes the largest signed number of pages."""
_CONTROLLERS: Final = ("cpu", "memory")


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What this process may use; None: not known, or for limits: none is set.

    Args:
        cpus: logical CPUs of its affinity, as the kernel lists them ("0-3,8").
        logical_cores, physical_cores, sockets: how many those are, and on how many cores and sockets they lie.
        quota_cores: processor time per time of its control groups (1.5: one and a half CPUs).
        memory_limit_bytes: limit of its control groups, of which ``memory_used_bytes`` cannot be had back.
    """

    cpus: str = ""
    logical_cores: int | None = None
    physical_cores: int | None = None
    sockets: int | None = None
    quota_cores: float | None = None
    memory_limit_bytes: int | None = None
    memory_used_bytes: int | None = None


def allowed_cpus(files: SystemFiles, topology: Topology, facts: PlatformFacts) -> frozenset[int]:
    """Logical CPUs that this process may run on: those of its affinity that are online."""
    affinity = listed(_status(files)) or facts.cpus
    online = frozenset(topology.cores)
    return (online & frozenset(affinity) if online else frozenset(affinity)) if affinity else online


def read_allowance(files: SystemFiles, topology: Topology, allowed: frozenset[int], facts: PlatformFacts) -> Allowance:
    """What this process may use.

    Args:
        allowed: see ``allowed_cpus``.
    """
    limit, used = _memory(files)
    return Allowance(
        cpus=_status(files) or ",".join(map(str, sorted(allowed))),
        logical_cores=len(allowed) or facts.logical_cores,
        physical_cores=len({topology.cores.get(cpu, cpu) for cpu in allowed}) or facts.physical_cores,
        sockets=len({topology.sockets[cpu] for cpu in allowed if cpu in topology.sockets}) or None,
        quota_cores=min((quota for folder in _groups(files, "cpu") if (quota := _quota(files, folder))), default=None),
        memory_limit_bytes=limit,
        memory_used_bytes=used,
    )


def throttled_s(files: SystemFiles) -> float | None:
    """Seconds for which CPU quotas have stopped this process's control group so far; None where nothing says it."""
    for folder in _groups(files, "cpu"):
        words = files.text(f"{folder}/cpu.stat").split()
        counts = dict(zip(words[::2], words[1::2], strict=False))
        for name, unit_s in (("throttled_usec", 1e-6), ("throttled_time", 1e-9)):
            if (count := whole(counts.get(name, ""))) is not None:
                return count * unit_s
    return None


def _status(files: SystemFiles) -> str:
    for line in files.text("proc/self/status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return line.partition(":")[2].strip()
    return ""


def _groups(files: SystemFiles, controller: str) -> Iterator[str]:
    """Folders of the control groups that this process is in, its own first, then those around it."""
    mounts = _mounts(files)
    for line in files.text("proc/self/cgroup").splitlines() or ["0::/", f"1:{controller}:/"]:
        number, names, path = (*line.split(":", 2), "", "")[:3]
        version = "cgroup2" if number == "0" else controller
        if (version != "cgroup2" and controller not in names.split(",")) or version not in mounts:
            continue
        mount, top = mounts[version]
        inside = PurePosixPath(path)
        below = inside.is_relative_to(top) and ".." not in inside.parts
        inside = inside.relative_to(top) if below else PurePosixPath()
        own = PurePosixPath(mount) / str(inside).lstrip("/")
        folders = [own, *own.parents][: len(own.parts) - len(PurePosixPath(mount).parts) + 1]
        yield from (str(folder) for folder in folders if files.exists(str(folder)))


def _mounts(files: SystemFiles) -> dict[str, tuple[str, str]]:
    """Where "cgroup2" and the controllers of version 1 are mounted, and which group lies at the top there."""
    found: dict[str, tuple[str, str]] = {}
    for line in files.text("proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split()[3:5], after.split()
        if len(place) < 2 or len(kind) < 3:
            continue
        names = ["cgroup2"] if kind[0] == "cgroup2" else kind[2].split(",") if kind[0] == "cgroup" else []
        found |= {name: (place[1].lstrip("/"), place[0]) for name in names}
    if not found:
        for name, folder in (("cgroup2", ""), *((each, each) for each in _CONTROLLERS)):
            place_of = f"sys/fs/cgroup/{folder}".rstrip("/")
            if files.exists(place_of) and (folder or files.exists(f"{place_of}/cgroup.controllers")):
                found[name] = (place_of, "/")
    return found


def _quota(files: SystemFiles, folder: str) -> float | None:
    """Cores' worth of processor time that one control group is given."""
    text = files.text(f"{folder}/cpu.max").split()
    if len(text) != 2:
        text = [files.text(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period")]
    quota, period = whole(text[0]), whole(text[1])
    return quota / period if quota and period and quota > 0 else None


def _memory(files: SystemFiles) -> tuple[int | None, int | None]:
    """The tightest memory limit, and what its group holds without the files that the kernel would drop first [B]."""
    tightest: tuple[int, int | None] | None = None
    for folder in _groups(files, "memory"):
        limit = files.number(f"{folder}/memory.max") or files.number(f"{folder}/memory.limit_in_bytes")
        if limit is None or limit >= _NO_LIMIT_BYTES or (tightest and limit >= tightest[0]):
            continue
        used = files.number(f"{folder}/memory.current") or files.number(f"{folder}/memory.usage_in_bytes")
        words = files.text(f"{folder}/memory.stat").split()
        counts = dict(zip(words[::2], words[1::2], strict=False))
        dropped = whole(counts.get("total_inactive_file", counts.get("inactive_file", ""))) or 0
        tightest = limit, None if used is None else max(used - dropped, 0)
    return tightest or (None, None)
