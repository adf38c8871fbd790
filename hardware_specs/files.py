"""Files are written whole or not at all, and paths that people give may be anything."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hardware_specs.errors import InputError


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


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` through a temporary file, so that nobody ever sees half of it.

    Raises:
        InputError: the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
