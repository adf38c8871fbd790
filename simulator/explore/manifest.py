"""The manifest of a study, ``study.json``: what was asked, by which versions, and which parts there are."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from hardware_specs.errors import InputError, clipped
from simulator.explore.columns import ColumnInfo
from simulator.explore.durable import write_durably

SCHEMA: Final = 1
"""Version of the manifest and of the folder around it."""
MANIFEST: Final = "study.json"
_PACKAGES: Final = ("silicost", "numpy", "numba", "pyarrow")


class Definition(msgspec.Struct, frozen=True):
    """What is asked, as whoever starts a study says it.

    Args:
        title: what people call it; a folder holds one title.
        text: the study file, or the flags that stand for one.
        axes: names of the axes, in their order; a folder holds one set of them.
        space, sampler: hashes of what makes the points.
        evaluator: fingerprint of what makes the numbers.
        points: point numbers that the sampler has.
        part_points: point numbers in each part but the last.
        seed: of the sampler and of the evaluator.
        scenarios: hashes of the scenarios that were simulated, where they are given.
        facts: what else is to be known later: hash of the laws, ids of calibrations ...
    """

    title: str
    text: str
    axes: tuple[str, ...]
    space: str
    sampler: str
    evaluator: str
    points: int
    part_points: int
    seed: int = 0
    scenarios: tuple[str, ...] = ()
    facts: Mapping[str, str | tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        if self.points < 0 or self.part_points < 1:
            raise ValueError(f"{self.points} points in parts of {self.part_points}")

    @property
    def parts(self) -> int:
        """How many parts there are when all is done."""
        return -(-self.points // self.part_points)


class PartRecord(msgspec.Struct, frozen=True, array_like=True):
    """A part that is there: point numbers ``start`` to ``stop - 1``; no file where conditions left no row."""

    start: int
    stop: int
    key: str
    rows: int


class GivenUp(msgspec.Struct, frozen=True):
    """A part that could not be computed, and why."""

    start: int
    stop: int
    reason: str


class Manifest(msgspec.Struct, frozen=True):
    """All that is known of a study but its rows; parts by their first point."""

    schema: int
    definition: Definition
    versions: dict[str, str]
    created: str
    appended: str
    columns: tuple[ColumnInfo, ...] = ()
    parts: tuple[PartRecord, ...] = ()
    given_up: tuple[GivenUp, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all parts that are there."""
        return sum(part.rows for part in self.parts)

    @property
    def points(self) -> int:
        """Point numbers of all parts that are there."""
        return sum(part.stop - part.start for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether every point is there."""
        return self.points == self.definition.points


class _Version(msgspec.Struct):
    schema: int


def new_manifest(definition: Definition, created: str = "") -> Manifest:
    """The manifest of a study without parts; ``created``: when the folder was, default now."""
    return Manifest(SCHEMA, definition, versions(), created or now(), now())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the study in ``folder``.

    Raises:
        InputError: there is none, it cannot be read, or it is of another version.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{clipped(str(folder))}: holds no study (no {MANIFEST} in it)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
        if schema == SCHEMA:
            return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: is no manifest of a study ({error}); rename it, and its parts are found again when "
                         "the study is run") from None  # fmt: skip
    raise InputError(f"{path}: schema {schema}; this version of silicost reads schema {SCHEMA}: use another folder, or "
                     f"the silicost that wrote it")  # fmt: skip


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of the study in ``folder``.

    Raises:
        InputError: it cannot be written; the one before is still there.
    """
    write_durably(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def check_same_study(before: Manifest, definition: Definition, folder: Path) -> None:
    """Refuse to write one study into the folder of another.

    Raises:
        InputError: another title or other axes.
    """
    old = before.definition
    if old.title != definition.title:
        what = f"the study {clipped(old.title)!r}, not {clipped(definition.title)!r}"
    elif set(old.axes) != set(definition.axes):
        what = f"a study over {', '.join(old.axes)}, not over {', '.join(definition.axes)}"
    else:
        return
    raise InputError(f"{folder}: holds {what}; choose another folder")


def now() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of Python and of what computes and stores."""
    from importlib.metadata import PackageNotFoundError, version  # a fifth of this room's time to import

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
