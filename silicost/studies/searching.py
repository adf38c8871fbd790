"""A study whose space is searched instead of listed: the best points of millions for hundreds of evaluations.

Each batch that the search asks for becomes a part of the store. The same seed asks the same questions, so that a search
that was stopped finds its batches on the disk and goes on behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from silicost.studies.study import Study
from silicost.studies.work import Prepared
from simulator.explore.columns import Table
from simulator.explore.manifest import Definition
from simulator.explore.parts import part_batches, part_key, part_path, write_part
from simulator.explore.points import Points
from simulator.explore.search import METHODS, Progress, Search, Stop, run
from simulator.explore.store import Writer, open_store


class Searched(NamedTuple):
    """What a search came to: why it ended, and the hypervolume after each batch."""

    ended: str
    progress: list[Progress]


def definition_of(asked: Study, prepared: Prepared) -> Definition:
    """What the store of a searched study says of it."""
    wanted = asked.search
    if wanted is None:
        raise InputError("the study has no search")
    return msgspec.structs.replace(
        prepared.definition, points=wanted.evaluations, part_points=wanted.evaluations, seed=wanted.seed,
        sampler=f"search {wanted.method} {wanted.evaluations} {wanted.seed}",
    )  # fmt: skip


def search_study(
    asked: Study, prepared: Prepared, folder: Path, warn: Callable[[str], None],
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> Searched:  # fmt: skip
    """Search the space of ``asked`` for its objectives, and keep what was evaluated in ``folder``.

    Args:
        watch: told how many evaluations are done, and of how many.

    Raises:
        InputError: no objective, an unknown method, a store that cannot be written.
    """
    wanted = asked.search
    if wanted is None:
        raise InputError("the study has no search")
    if not asked.objectives:
        raise InputError("a search needs objectives: give metrics or --objective")
    asked.space.check()
    search = Search(asked.space, asked.objectives, asked.constraints, wanted.method, wanted.seed, wanted.evaluations)
    with open_store(folder, definition_of(asked, prepared), warn) as writer:

        def evaluate(points: Points) -> Table:
            start = search.evaluations
            table = _answered(prepared, writer, points, start)
            watch(start + len(points), wanted.evaluations)
            # What breaks a bound is told apart by how much it does so, not by a verdict.
            return {**table, "feasible": table["fits"]}

        stop = Stop(wanted.evaluations, None, wanted.growth or None, wanted.over)
        ended = run(search, evaluate, stop)
    return Searched(ended, search.progress())


def _answered(prepared: Prepared, writer: Writer, points: Points, start: int) -> Table:
    """The table of a batch, from the disk where it is there."""
    key = part_key(points, prepared.work.evaluator.fingerprint)
    written = writer.find(key)
    if written is None:
        table = prepared.work.evaluator(points)
        written = write_part(part_path(writer.folder, key), key, points, table)
    else:
        table = _read(part_path(writer.folder, key))
    writer.commit(start, start + len(points), written)
    return table


def _read(path: Path) -> Table:
    """The numbers and verdicts of a part."""
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for written, batch in part_batches(path, None):
        if batch is None:
            continue
        for info in written.columns:
            if not info.axis and info.kind != "text":
                column = batch.column(info.name).to_numpy(zero_copy_only=False)
                found.setdefault(info.name, []).append(column)
    return {name: np.concatenate(parts) for name, parts in found.items()}


__all__ = ["METHODS", "Searched", "definition_of", "search_study"]
