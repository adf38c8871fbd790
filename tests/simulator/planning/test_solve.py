"""The solvers against exhaustive search, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from random_problems import aims, group, link, problem

from simulator.planning.additive import Group, Problem, every_placement, exhaustive, plain_aim, totals_of
from simulator.planning.chain import chain
from simulator.planning.kinds import kinds_of
from simulator.planning.profiles import Shapes, profiles_of
from simulator.planning.runs_order import cheapest_order, eulerian
from simulator.planning.solve import free_of_transfers, solve


def same(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=1e-6)


@pytest.mark.parametrize("seed", range(200))
def test_equals_exhaustive_search(seed: int) -> None:
    work = problem(seed)
    aim = aims(seed, len(work.pools), (math.inf, 3.0, 1.5)[seed % 3])[seed % 4]
    best, _ = exhaustive(work, aim, [profiles_of(work, each, Shapes()) for each in work.groups])
    found = solve(work, aim)
    assert same(found.value, best)
    if math.isfinite(best):
        assert found.placement is not None
        assert found.proven
        assert same(aim.value(totals_of(work, found.placement)), best)
    assert solve(free_of_transfers(work), aim).bound <= best * (1.0 + 1e-6)


def test_some_of_these_do_not_fit_and_most_are_mixed() -> None:
    found = [solve(problem(seed), aims(seed, len(problem(seed).pools))[0]) for seed in range(40)]
    mixed = [s for s in found if s.placement and len({int(p) for one in s.placement for p in one.ravel()}) > 1]
    assert any(s.placement is None for s in found)
    assert len(mixed) > 10


@pytest.mark.parametrize("seed", range(60))
def test_chain_is_the_best_of_contiguous_runs(seed: int) -> None:
    work = problem(seed)
    aim = aims(seed, len(work.pools))[seed % 4]
    shapes = Shapes(together=True, whole=True)
    best = math.inf
    for placement in every_placement(work, [profiles_of(work, each, shapes) for each in work.groups]):
        pools = [int(profile[0, 0]) for profile in placement]
        runs = [pool for i, pool in enumerate(pools) if i == 0 or pool != pools[i - 1]]
        if len(set(runs)) == len(runs):
            best = min(best, aim.value(totals_of(work, placement)))
    assert same(chain(work, aim).value, best)
    assert solve(work, aim, shapes).value <= best * (1.0 + 1e-6)


def equal_layers(seed: int, count: int) -> Problem:
    """Layers only, on pools with symmetric links: contiguous runs are as good as any order."""
    rng = np.random.default_rng(seed)
    there = link(rng, 3)
    own = group(rng, "layers", count, 1, 2, 3)
    seconds = np.where(np.isfinite(own.seconds), own.seconds, 1.0)
    layers = Group(
        "layers", count, ("whole",), seconds, own.joules, own.waits_s * 0.0, own.held_bytes,
        np.stack([there + there.T] * 2),
    )  # fmt: skip
    return Problem(("a", "b", "c"), ("prefill", "decode"), (layers,), rng.uniform(0.4, 0.8, 3) * count * 2.0)


@pytest.mark.parametrize("seed", range(12))
def test_both_solvers_agree_where_both_apply(seed: int) -> None:
    work = equal_layers(seed, 12)
    aim = aims(seed, 3)[(0, 2, 3)[seed % 3]]
    assert same(chain(work, aim).value, solve(work, aim, Shapes(together=True)).value)


def test_counts_that_fall_apart_are_joined() -> None:
    """Two pools that are equally fast, far from each other: a path must pay for the way between them."""
    seconds = np.ones((1, 1, 2))
    far = np.array([[[0.0, 5.0], [5.0, 0.0]]])
    layers = Group("layers", 6, ("whole",), seconds, seconds, np.zeros((1, 2)), np.ones((1, 2)), far)
    work = Problem(("a", "b"), ("decode",), (layers,), np.array([3.0, 3.0]))
    found = solve(work, plain_aim(2))
    assert same(found.value, 11.0)
    assert found.placement is not None
    assert sum(int(one[0, 0] != two[0, 0]) for one, two in zip(found.placement, found.placement[1:], strict=False)) == 1


def test_mixed_shapes_leave_no_pool_alone() -> None:
    work = equal_layers(3, 4)
    roomy = Problem(work.pools, work.phases, work.groups, work.capacity_bytes * 100.0)
    alone, mixed = (solve(roomy, plain_aim(3), Shapes(mixed=m)) for m in (False, True))
    assert alone.placement is not None and mixed.placement is not None
    assert len({int(p) for one in alone.placement for p in one.ravel()}) == 1
    assert len({int(p) for one in mixed.placement for p in one.ravel()}) > 1
    assert alone.value < mixed.value


def test_equal_pools_are_of_one_kind() -> None:
    seconds = np.array([[[1.0, 1.0, 2.0]]])
    near = np.ones((1, 3, 3)) - np.eye(3)
    layers = Group("layers", 2, ("whole",), seconds, seconds, np.zeros((1, 3)), np.ones((1, 3)), near)
    work = Problem(("a", "b", "c"), ("decode",), (layers,), np.ones(3))
    assert kinds_of(work, plain_aim(3)) == (0, 0, 1)
    near[0, 0, 2] = 3.0
    assert kinds_of(work, plain_aim(3)) == (0, 1, 2)


def test_orders() -> None:
    assert eulerian("a", [("a", "b", 1), ("b", "a", 2), ("a", "c", 3)]) == [1, 2, 3]
    assert eulerian("a", [("a", "b", 1), ("c", "d", 2)]) is None
    assert cheapest_order(3, lambda one, other: abs(one - other) ** 2) in ([0, 1, 2], [2, 1, 0])
    assert sorted(cheapest_order(12, lambda one, other: abs(one - other))) == list(range(12))
