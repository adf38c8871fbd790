"""Random cases of every schedule, and a plain executor that knows nothing of the compiled one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from simulator.schedules.actions import NONE, Kind, Program
from simulator.schedules.registry import names, program, schedule_of


class Case(NamedTuple):
    """A schedule, how it is cut, and F, I and W of one micro-batch on one rank [s]."""

    name: str
    p: int
    m: int
    v: int
    f: float
    b: float
    w: float

    @property
    def program(self) -> Program:
        return program(self.name, self.p, self.m, self.v)

    @property
    def share(self) -> float:
        """Part of a rank's work on a micro-batch that one stage is: DualPipe has each stage twice."""
        return 1.0 / (1 if self.name == "dualpipe" else self.v)


TIMES = st.floats(0.1, 2.0)


@st.composite
def cases(draw: st.DrawFn, name: str = "") -> Case:
    """Any schedule, or the one named, with numbers that it allows: up to 8 ranks and 40 micro-batches."""
    chosen = name or draw(st.sampled_from(names()))
    p, m, v = draw(st.integers(1, 8)), draw(st.integers(1, 20)), schedule_of(chosen).chunks or draw(st.integers(2, 4))
    if chosen == "interleaved":
        m = p * draw(st.integers(1, 4))
    elif chosen == "zb-v":
        m += 2 * p - 2
    elif chosen == "dualpipe":
        p = 2 * draw(st.integers(1, 4))
        m = 2 * p + 2 * draw(st.integers(0, 8))
    return Case(chosen, p, m, v, draw(TIMES), draw(TIMES), draw(TIMES))


class Plain(NamedTuple):
    """Start and end of (rank, position) [s]."""

    start: dict[tuple[int, int], float]
    end: dict[tuple[int, int], float]


def plain_run(
    shown: Program, seconds: np.ndarray, send_s: np.ndarray, overlapped: bool, gap_s: float, pair_share: float
) -> Plain:
    """Runs a program by looking again and again for an action that can begin, straight from the definition."""
    last = shown.stage_count - 1
    home = {}
    for r, row in enumerate(shown.kinds.tolist()):
        for a, kind in enumerate(row):
            if kind == Kind.F:
                home[int(shown.stages[r, a]), int(shown.micro_batch[r, a])] = r
    start: dict[tuple[int, int], float] = {}
    end: dict[tuple[int, int], float] = {}
    there: dict[tuple[str, int, int], float] = {}
    place, free, link = [0] * shown.ranks, [0.0] * shown.ranks, dict[tuple[int, int], float]()

    def wanted(kind: int, stage: int, micro: int) -> list[tuple[str, int, int]]:
        if kind == Kind.F:
            return [("f", stage - 1, micro)] if stage else []
        if kind == Kind.W:
            return [("own i", stage, micro)]
        return [("own f", stage, micro)] + ([("b", stage + 1, micro)] if stage < last else [])

    def leave(r: int, name: str, stage: int, micro: int, to: int) -> None:
        there[name, stage, micro] = end_s = free[r] if not overlapped else now
        if to != r:
            link[r, to] = max(link.get((r, to), 0.0), end_s) + send_s[r, to]
            there[name, stage, micro] = link[r, to]
            if not overlapped:
                free[r] = link[r, to]

    moved = True
    while moved:
        moved = False
        for r in range(shown.ranks):
            a = place[r]
            if a == shown.kinds.shape[1] or shown.kinds[r, a] == NONE:
                continue
            group = [a, a + 1] if shown.joined[r, a] else [a]
            acts = [(int(shown.kinds[r, i]), int(shown.stages[r, i]), int(shown.micro_batch[r, i])) for i in group]
            needs = [need for act in acts for need in wanted(*act)]
            if not all(need in there for need in needs):
                continue
            begin = max([free[r] + gap_s, *(there[need] for need in needs)])
            lasting = [float(seconds[kind, stage]) for kind, stage, _ in acts]
            now = begin + (max(pair_share * sum(lasting), *lasting) if len(group) == 2 else lasting[0])
            free[r] = now
            for i, (kind, stage, micro) in zip(group, acts, strict=True):
                start[r, i], end[r, i] = begin, now
                there["own f" if kind == Kind.F else "own i" if kind == Kind.I else "-", stage, micro] = now
                if kind == Kind.F and stage < last:
                    leave(r, "f", stage, micro, home[stage + 1, micro])
                elif kind in (Kind.B, Kind.I) and stage:
                    leave(r, "b", stage, micro, home[stage - 1, micro])
            place[r] += len(group)
            moved = True
    return Plain(start, end)
