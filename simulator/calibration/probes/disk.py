"""Reading and writing a scratch file past the page cache of the operating system.

The file has no name, or loses it as soon as it is open, so that nothing is left whatever ends the process. Reads go to
the drive by O_DIRECT where the file system has it; elsewhere the pages are dropped first (posix_fadvise, DONTNEED).
What caches the drive itself or a hypervisor has is not known and may answer.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Final

LARGEST: Final = 256 << 20
"""Largest scratch file [B]."""
_BLOCK: Final = 4 << 20
"""Largest request [B]."""
_PAGE: Final = 4096
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def missing_in(folder: Path, size: int, mounts: Path = Path("/proc/mounts")) -> str:
    """Why a scratch file of ``size`` bytes in ``folder`` would not show the drive; "" where it does."""
    if not hasattr(os, "posix_fadvise"):
        return "this operating system has no way around its page cache that Python offers"
    if _file_system(folder, mounts) in _IN_MEMORY:
        return f"{folder} lies in memory ({_file_system(folder, mounts)}); choose a folder on a drive (TMPDIR)"
    try:
        if shutil.disk_usage(folder).free < 2 * size:
            return f"{folder} has less than {2 * size >> 20} MiB free"
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror or error})"


def takes_direct(folder: Path) -> bool:
    """Whether files in ``folder`` can be read by O_DIRECT."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return _made_direct(file)


def reader(folder: Path, size: int, file_size: int) -> Callable[[], int]:
    """A call that reads the next ``size`` bytes of a file of ``file_size`` from the drive, round and round.

    It returns how many bytes it read; ``size`` must be a multiple of 4096 that ``file_size`` is a multiple of.

    Raises:
        OSError: no space, or no permission.
    """
    file = scratch(folder, file_size)
    direct = _made_direct(file)
    block = min(size, _BLOCK)
    into = memoryview(mmap.mmap(-1, block))
    start = 0

    def call() -> int:
        nonlocal start
        if not direct:
            os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_DONTNEED)
        read = sum(os.preadv(file.fileno(), [into], place) for place in range(start, start + size, block))
        start = (start + size) % file_size
        return read

    return call


def writer(folder: Path, size: int) -> Callable[[], int]:
    """A call that writes ``size`` bytes over those before and waits until the drive has them (fsync).

    Raises:
        OSError: no space, or no permission.
    """
    file = scratch(folder, size)
    return partial(_write, file, _noise(min(size, _BLOCK)), size)


def scratch(folder: Path, size: int) -> IO[bytes]:
    """A file without a name, of ``size`` random bytes that the drive has.

    Raises:
        ValueError: larger than ``LARGEST``.
        OSError: no space, or no permission.
    """
    if size > LARGEST:
        raise ValueError(f"a scratch file of {size} bytes; at most {LARGEST}")
    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (it lives as long as the call that reads it)
    with contextlib.ExitStack() as undo:
        undo.callback(file.close)
        _write(file, _noise(min(size, _BLOCK)), size)
        undo.pop_all()
    return file


def _write(file: IO[bytes], block: bytes, size: int) -> int:
    written = sum(os.pwrite(file.fileno(), block[: size - place], place) for place in range(0, size, len(block)))
    os.fsync(file.fileno())
    if written != size:
        raise OSError(f"only {written} of {size} bytes could be written")
    return written


def _noise(size: int) -> bytes:
    """Bytes that no file system compresses, in whole pages."""
    return os.urandom(-(-size // _PAGE) * _PAGE)[:size]


def _made_direct(file: IO[bytes]) -> bool:
    """Switch ``file`` to O_DIRECT; false where the platform or the file system has none."""
    try:
        import fcntl

        flags = fcntl.fcntl(file.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(file.fileno(), fcntl.F_SETFL, flags | os.O_DIRECT)
    except (ImportError, AttributeError, OSError):
        return False
    return True


def _file_system(folder: Path, mounts: Path) -> str:
    """Type of the file system that holds ``folder``; "" where it is not known."""
    place, found, longest = folder.resolve(), "", -1
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        words = line.split()
        if len(words) > 2 and place.is_relative_to(words[1]) and len(words[1]) >= longest:
            found, longest = words[2], len(words[1])
    return found
