"""Files are written whole or not at all, and paths that people give may be anything."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hardware_specs.errors import InputError

_LONGEST: Final = 400
"""Characters of a place in a message."""


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file that can be reached; false for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """As ``is_file``, for a folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_stream(path: Path) -> bool:
    """Whether ``path`` is there and is neither a file nor a folder, as a device or a FIFO is."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_path(name: str) -> bool:
    """Whether ``name`` says a file or folder rather than a name of a catalogue."""
    return os.sep in name or name.endswith((".toml", ".json"))


def beside(name: str, folder: Path) -> str:
    """``name``, a path taken from ``folder`` on if it is one: what files name lies beside them."""
    return str(folder / name) if is_path(name) else name


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` through a temporary file, so that nobody ever sees half of it.

    Raises:
        InputError: the place cannot be written.
    """
    write_texts({path: text})


def write_bytes(path: Path, data: bytes) -> None:
    """As ``write_text``, for what is no text.

    Raises:
        InputError: the place cannot be written.
    """
    write_texts({path: data})


def write_texts(texts: Mapping[Path, str | bytes]) -> None:
    """Write several files that belong together: all are on the disk under temporary names before the first replaces
    what was there, so that a failure leaves the old files. Devices, FIFOs and links stay what they are.

    Raises:
        InputError: a place cannot be written, or is a folder.
    """
    written: dict[Path, Path] = {}
    streams = [path for path in texts if is_stream(path)]
    try:
        for path, text in texts.items():
            if path not in streams:
                _write_beside(path, text, written)
        for path in streams:
            _write_into(path, texts[path])
        for path, temporary in written.items():
            temporary.replace(path)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def _place(path: Path) -> str:
    """``path`` short enough for a message, its end kept, which says what was asked for."""
    text = str(path)
    return text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}"


def _write_into(path: Path, text: str | bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(_encoded(text))
    except OSError as error:
        raise InputError(f"{_place(path)}: cannot be written ({error.strerror})") from None


def _encoded(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


def _write_beside(path: Path, text: str | bytes, written: dict[Path, Path]) -> None:
    """Write ``text`` to a new file in the folder of ``path``, or of what it links to, and note its name in
    ``written``."""
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        written[path] = Path(temporary)
        with os.fdopen(handle, "wb") as file:
            file.write(_encoded(text))
        Path(temporary).chmod(0o644)
    except OSError as error:
        raise InputError(f"{_place(path)}: cannot be written ({error.strerror})") from None
