"""Measure what it costs to compute a study in several processes: runs of about 10 ms each, in parts.

python benchmarks/executors.py [--runs 1000] [--repeats 3] [--builder MODULE:FUNCTION --text TEXT]
                               [--format table|json]

Efficiency is the time of one worker process over that of two times two. The machine's own is that of two plain
processes that do the same without a store: what is below it is ours. Core seconds say what was computed in all, also
where other programs take the cores away. Without --builder a run counts primes in Python.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicost.output import Format, print_json, print_rows
from simulator.explore.executors import executor_of, run_parts
from simulator.explore.manifest import Definition
from simulator.explore.points import Points
from simulator.explore.space import Axis, Space
from simulator.explore.store import open_store
from simulator.explore.work import Recipe, Work

BUILDER = "executors:build"
PARTS = 50
TARGET, DASK_TARGET = 0.9, 0.7


class Grid:
    """All runs, by number."""

    def __init__(self, runs: int) -> None:
        self.space = Space((Axis(("run",), tuple((number,) for number in range(runs))),))
        self.count = runs

    def points(self, start: int, stop: int) -> Points:
        return self.space.points(start, stop)


class Primes:
    """A run: count the primes up to some number, all in Python, so that it takes a core."""

    fingerprint = "primes"
    upto = 30_000

    def __call__(self, points: Points) -> dict[str, NDArray[Any]]:
        column = points.columns["run"]
        counts = [primes(self.upto + int(column.value(row))) for row in range(len(points))]
        yes = np.ones(len(points), dtype=np.bool_)
        return {"primes": np.array(counts, dtype=np.float64), "fits": yes, "feasible": yes}


def primes(upto: int) -> int:
    """How many primes there are below ``upto``, by trial division."""
    found: list[int] = []
    for number in range(2, upto):
        root = int(number**0.5)
        for prime in found:
            if prime > root:
                found.append(number)
                break
            if number % prime == 0:
                break
        else:
            found.append(number)
    return len(found)


def build(text: str) -> Work:
    """The work of ``text`` runs."""
    return Work(Grid(int(text)), Primes())


def seconds_of(recipe: Recipe, executor: str, workers: int) -> float:
    """Time of a study from nothing to the last part on the disk, workers started and ended [s]."""
    work = recipe.build()
    count = work.sampler.count
    definition = Definition(
        "benchmark", recipe.text, tuple(work.sampler.points(0, 1).columns), "", "", work.evaluator.fingerprint, count,
        -(-count // PARTS),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with open_store(Path(folder) / "study", definition) as writer:
            outcome = run_parts(writer, executor_of(executor, workers), work, recipe)
        took = time.perf_counter() - began
    assert outcome.is_whole, outcome.given_up
    return took


def plain_seconds(recipe: Recipe, processes: int) -> float:
    """Time in which so many processes share all runs, without store or executor [s]."""
    script = (
        "import sys; from simulator.explore.work import Recipe; work = Recipe(*sys.argv[1:3]).build(); "
        "first, step, parts = map(int, sys.argv[3:]); size = -(-work.sampler.count // parts); "
        "[work.evaluator(work.sampler.points(p * size, (p + 1) * size)) for p in range(first, parts, step)]"
    )
    paths = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    began = time.perf_counter()
    started = [
        subprocess.Popen([sys.executable, "-P", "-c", script, recipe.builder, recipe.text, str(first), str(processes),
                          str(PARTS)], env=paths)
        for first in range(processes)
    ]  # fmt: skip
    assert [process.wait() for process in started] == [0] * processes
    return time.perf_counter() - began


def core_seconds() -> float:
    """Core time of this process and of its children that have ended [s]."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(recipe: Recipe, repeats: int) -> list[dict[str, Any]]:
    """Medians over ``repeats``, taken in turns so that what else runs on the machine is shared."""
    ways: dict[str, Callable[[], float]] = {
        "plain, 1 process": lambda: plain_seconds(recipe, 1),
        "plain, 2 processes": lambda: plain_seconds(recipe, 2),
        "local, 1 worker": lambda: seconds_of(recipe, "local", 1),
        "local, 2 workers": lambda: seconds_of(recipe, "local", 2),
    }
    if importlib.util.find_spec("distributed"):
        ways["dask, 2 workers"] = lambda: seconds_of(recipe, "dask", 2)
    times: dict[str, list[float]] = {way: [] for way in ways}
    cores: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            before = core_seconds()
            times[way].append(run())
            cores[way].append(core_seconds() - before)
    median = {way: statistics.median(each) for way, each in times.items()}
    rows = [
        {"what": way, "median": round(median[way], 3), "least": round(min(times[way]), 3),
         "most": round(max(times[way]), 3), "unit": "s", "core_s": round(statistics.median(cores[way]), 3),
         "target": ""}
        for way in ways
    ]  # fmt: skip
    plain, ours = (0.5 * median[f"{a}, 1 {b}"] / median[f"{a}, 2 {b}{c}"] for a, b, c in
                   (("plain", "process", "es"), ("local", "worker", "s")))  # fmt: skip
    ratios = [("efficiency of two plain processes", plain, ""),
              ("efficiency of local, 2 workers against 1", ours, f">= {TARGET}"),
              ("that against two plain processes", ours / plain, "")]  # fmt: skip
    if "dask, 2 workers" in median:
        dask = median["local, 2 workers"] / median["dask, 2 workers"]
        ratios.append(("dask against local, 2 workers each", dask, f">= {DASK_TARGET}"))
    return rows + [
        {
            "what": what,
            "median": round(value, 3),
            "least": None,
            "most": None,
            "unit": "",
            "core_s": None,
            "target": target,
        }
        for what, value, target in ratios
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--builder", default=BUILDER)
    parser.add_argument("--text", default="")
    parser.add_argument("--format", type=Format, default=Format.TABLE)
    asked = parser.parse_args()
    rows = measure(Recipe(asked.builder, asked.text or str(asked.runs)), asked.repeats)
    if asked.format is Format.JSON:
        print_json(rows)
    else:
        print_rows(rows, asked.format)


if __name__ == "__main__":
    main()
