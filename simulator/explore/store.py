"""The store of a study: a folder with a manifest and a Parquet file for each part of its points.

    runs/what-if/study.json            the manifest
    runs/what-if/study.lock            while a process writes
    runs/what-if/parts/KEY.parquet     a part: its axes, metrics and verdicts

A part is there or not, never in between; its key says its content, so that the same part is never computed twice and
a part of other points or of another evaluator is never taken for it. ``reading.open_study`` reads a study.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from hardware_specs.errors import InputError
from hardware_specs.files import is_folder
from simulator.explore.columns import unified
from simulator.explore.durable import make_folder, others, remove_unfinished
from simulator.explore.lock import locked
from simulator.explore.manifest import (
    MANIFEST,
    Definition,
    GivenUp,
    Manifest,
    PartRecord,
    check_same_study,
    new_manifest,
    now,
    read_manifest,
    write_manifest,
)
from simulator.explore.parts import Damaged, Written, check_part, part_path, set_aside

_LOCK: Final = "study.lock"
_PARTS: Final = "parts"
_SAVE_S: Final = 1.0
"""The manifest is written at most so often [s]; a part that it does not name yet is found by its key."""
_SAVE_SHARE: Final = 0.02
"""Share of the time that writing a long manifest may take."""


class Writer:
    """A study that takes parts; the process has its folder for itself.

    Args:
        folder: of the study.
        manifest: what is there when it begins.
        warn: is told of damaged parts.
    """

    def __init__(self, folder: Path, manifest: Manifest, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn
        self._manifest = manifest
        self._parts = {part.start: part for part in manifest.parts}
        self._given_up: dict[int, GivenUp] = {}
        self._columns = manifest.columns
        self._saved_s = self._took_s = 0.0

    @property
    def definition(self) -> Definition:
        """What the study asks."""
        return self._manifest.definition

    @property
    def given_up(self) -> tuple[GivenUp, ...]:
        """The parts that could not be computed, by their first point."""
        return tuple(self._given_up[start] for start in sorted(self._given_up))

    def find(self, key: str) -> Written | None:
        """The part ``key`` if it is on the disk and whole; a damaged one is set aside.

        Raises:
            InputError: it is damaged and cannot be set aside, or there is no permission to read it.
        """
        path = part_path(self.folder, key)
        try:
            return check_part(path, key)
        except FileNotFoundError:
            return None
        except Damaged as error:
            aside = set_aside(path)
            if aside is None:
                raise InputError(f"{path}: damaged ({error}), and cannot be renamed") from None
            self._warn(f"{path}: damaged ({error}); set aside as {aside.name}, computed anew")
            return None

    def commit(self, start: int, stop: int, written: Written | None) -> None:
        """Take up a part that is on the disk; None: conditions left none of its points.

        Raises:
            InputError: the manifest cannot be written.
        """
        key, rows = (written.key, written.rows) if written else ("", 0)
        self._parts[start] = PartRecord(start, stop, key, rows)
        if written:
            self._columns = unified(self._columns, written.columns)
        since = time.monotonic() - self._saved_s
        if since >= max(_SAVE_S, self._took_s / _SAVE_SHARE):
            self.save()

    def give_up(self, part: GivenUp) -> None:
        """Note a part that cannot be computed."""
        self._parts.pop(part.start, None)
        self._given_up[part.start] = part

    def save(self) -> None:
        """Write the manifest.

        Raises:
            InputError: it cannot be written.
        """
        began = time.monotonic()
        self._manifest = msgspec.structs.replace(
            self._manifest, columns=self._columns, parts=tuple(self._parts[start] for start in sorted(self._parts)),
            given_up=self.given_up, appended=now(),
        )  # fmt: skip
        write_manifest(self.folder, self._manifest)
        self._saved_s = time.monotonic()
        self._took_s = self._saved_s - began


@contextmanager
def open_store(
    folder: Path, definition: Definition, warn: Callable[[str], None] = lambda message: None
) -> Iterator[Writer]:
    """Open the study in ``folder`` for parts, or begin one there.

    Args:
        warn: is told what a person should know and what is no error.

    Raises:
        InputError: the folder cannot be written, holds something else or another study, or is in use.
    """
    if is_folder(folder):
        _check_ours(folder)
    make_folder(folder)
    with locked(folder / _LOCK, warn):
        manifest = _begun(folder, definition, warn)
        make_folder(folder / _PARTS)
        remove_unfinished(folder)
        remove_unfinished(folder / _PARTS)
        writer = Writer(folder, manifest, warn)
        writer.save()
        try:
            yield writer
        except BaseException:
            with suppress(InputError):
                writer.save()
            raise
        writer.save()


def _check_ours(folder: Path) -> None:
    """Refuse a folder that holds something that is no study."""
    found = others(folder, (_LOCK,))
    if found and MANIFEST not in found and _PARTS not in found:
        shown = ", ".join(found[:3]) + (" ..." if len(found) > 3 else "")
        raise InputError(f"{folder}: holds other things ({shown}) and no study; choose an empty or new folder")


def _begun(folder: Path, definition: Definition, warn: Callable[[str], None]) -> Manifest:
    """The manifest to go on with."""
    if not (folder / MANIFEST).exists():
        return new_manifest(definition)
    before = read_manifest(folder)
    check_same_study(before, definition, folder)
    new = new_manifest(definition, before.created)
    if before.parts and before.definition.evaluator != definition.evaluator:
        warn(
            f"{folder}: its {len(before.parts)} parts were computed by other laws, specs or settings; they stay on the "
            "disk, and all points are computed anew"
        )
    if _makes_same_parts(before.definition, definition):
        return msgspec.structs.replace(new, columns=before.columns, parts=before.parts)
    return new


def _makes_same_parts(one: Definition, other: Definition) -> bool:
    names = ("axes", "space", "sampler", "evaluator", "points", "part_points", "seed")
    return all(getattr(one, name) == getattr(other, name) for name in names)
