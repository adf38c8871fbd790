"""Closed forms of pipeline schedules against their programs, of equal and of unequal stages, on random cases.

python benchmarks/schedules.py [--seed 7] [--format table|json]
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np

from silicost.output import Format, print_json, print_rows
from simulator.schedules.closed import closed_total_s, unequal_total_s
from simulator.schedules.registry import code_of, names, program, schedule_of
from simulator.schedules.timeline import run, seconds_of

EXACT_SENDS = {"gpipe": 10.0, "zb-v": 0.25, "dualpipe": 0.25}
"""Longest send up to which a form is exact, in the least of F, I and W of a chunk; of the others 1."""
SPREADS = (0.05, 0.2, 0.5)
CASES, LONG, UNEQUAL = 1500, 3000, 300


class Case(NamedTuple):
    """A schedule, how it is cut, and F, I and W of one micro-batch on one rank [s], shape [3]."""

    name: str
    p: int
    m: int
    v: int
    times: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def share(self) -> float:
        """Part of a rank's work on a micro-batch that one stage is: DualPipe has each stage twice."""
        return 1.0 / (1 if self.name == "dualpipe" else self.v)

    @property
    def least_s(self) -> float:
        """The shortest action of a chunk."""
        return float(self.times.min()) * self.share


def drawn(name: str, random: np.random.Generator) -> Case:
    """Up to eight ranks and 40 micro-batches, F, I and W from 0.2 to 1 s."""
    p, m, v = int(random.integers(2, 9)), int(random.integers(1, 21)), schedule_of(name).chunks
    v = v or int(random.integers(2, 5))
    if name == "interleaved":
        m = p * int(random.integers(1, 5))
    elif name == "zb-v":
        m += 2 * p - 2
    elif name == "dualpipe":
        p = 2 * int(random.integers(1, 5))
        m = 2 * p + 2 * int(random.integers(0, 9))
    return Case(name, p, m, v, random.uniform(0.2, 1.0, 3))


def error_of(case: Case, send_s: float, own: Any = None) -> float:
    """Closed form over program, less one; ``own`` are factors of the stages, where they differ."""
    shown = program(case.name, case.p, case.m, case.v)
    per = np.outer(case.times, np.ones(shown.stage_count) if own is None else own(shown.stage_count)) * case.share
    total_s = run(shown, seconds_of(*per), send_s).total_s
    code, sizes = code_of(case.name), (case.p, case.m, case.v)
    if own is None:
        f, b, w = case.times.tolist()
        return float(closed_total_s(code, *sizes, f, b, w, send_s)) / total_s - 1.0
    ranks = per[:, shown.stage_of].sum(axis=2) / schedule_of(case.name).copies
    slowest = ranks[:, ranks.sum(axis=0).argmax()]
    return float(unequal_total_s(code, *sizes, slowest, ranks.sum(axis=1), send_s)) / total_s - 1.0


def equal_stages(name: str, seed: int) -> dict[str, Any]:
    """Errors up to the sends for which a form is said to be exact, and up to the least action of a chunk."""
    random, exact = np.random.default_rng(seed), EXACT_SENDS.get(name, 1.0)
    near: list[float] = []
    far: list[float] = []
    for number in range(CASES + LONG):
        case = drawn(name, random)
        most = exact if number < CASES else 1.0
        (near if number < CASES else far).append(error_of(case, random.uniform(0.0, most) * case.least_s))
    above = max(*near, *far)
    return {
        "schedule": name, "exact for sends up to": exact, "largest error there": float(np.abs(near).max()),
        "sends up to 1: largest": float(np.abs(far).max()), "mean": float(np.abs(far).mean()), "most above": above,
    }  # fmt: skip


def unequal_stages(name: str, seed: int) -> dict[str, Any]:
    """Mean and largest error where F, I and W of a stage are scaled by one factor, sends up to a tenth of an action."""
    found: dict[str, Any] = {"schedule": name}
    for spread in SPREADS:
        random = np.random.default_rng(seed)
        errors = []
        for _ in range(UNEQUAL):
            case = drawn(name, random)
            send_s = random.uniform(0.0, 0.1) * case.least_s
            own = random.spawn(1)[0]
            errors.append(error_of(case, send_s, lambda count, own=own, s=spread: own.uniform(1.0 - s, 1.0 + s, count)))
        found |= {f"s = {spread:g}: mean": float(np.abs(errors).mean()), f"{spread:g}: largest":
                  float(np.abs(errors).max())}  # fmt: skip
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    tables = {
        "equal stages": [equal_stages(name, asked.seed) for name in names()],
        "unequal stages": [unequal_stages(name, asked.seed) for name in names()],
    }
    if asked.format == "json":
        print_json(tables)
        return
    for title, rows in tables.items():
        print(title)
        print_rows([{key: value if isinstance(value, str) else f"{value:.3g}" for key, value in row.items()}
                    for row in rows], Format.TABLE)  # fmt: skip


if __name__ == "__main__":
    main()
