"""numba kernels: numbers in, numbers out, whole arrays at a time.

numba's disk cache does not notice a change of a callee in another file, so compiled code is kept in a directory
named after the sources of all kernels and laws, the numba version, the Python version and the CPU.
``NUMBA_CACHE_DIR`` overrides it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from pathlib import Path

import numba

COMPILED = ("devices", "goodput", "schedules")
"""Rooms beside this one that have compiled functions."""


def cache_directory() -> Path:
    """Where compiled kernels of exactly these sources live; a temporary place if the user's is not writable."""
    here = Path(__file__).parent
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {platform.machine()} {_cpu_name()}".encode())
    beside = [source for room in COMPILED for source in (here.parent / room).glob("*.py")]
    for source in sorted([*here.rglob("*.py"), *beside]):
        digest.update(source.read_bytes())
    import platformdirs

    for base in (platformdirs.user_cache_path("silicost"), Path(tempfile.gettempdir()) / f"silicost-{os.getuid()}"):
        place = base / "kernels" / digest.hexdigest()[:16]
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK):
            return place
    return Path(tempfile.mkdtemp(prefix="silicost-kernels-"))


def _cpu_name() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(cache_directory())  # type: ignore[attr-defined]
