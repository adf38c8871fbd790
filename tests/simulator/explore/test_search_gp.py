"""The parts of the method "gp": the first design, children, screening."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.explore import search_archive, search_gp
from simulator.explore.objectives import Scores
from simulator.explore.search_archive import Archive
from simulator.explore.search_codes import Coding
from simulator.explore.search_gp import GaussianMethod, children
from simulator.explore.space import Axis, Range, Space

SPACE = Space((
    Axis(("device",), tuple((name,) for name in "abcde")), Axis(("batch",), tuple((1 << k,) for k in range(12))),
    Range("rate", 1.0, 2.0), Range("steps", 5, 50, whole=True),
))  # fmt: skip
LISTED = Space((*SPACE.axes[:2], SPACE.axes[3]))


def scores_of(codes: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Scores:
    """Two costs that fall and rise with the last axis, a margin that the first axis breaks."""
    costs = np.stack([codes[:, -1] + codes[:, 1], 60.0 - codes[:, -1] + codes[:, 1]], axis=1)
    return Scores(costs, np.stack([codes[:, 0] - 2.5], axis=1), np.ones(len(codes), dtype=np.bool_))


def taught(space: Space, count: int) -> tuple[GaussianMethod, Archive]:
    rng = np.random.default_rng(0)
    coding = Coding(space)
    method, archive = GaussianMethod(coding, count, rng), Archive(coding, 2, 1)
    codes = method.propose(count, archive, rng)
    archive.tell(codes, scores_of(codes))
    return method, archive


def test_the_first_design_covers_every_axis() -> None:
    method, archive = taught(SPACE, 60)
    assert len(archive) == 60
    for place, count in ((0, 5), (1, 12)):
        seen = np.bincount(archive.codes[:, place].astype(int), minlength=count)
        assert seen.min() >= 60 // count - 1
        assert seen.max() <= 60 // count + 1
    assert (
        method.propose(5, Archive(method.coding, 2, 1), np.random.default_rng(0)).tolist() == method.design[:5].tolist()
    )


@pytest.mark.parametrize("space", [SPACE, LISTED])
def test_children_stay_in_the_space_near_their_parents(space: Space) -> None:
    coding = Coding(space)
    parents = coding.random(3, np.random.default_rng(1))
    codes = children(coding, parents, 2000, np.random.default_rng(2))
    assert coding.codes(coding.points(codes))[1].all()
    assert not any((codes == parent).all(axis=1).mean() > 0.1 for parent in parents)
    inherited = np.stack([np.isin(codes[:, place], parents[:, place]).mean() for place in range(codes.shape[1])])
    assert (inherited > 0.4).all()


@pytest.mark.parametrize("listed", [True, False])
def test_proposals_are_on_the_front(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    """Nothing is better than the first batch size on a device that holds the margin."""
    monkeypatch.setattr(search_archive, "LISTED", 10_000 if listed else 10)
    method, archive = taught(LISTED, 60)
    found = method.propose(12, archive, np.random.default_rng(3))
    assert len(np.unique(found, axis=0)) == 12
    assert (found[:, 0] <= 2.0).all()
    assert (found[:, 1] == 0.0).mean() > 0.7


def test_screening_keeps_the_promising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_gp, "_SCREENED", 100)
    method, archive = taught(LISTED, 80)
    rng = np.random.default_rng(0)
    method._learn(archive, rng)
    unseen = archive.unseen()
    assert unseen is not None
    kept = method._screen(unseen, archive, rng)
    assert len(kept) == 100
    best = unseen[(unseen[:, 0] <= 2.0) & (unseen[:, 1] == 0.0)]
    assert np.mean([(kept == code).all(axis=1).any() for code in best]) > 0.6


def test_many_rows_teach_by_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_gp, "_TAUGHT", 40)
    _, archive = taught(LISTED, 100)
    rows = search_gp._taught(archive, np.random.default_rng(0))
    assert len(np.unique(rows)) == 40
    assert archive.front[rows].sum() == min(archive.front.sum(), 40)
