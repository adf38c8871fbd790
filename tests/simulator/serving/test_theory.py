"""Queues whose answers are known: single servers, processor sharing, infinite servers, closed networks, two replicas.

Step tables made by hand turn the scheduler into each of them. Means are compared within their confidence interval by
batch means (32 batches, t quantile of 99.9%); sample paths exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from hand_made import asked_of, random_case, tables_of

from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.serving.cluster import Limits, Served, serve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BATCHES: Final = 32
T_999: Final = 3.63
"""Two-sided quantile of Student's t with 31 degrees of freedom at 99.9%."""
TOKEN_S: Final = 1e-3
REQUESTS: Final = 1_320_000


def batch_means(values: Floats) -> tuple[float, float]:
    """Mean and half width of its interval; the first batch, which begins with an empty system, is left out."""
    means = values[: len(values) // (BATCHES + 1) * (BATCHES + 1)].reshape(BATCHES + 1, -1).mean(axis=1)[1:]
    return float(means.mean()), float(T_999 * means.std(ddof=1) / np.sqrt(BATCHES))


def assert_mean(values: Floats, expected: float, slack: float = 0.0) -> None:
    """``slack`` is what the model is allowed to be off by, as a share of ``expected``."""
    mean, half = batch_means(values)
    assert half < 0.15 * expected, "too few requests to tell"
    assert abs(mean - expected) <= half + slack * expected, (mean, half, expected)


def draw(kind: str, mean: int, n: int, rng: np.random.Generator) -> tuple[Ints, float]:
    """Whole numbers of this mean, and their mean square."""
    if kind == "constant":
        return np.full(n, mean), float(mean) ** 2
    if kind == "exponential":
        p = 1.0 / mean
        return rng.geometric(p, n), (2.0 - p) / p**2
    few, many = mean // 5, mean * 9
    share = (mean - few) / (many - few)
    return np.where(rng.random(n) < share, many, few), share * many**2 + (1.0 - share) * few**2


def poisson(rate: float, n: int, rng: np.random.Generator) -> Floats:
    return np.cumsum(rng.exponential(1.0 / rate, n))


def single_server(bare: Prepared, arrival_s: Floats, work: Ints, **options: object) -> Served:
    """One request at a time, a millisecond for each of its prompt's tokens; one token is the answer."""
    most = int(work.max())
    limits = Limits(most, 1, 16, most, most + 1)
    tables = tables_of(lambda tokens: TOKEN_S * tokens, most)
    return serve(
        bare, bare.scenario.workload.model, asked_of(arrival_s, work, 1), limits, tables=tables, **options,  # type: ignore
    )  # fmt: skip


def waits(served: Served) -> Floats:
    return served.requests.scheduled_s - served.requests.arrival_s


def sojourns(served: Served) -> Floats:
    return served.requests.last_s - served.requests.arrival_s


@pytest.mark.parametrize("kind", ["constant", "exponential", "two sizes"])
@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_mean_wait_is_that_of_pollaczek_and_khinchine(bare: Prepared, kind: str, load: float) -> None:
    rng = np.random.default_rng(int(100 * load))
    work, square = draw(kind, 1000, REQUESTS, rng)
    rate = load / (1000 * TOKEN_S)
    served = single_server(bare, poisson(rate, REQUESTS, rng), work)
    assert_mean(waits(served), rate * square * TOKEN_S**2 / (2.0 * (1.0 - load)))
    stats = served.replicas[0]
    assert stats[kernel.BUSY_S] / stats[kernel.TIME] == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waits_of_an_m_m_1_queue_are_distributed_as_known(bare: Prepared, load: float) -> None:
    """P(W > t) = load exp(-(mu - lambda) t); the mean number in the system is load / (1 - load)."""
    rng = np.random.default_rng(7)
    mean_s = 1000 * TOKEN_S
    work, _ = draw("exponential", 1000, REQUESTS, rng)
    served = single_server(bare, poisson(load / mean_s, REQUESTS, rng), work)
    for t in (0.0, mean_s, 3.0 * mean_s):
        assert_mean((waits(served) > t).astype(np.float64), load * np.exp(-(1.0 - load) * t / mean_s))
    stats = served.replicas[0]
    inside = (stats[kernel.QUEUE_S] + stats[kernel.RUNNING_S]) / stats[kernel.TIME]
    assert inside == pytest.approx(load / (1.0 - load), rel=0.05)


def test_each_wait_is_that_of_lindleys_recursion(bare: Prepared) -> None:
    rng = np.random.default_rng(3)
    work, _ = draw("two sizes", 100, 5000, rng)
    arrival_s = poisson(0.95 / (100 * TOKEN_S), 5000, rng)
    wait, expected = 0.0, []
    for gap, own in zip(np.diff(arrival_s, append=np.inf), work * TOKEN_S, strict=True):
        expected.append(wait)
        wait = max(0.0, wait + own - gap)
    assert waits(single_server(bare, arrival_s, work)) == pytest.approx(np.array(expected), rel=1e-9, abs=1e-9)


def shared(bare: Prepared, arrival_s: Floats, tokens: Ints, per_row: bool) -> Served:
    """Answers of ``tokens`` to prompts of one: iterations take a time for each row, or the same whatever they hold."""
    limits = Limits(4096, 1024, 16, 1 << 20, int(tokens.max()) + 1)
    tables = tables_of(lambda rows: TOKEN_S * (rows if per_row else np.ones_like(rows)), 4096)
    return serve(bare, bare.scenario.workload.model, asked_of(arrival_s, 1, tokens), limits, tables=tables)


@pytest.mark.parametrize("kind", ["constant", "exponential", "two sizes"])
def test_sequences_that_share_iterations_share_the_processor(bare: Prepared, kind: str) -> None:
    """M/G/1-PS: E[T | x] = x / (1 - load), whatever the sizes; exact as tokens become short, here 400 to a request.

    What is left (1.5%) is the wait for the iteration under way, at most half an iteration on average.
    """
    rng, load, n = np.random.default_rng(5), 0.7, 60_000
    tokens, _ = draw(kind, 400, n, rng)
    served = shared(bare, poisson(load / (400 * TOKEN_S), n, rng), tokens, True)
    assert_mean(sojourns(served), 400 * TOKEN_S / (1.0 - load), 0.015)
    stats = served.replicas[0]
    assert stats[kernel.RUNNING_S] / stats[kernel.TIME] == pytest.approx(load / (1.0 - load), rel=0.08)
    if kind == "two sizes":
        for size in np.unique(tokens):
            assert_mean(sojourns(served)[tokens == size], size * TOKEN_S / (1.0 - load), 0.03)


def test_iterations_that_cost_the_same_are_infinitely_many_servers(bare: Prepared) -> None:
    """M/G/infinity: service takes its own time, the number in service has the mean of the load.

    A request waits for the iteration under way, on average half of one.
    """
    rng, n, rate = np.random.default_rng(11), 100_000, 200.0
    tokens, _ = draw("exponential", 250, n, rng)
    served = shared(bare, poisson(rate, n, rng), tokens, False)
    requests, stats = served.requests, served.replicas[0]
    assert requests.last_s - requests.scheduled_s == pytest.approx(tokens * TOKEN_S, rel=1e-9)
    assert stats[kernel.RUNNING_S] / stats[kernel.TIME] == pytest.approx(rate * 250 * TOKEN_S, rel=0.02)
    assert_mean(waits(served), TOKEN_S / 2.0)
    assert np.quantile(waits(served), [0.25, 0.9]) == pytest.approx([0.25 * TOKEN_S, 0.9 * TOKEN_S], rel=0.02)


@pytest.mark.parametrize("clients", [1, 3, 10])
def test_a_closed_loop_keeps_its_server_busy(bare: Prepared, clients: int) -> None:
    """Without think time N clients of one server see N services: throughput is 1 / E[S], response N E[S]."""
    work, _ = draw("two sizes", 50, 4000, np.random.default_rng(clients))
    served = single_server(bare, np.zeros(4000), work, concurrency=clients)
    stats = served.replicas[0]
    assert stats[kernel.TIME] == pytest.approx(work.sum() * TOKEN_S, rel=1e-9)
    assert stats[kernel.BUSY_S] == pytest.approx(stats[kernel.TIME], rel=1e-12)
    expected = np.convolve(work, np.ones(clients))[clients - 1 : 4000] * TOKEN_S
    assert sojourns(served)[clients - 1 :] == pytest.approx(expected, rel=1e-9)


def test_replicas_in_turn_are_queues_of_every_second_arrival(bare: Prepared) -> None:
    """E2/M/1: W = s / (mu (1 - s)) with s = A(mu (1 - s)), A the transform of the gaps (Kleinrock, vol. 1, 6.4)."""
    rng, load, mean_s = np.random.default_rng(2), 0.8, 1.0
    work, _ = draw("exponential", 1000, REQUESTS, rng)
    rate = 2.0 * load / mean_s
    found = {
        router: waits(single_server(bare, poisson(rate, REQUESTS, rng), work, replicas=2, router=router))
        for router in ("round-robin", "least-outstanding")
    }
    s = 0.5
    for _ in range(200):
        s = (rate / (rate + (1.0 - s) / mean_s)) ** 2
    in_turn = s * mean_s / (1.0 - s)
    assert_mean(found["round-robin"], in_turn)
    one_queue = mean_s * load**2 / (1.0 - load**2)
    assert one_queue < batch_means(found["least-outstanding"])[0] < 0.8 * in_turn


def test_time_in_queue_and_batch_adds_up_to_time_in_the_system(pools: tuple[Prepared, ...]) -> None:
    """Little's law, exactly: the integrals of the numbers are the sums of the times; preemptions, routers and all."""
    for seed in range(300):
        case = random_case(seed)
        served = serve(
            pools[seed % 2], pools[0].scenario.workload.model, case.asked, case.limits, replicas=case.replicas,
            router=case.router, concurrency=case.concurrency, seed=case.seed, tables=case.tables,
        )  # fmt: skip
        requests, stats = served.requests, served.replicas
        done = requests.status == kernel.DONE
        for r in range(case.replicas):
            own = done & (requests.replica == r)
            total = sojourns(served)[own].sum()
            assert stats[r, kernel.QUEUE_S] + stats[r, kernel.RUNNING_S] == pytest.approx(total, rel=1e-9, abs=1e-12)
            assert stats[r, kernel.BUSY_S] == pytest.approx(
                covered(requests.arrival_s[own], requests.last_s[own]), rel=1e-9, abs=1e-12
            )


def covered(begin_s: Floats, end_s: Floats) -> float:
    """Time in which at least one of some requests is in the system [s]."""
    total, reached = 0.0, -np.inf
    for begin, end in sorted(zip(begin_s.tolist(), end_s.tolist(), strict=True)):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
