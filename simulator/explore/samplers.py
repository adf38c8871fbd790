"""Which points of a space to look at: all of them, or a sample that is spread well. Any slice can be made alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError, UnknownName
from simulator.explore.space import Points, Sampler, Space

KINDS: Final = ("grid", "random", "sobol", "latin-hypercube")
MOST_GRID_POINTS: Final = 1_000_000_000
MOST_SAMPLES: Final = 100_000_000
"""Most points of a random sample and of a Sobol sequence, whose numbers have 30 bits."""
MOST_HYPERCUBE_POINTS: Final = 1_000_000
"""A Latin hypercube is drawn as a whole and held in memory."""
_LARGEST_SEED: Final = (1 << 63) - 1
_PER_BLOCK: Final = 4
"""Numbers that the generator Philox makes of one counter."""


def sampler_of(kind: str, space: Space, n: int | None = None, seed: int = 0, place: str = "") -> Sampler:
    """The sampler of a space.

    Args:
        kind: one of ``KINDS``.
        n: how many points, before conditions; none for the grid, which takes every one.
        seed: what the sample is drawn with, 0 to 2^63 - 1; the grid needs none.
        place: where the kind stands, for errors.

    Raises:
        InputError: an unknown kind; a grid of a continuous axis, with n, or of more than a billion points; a sample
            without n, or of more points than there are or the sampler can make.
    """
    where = f"{place}: " if place else ""
    if kind not in KINDS:
        raise UnknownName("sampler", kind, KINDS, f"allowed: {', '.join(KINDS)}", place)
    if kind == "grid":
        if n is not None:
            raise InputError(f"{where}n = {n}: a grid takes every point; drop n, or take another sampler")
        return _grid(space, where)
    count = _count(kind, space, n, where)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"{where}seed {seed!r}; allowed: a whole number from 0 to {_LARGEST_SEED}")
    if kind == "random":
        return Random(space, count, seed)
    return Sobol(space, count, seed) if kind == "sobol" else LatinHypercube(space, count, seed)


@dataclass(frozen=True)
class Grid:
    """Every combination of the axes, the first the slowest."""

    space: Space

    @property
    def count(self) -> int:
        """How many combinations there are, before conditions."""
        return self.space.size

    def points(self, start: int, stop: int) -> Points:
        """The points ``start`` to ``stop - 1``, less those that the conditions drop."""
        return self.space.points(start, stop)


@dataclass(frozen=True)
class Random:
    """Independent draws, each value of an axis as likely as the others; a point may come twice.

    Point i of an axis is number i of a counter-based generator, Philox 4x64-10 (Salmon et al. 2011,
    doi:10.1145/2063384.2063405), keyed by the seed and the axis's names: more points, or another axis, change no draw.
    """

    space: Space
    count: int
    seed: int = 0

    def points(self, start: int, stop: int) -> Points:
        """The points ``start`` to ``stop - 1``, less those that the conditions drop."""
        start, stop = _inside(start, stop, self.count)
        unit = np.empty((stop - start, len(self.space.axes)))
        for place, axis in enumerate(self.space.axes):
            unit[:, place] = _uniform(self.seed, axis.names, start, stop)
        return self.space.kept(self.space.of_unit(unit))


@dataclass(frozen=True)
class Sobol:
    """A scrambled Sobol sequence (Owen 1998, doi:10.1006/jcom.1998.0487; scipy.stats.qmc).

    Its first 2^k points are balanced best: take a power of two for n. Other n change no point.
    """

    space: Space
    count: int
    seed: int = 0

    def points(self, start: int, stop: int) -> Points:
        """The points ``start`` to ``stop - 1``, less those that the conditions drop."""
        start, stop = _inside(start, stop, self.count)
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.space.axes), scramble=True, seed=np.random.default_rng(self.seed))
        if start:
            sequence.fast_forward(start)
        # one point, then the others: scipy warns of a first draw that is no power of two
        draws = [sequence.random(1), sequence.random(stop - start - 1)] if stop - start > 1 else []
        unit = np.concatenate(draws) if draws else sequence.random(1)[: stop - start]
        return self.space.kept(self.space.of_unit(unit))


@dataclass(frozen=True)
class LatinHypercube:
    """A Latin hypercube (McKay, Beckman, Conover 1979, doi:10.1080/00401706.1979.10489755; scipy.stats.qmc): of n
    equal parts of each axis, each is taken once. Another n is another sample."""

    space: Space
    count: int
    seed: int = 0

    def points(self, start: int, stop: int) -> Points:
        """The points ``start`` to ``stop - 1``, less those that the conditions drop."""
        start, stop = _inside(start, stop, self.count)
        return self.space.kept(self.space.of_unit(self._unit[start:stop]))

    @cached_property
    def _unit(self) -> NDArray[np.float64]:
        """All points in the unit cube [count, axes]."""
        from scipy.stats import qmc

        sampler = qmc.LatinHypercube(len(self.space.axes), seed=np.random.default_rng(self.seed))
        return np.asarray(sampler.random(self.count))


def _grid(space: Space, where: str) -> Grid:
    if space.ranges:
        names = ", ".join(axis.name for axis in space.ranges)
        raise InputError(f"{where}a grid has no continuous axis ({names}); give values, or take another sampler with n")
    if space.size > MOST_GRID_POINTS:
        largest = max((axis for axis in space.axes), key=lambda axis: len(axis.columns[axis.names[0]]))
        raise InputError(
            f"{where}{space.size:,} points are more than {MOST_GRID_POINTS:,}; take fewer values (the longest axis is "
            f"{', '.join(largest.names)}), a sampler with n (sobol, random), or a search"
        )
    return Grid(space)


def _count(kind: str, space: Space, n: int | None, where: str) -> int:
    """How many points a sample has."""
    if n is None:
        raise InputError(f"{where}the sampler {kind} needs n, how many points to take")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"{where}n = {n!r}; allowed: a whole number from 1 on")
    most = MOST_HYPERCUBE_POINTS if kind == "latin-hypercube" else MOST_SAMPLES
    if n > most:
        other = "; the sampler sobol makes more" if most < MOST_SAMPLES else ""
        raise InputError(f"{where}n = {n:,}; the sampler {kind} makes at most {most:,} points{other}")
    if not space.ranges and n > space.size:
        raise InputError(f"{where}n = {n:,} of a space with {space.size:,} points; take the sampler grid, or a lower n")
    return n


def _inside(start: int, stop: int, count: int) -> tuple[int, int]:
    """The part of a slice that lies in 0 .. count."""
    start = max(start, 0)
    return start, max(min(stop, count), start)


def _uniform(seed: int, names: tuple[str, ...], start: int, stop: int) -> NDArray[np.float64]:
    """Numbers ``start`` to ``stop - 1`` of the stream of an axis, in [0, 1), shape [stop - start]."""
    key = int.from_bytes(hashlib.blake2b(repr(names).encode(), digest_size=8).digest(), "little")
    first = start // _PER_BLOCK
    stream = np.random.Philox(counter=first, key=np.array([seed, key], np.uint64))
    bits = stream.random_raw(stop - first * _PER_BLOCK)[start - first * _PER_BLOCK :]
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53, dtype=np.float64)
