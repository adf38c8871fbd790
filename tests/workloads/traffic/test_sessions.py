"""Conversations: what their prompts hold, whom they wait for, and that more of them change no earlier one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from workloads.traffic.arrivals import Arrivals, ClosedLoop, arrivals_of
from workloads.traffic.law_words import law_of_times, law_of_tokens
from workloads.traffic.lengths import lengths_of
from workloads.traffic.record import NONE, Traffic, checked
from workloads.traffic.sessions import Sessions, draw_sessions

COLUMNS = ("arrival_s", "input", "output", "session", "turn", "after", "think_s", "prefix")
SIGMAS = 5.0
STARTS: tuple[Arrivals | ClosedLoop, ...] = (
    Arrivals(2.0), Arrivals(50.0, 0.3), arrivals_of("bursts:factor=5,lasts=9 s,every=60 s", 1.0), ClosedLoop(1),
    ClosedLoop(7),
)  # fmt: skip


def sessions(
    turns: str = "geometric:mean=4", message: str = "lognormal:mean=60,p99=400", answer: str = "uniform:low=5,high=300",
    think: str = "exponential:mean=20 s", system: int = 100, most_tokens: int = 0,
) -> Sessions:  # fmt: skip
    return Sessions(
        law_of_tokens(turns, "--turns"),
        lengths_of(message, answer),
        law_of_times(think, "--think"),
        system,
        most_tokens,
    )


some = st.builds(
    sessions,
    turns=st.sampled_from(("geometric:mean=4", "1", "5", "uniform:low=1,high=30")),
    think=st.sampled_from(("exponential:mean=20 s", "0 s", "5 s", "lognormal:mean=20 s,p99=200 s")),
    system=st.sampled_from((0, 1, 500)),
    most_tokens=st.sampled_from((0, 2000)),
)


def parts(traffic: Traffic) -> dict[str, Any]:
    found = {name: getattr(traffic, name) for name in COLUMNS}
    assert all(column is not None for column in found.values())
    return found


@settings(deadline=None, max_examples=100)
@given(kind=some, starts=st.sampled_from(STARTS), seed=st.integers(0, 2**64 - 1), count=st.integers(0, 1500))
def test_what_holds_of_every_conversation(kind: Sessions, starts: Arrivals | ClosedLoop, seed: int, count: int) -> None:
    traffic = checked(draw_sessions(kind, starts, count, seed))
    found = parts(traffic)
    assert traffic.requests == count
    assert traffic.concurrency == 0
    assert traffic.shared == kind.system
    after, turn, session = found["after"], found["turn"], found["session"]
    later = np.flatnonzero(turn > 0)
    before = after[later]
    assert (before >= 0).all()
    np.testing.assert_array_equal(session[before], session[later])
    np.testing.assert_array_equal(turn[before], turn[later] - 1)
    grown = traffic.input[before] + traffic.output[before]
    np.testing.assert_array_equal(found["prefix"][later], grown)
    assert (traffic.input[later] > grown).all()
    assert (found["prefix"][turn == 0] == kind.system).all()
    waits = np.flatnonzero(after != NONE)
    np.testing.assert_allclose(traffic.arrival_s[after[waits]] + found["think_s"][waits], traffic.arrival_s[waits])
    assert len(np.unique(after[waits])) == len(waits), "an answer is waited for once"
    assert (found["think_s"][after == NONE] == 0.0).all()
    if kind.most_tokens:
        assert (traffic.input + traffic.output).max(initial=0) <= kind.most_tokens


@settings(deadline=None, max_examples=60)
@given(
    kind=some, starts=st.sampled_from(STARTS), seed=st.integers(0, 2**64 - 1), few=st.integers(0, 800),
    more=st.integers(0, 3000),
)  # fmt: skip
def test_a_longer_run_begins_with_the_shorter(
    kind: Sessions, starts: Arrivals | ClosedLoop, seed: int, few: int, more: int
) -> None:
    short, long = (parts(draw_sessions(kind, starts, count, seed)) for count in (few, few + more))
    for name in COLUMNS:
        np.testing.assert_array_equal(short[name], long[name][:few], err_msg=name)


def test_open_sessions_begin_as_the_arrivals_say() -> None:
    traffic = draw_sessions(sessions(), Arrivals(3.0, 0.5), 4000, 9)
    assert traffic.session is not None
    assert traffic.turn is not None
    first = traffic.turn == 0
    times = Arrivals(3.0, 0.5).times(int(first.sum()), 9)
    np.testing.assert_array_equal(traffic.arrival_s[first], times)
    np.testing.assert_array_equal(traffic.session[first], np.arange(first.sum()))
    assert traffic.after is not None
    assert (traffic.after[first] == NONE).all()


@pytest.mark.parametrize("clients", [1, 3, 10])
def test_a_closed_loop_keeps_its_clients(clients: int) -> None:
    """Each client's requests are one chain, session after session."""
    traffic = draw_sessions(sessions(turns="3"), ClosedLoop(clients), 600, 4)
    assert traffic.after is not None
    assert traffic.session is not None
    assert traffic.turn is not None
    opens = np.flatnonzero(traffic.after == NONE)
    assert opens.tolist() == list(range(clients))
    assert (traffic.arrival_s[opens] == 0.0).all()
    client = np.full(600, -1)
    for row in range(600):
        client[row] = row if traffic.after[row] == NONE else client[traffic.after[row]]
    np.testing.assert_array_equal(client, traffic.session % clients)
    begins = np.flatnonzero((traffic.turn == 0) & (traffic.after != NONE))
    np.testing.assert_array_equal(traffic.session[traffic.after[begins]], traffic.session[begins] - clients)
    assert (traffic.turn[traffic.after[begins]] == 2).all()


