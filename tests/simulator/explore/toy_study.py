"""A study for tests: an evaluator that says what it does through files, and fails where it is told to."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError
from simulator.explore.manifest import Definition
from simulator.explore.points import Column, Points
from simulator.explore.samplers import Grid
from simulator.explore.space import Axis, Space
from simulator.explore.work import Work

BUILDER = "toy_study:build"


@dataclass(frozen=True)
class Toy:
    """What the toy does; ``trouble`` says by number of the part what goes wrong in it.

    Args:
        models: values of the first axis.
        steps: values of the second axis; a part is one model where ``part_points`` is the same.
        log: folder in which each evaluation leaves a file.
        seconds: that an evaluation takes at least [s].
        trouble: "kill" and the like, by first point of the part; "kill once" where the first worker alone dies.
    """

    models: tuple[str, ...] = ("a", "b", "c", "d")
    steps: int = 100
    part_points: int = 100
    log: str = ""
    seconds: float = 0.0
    trouble: tuple[tuple[int, str], ...] = ()
    fingerprint: str = "toy 1"

    @property
    def text(self) -> str:
        return json.dumps(self.__dict__)

    @property
    def space(self) -> Space:
        return Space(
            (
                Axis(("model",), tuple((m,) for m in self.models)),
                Axis(("step",), tuple((n,) for n in range(self.steps))),
            )
        )

    def definition(self, title: str = "toy", points: int | None = None) -> Definition:
        return Definition(
            title, self.text, ("model", "step"), repr(self.models), "grid", self.fingerprint,
            len(self.models) * self.steps if points is None else points, self.part_points, 7,
            facts={"laws": "abc", "calibrations": ("one", "two")},
        )  # fmt: skip

    @property
    def work(self) -> Work:
        return build(self.text)


@dataclass(frozen=True)
class Evaluator:
    toy: Toy
    fingerprint: str

    def __call__(self, points: Points) -> dict[str, NDArray[Any] | Column]:
        step = np.array(points.columns["step"].values, dtype=np.int64)[points.columns["step"].codes]
        model = points.columns["model"].codes.astype(np.int64)
        start = int(model[0] * self.toy.steps + step[0])
        if self.toy.log:
            (Path(self.toy.log) / f"{start}-{uuid.uuid4().hex}").touch()
        make_trouble(dict(self.toy.trouble).get(start, ""), self.toy.log, start)
        time.sleep(self.toy.seconds)
        time_s = np.sqrt(1.0 + step) * (1.0 + model)
        fits = step % 10 != 9
        return {
            "time_s": np.where(fits, time_s, np.nan), "fits": fits, "feasible": fits,
            "reason": Column((~fits).astype(np.int32), ("", "memory")),
        }  # fmt: skip


def make_trouble(what: str, log: str, start: int) -> None:
    if what.endswith(" once"):
        if len(evaluations(Path(log), start)) > 1:
            return
        what = what.removesuffix(" once")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "hang":
        time.sleep(600.0)
    elif what == "crash":
        ctypes.string_at(0)
    elif what == "memory":
        raise MemoryError
    elif what == "bug":
        raise ZeroDivisionError("a bug")
    elif what == "refuse":
        raise InputError("the study is wrong")
    elif what == "print":
        print("noise on standard output")
        os.write(1, b"more of it\n")


def evaluations(log: Path, start: int | None = None) -> list[str]:
    """Names of the files that evaluations left, of one part or of all."""
    return [path.name for path in log.iterdir() if start is None or path.name.startswith(f"{start}-")]


def build(text: str) -> Work:
    given = json.loads(text)
    given["models"] = tuple(given["models"])
    given["trouble"] = tuple(tuple(each) for each in given["trouble"])
    toy = Toy(**given)
    return Work(Grid(toy.space), Evaluator(toy, toy.fingerprint))


def build_nothing(text: str) -> Work:
    raise InputError("no such toy")


def build_and_die(text: str) -> Work:
    os._exit(9)
