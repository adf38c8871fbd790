"""Many equal steps: some are run one by one, until they repeat; the others follow that rhythm.

Steps that begin when earlier ones have ended, a bounded number of them in flight, settle into a cycle: every task of a
step then stands where it stood one or a few steps before, relative to the step's end. The engine is deterministic, so
that from there on nothing new can happen until the last steps, which have none behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.engine.tasks import Execution
from simulator.placement.accounting import Run

FEWEST = 12
"""Steps that are always run one by one."""

MOST = 768
"""Steps after which a rhythm is no longer waited for; the mean of the later half is taken for it."""

LONGEST = 6
"""Most steps of one cycle."""

TOLERANCE = 1e-10
"""Share of a step by which equal steps may differ: rounding of times."""


@dataclass(frozen=True)
class Stepped:
    """An execution of equal steps; ``stops`` is the number of tasks up to the end of each step."""

    execution: Execution
    stops: Sequence[int]

    def tasks(self, step: int) -> range:
        """Indices of the tasks of a step."""
        return range(self.stops[step - 1] if step else 0, self.stops[step])

    def ends_s(self) -> list[float]:
        """When each step and all before it have ended [s]."""
        reached, ends = 0.0, []
        for step in range(len(self.stops)):
            reached = max(reached, *(self.execution.end_s[i] for i in self.tasks(step)))
            ends.append(reached)
        return ends


@dataclass(frozen=True)
class Rhythm:
    """``runs`` that add up to all steps, the time of one step in rhythm [s], how many were run one by one as ``shown``.

    ``exact`` is false where no cycle was found.
    """

    shown: Stepped
    runs: tuple[Run, ...]
    step_s: float
    exact: bool = True


def follow(run: Callable[[int], Stepped], steps: int, ahead: int) -> Rhythm:
    """Run ``steps`` steps, most of them by following the rhythm of the first ones.

    Args:
        run: runs the first so many steps.
        ahead: steps that may be in flight behind the oldest unfinished one.
    """
    shown = min(steps, FEWEST + 2 * ahead)
    while True:
        stepped = run(shown)
        if shown == steps:
            return Rhythm(stepped, (Run(stepped.execution),), _mean_step(stepped, ahead))
        last = shown - 1 - ahead
        cycle = _cycle(stepped, last, ahead)
        if cycle and (steps - shown) % cycle == 0:
            return _follow(stepped, last, cycle, steps)
        if cycle:
            shown += (steps - shown) % cycle
        elif shown >= MOST:
            return _follow(stepped, last, last // 2, steps, exact=False)
        else:
            shown = min(steps, 2 * shown, MOST)


def simulated(what: str, steps: int, shown: int, exact: bool) -> tuple[str, ...]:
    """Says how many of some equal steps were run one by one, where these are not all."""
    if steps == shown:
        return ()
    others = "repeat their rhythm" if exact else "take as long as the later half of them, for no rhythm was found"
    return (f"{shown} of {steps} {what} were run one by one; the others {others}",)


def _follow(stepped: Stepped, last: int, cycle: int, steps: int, exact: bool = True) -> Rhythm:
    """Repeat the ``cycle`` steps up to step ``last`` as often as steps are left."""
    ends = stepped.ends_s()
    before = last - cycle
    times = (steps - len(ends)) / cycle
    window = Run(stepped.execution, times, ends[before], ends[last], stepped.stops[before], stepped.stops[last])
    return Rhythm(stepped, (Run(stepped.execution), window), (ends[last] - ends[before]) / cycle, exact)


def _mean_step(stepped: Stepped, ahead: int) -> float:
    """Mean time from the end of one step to that of the next, the last steps left out where there are enough [s]."""
    ends = stepped.ends_s()
    last = max(len(ends) - 1 - ahead, min(1, len(ends) - 1))
    first = last // 2
    return (ends[last] - ends[first]) / (last - first) if last > first else ends[-1]


def _cycle(stepped: Stepped, last: int, ahead: int) -> int:
    """Steps after which everything up to step ``last`` repeats; 0 if nothing does yet."""
    ends = stepped.ends_s()
    for cycle in range(1, LONGEST + 1):
        checked = range(last - cycle - ahead, last + 1)
        if checked.start - cycle >= 1 and all(_same(stepped, ends, step, step - cycle) for step in checked):
            return cycle
    return 0


def _same(stepped: Stepped, ends: Sequence[float], step: int, other: int) -> bool:
    """Whether two steps look the same from their ends."""
    slack = TOLERANCE * ends[step] + TOLERANCE * (ends[step] - ends[step - 1])
    starts, stops = stepped.execution.start_s, stepped.execution.end_s
    return all(
        abs((stops[i] - ends[step]) - (stops[j] - ends[other])) <= slack
        and abs((starts[i] - ends[step]) - (starts[j] - ends[other])) <= slack
        for i, j in zip(stepped.tasks(step), stepped.tasks(other), strict=True)
    )