def test_statistics_of_conversations() -> None:
    """Means over 20,000 sessions that are whole: geometric turns of variance 12, exponential think times, uniform
    answers; within five standard errors sd / sqrt(n). A late session would miss turns, so that only those count that
    begin in the first half."""
    traffic = draw_sessions(sessions(), Arrivals(10.0), 160_000, 1)
    assert traffic.session is not None
    assert traffic.turn is not None
    assert traffic.think_s is not None
    assert traffic.prefix is not None
    whole = 20_000
    kept = traffic.session < whole
    turns = np.bincount(traffic.session[kept], minlength=whole)
    assert turns.min() >= 1
    assert abs(turns.mean() - 4.0) < SIGMAS * math.sqrt(12.0 / whole)
    later = kept & (traffic.turn > 0)
    assert abs(traffic.think_s[later].mean() - 20.0) < SIGMAS * 20.0 / math.sqrt(later.sum())
    answers = traffic.output[kept]
    assert abs(answers.mean() - 152.5) < SIGMAS * math.sqrt((296.0**2 - 1.0) / 12.0 / kept.sum())
    message = (traffic.input - traffic.prefix)[kept]
    assert abs(message.mean() - 60.0) < SIGMAS * message.std() / math.sqrt(kept.sum()) + 0.1, "rounded up to 1"


def test_a_session_ends_before_it_is_too_long() -> None:
    free = draw_sessions(sessions(turns="8", most_tokens=0), Arrivals(1.0), 5000, 3)
    bound = draw_sessions(sessions(turns="8", most_tokens=900), Arrivals(1.0), 5000, 3)
    total = free.input + free.output
    assert free.session is not None
    assert bound.session is not None
    for session in range(20):
        kept = total[(free.session == session) & (total <= 900)]
        own = (bound.input + bound.output)[bound.session == session]
        np.testing.assert_array_equal(own, kept)


def test_a_file_of_pairs_gives_messages_and_answers(tmp_path: Path) -> None:
    place = tmp_path / "pairs.csv"
    place.write_text("input,output\n10,1\n20,2\n")
    kind = Sessions(law_of_tokens(3, "--turns"), lengths_of(str(place)), law_of_times("1 s", "--think"))
    traffic = draw_sessions(kind, Arrivals(1.0), 300)
    assert traffic.prefix is not None
    np.testing.assert_array_equal(traffic.input - traffic.prefix, traffic.output * 10)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="rate inf: sessions begin one after the other"):
        draw_sessions(sessions(), Arrivals(math.inf), 5)
    for starts in (Arrivals(1.0), ClosedLoop(3)):
        with pytest.raises(InputError, match="no turn fits into 50 tokens with a system prompt of 100"):
            draw_sessions(sessions(most_tokens=50), starts, 5)
    with pytest.raises(InputError, match="system prompt -1"):
        sessions(system=-1)
    with pytest.raises(InputError, match="most tokens of a session -1"):
        sessions(most_tokens=-1)
    with pytest.raises(InputError, match="requests -1"):
        draw_sessions(sessions(), Arrivals(1.0), -1)
