"""Runs a program in SimPy: list scheduling by task order, lanes that hold one task, one Fabric for all bytes.

A task starts when everything it waits for has ended and all its lanes are free at once, so there is no hold and wait
and hence no deadlock. Ties are broken by the order of tasks. The scheduling pass runs after everything else that
happens at the same instant, so the outcome does not depend on the order of simultaneous completions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import simpy
from simpy.events import Event, EventPriority

from simulator.engine.fabric import Fabric
from simulator.engine.tasks import Execution, Lane, Program, Task

_AFTER_ALL = 2
"""SimPy event priority behind URGENT (0) and NORMAL (1)."""


def execute(program: Program) -> Execution:
    """Run ``program`` from time 0 to its end.

    Raises:
        ValueError: a task waits for a later one.
    """
    return _Run(program).result()


class _Run:
    """State of one execution: open dependencies, free lanes, ready tasks by lane set."""

    def __init__(self, program: Program) -> None:
        self.program, self.tasks = program, program.tasks
        self.env = simpy.Environment()
        self.fabric = Fabric(self.env, program.links)
        self.start_s = [0.0] * len(self.tasks)
        self.end_s = [0.0] * len(self.tasks)
        self.open = [0] * len(self.tasks)
        self.successors: list[list[int]] = [[] for _ in self.tasks]
        self.busy: set[Lane] = set()
        self.ready: dict[tuple[Lane, ...], list[int]] = {}
        self.passing = False
        for index, task in enumerate(self.tasks):
            for earlier in task.depends_on:
                if not 0 <= earlier < index:
                    raise ValueError(f"task {index} ({task.name}) waits for task {earlier}; only earlier ones can be")
                self.successors[earlier].append(index)
            self.open[index] = len(task.depends_on)

    def result(self) -> Execution:
        self._make_ready(i for i, open_ in enumerate(self.open) if open_ == 0)
        self.env.run()
        return Execution(self.program, tuple(self.start_s), tuple(self.end_s), self.fabric.carried_bytes())

    def _make_ready(self, indices: Iterable[int]) -> None:
        for index in indices:
            heapq.heappush(self.ready.setdefault(self.tasks[index].lanes, []), index)
        if not self.passing:
            self.passing = True
            later = Event(self.env)
            later._ok, later._value = True, None
            assert later.callbacks is not None
            later.callbacks.append(lambda _: self._dispatch())
            self.env.schedule(later, priority=EventPriority(_AFTER_ALL))

    def _dispatch(self) -> None:
        """Start, in task order, every ready task whose lanes are all free."""
        self.passing = False
        heads = [(queue[0], lanes) for lanes, queue in self.ready.items() if queue]
        heapq.heapify(heads)
        while heads:
            index, lanes = heapq.heappop(heads)
            if any(lane in self.busy for lane in lanes):
                continue
            queue = self.ready[lanes]
            heapq.heappop(queue)
            self._start(index, self.tasks[index])
            if queue and not lanes:
                heapq.heappush(heads, (queue[0], lanes))

    def _start(self, index: int, task: Task) -> None:
        self.busy.update(task.lanes)
        self.start_s[index] = self.env.now
        end = self.env.timeout(task.seconds) if task.flow is None else self.fabric.move(task.flow)
        assert end.callbacks is not None
        end.callbacks.append(lambda _: self._end(index, task))

    def _end(self, index: int, task: Task) -> None:
        self.end_s[index] = self.env.now
        self.busy.difference_update(task.lanes)
        freed = []
        for successor in self.successors[index]:
            self.open[successor] -= 1
            if self.open[successor] == 0:
                freed.append(successor)
        self._make_ready(freed)
