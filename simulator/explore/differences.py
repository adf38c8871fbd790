"""Two studies side by side: what was asked, which points they share, and how far their answers are apart.

Rows are matched by the values of their axes, through a hash of 64 bits: of ten million points, two are taken for each
other with a chance of about 3 in a million (birthday bound n^2 / 2^65). Memory: 40 bytes a row and study, besides one
column at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError
from simulator.explore.columns import ColumnInfo, unified
from simulator.explore.manifest import Manifest
from simulator.explore.reading import Study

if TYPE_CHECKING:
    import pyarrow as pa

Hashes = NDArray[np.uint64]
_FACTS: Final = ("title", "text", "axes", "space", "sampler", "evaluator", "points", "seed", "scenarios")


class Fact(NamedTuple):
    """Something that two studies do not have in common."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class ColumnDifference:
    """How one column differs over the points that two studies share.

    Args:
        name: of the column.
        changed: points with another value; unknown in both is no change.
        known_once: points with a value in one study alone, among them.
        ratio: second over first where it is farthest from 1; None for texts and where nothing differs.
        median: of all ratios; None likewise.
        point: the axes' values where ``ratio`` is, or of the first change.
    """

    name: str
    changed: int
    known_once: int
    ratio: float | None
    median: float | None
    point: dict[str, Any]


@dataclass(frozen=True)
class StudyDifference:
    """What tells two studies apart; rows that are in one alone are counted once for equal points."""

    facts: tuple[Fact, ...]
    rows: tuple[int, int]
    shared: int
    only_first: int
    only_second: int
    columns: tuple[ColumnDifference, ...]


def differences(first: Study, second: Study) -> StudyDifference:
    """Compare two studies over the same axes.

    Raises:
        InputError: other axes, or parts that cannot be read.
    """
    axes = _shared_axes(first, second)
    ours, theirs = (_row_hashes(study, axes) for study in (first, second))
    shared, here, there = np.intersect1d(ours, theirs, return_indices=True)
    order = np.argsort(here, kind="stable")
    here, there = here[order], there[order]
    found = [
        _column(first, second, info, axes, here, there)
        for info in _shared_results(first, second)
    ]  # fmt: skip
    return StudyDifference(
        tuple(_facts(first.manifest, second.manifest)), (len(ours), len(theirs)), len(shared),
        len(np.unique(ours)) - len(shared), len(np.unique(theirs)) - len(shared), tuple(found),
    )  # fmt: skip


def _facts(first: Manifest, second: Manifest) -> Iterator[Fact]:
    ones = {name: getattr(first.definition, name) for name in _FACTS}
    others = {name: getattr(second.definition, name) for name in _FACTS}
    for one, manifest in ((ones, first), (others, second)):
        one |= dict(manifest.definition.facts) | {f"{name} version": text for name, text in manifest.versions.items()}
    for name in dict.fromkeys((*ones, *others)):
        if ones.get(name) != others.get(name):
            yield Fact(name, ones.get(name), others.get(name))


def _shared_axes(first: Study, second: Study) -> tuple[ColumnInfo, ...]:
    """The axes, as what holds the values of both."""
    names = [{info.name for info in study.manifest.columns if info.axis} for study in (first, second)]
    if names[0] != names[1] and all(names):
        texts = [", ".join(sorted(each)) for each in names]
        raise InputError(f"{first.folder} is over {texts[0]}, {second.folder} over {texts[1]}: their points differ")
    columns = unified(first.manifest.columns, second.manifest.columns)
    return tuple(sorted((info for info in columns if info.axis), key=lambda info: info.name))


def _shared_results(first: Study, second: Study) -> Iterator[ColumnInfo]:
    theirs = {info.name for info in second.manifest.columns}
    for info in unified(first.manifest.columns, second.manifest.columns):
        if not info.axis and info.name in theirs and info.name in {each.name for each in first.manifest.columns}:
            yield info


def _row_hashes(study: Study, axes: Sequence[ColumnInfo]) -> Hashes:
    """A hash of the axes' values of each row, shape [n]."""
    found = [np.zeros(0, dtype=np.uint64)]
    for batch in study.batches_as(axes):
        mixed = np.zeros(batch.num_rows, dtype=np.uint64)
        for info in axes:
            mixed = _mixed(mixed * np.uint64(31) + _value_hashes(batch.column(info.name), info))
        found.append(mixed)
    return np.concatenate(found)


def _value_hashes(array: pa.Array, info: ColumnInfo) -> Hashes:
    """A hash of each value of a column, shape [n]; equal numbers have equal ones."""
    if info.kind != "text":
        numbers = array.cast("float64", safe=False).to_numpy(zero_copy_only=False) + 0.0
        bits: Hashes = numbers.view(np.uint64)
        return _mixed(bits)
    texts = [hashlib.blake2b(repr(text).encode(), digest_size=8).digest() for text in array.dictionary.to_pylist()]
    codes = array.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    table = np.frombuffer(b"".join([*texts, bytes(8)]), dtype="<u8").astype(np.uint64)
    hashes: Hashes = table[codes]
    return hashes


def _mixed(numbers: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2660193.2660195)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _column(
    first: Study, second: Study, info: ColumnInfo, axes: Sequence[ColumnInfo], here: NDArray[np.intp],
    there: NDArray[np.intp],
) -> ColumnDifference:  # fmt: skip
    """How a column differs over rows ``here`` of one study and ``there`` of the other, which are of the same points."""
    one, one_known = _values(first, info)
    other, other_known = _values(second, info)
    one, one_known, other, other_known = one[here], one_known[here], other[there], other_known[there]
    known = one_known & other_known
    changed = (one_known != other_known) | (known & (one != other))
    ratio = median = None
    place = int(np.argmax(changed)) if changed.any() else -1
    if info.kind in ("int", "float") and known.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(known & (one != 0.0), other / one, np.nan)
            far = np.abs(np.log(ratios))
        if np.isfinite(far).any() and np.nanmax(far[np.isfinite(far)]) > 0.0:
            place = int(np.argmax(np.where(np.isfinite(far), far, -1.0)))
            ratio, median = float(ratios[place]), float(np.nanmedian(ratios))
    point = _row(first, axes, int(here[place])) if place >= 0 else {}
    return ColumnDifference(
        info.name, int(changed.sum()), int((one_known != other_known).sum()), ratio, median, point
    )  # fmt: skip


def _values(study: Study, info: ColumnInfo) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A column as numbers, texts by their hashes, and where it is known; shapes [n]."""
    values: list[NDArray[Any]] = [np.zeros(0, dtype=np.uint64 if info.kind == "text" else np.float64)]
    known = [np.zeros(0, dtype=np.bool_)]
    for batch in study.batches_as([info]):
        array = batch.column(0)
        known.append(array.is_valid().to_numpy(zero_copy_only=False))
        if info.kind == "text":
            values.append(_value_hashes(array, info))
        else:
            values.append(array.cast("float64", safe=False).to_numpy(zero_copy_only=False))
    return np.concatenate(values), np.concatenate(known)


def _row(study: Study, axes: Sequence[ColumnInfo], row: int) -> dict[str, Any]:
    """The axes' values of a row, in the order of the study."""
    order = [info.name for info in study.manifest.columns if info.axis]
    for batch in study.batches_as(axes):
        if row < batch.num_rows:
            found: dict[str, Any] = batch.slice(row, 1).to_pylist()[0]
            return {name: found[name] for name in order}
        row -= batch.num_rows
    return {}
