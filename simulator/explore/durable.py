"""Files that are on the disk whole or not at all, after a kill and after a loss of power too."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hardware_specs.errors import InputError

_ENDING: Final = ".tmp"
"""Files with a leading dot and this ending are not finished."""


def write_durably(path: Path, *pieces: bytes | memoryview) -> None:
    """Write ``pieces``, one after the other, to ``path``: under a temporary name, onto the disk, then renamed.

    Raises:
        InputError: it cannot be written: no room, no permission, no folder. What was there before is still there.
    """
    with replacing(path) as temporary, temporary.open("xb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` for a file that takes its place when the block ends well.

    Raises:
        InputError: as ``write_durably``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_ENDING}")
    try:
        yield temporary
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder that files can be written to.

    Raises:
        InputError: it cannot be made or written to, or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}-{secrets.token_hex(4)}{_ENDING}"
        probe.touch()
        probe.unlink()
    except FileExistsError:
        raise InputError(f"{path}: is a file, not a folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def remove_unfinished(folder: Path, name: str = "") -> int:
    """Remove the unfinished files in ``folder``, or those of the file ``name``; how many there were.

    Only for folders that nobody writes to, or for files whose writers are dead.
    """
    found = [path for path in _entries(folder) if _is_unfinished(path.name) and path.name.startswith(f".{name}")]
    for path in found:
        with suppress(OSError):
            path.unlink()
    return len(found)


def others(folder: Path, names: Iterable[str]) -> list[str]:
    """What is in ``folder`` besides ``names`` and unfinished files, sorted."""
    known = set(names)
    return sorted(path.name for path in _entries(folder) if path.name not in known and not _is_unfinished(path.name))


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(_ENDING)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from None


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder onto the disk; not every system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
