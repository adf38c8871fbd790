"""Traffic as columns, one row a request, and what must hold of them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_TOKENS: Final = 1 << 31
"""Longest prompt or answer that a request may have [tokens]."""
NONE: Final = -1
"""In ``after``: waits for no other request."""


class Blocks(NamedTuple):
    """What prompts share, block by block: request i holds ``ids[offsets[i]:offsets[i + 1]]``.

    Equal ids are equal tokens behind equal tokens, so that requests share as many blocks as their ids agree from the
    first on. ``ids`` count from 0 in the order of their first appearance; shapes [n + 1] and [blocks of all requests].
    ``tokens``: of a block; the last one of a prompt may be part of one.
    """

    offsets: Ints
    ids: Ints
    tokens: int


class Traffic(NamedTuple):
    """Requests in the order of their arrival, shape [n] each; columns that do not apply are None.

    Args:
        arrival_s: when a request arrives; from 0, never falling. Of a request that waits for another one the earliest
            time, were answers to take none.
        input: tokens of the prompt, all turns before it included.
        output: tokens of the answer.
        concurrency: clients of a closed loop, each of which sends its next request once it is answered; ``arrival_s``
            is 0 throughout. 0: requests arrive as they say.
        session: the conversation that a request belongs to.
        turn: its place in the conversation, from 0.
        after: the request, an earlier row, whose answer it waits for; ``NONE`` for none.
        think_s: from that answer to this request.
        prefix: leading tokens of the prompt that were there before: in a first turn the system prompt, later the prompt
            and the answer of the turn before.
        shared: tokens of the system prompt with which every prompt begins.
        blocks: what prompts share, where a trace tells it.
        notes: what a reader should know (lines that were left out ...).
    """

    arrival_s: Floats
    input: Ints
    output: Ints
    concurrency: int = 0
    session: Ints | None = None
    turn: Ints | None = None
    after: Ints | None = None
    think_s: Floats | None = None
    prefix: Ints | None = None
    shared: int = 0
    blocks: Blocks | None = None
    notes: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return len(self.arrival_s)

    def first(self, count: int) -> Traffic:
        """The first ``count`` requests, or all where there are fewer."""
        kept = slice(0, max(count, 0))
        blocks = self.blocks
        if blocks is not None:
            offsets = blocks.offsets[: max(count, 0) + 1]
            blocks = Blocks(offsets, blocks.ids[: offsets[-1]], blocks.tokens)
        return self._replace(
            arrival_s=self.arrival_s[kept], input=self.input[kept], output=self.output[kept],
            session=_cut(self.session, kept), turn=_cut(self.turn, kept), after=_cut(self.after, kept),
            think_s=None if self.think_s is None else self.think_s[kept], prefix=_cut(self.prefix, kept), blocks=blocks,
        )  # fmt: skip


def _cut(column: Ints | None, kept: slice) -> Ints | None:
    return None if column is None else column[kept]


def checked(traffic: Traffic, place: str = "traffic") -> Traffic:
    """``traffic``, once it is known to be possible.

    Raises:
        InputError: columns of different lengths, a time that is not finite, negative or before that of the row above, a
            length outside 1 .. ``MOST_TOKENS``, a row that waits for no earlier one, a prefix longer than its prompt,
            blocks that do not fit their prompts.
    """
    count = traffic.requests
    for name in ("input", "output", "session", "turn", "after", "think_s", "prefix"):
        column = getattr(traffic, name)
        if column is not None and column.shape != (count,):
            raise InputError(f"{place}: {name} has the shape {column.shape}, arrival_s ({count},)")
    rows = np.arange(count)
    _all(np.isfinite(traffic.arrival_s) & (traffic.arrival_s >= 0.0), traffic.arrival_s, place, "arrival_s",
         "a finite time from 0 on")  # fmt: skip
    _all(np.append(True, np.diff(traffic.arrival_s) >= 0.0)[:count], traffic.arrival_s, place, "arrival_s",
         "no earlier than that of the row above")  # fmt: skip
    for name, lengths in (("input", traffic.input), ("output", traffic.output)):
        _all((lengths >= 1) & (lengths <= MOST_TOKENS), lengths, place, name, f"from 1 to {MOST_TOKENS} tokens")
    if traffic.after is not None:
        _all((traffic.after >= NONE) & (traffic.after < rows), traffic.after, place, "after", "an earlier row, or -1")
    if traffic.think_s is not None:
        _all(np.isfinite(traffic.think_s) & (traffic.think_s >= 0.0), traffic.think_s, place, "think_s",
             "a finite time from 0 on")  # fmt: skip
    if traffic.prefix is not None:
        _all((traffic.prefix >= 0) & (traffic.prefix < traffic.input), traffic.prefix, place, "prefix",
             "from 0 to less than the prompt")  # fmt: skip
    if traffic.concurrency < 0:
        raise InputError(f"{place}: concurrency {traffic.concurrency}; allowed: a whole number from 0 on")
    if traffic.blocks is not None:
        _check_blocks(traffic.blocks, traffic.input, place)
    return traffic


def _all(good: Bools, values: Floats | Ints, place: str, name: str, allowed: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise InputError(f"{place}: row {bad[0]}: {name} {values[bad[0]]} must be {allowed}")


def _check_blocks(blocks: Blocks, prompts: Ints, place: str) -> None:
    if blocks.tokens < 1:
        raise InputError(f"{place}: blocks of {blocks.tokens} tokens; allowed: a whole number from 1 on")
    if blocks.offsets.shape != (len(prompts) + 1,) or blocks.offsets[0] != 0 or blocks.offsets[-1] != len(blocks.ids):
        raise InputError(f"{place}: blocks: offsets must be one more than requests, from 0 to the number of ids")
    held = np.diff(blocks.offsets)
    _all((held >= 0) & (held <= -(-prompts // blocks.tokens)), held, place, "blocks", "no more than the prompt fills")


def in_time_order(traffic: Traffic) -> Traffic:
    """Requests without sessions, sorted by their arrival; those of one instant stay in their order."""
    order = np.argsort(traffic.arrival_s, kind="stable")
    blocks = traffic.blocks
    return traffic._replace(
        arrival_s=traffic.arrival_s[order], input=traffic.input[order], output=traffic.output[order],
        blocks=None if blocks is None else _reordered(blocks, order),
    )  # fmt: skip


def _reordered(blocks: Blocks, order: Ints) -> Blocks:
    held = np.diff(blocks.offsets)[order]
    offsets = np.append(np.int64(0), np.cumsum(held))
    taken = np.repeat(blocks.offsets[:-1][order] - offsets[:-1], held) + np.arange(offsets[-1])
    return Blocks(offsets, numbered(blocks.ids[taken]), blocks.tokens)


def numbered(ids: Ints) -> Ints:
    """Names counted from 0 in the order of their first appearance, shape as ``ids``."""
    _, first, named = np.unique(ids, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[named]
