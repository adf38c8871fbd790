"""What Python and its libraries know of the machine they run on: all there is where no /proc and /sys are."""

from __future__ import annotations

import os
import platform
from typing import Any, Final, NamedTuple

_MHZ: Final = 1e6


class PlatformFacts(NamedTuple):
    """A machine as ``platform``, ``os``, LLVM and, where it is installed, psutil see it; "" or None: not known.

    Args:
        cpus: logical CPUs that this process may run on.
        microarchitecture: LLVM's name of the core ("znver4", "apple-m2").
        features: instruction sets as LLVM names them.
        libc: C library and version.
    """

    os: str = ""
    kernel: str = ""
    architecture: str = ""
    processor: str = ""
    libc: str = ""
    logical_cores: int | None = None
    physical_cores: int | None = None
    cpus: tuple[int, ...] | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    max_clock_hz: float | None = None
    microarchitecture: str = ""
    features: tuple[str, ...] = ()


def known_to_python() -> PlatformFacts:
    """The facts of this machine."""
    system = {"Darwin": f"macOS {platform.mac_ver()[0]}"}.get(platform.system(), platform.system())
    microarchitecture, features = _of_llvm()
    facts = PlatformFacts(
        os=system if system != "Windows" else f"Windows {platform.release()}",
        kernel=platform.release(),
        architecture=platform.machine(),
        processor=platform.processor(),
        libc=" ".join(platform.libc_ver()).strip(),
        logical_cores=os.cpu_count(),
        cpus=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None,
        microarchitecture=microarchitecture,
        features=features,
    )
    return facts._replace(**_of_psutil())


def _of_llvm() -> tuple[str, tuple[str, ...]]:
    try:
        import llvmlite.binding as llvm

        name = str(llvm.get_host_cpu_name())
        features = tuple(sorted(name for name, there in llvm.get_host_cpu_features().items() if there))
    except (ImportError, RuntimeError):
        return "", ()
    return ("" if name == "generic" else name), features


def _of_psutil() -> dict[str, Any]:
    """Facts that only psutil has outside Linux."""
    try:
        import psutil  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return {}
    found: dict[str, Any] = {"physical_cores": psutil.cpu_count(logical=False)}
    memory = psutil.virtual_memory()
    found |= {"memory_bytes": int(memory.total), "available_bytes": int(memory.available)}
    try:
        clock = psutil.cpu_freq()
    except (OSError, RuntimeError, NotImplementedError):
        clock = None
    return found | ({"max_clock_hz": clock.max * _MHZ} if clock and clock.max else {})
