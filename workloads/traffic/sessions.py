"""Conversations of several turns: each prompt holds all that was said before, and waits for the answer before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError
from workloads.traffic.arrivals import Arrivals, ClosedLoop
from workloads.traffic.laws import Law
from workloads.traffic.lengths import Lengths, whole_tokens
from workloads.traffic.record import MOST_TOKENS, NONE, Floats, Ints, Traffic
from workloads.traffic.streams import counted, stream

_NS: Final = 1e9
"""Think times are counted in whole nanoseconds, so that their sums do not depend on the order of summing."""
_LEAST_SESSIONS: Final = 64
_ENOUGH: Final = 4096
"""Sessions that are drawn before too few turns that fit are an error."""
MOST_TURNS: Final = 10_000
"""Turns of a session at most."""
MOST_THINK_S: Final = 1e9
"""Longest think time [s]."""


@dataclass(frozen=True)
class Sessions:
    """What a conversation is like.

    Args:
        turns: how many requests it has, ``MOST_TURNS`` at most.
        lengths: new tokens of a turn, and tokens of its answer.
        think: from an answer to the next message [s]; none is below 0 or above ``MOST_THINK_S``.
        system: tokens of the system prompt with which every prompt of every session begins.
        most_tokens: longest prompt with its answer: a session ends before the turn that would be longer (0: no limit
            but ``MOST_TOKENS``).

    Raises:
        InputError: a negative number of tokens.
    """

    turns: Law
    lengths: Lengths
    think: Law
    system: int = 0
    most_tokens: int = 0

    def __post_init__(self) -> None:
        counted(self.system, "system prompt")
        counted(self.most_tokens, "most tokens of a session")


def draw_sessions(sessions: Sessions, starts: Arrivals | ClosedLoop, count: int, seed: int = 0) -> Traffic:
    """The first ``count`` requests of conversations that begin as ``starts`` says.

    Requests are in the order of their earliest arrival, were answers to take no time; a longer run has the shorter one
    as its beginning, so that conversations at its end are cut off. In a closed loop each of the clients begins its next
    conversation, after a think time, when its last one is over: ``after`` says so, and ``concurrency`` is 0.

    Raises:
        InputError: an infinite rate, a count or a seed that cannot be, limits under which no turn fits.
    """
    if isinstance(starts, Arrivals) and math.isinf(starts.rate_per_s):
        raise InputError("rate inf: sessions begin one after the other; give a finite rate, or a closed loop")
    if counted(count) == 0:
        return _traffic(sessions, _drawn(sessions, starts, 1, seed), 0)
    number = max(_LEAST_SESSIONS, count // 8)
    while True:
        drawn = _drawn(sessions, starts, number, seed)
        if len(drawn.arrival_s) >= count:
            nth = np.partition(drawn.arrival_s, count - 1)[count - 1]
            if nth <= drawn.known_s:
                return _traffic(sessions, drawn, count)
        if number >= _ENOUGH and len(drawn.arrival_s) * 1000 < number:
            raise InputError(
                f"sessions: no turn fits into {sessions.most_tokens or MOST_TOKENS} tokens with a system prompt of "
                f"{sessions.system}; allowed: shorter messages and answers, or more tokens"
            )
        number *= 2


class _Drawn(NamedTuple):
    """Turns, session by session [n]; the ``client`` of a turn has no other session at the same time. Before
    ``known_s`` no other turn arrives."""

    arrival_s: Floats
    client: Ints
    session: Ints
    turn: Ints
    prompt: Ints
    answer: Ints
    before: Ints
    think_ns: Ints
    known_s: float


def _drawn(sessions: Sessions, starts: Arrivals | ClosedLoop, number: int, seed: int) -> _Drawn:
    """The turns of ``number`` sessions that fit; in a closed loop each client has as many sessions."""
    clients = starts.concurrency if isinstance(starts, ClosedLoop) else 0
    number = max(number // clients, 1) * clients if clients else number
    turns = np.minimum(whole_tokens(sessions.turns, stream(seed, "turns").random(number)), MOST_TURNS)
    session = np.repeat(np.arange(number), turns)
    first = np.repeat(np.cumsum(turns) - turns, turns)
    message, answer = sessions.lengths.draw(len(session), seed)
    said = np.cumsum(message + answer) - (message + answer)
    before = sessions.system + said - said[first]
    kept = np.flatnonzero(before + message + answer <= (sessions.most_tokens or MOST_TOKENS))
    client = session[kept] % clients if clients else session[kept]
    begin_s = np.zeros(number) if isinstance(starts, ClosedLoop) else starts.times(number, seed)
    think_s = np.clip(sessions.think.at(stream(seed, "think").random(len(session))), 0.0, MOST_THINK_S)
    arrival_s, think_ns = _earliest(begin_s[session[kept]], client, np.rint(think_s[kept] * _NS).astype(np.int64))
    return _Drawn(
        arrival_s, client, session[kept], (np.arange(len(session)) - first)[kept], (before + message)[kept],
        answer[kept], before[kept], think_ns, _known(arrival_s, client, clients) if clients else float(begin_s[-1]),
    )  # fmt: skip


def _earliest(begin_s: Floats, client: Ints, think_ns: Ints) -> tuple[Floats, Ints]:
    """When turns arrive if answers take no time, and what each client thinks before them (0 before its first);
    shape [n] each."""
    rows = np.argsort(client, kind="stable")
    opens = np.append(True, np.diff(client[rows]) != 0)[: len(rows)]
    thought = np.where(opens, 0, think_ns[rows])
    passed = np.cumsum(thought)
    head = np.maximum.accumulate(np.where(opens, np.arange(len(rows)), 0))
    arrival_s, found = np.empty(len(rows)), np.empty(len(rows), np.int64)
    arrival_s[rows] = begin_s[rows] + (passed - passed[head]) / _NS
    found[rows] = thought
    return arrival_s, found


def _known(arrival_s: Floats, client: Ints, clients: int) -> float:
    """Before this time no client sends anything that is not drawn; -1 where a client has nothing at all."""
    last = np.full(clients, -1.0)
    np.maximum.at(last, client, arrival_s)
    return float(last.min())


def _traffic(sessions: Sessions, drawn: _Drawn, count: int) -> Traffic:
    """The first ``count`` turns in the order of their arrival."""
    order = np.argsort(drawn.arrival_s, kind="stable")[:count]
    row = np.empty(len(drawn.arrival_s), np.int64)
    row[order] = np.arange(len(order))
    turn_of = drawn.turn[order]
    return Traffic(
        drawn.arrival_s[order], drawn.prompt[order], drawn.answer[order], session=drawn.session[order], turn=turn_of,
        after=_after(drawn, order, row), think_s=drawn.think_ns[order] / _NS, prefix=drawn.before[order],
        shared=sessions.system,
    )  # fmt: skip


def _after(drawn: _Drawn, order: Ints, row: Ints) -> Ints:
    """The row of the client's turn before, ``NONE`` for its first; shape [len(order)]."""
    by_client = np.argsort(drawn.client, kind="stable")
    before = np.full(len(by_client), NONE, np.int64)
    same = drawn.client[by_client[1:]] == drawn.client[by_client[:-1]]
    before[by_client[1:][same]] = by_client[:-1][same]
    found = before[order]
    return np.where(found == NONE, NONE, row[found])
