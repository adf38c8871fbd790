"""Conversations: a run that is too short for them says so, and how long it should be."""

from __future__ import annotations

import re

import pytest
from small_fleets import fleet, served

from silicost.serving.answer import Answer
from silicost.serving.tables import SessionsTable, TrafficTable

TALK = SessionsTable("geometric:mean=4", "exponential:mean=20 s")


def of(requests: int, sessions: SessionsTable | None = TALK, clients: int | None = None) -> Answer:
    """Requests of one conversation a second, or of clients in a closed loop."""
    rate = None if clients else 1.0
    traffic = TrafficTable(rate, requests=requests, isl="50", osl="10", sessions=sessions, concurrency=clients)
    return served(fleet(traffic=traffic))


@pytest.mark.parametrize("clients", [None, 8], ids=["rate", "clients"])
def test_as_many_requests_as_are_said_are_enough(clients: int | None) -> None:
    (note,) = of(20, clients=clients).notes
    said = re.search(r"a conversation lasts ([\d.]+) s .* about ([\d,]+) requests would be enough", note)
    assert said is not None
    assert float(said[1]) == pytest.approx(80.0, rel=0.1)
    enough = int(said[2].replace(",", ""))
    assert of(round(0.5 * enough), clients=clients).notes
    assert not of(round(1.2 * enough), clients=clients).notes


def test_what_needs_no_warm_up() -> None:
    assert of(20, None).notes == ()
    assert of(20, SessionsTable("1", "20 s")).notes == ()
    assert of(20, SessionsTable("3", "10 ms")).notes == ()
