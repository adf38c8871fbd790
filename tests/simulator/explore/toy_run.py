"""Run a toy study in a process of its own: ``python toy_run.py FOLDER TEXT EXECUTOR WORKERS``."""

from __future__ import annotations

import sys
from pathlib import Path

from toy_study import BUILDER, build

from simulator.explore.executors import executor_of, run_parts
from simulator.explore.store import open_store
from simulator.explore.work import Recipe


def main() -> None:
    folder, text, executor, workers = sys.argv[1:]
    work = build(text)
    toy = work.evaluator.toy  # type: ignore[attr-defined]
    with open_store(Path(folder), toy.definition(), lambda warning: print(warning, file=sys.stderr)) as writer:
        outcome = run_parts(writer, executor_of(executor, int(workers)), work, Recipe(BUILDER, text))
    sys.exit(not outcome.is_whole)


if __name__ == "__main__":
    main()
