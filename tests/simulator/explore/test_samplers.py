"""Samplers: slices join to the whole, values are covered evenly, and impossible wishes are refused."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnknownName
from simulator.explore.conditions import parse_condition
from simulator.explore.samplers import KINDS, sampler_of
from simulator.explore.space import Axis, Range, Sampler, Space, Value, joined

DRAWN = [kind for kind in KINDS if kind != "grid"]


def axis(name: str, *values: Value) -> Axis:
    return Axis((name,), tuple((value,) for value in values))


DISCRETE = (
    axis("model", "a", "b", "c"),
    Axis(("device", "tp"), (("h100", 1), ("h100", 2), ("a100", 4), ("a100", 8))),
    axis("batch", *range(64)),
)
CONTINUOUS = (*DISCRETE, Range("bw", 1.0, 16.0, log=True, unit="TB/s"), Range("rows", 1, 4, whole=True))


def made(kind: str, axes: tuple[Axis | Range, ...] = DISCRETE, n: int = 512, seed: int = 3) -> Sampler:
    return sampler_of(kind, Space(axes), None if kind == "grid" else n, seed)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_slices_join_to_the_whole(kind: str, data: st.DataObject) -> None:
    axes = DISCRETE if kind == "grid" else CONTINUOUS
    space = Space(axes, (parse_condition("tp * batch <= 100"),))
    sampler = sampler_of(kind, space, None if kind == "grid" else 200, 7)
    cuts = sorted(data.draw(st.lists(st.integers(0, sampler.count), max_size=5)))
    parts = [sampler.points(*cut) for cut in itertools.pairwise([0, *cuts, sampler.count])]
    assert joined(parts).digest() == sampler.points(0, sampler.count).digest()


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_drop_points_and_change_no_other(kind: str) -> None:
    sampler = made(kind)
    space = Space(DISCRETE, (parse_condition("if device == h100 then batch <= 7"),))
    less = sampler_of(kind, space, None if kind == "grid" else 512, 3).points(0, sampler.count)
    points = sampler.points(0, sampler.count)
    assert less.digest() == points.take(space.keeps(points)).digest()
    assert 0 < len(less) < len(points)


@pytest.mark.parametrize("kind", KINDS)
def test_slices_beyond_the_end_are_cut(kind: str) -> None:
    sampler = made(kind, n=100)
    assert len(sampler.points(sampler.count - 3, sampler.count + 50)) == 3
    assert len(sampler.points(sampler.count, sampler.count + 50)) == 0
    assert len(sampler.points(5, 5)) == 0


def spread(sampler: Sampler) -> dict[str, list[int]]:
    """How often each value of each axis comes."""
    points = sampler.points(0, sampler.count)
    return {
        name: np.bincount(column.codes if column.numbers is None else column.numbers.astype(np.int64)).tolist()
        for name, column in points.columns.items()
        if name != "bw"
    }


@pytest.mark.parametrize(("kind", "off"), [("grid", 0), ("sobol", 1), ("latin-hypercube", 1)])
def test_each_value_comes_as_often_as_the_others(kind: str, off: int) -> None:
    sampler = made(kind)
    for name, counts in spread(sampler).items():
        assert max(counts) - min(counts) <= off, name
        assert sum(counts) == sampler.count


@settings(deadline=None)
@given(st.sampled_from(["sobol", "latin-hypercube"]), st.integers(0, 2**63 - 1), st.integers(4, 9))
def test_spread_samples_cover_evenly_for_every_seed(kind: str, seed: int, doublings: int) -> None:
    n = 2**doublings
    counts = spread(made(kind, CONTINUOUS, n, seed))
    assert max(counts["model"]) - min(counts["model"]) <= 2
    assert counts["tp"] == [n // 4] * 4
    assert counts["rows"] == [0, *[n // 4] * 4]


def test_random_values_come_as_often_as_the_others_within_chance() -> None:
    n = 20_000
    points = made("random", CONTINUOUS, n).points(0, n)
    for column in (points.columns[name] for name in ("model", "tp", "batch")):
        counts = np.bincount(column.codes)
        wanted = n / len(column.values)
        assert np.abs(counts - wanted).max() < 5 * wanted**0.5
    pairs = np.bincount(points.columns["model"].codes * 4 + points.columns["tp"].codes)
    assert np.abs(pairs - n / 12).max() < 5 * (n / 12) ** 0.5


@pytest.mark.parametrize("kind", DRAWN)
def test_log_ranges_have_equal_ratios(kind: str) -> None:
    numbers = made(kind, CONTINUOUS, 4096).points(0, 4096).columns["bw"].numbers
    assert numbers is not None
    assert numbers.min() >= 1.0 and numbers.max() <= 16.0
    counts, _ = np.histogram(np.log2(numbers), bins=4, range=(0.0, 4.0))
    assert counts == pytest.approx([1024] * 4, abs=150 if kind == "random" else 2)


@pytest.mark.parametrize("kind", DRAWN)
def test_the_seed_decides(kind: str) -> None:
    digests = {made(kind, CONTINUOUS, 64, seed).points(0, 64).digest() for seed in (0, 1, 2, 0)}
    assert len(digests) == 3


def test_draws_of_chance_do_not_depend_on_other_axes_or_on_n() -> None:
    few = made("random", DISCRETE[1:], 100).points(0, 100)
    more = made("random", CONTINUOUS, 1000).points(0, 100)
    assert [few.row(i)["batch"] for i in range(100)] == [more.row(i)["batch"] for i in range(100)]
    assert few.columns["tp"].codes.tolist() == more.columns["tp"].codes.tolist()


def test_sobol_points_do_not_depend_on_n() -> None:
    assert made("sobol", n=100).points(0, 100).digest() == made("sobol", n=512).points(0, 100).digest()


@pytest.mark.parametrize("n", [1, 2, 100, 128])
def test_no_sampler_warns(n: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in DRAWN:
            assert len(made(kind, n=n).points(0, n)) == n


def test_a_grid_is_the_whole_space() -> None:
    assert made("grid").count == 3 * 4 * 64
    large = Space(tuple(axis(f"a{i}", *range(1000)) for i in range(3)))
    assert sampler_of("grid", large).count == 10**9
    assert sampler_of("grid", large).points(10**9 - 1, 10**9).row(0) == {"a0": 999, "a1": 999, "a2": 999}


SPACE = Space(DISCRETE)


@pytest.mark.parametrize(
    ("kind", "space", "n", "seed", "wanted"),
    [
        ("grid", Space(CONTINUOUS), None, 0, r"a grid has no continuous axis \(bw, rows\)"),
        ("grid", SPACE, 100, 0, "n = 100: a grid takes every point"),
        (
            "grid", Space(tuple(axis(f"a{i}", *range(10)) for i in range(12))), None, 0,
            r"1,000,000,000,000 points are more than 1,000,000,000; take fewer values.*or a search",
        ),
        ("sobol", SPACE, None, 0, "the sampler sobol needs n"),
        ("sobol", SPACE, 0, 0, "n = 0; allowed"),
        ("random", SPACE, True, 0, "n = True; allowed"),
        ("random", SPACE, 10**9, 0, "n = 1,000,000,000; the sampler random makes at most 100,000,000"),
        ("latin-hypercube", SPACE, 10**7, 0, "n = 10,000,000; .* at most 1,000,000 points; the sampler sobol"),
        ("random", SPACE, 769, 0, "n = 769 of a space with 768 points; take the sampler grid"),
        ("random", SPACE, 5, -1, "seed -1; allowed"),
        ("random", SPACE, 5, 2**63, "seed .*; allowed"),
    ],
)  # fmt: skip
def test_samplers_that_are_refused(kind: str, space: Space, n: int | None, seed: int, wanted: str) -> None:
    with pytest.raises(InputError, match=f"^lab.toml: {wanted}"):
        sampler_of(kind, space, n, seed, "lab.toml")


def test_an_unknown_sampler_has_a_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown sampler 'sobel'; did you mean 'sobol'"):
        sampler_of("sobel", SPACE, 10)
