"""Where numba keeps compiled kernels: by what their sources say, wherever these lie.

numba's own cache goes by the path of a file, and does not notice a change of a callee, or of a constant, in another
one. Here compiled code lies in a directory named after the sources of all kernels and laws and of the constants in
them, the numba version, the Python version and the CPU; in it a file is known by its place in the package. So a second
environment, or another checkout with the same kernels, finds them compiled. ``NUMBA_CACHE_DIR`` says in which folder
these directories are.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numba
from numba.core import caching

_ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = ("simulator/kernels", "simulator/devices", "simulator/goodput", "simulator/schedules")
"""Rooms with compiled functions that may call each other."""
CONSTANTS: Final = ("hardware_specs/dtypes.py", "workloads/operators.py", "workloads/operator_record.py")
"""Files beside them whose constants are compiled into kernels."""


class Store:
    """The directory of compiled kernels of the sources as they are now.

    A source that changes while this process runs is told from what the name of the directory says: from then on what is
    compiled is kept in a directory of this process alone.
    """

    def __init__(self) -> None:
        self._seen = digests(sources())
        self.directory = directory_of(self._seen)

    def is_current(self, source: Path) -> bool:
        """Whether a source, and all constants, are as the name of the directory says."""
        return all(digests([each])[each] == self._seen.get(each) for each in (source, *constants()))

    def leave(self) -> None:
        """Keep what is compiled from now on in a directory of this process."""
        self.directory = Path(tempfile.mkdtemp(prefix="silicost-kernels-"))
        self._seen = digests(sources())
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)


def constants() -> tuple[Path, ...]:
    """The files of ``CONSTANTS``."""
    return tuple(_ROOT / name for name in CONSTANTS)


def sources() -> list[Path]:
    """All files that the name of the directory stands for."""
    return sorted([*constants(), *(path for room in ROOMS for path in (_ROOT / room).rglob("*.py"))])


def digests(paths: Iterable[Path]) -> dict[Path, str]:
    """SHA-256 of files, "" of one that is not there."""
    found = {}
    for path in paths:
        try:
            about = path.stat()
            found[path] = _digest(path, about.st_mtime_ns, about.st_size)
        except OSError:
            found[path] = ""
    return found


@lru_cache(maxsize=1024)
def _digest(path: Path, _changed_ns: int, _size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def directory_of(seen: Mapping[Path, str]) -> Path:
    """Where compiled kernels of these sources live; a temporary place if the user's is not writable."""
    known = f"{numba.__version__} {sys.version} {platform.machine()} {_cpu_name()}"
    lines = [known, *(f"{path.relative_to(_ROOT).as_posix()} {digest}" for path, digest in sorted(seen.items()))]
    name = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / "silicost" / name
    import platformdirs

    own = Path(tempfile.gettempdir()) / f"silicost-{os.getuid()}"
    for base in (platformdirs.user_cache_path("silicost"), own):
        place = base / "kernels" / name
        try:
            base.mkdir(parents=True, exist_ok=True, mode=0o700 if base == own else 0o777)
            # Compiled code is run: a place that others can write to is none for it.
            if base == own and not _is_private(base):
                continue
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK):
            return place
    return Path(tempfile.mkdtemp(prefix="silicost-kernels-"))


def _is_private(folder: Path) -> bool:
    about = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & others


def use_cache() -> None:
    """Have numba keep what it compiles of ours by its sources."""
    store = Store()
    if "NUMBA_CACHE_DIR" not in os.environ:
        # Compiled functions of other rooms, which call none but their own.
        numba.config.CACHE_DIR = str(store.directory)  # type: ignore[attr-defined]
    try:
        caching.CacheImpl._locator_classes.insert(0, _locator(store))
    except AttributeError:
        return  # numba names these things differently: its own cache does, once for each place.


def _locator(store: Store) -> type[Any]:
    """A numba locator for functions whose sources have a part in the name of the directory of ``store``."""
    covered = set(sources())

    class Locator(caching._CacheLocator):
        """The place of one function."""

        def __init__(self, py_func: Callable[..., Any], py_file: str, place: Path) -> None:
            # numba reads the first two where it warns.
            self._py_file, self._lineno, self._place = py_file, py_func.__code__.co_firstlineno, place

        @classmethod
        def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Any:
            """The locator of a function that is covered, else None: numba's own look after it."""
            source = Path(py_file).resolve()
            if source not in covered:
                return None
            if not store.is_current(source):
                store.leave()
            found = cls(py_func, py_file, store.directory.joinpath(*source.relative_to(_ROOT).parent.parts[1:]))
            try:
                found.ensure_cache_path()  # type: ignore[no-untyped-call]
            except OSError:
                return None
            return found

        def get_cache_path(self) -> str:
            """A directory for each room."""
            return str(self._place)

        def get_source_stamp(self) -> str:
            """What changes with the source: the directory does already."""
            return "by the name of the directory"

        def get_disambiguator(self) -> str:
            """What tells functions of one name in a file apart."""
            return str(self._lineno)

    return Locator


def _cpu_name() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())
