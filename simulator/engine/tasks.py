"""What the engine runs: tasks on lanes, with what they wait for. Built elsewhere, pure data.

A *lane* is something that does one task at a time: the compute engine of a unit of devices, its communication
engine, its host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from simulator.timeline import Span, Timeline


class Crossing(NamedTuple):
    """A link that a flow crosses, and the bytes it puts there for each of its own bytes."""

    link: str
    multiple: float = 1.0


class Flow(NamedTuple):
    """What is to be moved: ``size_bytes`` over ``crossings`` after ``startup_s``."""

    size_bytes: float
    crossings: tuple[Crossing, ...]
    startup_s: float = 0.0


HOST = "host"
"""The lane on which a unit's host works."""


class Lane(NamedTuple):
    """An engine ("compute", "communication", ``HOST``) of a unit of devices, or the path between two units."""

    unit: str
    engine: str


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work. It holds all its ``lanes`` from start to end; the first one is where pictures show it.

    ``seconds`` is the time alone of what computes; for what moves bytes, ``flow`` goes over the Fabric instead.
    ``dynamic_j`` is what one device of the unit spends on it beside its static draw; ``amount`` is FLOPs, or bytes of a
    flow. ``depends_on`` holds indices of earlier tasks; among ready tasks the one with the lowest index goes first.
    ``bound`` says what its time is bound by.
    """

    name: str
    family: str
    bound: str
    lanes: tuple[Lane, ...]
    seconds: float = 0.0
    flow: Flow | None = None
    dynamic_j: float = 0.0
    amount: float = 0.0
    depends_on: tuple[int, ...] = ()


@dataclass(frozen=True)
class Program:
    """Tasks in order, the links [B/s] that their flows share, called "<what> <direction>", and what one device of each
    unit draws whether or not it works [W]."""

    tasks: tuple[Task, ...]
    links: dict[str, float]
    static_w: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Execution:
    """When each task of ``program`` ran [s], shape [tasks], and what every link carried [B]."""

    program: Program
    start_s: tuple[float, ...]
    end_s: tuple[float, ...]
    carried_bytes: dict[str, float]

    @property
    def makespan_s(self) -> float:
        """When the last task ended [s]."""
        return max(self.end_s, default=0.0)

    def timeline(self) -> Timeline:
        """All tasks that took time, as spans on their first lane; flows also on every link that they cross."""
        spans = []
        for task, start, end in zip(self.program.tasks, self.start_s, self.end_s, strict=True):
            if end <= start:
                continue
            if task.lanes:
                unit, engine = task.lanes[0]
                spans.append(Span(task.name, task.family, unit, engine, float(start), end, task.amount, task.dynamic_j))
            if task.flow is not None and task.flow.size_bytes > 0.0:
                for crossing in task.flow.crossings:
                    link, _, way = crossing.link.rpartition(" ")
                    spans.append(Span(task.name, task.family, link, way, start + task.flow.startup_s, end, task.amount))
        shown = {span.resource for span in spans}
        static_w = {unit: power for unit, power in self.program.static_w.items() if unit in shown}
        ordered = sorted(spans, key=lambda s: (s.start_s, s.resource, s.lane, s.name))
        return Timeline(tuple(ordered), static_w=static_w)

    def busy_s(self, unit: str, since_s: float = 0.0, until_s: float = math.inf) -> float:
        """Seconds between two times in which ``unit`` computed or communicated; its host's time does not count [s]."""
        spans = sorted(
            (start, min(end, until_s))
            for task, start, end in zip(self.program.tasks, self.start_s, self.end_s, strict=True)
            if any(lane.unit == unit and lane.engine != HOST for lane in task.lanes)
        )
        total, reached = 0.0, since_s
        for start, end in spans:
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total

    def critical_path(self) -> list[int]:
        """Tasks that together cover the makespan, first to last.

        Walks back from the task that ended last: what ended when it started, a dependency before another task on
        one of its lanes.
        """
        if not self.end_s:
            return []
        tasks = self.program.tasks
        by_lane: dict[Lane, dict[float, int]] = {}
        for index, task in enumerate(tasks):
            for lane in task.lanes:
                if self.end_s[index] > self.start_s[index]:
                    by_lane.setdefault(lane, {})[self.end_s[index]] = index
        path = [max(range(len(tasks)), key=lambda i: self.end_s[i])]
        while self.start_s[path[-1]] > 0.0:
            task, start = tasks[path[-1]], self.start_s[path[-1]]
            before = [i for i in task.depends_on if self.end_s[i] == start]
            before += [by_lane[lane][start] for lane in task.lanes if start in by_lane.get(lane, {})]
            if not before:
                break
            path.append(before[0])
        return path[::-1]
