"""Where numba keeps compiled kernels: by what their sources say, wherever these lie.

numba's own cache goes by the path of a file, and does not notice a change of a callee in another one. Here compiled
code lies in a directory named after the sources of all kernels and laws, the numba version, the Python version and the
CPU; in it a file is known by its place in the package. So a second environment, or another checkout with the same
kernels, finds them compiled. ``NUMBA_CACHE_DIR`` overrides all that.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numba
from numba.core import caching

_PACKAGE = Path(__file__).resolve().parents[1]
_KERNELS = "kernels"
COMPILED = ("devices", "goodput", "schedules")
"""Rooms beside the kernels that have compiled functions, which may call each other."""


def use_cache() -> None:
    """Have numba keep what it compiles in ``cache_directory``, unless ``NUMBA_CACHE_DIR`` says where."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    numba.config.CACHE_DIR = str(cache_directory())  # type: ignore[attr-defined]
    # Without the list, a private name of numba, its own cache does: kernels are then compiled once for each place.
    locators = getattr(caching.CacheImpl, "_locator_classes", None)
    if locators is not None and _Locator not in locators:
        locators.insert(0, _Locator)


def cache_directory() -> Path:
    """Where compiled kernels of exactly these sources live; a temporary place if the user's is not writable."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {platform.machine()} {_cpu_name()}".encode())
    beside = [source for room in COMPILED for source in (_PACKAGE / room).glob("*.py")]
    for source in sorted([*(_PACKAGE / _KERNELS).rglob("*.py"), *beside]):
        digest.update(source.relative_to(_PACKAGE).as_posix().encode())
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


class _Locator(caching._CacheLocator):
    """The place of a function whose source has a part in the name of ``cache_directory``."""

    def __init__(self, py_func: Callable[..., Any], py_file: str, room: Path) -> None:
        # numba reads the first two where it warns.
        self._py_file, self._lineno, self._room = py_file, py_func.__code__.co_firstlineno, room

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Self | None:
        """The locator of a function of ours that is covered, else None: numba's own look after it."""
        source = Path(py_file).resolve()
        if not source.is_relative_to(_PACKAGE) or not source.is_file():
            return None
        room = source.relative_to(_PACKAGE).parent
        if room.parts[:1] != (_KERNELS,) and str(room) not in COMPILED:
            return None
        found = cls(py_func, py_file, room)
        try:
            found.ensure_cache_path()  # type: ignore[no-untyped-call]
        except OSError:
            return None
        return found

    def get_cache_path(self) -> str:
        """A directory for each room."""
        return str(Path(numba.config.CACHE_DIR, *self._room.parts))  # type: ignore[attr-defined]

    def get_source_stamp(self) -> str:
        """What changes with the source: the directory does already."""
        return "by the name of the directory"

    def get_disambiguator(self) -> str:
        """What tells functions of one name in a file apart."""
        return str(self._lineno)


def _cpu_name() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())
