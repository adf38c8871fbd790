"""Fleets drawn at random, small enough for every odd thing to happen: all schedulers, caches, jobs that wait for each
other over links, shared devices, failures and scaling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hand_made import random_tables

from simulator.serving.cluster import Limits
from simulator.serving.fleet import (
    ORDERS,
    ROUTERS,
    SCHEDULES,
    Costs,
    FleetServed,
    Link,
    Outage,
    Scaling,
    Setup,
    serve_fleet,
)
from simulator.serving.jobs import Edges, Named, Work


class Fleet(NamedTuple):
    """What ``serve_fleet`` takes."""

    setups: list[Setup]
    work: Work
    links: list[Link]
    outages: list[Outage]
    seed: int

    def serve(self) -> FleetServed:
        return serve_fleet(
            self.setups, self.work, links=self.links, outages=self.outages, seed=self.seed
        )  # fmt: skip


def random_fleet(seed: int, most_jobs: int = 40, **only: object) -> Fleet:
    """``only``: keys of all its pools."""
    rng = np.random.default_rng([seed, 77])
    n = int(rng.integers(1, most_jobs + 1))
    pools = int(rng.choice([1, 1, 2, 3]))
    longest = [int(rng.choice([1, 4, 30, 120])) for _ in range(2)]
    prompt, output = rng.integers(1, longest[0] + 1, n), rng.integers(0, longest[1] + 1, n)
    setups = [random_setup(rng, k, prompt, output, **only) for k in range(pools)]
    rate = float(rng.choice([1.0, 10.0, 100.0, 1000.0]))
    arrival_s = np.cumsum(rng.exponential(1.0 / rate, n))
    if rng.random() < 0.3:
        arrival_s = np.floor(arrival_s * rate / 5.0) * 5.0 / rate
    end_s = float(arrival_s[-1]) + 1.0
    pool = rng.integers(0, pools, n)
    classes = int(rng.choice([1, 1, 2, 5]))
    links = [Link(*(float(10.0 ** rng.uniform(3, 6)) for _ in range(2))) for _ in range(2)]
    edges = random_edges(rng, n, len(links)) if rng.random() < 0.5 else None
    if edges is not None and rng.random() < 0.5:
        # A mixed order of arrival.
        arrival_s = rng.permutation(arrival_s)
    cached = np.where(rng.random(n) < 0.5, rng.integers(0, prompt), prompt - 1) * (rng.random(n) < 0.3)
    work = Work(
        pool, arrival_s, prompt, output, cached=cached,
        priority=rng.integers(0, classes, n), session=rng.integers(-1, 6, n),
        adapter=rng.integers(-1, 5, n) if rng.random() < 0.4 else None,
        deadline_s=arrival_s + rng.exponential(end_s / 4.0, n), names=random_names(rng, setups, pool, prompt, output),
        edges=edges,
    )  # fmt: skip
    outages = [] if rng.random() < 0.6 else [random_outage(rng, setups, end_s) for _ in range(rng.integers(1, 5))]
    return Fleet(setups, work, links, outages, int(rng.integers(1000)))


def random_setup(
    rng: np.random.Generator, number: int, prompt: np.ndarray, output: np.ndarray, **only: object
) -> Setup:  # fmt: skip
    size = int(rng.choice([1, 2, 3, 4, 7, 16]))
    largest = -(-int((prompt + output).max()) // size)
    drafts = int(rng.choice([0, 0, 1, 3]))
    tokens, sequences = int(rng.choice([1, 2, 5, 16, 64, 4096])), int(rng.choice([1, 2, 3, 8, 64]))
    tokens = max(tokens, drafts + 1)
    limits = Limits(
        tokens, sequences, size, max(1, int(largest * rng.choice([0.8, 1.0, 1.2, 2.0, 5.0]))),
        int((prompt + output).max()),
    )  # fmt: skip
    replicas = int(rng.choice([1, 1, 2, 3]))
    keeps = rng.integers(3)
    scaling = None
    if rng.random() < 0.25:
        least = int(rng.integers(0, 3))
        scaling = Scaling(
            least, least + int(rng.integers(1, 4)), float(rng.uniform(0.5, 4.0)), float(rng.uniform(0.05, 0.5)),
            float(rng.uniform(0.0, 0.5)), int(rng.integers(1, 4)),
        )  # fmt: skip
        replicas = int(rng.integers(0, 3))
    costs = Costs(
        *rng.uniform(0.0, 1e-3, 2), bool(rng.integers(2)), 50.0, int(rng.integers(1, 3)),
        *(rng.uniform(0.0, 2e-3, 9) * rng.integers(0, 2)),
    )  # fmt: skip
    made = Setup(
        f"pool{number}", random_tables(rng, max(tokens, sequences * (drafts + 1)), sequences * (drafts + 1), 240),
        limits, costs, replicas, str(rng.choice(sorted(SCHEDULES))), str(rng.choice(sorted(ORDERS))),
        str(rng.choice(sorted(ROUTERS))), drafts, float(rng.choice([0.0, 0.5, 0.9, 1.0])),
        swap_blocks=int(rng.integers(1, 2 * limits.blocks + 1)) if keeps == 1 else 0,
        unit_blocks=int(rng.integers(1, 4)) if keeps == 2 else 0, tier_units=int(rng.choice([0, 1, 3, 50])),
        waiting=int(rng.choice([0, 0, 0, 1, 5])), drop_late=bool(rng.random() < 0.3),
        adapter_slots=int(rng.integers(1, 5)), shares=str(rng.choice(["", "", "both"])), scaling=scaling,
    )  # fmt: skip
    return type(made)(**{**{name: getattr(made, name) for name in made.__dataclass_fields__}, **only})


def random_edges(rng: np.random.Generator, n: int, links: int) -> Edges:
    """Every third job waits for one or two before it."""
    pairs = sorted(
        {(int(rng.integers(0, k)), k) for k in range(1, n) for _ in range(rng.choice([0, 0, 1, 2]))}
    )  # fmt: skip
    before, after = (np.array([pair[k] for pair in pairs], np.int64) for k in range(2))
    count = len(pairs)
    link = rng.integers(-1, links, count)
    return Edges(
        before, after, rng.exponential(0.1, count) * rng.integers(0, 2, count),
        np.where(link < 0, 0.0, rng.exponential(5e3, count) * (rng.random(count) < 0.9)), link,
        rng.random(count) < 0.3,
    )  # fmt: skip


def random_names(
    rng: np.random.Generator, setups: list[Setup], pool: np.ndarray, prompt: np.ndarray, output: np.ndarray
) -> Named:  # fmt: skip
    """Paths from the root of a tree in which every unit has one of two continuations."""
    known: dict[tuple[int, ...], int] = {}
    offsets, ids = [0], list[int]()
    for k, own in enumerate(pool.tolist()):
        setup = setups[own]
        unit_tokens = max(setup.unit_blocks, 1) * setup.limits.block_tokens
        path: tuple[int, ...] = (own,)
        for _ in range(min(int(prompt[k] + output[k]) // unit_tokens, 12)):
            path = (*path, int(rng.random() < 0.25))
            ids.append(known.setdefault(path, len(known)))
        offsets.append(len(ids))
    return Named(np.array(offsets, np.int64), np.array(ids, np.int64))


def random_outage(rng: np.random.Generator, setups: list[Setup], end_s: float) -> Outage:
    pool = int(rng.integers(len(setups)))
    seconds = float(rng.exponential(end_s / 3.0)) if rng.random() < 0.8 else np.inf
    return Outage(pool, int(rng.integers(setups[pool].most)), float(rng.uniform(0.0, end_s)), seconds)
