"""Fleets whose answers are known: processor sharing, loss, failures and repair, LRU caches, speculation, many servers.

Means are compared within their confidence interval by batch means (32 batches, t quantile of 99.9%).
"""

from __future__ import annotations

from collections import OrderedDict
from math import factorial

import numpy as np
import numpy.typing as npt
import pytest
from hand_made import tables_of

from simulator.kernels import serving as kernel
from simulator.kernels.fleet import columns as c
from simulator.kernels.speculation import expected_tokens
from simulator.serving.cluster import Limits
from simulator.serving.fleet import FleetServed, Scaling, Setup, serve_fleet
from simulator.serving.jobs import Named, Work
from simulator.serving.step_tables import StepTables

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

T_999 = 3.63
"""Two-sided quantile of Student's t with 31 degrees of freedom at 99.9%."""
TOKEN_S = 1e-3


def batch_means(values: Floats) -> tuple[float, float]:
    means = values[: len(values) // 33 * 33].reshape(33, -1).mean(axis=1)[1:]
    return float(means.mean()), float(T_999 * means.std(ddof=1) / np.sqrt(32))


def assert_mean(values: Floats, expected: float, slack: float = 0.0) -> None:
    """``slack`` is what the model is allowed to be off by, as a share of ``expected``."""
    mean, half = batch_means(values.astype(np.float64))
    assert half < 0.2 * expected, "too few jobs to tell"
    assert abs(mean - expected) <= half + slack * expected, (mean, half, expected)


def per_row(most: int) -> StepTables:
    return tables_of(lambda rows: TOKEN_S * rows, most)


def work_of(arrival_s: Floats, prompt: npt.ArrayLike, output: npt.ArrayLike, **columns: object) -> Work:
    n = len(arrival_s)
    lengths = (np.broadcast_to(np.asarray(values, np.int64), n).copy() for values in (prompt, output))
    return Work(np.zeros(n, np.int64), arrival_s, *lengths, **columns)  # type: ignore[arg-type]


def poisson(rate: float, n: int, rng: np.random.Generator) -> Floats:
    return np.cumsum(rng.exponential(1.0 / rate, n))


def sojourns(served: FleetServed) -> Floats:
    return np.asarray(served.jobs.last_s - served.jobs.ready_s)


def sizes(kind: str, mean: int, n: int, rng: np.random.Generator) -> Ints:
    if kind == "constant":
        return np.full(n, mean)
    if kind == "exponential":
        return rng.geometric(1.0 / mean, n)
    return np.where(rng.random(n) < 1.0 / 11.0, 6 * mean, mean // 2)


@pytest.mark.parametrize("kind", ["constant", "exponential", "two sizes"])
def test_continuous_batching_is_processor_sharing(kind: str) -> None:
    """M/G/1-PS: E[T] = E[S] / (1 - load), whatever the law of S, where an iteration takes a time for each sequence.

    What is left (2%) is the wait for the iteration under way. Kleinrock, Queueing Systems, vol. 2, 4.4.
    """
    rng, load, n = np.random.default_rng(8), 0.7, 40_000
    tokens = sizes(kind, 300, n, rng)
    rate = load / (tokens.mean() * TOKEN_S)
    limits = Limits(4096, 1024, 16, 1 << 20, int(tokens.max()) + 1)
    served = serve_fleet([Setup("one", per_row(4096), limits)], work_of(poisson(rate, n, rng), 1, tokens))
    assert_mean(sojourns(served), float(tokens.mean()) * TOKEN_S / (1.0 - load), 0.02)


@pytest.mark.parametrize("load", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("room", [1, 4])
def test_what_a_full_queue_turns_away_is_that_of_m_m_1_k(load: float, room: int) -> None:
    """M/M/1/K: a share (1 - load) load^K / (1 - load^(K + 1)) is lost, with K = one in service and ``room``."""
    rng, n = np.random.default_rng(int(10 * load) + room), 200_000
    tokens = rng.geometric(1e-3, n)
    limits = Limits(int(tokens.max()), 1, 16, 1 << 20, int(tokens.max()))
    served = serve_fleet(
        [Setup("one", per_row(int(tokens.max())), limits, waiting=room)],
        work_of(poisson(load / (1000 * TOKEN_S), n, rng), tokens, 0),
    )
    weights = load ** np.arange(room + 2.0)
    assert_mean(served.jobs.status == kernel.REJECTED, float(weights[-1] / weights.sum()))


def test_what_a_full_batch_turns_away_is_that_of_m_m_c_k() -> None:
    """M/M/c/c+1: iterations that cost the same whatever they hold are servers; one may wait.

    An arrival also waits for the iteration under way: two in one iteration (here 1% of a service) are one too many.
    """
    rng, n, servers, offered = np.random.default_rng(4), 200_000, 4, 4.0
    tokens = rng.geometric(1e-2, n)
    limits = Limits(64, servers, 16, 1 << 20, int(tokens.max()) + 1)
    tables = tables_of(lambda rows: TOKEN_S + 0.0 * rows, 64)
    served = serve_fleet(
        [Setup("one", tables, limits, waiting=1)],
        work_of(poisson(offered / (100 * TOKEN_S), n, rng), 1, tokens),
    )
    weights = [offered**k / factorial(min(k, servers)) / servers ** max(k - servers, 0) for k in range(servers + 2)]
    assert_mean(served.jobs.status == kernel.REJECTED, weights[-1] / sum(weights), 0.15)


def test_many_replicas_lie_between_one_queue_and_a_queue_each() -> None:
    """The shortest of four queues: a longer wait than M/M/4 (Erlang C), a shorter one than four M/M/1."""
    rng, n, load, mean_s = np.random.default_rng(6), 200_000, 0.8, 1000 * TOKEN_S
    tokens = rng.geometric(1e-3, n)
    limits = Limits(int(tokens.max()), 1, 16, 1 << 20, int(tokens.max()))
    setup = Setup("one", per_row(int(tokens.max())), limits, replicas=4, router="least-outstanding")
    served = serve_fleet([setup], work_of(poisson(4.0 * load / mean_s, n, rng), tokens, 0))
    mean, half = batch_means(np.asarray(served.jobs.scheduled_s - served.jobs.ready_s))
    offered = 4.0 * load
    waits = offered**4 / factorial(4) / (1.0 - load)
    waits /= waits + sum(offered**k / factorial(k) for k in range(4))
    one_queue = waits * mean_s / (4.0 * (1.0 - load))
    assert one_queue + half < mean < 0.7 * load * mean_s / (1.0 - load) - half


@pytest.mark.parametrize(("mtbf_s", "mttr_s"), [(100.0, 25.0), (50.0, 200.0)])
def test_availability_is_that_of_machine_and_repair(mtbf_s: float, mttr_s: float) -> None:
    """MTBF / (MTBF + MTTR) of arrivals find the replica up (PASTA); the others wait for MTTR on average."""
    rng, n = np.random.default_rng(int(mtbf_s)), 300_000
    limits = Limits(16, 8, 16, 64, 64)
    setup = Setup("one", tables_of(lambda rows: 1e-9 * rows, 16), limits, mtbf_s=mtbf_s, mttr_s=mttr_s)
    served = serve_fleet([setup], work_of(poisson(0.1, n, rng), 1, 1), seed=3)
    waited_s = np.asarray(served.jobs.scheduled_s - served.jobs.ready_s)
    assert (served.jobs.status == kernel.DONE).all()
    assert_mean(waited_s > 1e-6, mttr_s / (mtbf_s + mttr_s))
    assert_mean(waited_s, mttr_s / (mtbf_s + mttr_s) * mttr_s)


def named_work(names: Ints, size: int) -> Work:
    """Prompts of one unit and a token, one after the other."""
    n = len(names)
    return work_of(np.arange(n) * 1.0, size + 1, 0, names=Named(np.arange(n + 1), names))


@pytest.mark.parametrize("capacity", [5, 40, 150])
def test_hits_of_a_prefix_cache_are_those_of_lru(capacity: int) -> None:
    """Exactly those of a list by last use, and those of Che's approximation (Che et al., IEEE JSAC 20(7), 2002).

    Units are asked for independently with Zipf's law: P(hit of i) = 1 - exp(-p_i t), sum of them = capacity.
    """
    rng, n, items, size = np.random.default_rng(capacity), 40_000, 300, 4
    chance = 1.0 / np.arange(1.0, items + 1.0) ** 0.9
    chance /= chance.sum()
    names = rng.choice(items, n, p=chance)
    limits = Limits(64, 1, size, capacity + 1, 64)
    served = serve_fleet([Setup("one", per_row(64), limits, unit_blocks=1)], named_work(names, size))
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for name in names.tolist():
        hits += name in kept
        kept[name] = None
        kept.move_to_end(name)
        if len(kept) > capacity:
            kept.popitem(last=False)
    assert served.replicas[0, c.HIT_TOKENS] == hits * size
    low, high = 0.0, 1e6
    for _ in range(100):
        t = (low + high) / 2.0
        low, high = (t, high) if (1.0 - np.exp(-chance * t)).sum() < capacity else (low, t)
    assert hits / n == pytest.approx((chance * (1.0 - np.exp(-chance * low))).sum(), abs=0.012)


def test_a_tier_holds_what_was_used_last_beside_the_cache() -> None:
    """With room for every unit on the host each but the first use is a hit; loading takes its time."""
    rng, n, size = np.random.default_rng(1), 2000, 4
    names = rng.integers(0, 100, n)
    limits = Limits(64, 1, size, 11, 64)
    served = serve_fleet([Setup("one", per_row(64), limits, unit_blocks=1, tier_units=100)], named_work(names, size))
    assert served.replicas[0, c.HIT_TOKENS] == (n - len(np.unique(names))) * size


@pytest.mark.parametrize(("depth", "acceptance"), [(1, 0.6), (3, 0.8), (5, 0.3), (4, 1.0), (2, 0.0)])
def test_tokens_of_an_iteration_are_those_expected_of_speculation(depth: int, acceptance: float) -> None:
    """E[N] = (1 - a^(k + 1)) / (1 - a), Leviathan et al. (arXiv:2211.17192), equation 1; the last is cut by the end."""
    n, output = 330, 400
    limits = Limits(64, 1, 16, 64, 1000)
    setup = Setup("one", tables_of(lambda rows: TOKEN_S + 0.0 * rows, 64), limits, drafts=depth, acceptance=acceptance)
    served = serve_fleet([setup], work_of(np.arange(n) * 10.0, 1, output), seed=5)
    iterations = (served.jobs.last_s - served.jobs.first_s) / TOKEN_S
    expected = expected_tokens(depth, acceptance)
    mean, half = batch_means(np.asarray((output - 1) / iterations))
    assert abs(mean - expected) <= half + 0.5 * expected * (depth + 1) / output
    stats = served.replicas[0]
    assert 1.0 + stats[c.ACCEPTED] / (stats[c.DRAFTED] / depth) == pytest.approx(expected, rel=0.02)


def test_a_pool_that_grows_serves_what_one_that_has_it_all_serves() -> None:
    """At 2.4 servers' worth of work a pool of at most 8 keeps enough of them; those beyond are let go at night."""
    rng, mean_s = np.random.default_rng(9), 0.2
    day, night = poisson(12.0, 24_000, rng), 4000.0 + poisson(0.05, 100, rng)
    tokens = rng.geometric(TOKEN_S / mean_s, 24_100)
    limits = Limits(int(tokens.max()), 1, 16, 1 << 20, int(tokens.max()))
    scaling = Scaling(1, 8, 1.0, look_s=1.0, start_s=2.0, patience=5)
    setup = Setup("one", per_row(int(tokens.max())), limits, router="least-outstanding", scaling=scaling)
    served = serve_fleet([setup], work_of(np.concatenate([day, night]), tokens, 0))
    assert (served.jobs.status == kernel.DONE).all()
    waits_s = np.asarray(served.jobs.scheduled_s - served.jobs.ready_s)
    assert waits_s[1000:24_000].mean() < 3.0 * mean_s
    last_s = float(served.jobs.last_s.max())
    there_s = served.replicas[:, c.ACTIVE_S] + np.where(
        served.state[:, c.STATUS] == c.UP, last_s - served.replicas[:, c.SINCE], 0.0
    )
    assert 2.4 * 2000.0 < there_s.sum() < 5.0 * 2000.0 + (last_s - 2000.0) * 1.5
