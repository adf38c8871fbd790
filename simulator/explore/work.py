"""The work on one part, in whichever process it is done: points, numbers, a file."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import msgspec

from hardware_specs.errors import InputError, clipped
from simulator.explore.manifest import GivenUp
from simulator.explore.parts import Evaluator, Written, part_key, part_path, write_part
from simulator.explore.points import Points
from simulator.explore.space import Sampler


class Work(NamedTuple):
    """What makes the points of a study, and what turns them into numbers."""

    sampler: Sampler
    evaluator: Evaluator


@dataclass(frozen=True)
class Recipe:
    """How any process makes the same work: ``builder`` ("package.module:function") called with ``text`` returns it."""

    builder: str
    text: str

    def build(self) -> Work:
        """The work.

        Raises:
            InputError: there is no such function here, or it does not like the text.
        """
        module, _, name = self.builder.partition(":")
        try:
            function = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"builder {clipped(self.builder)!r}: cannot be loaded ({error})") from None
        sampler, evaluator = function(self.text)
        return Work(sampler, evaluator)


class Job(NamedTuple):
    """A study that executors work on; without a recipe no other process can."""

    folder: Path
    work: Work
    recipe: Recipe | None = None

    def shared(self) -> Recipe:
        """The recipe.

        Raises:
            ValueError: there is none.
        """
        if self.recipe is None:
            raise ValueError("other processes need a recipe")
        return self.recipe


@dataclass(frozen=True, eq=False)
class Task:
    """A part to be computed; ``points`` where they are at hand."""

    start: int
    stop: int
    key: str
    points: Points | None = None


class Made(msgspec.Struct, frozen=True, tag=True):
    """A part that was computed and lies on the disk."""

    start: int
    stop: int
    written: Written


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A part that the evaluator fails on, whoever tries."""

    start: int
    stop: int
    reason: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Something wrong with the study or its folder, which no other part would be spared."""

    message: str


Answer = Made | Failed | Refused


def compute(folder: Path, work: Work, task: Task) -> Made | Failed:
    """Compute a part and write it.

    Raises:
        InputError: the part cannot be written, the study is wrong, or this process makes other points than the one
            that gave the task.
        MemoryError: too little memory here and now.
    """
    points = work.sampler.points(task.start, task.stop) if task.points is None else task.points
    if task.points is None and part_key(points, work.evaluator.fingerprint) != task.key:
        raise InputError(
            f"points {task.start} to {task.stop - 1}: a worker makes other points or numbers of them than the process "
            "that started it; do both run the same version on the same files?"
        )
    try:
        found = work.evaluator(points)
        written = write_part(part_path(folder, task.key), task.key, points, found)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        return Failed(task.start, task.stop, reason_of(error))
    return Made(task.start, task.stop, written)


def given_up(failed: Failed) -> GivenUp:
    """A failed part as manifests have it."""
    return GivenUp(failed.start, failed.stop, failed.reason)


def reason_of(error: BaseException) -> str:
    """An error and where it was raised, in a line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}{place}"
