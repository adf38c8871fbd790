"""What surrounds a process: operating system, hypervisor, container, main memory."""

from __future__ import annotations

from typing import Final

import msgspec

from simulator.calibration.machine.platform_facts import PlatformFacts
from simulator.calibration.machine.system_files import SystemFiles, chosen, whole

_VIRTUAL: Final = ("qemu", "kvm", "vmware", "virtualbox", "xen", "microsoft", "bochs", "parallels")
"""Words in the names of virtual boards."""
_RUNTIMES: Final = ("kubepods", "docker", "containerd", "libpod", "lxc")
"""Words in the names of control groups that run containers."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Main memory [B] and how pages are made; "" or None: not known.

    Args:
        huge_pages: for which memory the kernel makes huge pages by itself ("always", "madvise", "never").
        defrag: for which it makes room for them at once.
    """

    total_bytes: int | None = None
    available_bytes: int | None = None
    huge_pages: str = ""
    defrag: str = ""


def read_memory(files: SystemFiles, facts: PlatformFacts) -> Memory:
    """The main memory."""
    sizes: dict[str, int] = {}
    for line in files.text("proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        size = whole(rest.removesuffix("kB").strip())
        if size is not None:
            sizes[name] = size * 1024
    pages = "sys/kernel/mm/transparent_hugepage"
    return Memory(
        total_bytes=sizes.get("MemTotal", facts.memory_bytes),
        available_bytes=sizes.get("MemAvailable", facts.available_bytes),
        huge_pages=chosen(files.text(f"{pages}/enabled")),
        defrag=chosen(files.text(f"{pages}/defrag")),
    )


def read_os(files: SystemFiles) -> str:
    """Name and version of the distribution."""
    for line in files.text("etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return ""


def read_hypervisor(files: SystemFiles, blocks: list[dict[str, str]]) -> str:
    """What the machine is a guest of: "none" on bare metal, "unnamed" where only its presence is known.

    Args:
        blocks: of /proc/cpuinfo; x86 CPUs say whether a hypervisor runs them, others do not.
    """
    board = " ".join(filter(None, (files.text(f"sys/class/dmi/id/{n}") for n in ("sys_vendor", "product_name"))))
    named = files.text("sys/hypervisor/type") or (board if any(word in board.lower() for word in _VIRTUAL) else "")
    if not blocks or "flags" not in blocks[0]:
        return named
    return (named or board or "unnamed") if "hypervisor" in blocks[0]["flags"].split() else "none"


def read_container(files: SystemFiles) -> str:
    """What runs this process in a container; "" for none that shows."""
    groups = files.text("proc/self/cgroup")
    named = next((name for name in _RUNTIMES if name in groups), "") or files.text("run/systemd/container")
    marks = {".dockerenv": "docker", "run/.containerenv": "podman"}
    return named or next((name for place, name in marks.items() if files.exists(place)), "")
