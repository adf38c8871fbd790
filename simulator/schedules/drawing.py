"""A timeline as lines of text, one a rank."""

from __future__ import annotations

import numpy as np

from hardware_specs.errors import InputError
from simulator.schedules.actions import NONE, Kind
from simulator.schedules.timeline import Timeline

MOST_WIDE = 400
"""Widest drawing [characters]."""


def drawn(timeline: Timeline, width: int = 0) -> str:
    """A Gantt chart as text: a letter per kind of action from its start to its end, ``.`` where a rank waits.

    F of the second chunk and beyond is ``f``, likewise the others; a joined pair shows its F.

    Args:
        width: characters a rank; 0: one for each of the shortest action, at most 120.

    Raises:
        InputError: a width below 1 or above 400.
    """
    program = timeline.program
    if not 0 <= width <= MOST_WIDE:
        raise InputError(f"width {width}; allowed: 1 to {MOST_WIDE}, 0 for one that fits")
    lasting = (timeline.end_s - timeline.start_s)[program.kinds != NONE]
    positive = lasting[lasting > 0.0]
    if not len(positive):
        return "\n" * (program.ranks - 1)
    columns = width or min(120, int(np.ceil(timeline.total_s / positive.min() - 1e-9)))
    scale = columns / timeline.total_s
    lines = [["."] * columns for _ in range(program.ranks)]
    for rank, position in np.argwhere(program.kinds != NONE).tolist():
        if position and program.joined[rank, position - 1]:
            continue
        letter = Kind(int(program.kinds[rank, position])).name
        if program.stages[rank, position] != program.stage_of[rank, 0]:
            letter = letter.lower()
        first, last = (round(float(t[rank, position]) * scale) for t in (timeline.start_s, timeline.end_s))
        lines[rank][first:last] = letter * (last - first)
    return "\n".join("".join(line) for line in lines)
