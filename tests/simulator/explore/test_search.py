"""Ask and tell: nothing twice, the same seed the same questions, constraints, warm starts, ends."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hardware_specs.errors import InputError, UnknownName
from simulator.explore import search as module
from simulator.explore import search_optuna
from simulator.explore.conditions import parse_condition
from simulator.explore.hypervolume import hypervolume
from simulator.explore.objectives import Constraint, Objective, score
from simulator.explore.points import Points
from simulator.explore.search import METHODS, Search, Stop, run
from simulator.explore.space import Axis, Range, Space, Value

HAS_OPTUNA = importlib.util.find_spec("optuna") is not None
needs_optuna = pytest.mark.skipif(not HAS_OPTUNA, reason="needs optuna")
AVAILABLE = [name for name in METHODS if HAS_OPTUNA or name in ("gp", "random")]
SOUGHT = (Objective("time"), Objective("price"))
HELD = (Constraint("load", "<=", 1.0),)


def one(name: str, *values: Value) -> Axis:
    return Axis((name,), tuple((value,) for value in values))


SPACE = Space((
    one("device", *"abcdefgh"), one("ways", 1, 2, 4, 8), one("batch", *(1 << place for place in range(8))),
    one("format", "wide", "narrow"), one("step", *range(1, 6)),
))  # fmt: skip
MIXED = Space((one("device", *"abcd"), Range("rate", 1.0, 100.0, log=True), Range("steps", 1, 9, whole=True)))


def evaluate(points: Points) -> dict[str, Any]:
    """A toy machine: faster devices cost more, "b" has no narrow format, large batches fill the memory."""
    rows = [points.row(place) for place in range(len(points))]
    found = [_toy(**row) for row in rows]
    return {name: np.array([row[name] for row in found]) for name in found[0]} if found else {}


def _toy(
    device: str, ways: int = 2, batch: int = 8, format: str = "wide", step: int = 1, rate: float = 10.0, steps: int = 3
) -> dict[str, float | bool]:
    speed = 1.0 + "abcdefgh".index(device)
    lean = 0.5 if format == "narrow" else 1.0
    time = (lean * (1.0 + 0.2 * batch) / (speed * ways) + 0.05 * ways + 1.0 / rate) * (1.0 + 0.1 * abs(step - 3))
    price = time * ways * speed**1.3 / batch * (1.0 + 0.01 * rate) * steps
    known = device != "b" or format != "narrow"
    nothing = float("nan")
    load = batch * lean / (ways * 12.0)
    return {"time": time if known else nothing, "price": price if known else nothing, "load": load, "feasible": known}


def started(method: str, seed: int = 0, space: Space = SPACE, **more: Any) -> Search:
    return Search(space, SOUGHT, HELD, method=method, seed=seed, **more)


@pytest.fixture(scope="module")
def finished() -> Iterator[dict[str, Search]]:
    """A search of 60 evaluations by each method."""
    searches = {name: started(name, budget=60) for name in AVAILABLE}
    for search in searches.values():
        assert run(search, evaluate, Stop(evaluations=60)) == "evaluations"
    yield searches


@pytest.mark.parametrize("method", AVAILABLE)
def test_nothing_is_asked_twice(finished: dict[str, Search], method: str) -> None:
    archive = finished[method].archive
    assert len(archive) == 60
    assert len(np.unique(archive.codes, axis=0)) == 60


@pytest.mark.parametrize("method", AVAILABLE)
def test_the_same_seed_asks_the_same(finished: dict[str, Search], method: str) -> None:
    again, other = started(method, budget=60), started(method, seed=1, budget=60)
    for search in (again, other):
        run(search, evaluate, Stop(evaluations=60))
    np.testing.assert_array_equal(again.archive.codes, finished[method].archive.codes)
    assert not np.array_equal(other.archive.codes, finished[method].archive.codes)


@pytest.mark.parametrize("method", AVAILABLE)
def test_the_front_is_feasible(finished: dict[str, Search], method: str) -> None:
    points, costs = finished[method].front()
    table = evaluate(points)
    assert len(points)
    assert (table["load"] <= 1.0).all()
    np.testing.assert_allclose(costs, np.log(np.stack([table["time"], table["price"]], axis=1)))
    assert (np.diff(costs[:, 0]) >= 0.0).all()
    assert (np.diff(costs[:, 1]) <= 0.0).all()


@pytest.mark.parametrize("method", AVAILABLE)
def test_progress_grows_to_the_front(finished: dict[str, Search], method: str) -> None:
    search = finished[method]
    reference = search.reference()
    assert reference is not None
    marks = search.progress()
    assert [mark.evaluations for mark in marks] == sorted({mark.evaluations for mark in marks})
    assert marks[-1].evaluations == 60
    volumes = [mark.hypervolume for mark in marks]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(hypervolume(search.front()[1], reference))
    assert marks[-1].front == len(search.front()[0])
    wider = search.progress(reference + 1.0)
    assert wider[-1].hypervolume > volumes[-1]


def test_finds_nearly_all_of_a_known_front() -> None:
    everything = score(evaluate(SPACE.points(0, SPACE.size)), SOUGHT, HELD)
    budget = SPACE.size // 20
    reached = {}
    for method in ("gp", "random"):
        search = started(method, budget=budget)
        run(search, evaluate, Stop(evaluations=budget))
        reference = np.nanmax(everything.sought, axis=0)
        whole = hypervolume(everything.sought, reference)
        reached[method] = hypervolume(search.archive.scores.sought, reference) / whole
    assert reached["gp"] >= 0.99
    assert reached["gp"] > reached["random"]


@pytest.mark.parametrize("method", AVAILABLE)
def test_small_spaces_are_exhausted(method: str) -> None:
    space = Space((one("device", *"abc"), one("ways", 1, 2), one("batch", 1, 8)), (parse_condition("batch > ways"),))
    search = started(method, space=space)
    assert run(search, evaluate, Stop(seconds=60.0), batch=2) == "exhausted"
    assert search.evaluations == 6
    assert not len(search.ask(3))


@pytest.mark.parametrize("method", AVAILABLE)
def test_conditions_hold(method: str) -> None:
    space = Space(MIXED.axes, (parse_condition("rate < steps * 5"),))
    search = started(method, space=space, budget=30)
    run(search, evaluate, Stop(evaluations=30))
    rows = [search.coding.points(search.archive.codes).row(place) for place in range(30)]
    assert all(float(row["rate"]) < 5.0 * float(row["steps"]) for row in rows)


def test_continuous_axes_are_refined() -> None:
    """The least time needs the largest rate, and one that no grid has."""
    reached = {}
    for method in ("gp", "random"):
        search = Search(MIXED, SOUGHT, method=method, budget=60)
        run(search, evaluate, Stop(evaluations=60))
        reached[method] = hypervolume(search.archive.scores.sought, np.array([1.0, 3.0]))
    assert reached["gp"] > reached["random"]


@pytest.mark.parametrize("method", AVAILABLE)
def test_warm_start(method: str) -> None:
    known = SPACE.points(100, 160)
    search = started(method, budget=40)
    assert search.tell(known, evaluate(known)) == 60
    assert search.tell(known, evaluate(known)) == 0
    assert run(search, evaluate, Stop(evaluations=20)) == "evaluations"
    assert search.evaluations == 80
    assert len(np.unique(search.archive.codes, axis=0)) == 80


def test_points_of_other_spaces_are_passed_over() -> None:
    rows: list[dict[str, Value]] = [
        {"device": "z", "rate": 2.0, "steps": 3}, {"device": "a", "rate": 2.0, "steps": 3},
    ]  # fmt: skip
    search = Search(MIXED, SOUGHT)
    table = {"time": np.array([1.0, 2.0]), "price": np.array([1.0, 2.0])}
    assert search.tell(Points.of_rows(rows), table) == 1
    assert search.archive.scores.costs[0, 0] == pytest.approx(np.log(2.0))


def test_questions_may_wait_for_answers() -> None:
    search = started("gp", budget=40)
    asked = [search.ask(5) for _ in range(8)]
    codes = np.concatenate([search.coding.codes(points)[0] for points in asked])
    assert len(np.unique(codes, axis=0)) == len(codes)
    for points in reversed(asked):
        search.tell(points, evaluate(points))
    more = [search.ask(4), search.ask(4)]
    codes = np.concatenate([search.archive.codes, *(search.coding.codes(points)[0] for points in more)])
    assert len(np.unique(codes, axis=0)) == len(codes)


@pytest.mark.parametrize("method", AVAILABLE)
def test_without_any_answer(method: str) -> None:
    def refuse(points: Points) -> dict[str, Any]:
        nothing = np.full(len(points), np.nan)
        return {"time": nothing, "price": nothing, "load": nothing, "feasible": np.zeros(len(points), dtype=bool)}

    search = started(method, budget=30)
    assert run(search, refuse, Stop(evaluations=30, growth=0.5, over=5)) == "evaluations"
    assert search.reference() is None
    assert len(search.front()[0]) == 0
    assert search.progress()[-1].hypervolume == 0.0


def test_three_objectives_and_one() -> None:
    for sought in ((*SOUGHT, Objective("load")), SOUGHT[:1]):
        search = Search(SPACE, sought, budget=40)
        run(search, evaluate, Stop(evaluations=40))
        assert len(search.front()[1][0]) == len(sought)


def test_stops_when_nothing_is_gained() -> None:
    search = started("gp")
    assert run(search, evaluate, Stop(evaluations=1000, growth=0.001, over=60)) == "growth"
    assert search.first + 60 <= search.evaluations < 1000
    assert search.growth(60) < 0.001


def test_stops_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    search = started("random")
    assert run(search, evaluate, Stop(seconds=20.0), batch=1) == "seconds"
    assert 0 < search.evaluations < 20
    seconds = [mark.seconds for mark in search.progress()]
    assert seconds == sorted(set(seconds))


def test_the_last_batch_is_cut() -> None:
    search, sizes = started("random"), []

    def count(points: Points) -> dict[str, Any]:
        sizes.append(len(points))
        return evaluate(points)

    seen: list[int] = []
    run(search, count, Stop(evaluations=10), batch=4, watch=lambda search: seen.append(search.evaluations))
    assert sizes == [4, 4, 2]
    assert seen == [4, 8, 10]


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="unknown search method 'nsga'; did you mean 'nsga2'"):
        started("nsga")
    with pytest.raises(InputError, match="at least one objective"):
        Search(SPACE, [])
    with pytest.raises(InputError, match="needs an end"):
        Stop()
    with pytest.raises(InputError, match="evaluations 0: must be above zero"):
        Stop(evaluations=0)
    with pytest.raises(InputError, match="batch 0"):
        run(started("random"), evaluate, Stop(evaluations=1), batch=0)
    with pytest.raises(UnknownName, match="unknown metric 'load'"):
        started("random").tell(SPACE.points(0, 1), {"time": np.ones(1), "price": np.ones(1)})

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(search_optuna, "import_module", missing)
    with pytest.raises(InputError, match=r"tpe: needs optuna .*silicost\[search\].*gp, random"):
        started("tpe")
