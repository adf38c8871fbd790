"""Crossovers of closed forms and of predictions: exact, several, none, and where only one can be run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from simulator.decisions.break_even import (
    EQUAL,
    NEITHER,
    ONLY_A,
    ONLY_B,
    A,
    B,
    Crossover,
    better_of,
    break_even,
    lines,
    unless_refused,
)
from simulator.decisions.knobs import knob_of, result_at
from simulator.scenario import Scenario, StaticBatch
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]


@given(st.integers(2, 5000), st.integers(1, 50))
def test_two_lines_cross_at_a_whole_number(cost: int, slope: int) -> None:
    """Cost + x against (1 + slope) x: the second is cheaper while slope x < cost."""
    found = break_even(lambda x: cost + x, lambda x: (1.0 + slope) * x, "lower", 1.0, 10_000.0, 1.0)
    first = next((x for x in range(1, 10_001) if not slope * x < cost), None)
    changes = [c for c in found.crossovers if c.before == B]
    assert [c.at for c in changes] == ([first] if first and first > 1 else [])


def test_several_crossovers_and_none() -> None:
    wave = {1: 3.0, 2: 1.0, 3: 1.0, 4: 5.0, 5: 2.0, 6: 7.0}
    found = break_even(lambda x: wave[round(x)], lambda x: 2.0, "lower", 1.0, 6.0, 1.0)
    assert found.crossovers == (
        Crossover(2.0, B, A), Crossover(4.0, A, B), Crossover(5.0, B, EQUAL), Crossover(6.0, EQUAL, B),
    )  # fmt: skip
    assert found.exact
    assert [(s.at, s.a, s.b) for s in found.samples] == [(float(x), wave[x], 2.0) for x in range(1, 7)]
    higher = break_even(lambda x: wave[round(x)], lambda x: 2.0, "higher", 1.0, 6.0, 1.0)
    assert [c.after for c in higher.crossovers] == [B, A, EQUAL, A]
    none = break_even(lambda x: x, lambda x: x + 1.0, "lower", 1.0, 1e9, 1.0)
    assert none.crossovers == ()
    assert [each.state for each in none.stretches] == [A]


def test_a_real_crossover() -> None:
    found = break_even(lambda x: 7.0, lambda x: x * x, "lower", 0.1, 100.0)
    (crossover,) = found.crossovers
    assert crossover.at == pytest.approx(7.0**0.5, rel=1e-8)
    assert (crossover.before, crossover.after) == (B, A)


def test_where_one_cannot_be_run() -> None:
    found = break_even(
        lambda x: 1.0 if x <= 10.0 else None, lambda x: None if x > 30.0 else 2.0, "lower", 1.0, 64.0, 1.0
    )
    assert found.crossovers == (Crossover(11.0, A, ONLY_B), Crossover(31.0, ONLY_B, NEITHER))
    assert better_of(1.0, None, "lower") == ONLY_A
    assert better_of(1.0, 1.0 + 1e-15, "lower") == EQUAL

    def refused(x: float) -> float:
        raise InputError("no")

    assert unless_refused(refused)(1.0) is None


def test_a_line_over_a_second_number() -> None:
    found = lines(lambda y: (lambda x: y, lambda x: x), [2.0, 5.0, 50.0], "lower", 1.0, 10.0, 1.0)
    assert [[c.at for c in row.found.crossovers if c.after == A] for row in found] == [[3.0], [6.0], []]
    assert [row.at for row in found] == [2.0, 5.0, 50.0]


def test_devices_cross_where_a_scan_of_all_batches_does(one_pool: MakeScenario) -> None:
    work = StaticBatch(load_model("qwen2.5-1.5b"), 1, 256, 16)
    one, other = (one_pool(work, device) for device in ("xeon-8480-plus", "rtx-4090"))

    def ask(scenario: Scenario, metric: str) -> Callable[[float], float | None]:
        knob = knob_of(scenario, "batch")

        def value(x: float) -> float | None:
            result = result_at(scenario, ((knob, x),))
            return result.metrics[metric] if result.fits else None

        return unless_refused(value)

    metric = "j_per_output_token"
    found = break_even(ask(one, metric), ask(other, metric), "lower", 1.0, 40.0, 1.0)
    brute = [better_of(ask(one, metric)(x), ask(other, metric)(x), "lower") for x in range(1, 41)]
    changes = [x for x in range(2, 41) if brute[x - 1] != brute[x - 2]]
    assert [crossover.at for crossover in found.crossovers] == changes
