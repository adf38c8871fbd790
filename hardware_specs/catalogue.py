"""Catalogues: records by name, one TOML file each, the user's own directory searched first.

The user's directory is ``SILICOST_DATA_DIR`` if set, else the platform's data directory for silicost; below it one
folder per kind (``devices``, ``links``, ``systems``, ``runtimes``, ``models`` ...), as in the package.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from hardware_specs.errors import InputError, UnknownName, clipped
from hardware_specs.files import is_file, is_path
from hardware_specs.reader import read_record

Record = TypeVar("Record", bound=msgspec.Struct)


def user_directory() -> Path:
    """Where a user's own specs, models and calibrations live."""
    chosen = os.environ.get("SILICOST_DATA_DIR")
    if chosen:
        return Path(chosen)
    import platformdirs

    return platformdirs.user_data_path("silicost")


class Catalogue(Generic[Record]):
    """All records of one kind, found by file name without reading the others.

    Args:
        what: singular for errors ("device"); the user's folder is its plural.
        record: the type of a record.
        folder: the shipped folder; files may lie in sub-folders.
    """

    def __init__(self, what: str, record: type[Record], folder: Path) -> None:
        self.what, self.record, self.folder = what, record, folder
        self._loaded: dict[Path, Record] = {}

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Name to file; the user's own files replace shipped ones of the same name."""
        found = {path.stem: path for path in sorted(self.folder.rglob("*.toml"))}
        own = user_directory() / f"{self.what}s"
        if own.is_dir():
            found |= {path.stem: path for path in sorted(own.rglob("*.toml"))}
        return found

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self.paths))

    def load(self, name: str | Path) -> Record:
        """The record called ``name``, or in the TOML file at that path.

        Raises:
            UnknownName: no such record; carries the nearest names.
            InputError: the file is broken.
        """
        path = self.path_of(name)
        if path not in self._loaded:
            self._loaded[path] = read_record(path, self.record)
        return self._loaded[path]

    def path_of(self, name: str | Path) -> Path:
        """The file of the record called ``name``, or ``name`` itself where it is the path of a file.

        Raises:
            UnknownName, InputError: as ``load``.
        """
        text = str(name)
        if text in self.paths:
            return self.paths[text]
        if is_path(text):
            path = Path(name)
            if not is_file(path):
                raise InputError(f"{clipped(text)}: no such {self.what} file")
            return path
        raise UnknownName(self.what, text, self.paths, f"silicost {self.what}s list")
