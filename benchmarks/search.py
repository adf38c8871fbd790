"""Measure how much of the true front search finds with 5% of the evaluations.

python benchmarks/search.py [--spaces judged|tuning|NAME,NAME] [--methods gp,random] [--seeds 5] [--format table|json]

The spaces and how a search is judged: ``search_spaces``. Every point of a space is simulated once, on all cores; what
was found is kept in the user's cache folder, under a name that changes with the space, the laws and the data files.
Aim: median and worst seed at 99% or more. ``to_aim`` is the median share of the space that was evaluated when the aim
was reached, where every seed reached it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import inspect
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import search_spaces
from search_spaces import JUDGED, TUNING, Case

import hardware_specs
import workloads
from hardware_specs.errors import UnknownName
from silicost.output import Format, print_json, print_rows
from simulator.explore.hypervolume import hypervolume, reference_of
from simulator.explore.objectives import Bools, Floats, score
from simulator.explore.pareto import non_dominated
from simulator.explore.points import Points
from simulator.explore.search import METHODS, Search, Stop, run
from simulator.explore.search_codes import Coding
from simulator.identity import laws_hash

SHARE = 0.05
AIM = 0.99
CHUNK = 256


class Truth:
    """A space of which everything is known: metrics of all its points in the order of their codes."""

    def __init__(self, case: Case, values: Floats) -> None:
        self.case, self.coding = case, Coding(case.space)
        self.table = dict(zip(search_spaces.COLUMNS, values.T, strict=True))
        scores = score(self.table, case.objectives, case.constraints)
        self.feasible: Bools = scores.feasible
        plain = np.stack([self._plain(place) for place in range(len(case.objectives))], axis=1)
        self.costs = (scores.sought, np.where(self.feasible[:, None], plain, np.nan))
        self.references = [reference_of(costs) for costs in self.costs]
        self.volumes = [hypervolume(costs, at) for costs, at in zip(self.costs, self.references, strict=True)]

    def _plain(self, place: int) -> Floats:
        objective = self.case.objectives[place]
        return self.table[objective.metric] * (1.0 if objective.better == "lower" else -1.0)

    @property
    def size(self) -> int:
        return len(self.feasible)

    @property
    def budget(self) -> int:
        return int(SHARE * self.size)

    def rows(self, points: Points) -> npt.NDArray[np.int64]:
        """Places of ``points`` among all, for a space without conditions."""
        codes, inside = self.coding.codes(points)
        assert inside.all()
        counts = [count or 0 for count in self.coding.counts]
        lows = [getattr(axis, "low", 0.0) for axis in self.case.space.axes]
        return np.ravel_multi_index(tuple((codes - lows).astype(np.int64).T), counts)

    def evaluate(self, points: Points) -> dict[str, Floats]:
        """What simulation says of ``points``."""
        rows = self.rows(points)
        return {name: column[rows] for name, column in self.table.items()}

    def share(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> float:
        """The smaller share of the two hypervolumes that these points reach."""
        found = [hypervolume(costs[rows], at) for costs, at in zip(self.costs, self.references, strict=True)]
        return min(part / whole for part, whole in zip(found, self.volumes, strict=True))


def digest(case: Case) -> str:
    """Of everything that the numbers of a space depend on."""
    state = hashlib.sha256(f"{laws_hash()} {case}".encode())
    state.update(inspect.getsource(search_spaces.evaluate).encode())
    for package in (hardware_specs, workloads):
        for path in sorted(Path(package.__path__[0]).rglob("*.toml")):
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def simulated(place: tuple[bool, int, int, int]) -> list[list[float]]:
    """All columns of a slice of a space."""
    judged, number, start, stop = place
    case = (JUDGED if judged else TUNING)[number]
    coding = Coding(case.space)
    points = coding.points(coding.grid(start, stop))
    found = (search_spaces.evaluate(case, points.row(row)) for row in range(len(points)))
    return [[row[name] for name in search_spaces.COLUMNS] for row in found]


def enumerated(case: Case) -> Floats:
    """All columns of all points of a space, from the cache or simulated."""
    folder = platformdirs.user_cache_path("silicost") / "benchmarks"
    path = folder / f"search-{case.name}-{digest(case)}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    size = Coding(case.space).size
    assert size is not None
    judged = case in JUDGED
    number = (JUDGED if judged else TUNING).index(case)
    slices = [(judged, number, start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        values = np.array([row for rows in pool.map(simulated, slices) for row in rows])
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, values, allow_pickle=False)
    part.replace(path)
    return values


def searched(name: str, method: str, seed: int) -> tuple[float, float | None, float]:
    """One search: the share reached, the share of the space when the aim was reached, the seconds it took [s]."""
    truth = known(name)
    search = Search(truth.case.space, truth.case.objectives, truth.case.constraints, method, seed, truth.budget)
    began = time.perf_counter()
    run(search, truth.evaluate, Stop(evaluations=truth.budget))
    seconds = time.perf_counter() - began
    rows = truth.rows(search.coding.points(search.archive.codes))
    assert len(set(rows.tolist())) == len(rows) == truth.budget
    reached = None
    for mark in search.progress():
        if truth.share(rows[: mark.evaluations]) >= AIM:
            reached = mark.evaluations / truth.size
            break
    return truth.share(rows), reached, seconds


@functools.cache
def known(name: str) -> Truth:
    case = next(case for case in (*JUDGED, *TUNING) if case.name == name)
    return Truth(case, enumerated(case))


def row(case: Case, method: str, found: list[tuple[float, float | None, float]]) -> dict[str, Any]:
    """What several seeds of one method found in a space."""
    truth = known(case.name)
    shares = [share for share, _, _ in found]
    reached = [at for _, at, _ in found if at is not None]
    return {
        "space": case.name, "points": truth.size, "evaluations": truth.budget,
        "feasible": round(float(truth.feasible.mean()), 3), "front": int(non_dominated(truth.costs[0]).sum()),
        "method": method, "median": round(statistics.median(shares), 4), "worst": round(min(shares), 4),
        "to_aim": round(statistics.median(reached), 4) if len(reached) == len(found) else None,
        "seconds": round(statistics.median(seconds for _, _, seconds in found), 1), "on_target": min(shares) >= AIM,
    }  # fmt: skip


def cases_of(text: str) -> list[Case]:
    """The spaces that a flag names.

    Raises:
        UnknownName: one that there is not.
    """
    if text in ("judged", "tuning"):
        return list(JUDGED if text == "judged" else TUNING)
    named = {case.name: case for case in (*JUDGED, *TUNING)}
    for name in text.split(","):
        if name not in named:
            raise UnknownName("space", name, named, place="--spaces")
    return [named[name] for name in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spaces", default="judged", help="judged, tuning, or names with commas")
    parser.add_argument("--methods", default="gp,random", help=f"of {', '.join(METHODS)}, with commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="searches at a time")
    parser.add_argument("--format", type=Format, default=Format.TABLE, choices=[Format.TABLE, Format.JSON])
    asked = parser.parse_args()
    rows = []
    for case in cases_of(asked.spaces):
        known(case.name)
        for method in asked.methods.split(","):
            jobs = (*zip(*((case.name, method, seed) for seed in range(asked.seeds)), strict=True),)
            if asked.jobs > 1:
                with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
                    found = list(pool.map(searched, *jobs))
            else:
                found = list(map(searched, *jobs))
            rows.append(row(case, method, found))
    if asked.format is Format.JSON:
        print_json(rows)
    else:
        print_rows(rows, Format.TABLE, f"share of the true hypervolume, {asked.seeds} seeds")


if __name__ == "__main__":
    main()
