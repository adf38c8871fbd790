"""Closed forms: equal to the programs, below them where they are not exact, and what the papers print."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_cases import Case, cases

from hardware_specs.errors import InputError
from simulator.schedules.closed import closed_bubble_s, closed_peak, closed_total_s, least_total_s, unequal_total_s
from simulator.schedules.registry import code_of, names, schedule_of
from simulator.schedules.timeline import Memory, Timeline, run, seconds_of

EXACT_SENDS = {"gpipe": 10.0, "dualpipe": 0.25, "zb-v": 0.25}
"""Longest send for which a form is tried to be exact, in the least F, I and W of a chunk; of the others: that."""


def ran(case: Case, send_s: float = 0.0, pair_share: float = 1.0, freed: float = 0.0) -> Timeline:
    stages = case.program.stage_count
    per = [np.full(stages, case.share * x) for x in (case.f, case.b, case.w)]
    memory = Memory(np.full(stages, case.share), freed)
    return run(case.program, seconds_of(*per), send_s, memory, pair_share=pair_share)


def closed(case: Case, send_s: float = 0.0, pair_share: float = 1.0) -> float:
    sizes = case.p, case.m, case.v
    return float(closed_total_s(code_of(case.name), *sizes, case.f, case.b, case.w, send_s, pair_share))


@pytest.mark.parametrize("name", names())
@settings(deadline=None, max_examples=60)
@given(data=st.data(), pair_share=st.floats(0.3, 1.0))
def test_equal_to_the_program(name: str, data: st.DataObject, pair_share: float) -> None:
    case = data.draw(cases(name))
    assert closed(case, 0.0, pair_share) == pytest.approx(ran(case, 0.0, pair_share).total_s, rel=1e-9)


@pytest.mark.parametrize("name", names())
@settings(deadline=None, max_examples=60)
@given(data=st.data(), send=st.floats(0.0, 1.0), pair_share=st.floats(0.3, 1.0))
def test_equal_to_the_program_with_sends(name: str, data: st.DataObject, send: float, pair_share: float) -> None:
    case = data.draw(cases(name))
    send_s = send * EXACT_SENDS.get(name, 1.0) * min(case.f, case.b, case.w) * case.share
    assert closed(case, send_s, pair_share) == pytest.approx(ran(case, send_s, pair_share).total_s, rel=1e-9)


@settings(deadline=None, max_examples=100)
@given(cases(), st.floats(0.0, 3.0))
def test_no_program_takes_less(case: Case, send_s: float) -> None:
    assert closed(case, send_s) <= ran(case, send_s).total_s * (1 + 1e-9)


@settings(deadline=None, max_examples=100)
@given(cases())
def test_a_bubble_is_never_below_zero(case: Case) -> None:
    times = case.f, case.b, case.w
    assert float(closed_bubble_s(code_of(case.name), case.p, case.m, case.v, *times)) >= -1e-9


@pytest.mark.parametrize("name", names())
@settings(deadline=None, max_examples=60)
@given(data=st.data(), kept=st.one_of(st.just(1.0), st.floats(0.0, 1.0)))
def test_peaks_are_those_of_the_program(name: str, data: st.DataObject, kept: float) -> None:
    case = data.draw(cases(name))
    found = closed_peak(code_of(name), case.p, case.m, case.v, np.arange(case.p), kept)
    assert found == pytest.approx(ran(case, freed=1.0 - kept).peak_bytes, abs=1e-9)


F_S, B_IN_S, W_S = 1.1, 1.4, 0.9


def bubble(name: str, p: int, m: int, v: int, *times: float) -> float:
    return float(closed_bubble_s(code_of(name), p, m, v, *(times or (F_S, B_IN_S, W_S))))


def test_bubbles_of_the_papers() -> None:
    b = B_IN_S + W_S
    for p, m in ((2, 8), (4, 8), (8, 32)):
        assert bubble("gpipe", p, m, 1) == pytest.approx((p - 1) * (F_S + b))
        assert bubble("1f1b", p, m, 1) == pytest.approx((p - 1) * (F_S + b))
        assert bubble("interleaved", p, m, 2) == pytest.approx((p - 1) * (F_S + b) / 2)
        assert bubble("interleaved", p, m, 4) == pytest.approx((p - 1) * (F_S + b) / 4)
        assert bubble("zb-h1", p, m, 1) == pytest.approx((p - 1) * (F_S + B_IN_S - W_S))
        assert bubble("dualpipe", p, 2 * m, 2, 1.0, 1.0, 1.0) == pytest.approx((p / 2 - 1) * (3 + 2 - 3))
        assert bubble("zb-v", p, 2 * m, 2, 1.0, 1.0, 1.0) == pytest.approx((p - 1) / 2)


def test_dualpipe_with_pairs_that_overlap() -> None:
    p, m, share = 4, 20, 0.8
    case = Case("dualpipe", p, m, 2, 1.0, 1.0, 1.0)
    assert ran(case, 0.0, share).bubble_s == pytest.approx((p / 2 - 1) * (3 * share + 2 - 3))


def test_a_zero_bubble_v_never_waits_once_it_has_begun() -> None:
    timeline = ran(Case("zb-v", 6, 16, 2, 1.0, 1.0, 1.0))
    spans = np.nanmax(timeline.end_s, axis=1) - timeline.start_s[:, 0]
    assert spans == pytest.approx(timeline.busy_s)


def test_peaks_of_the_papers() -> None:
    rank = np.arange(4)

    def peak(name: str, m: int, v: int) -> list[float]:
        found: list[float] = closed_peak(code_of(name), 4, m, v, rank).tolist()
        return found

    assert peak("gpipe", 12, 1) == [12.0] * 4
    assert peak("1f1b", 12, 1) == [4.0, 3.0, 2.0, 1.0]
    assert peak("1f1b", 2, 1) == [2.0, 2.0, 2.0, 1.0]
    assert peak("interleaved", 12, 2) == [(2 * (4 - r - 1) + 4 + 1) / 2 for r in range(4)]
    assert max(peak("zb-h1", 12, 1)) == max(peak("1f1b", 12, 1))
    assert closed_peak(code_of("zb-h1"), 4, 12, 1, rank, 0.0).tolist() == peak("1f1b", 12, 1)
    assert peak("dualpipe", 12, 2) == [5.0] * 4
    assert peak("zb-v", 12, 2) == [4.0] * 4


def test_whole_arrays_at_a_time() -> None:
    codes = np.array([code_of(name) for name in ("gpipe", "1f1b", "zb-h1")])[:, None]
    found = closed_total_s(codes, np.array([2, 4, 8]), 16, 1, 1.0, 1.0, 1.0)
    assert found.shape == (3, 3)
    assert found[1].tolist() == [51.0, 57.0, 69.0]
    assert found[2].tolist() == [49.0, 51.0, 55.0]


def test_an_unknown_code() -> None:
    for wrong in (-1, len(names()), 0.5, np.nan):
        with pytest.raises(InputError, match="unknown code of a schedule; allowed: 0 to"):
            closed_total_s(wrong, 2, 4, 1, 1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="broadcast"):
        closed_total_s(0, [2, 3], [1, 2, 3], 1, 1.0, 1.0, 1.0)


def unequal(case: Case, seed: int, spread: float) -> tuple[float, float, float]:
    """Total, estimate and bound of a case whose stages differ [s]."""
    shown = case.program
    own = np.random.default_rng(seed).uniform(1 - spread, 1 + spread, shown.stage_count)
    per = np.outer((case.f, case.b, case.w), own) * case.share
    ranks = per[:, shown.stage_of].sum(axis=2) / schedule_of(case.name).copies
    slowest, summed = ranks[:, ranks.sum(axis=0).argmax()], ranks.sum(axis=1)
    estimate = unequal_total_s(code_of(case.name), case.p, case.m, case.v, slowest, summed)
    return run(shown, seconds_of(*per)).total_s, float(estimate), float(least_total_s(case.m, slowest, summed))


@settings(deadline=None, max_examples=100)
@given(cases(), st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))
def test_no_unequal_program_is_below_the_bound(case: Case, seed: int, spread: float) -> None:
    total_s, _, least_s = unequal(case, seed, spread)
    assert total_s >= least_s * (1 - 1e-9)


@settings(deadline=None, max_examples=60)
@given(cases("gpipe"), st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))
def test_the_estimate_is_exact_for_gpipe(case: Case, seed: int, spread: float) -> None:
    total_s, estimate_s, _ = unequal(case, seed, spread)
    assert estimate_s == pytest.approx(total_s, rel=1e-9)


SHIPPED = ("gpipe", "1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe")
"""A schedule of somebody's own, as in the guide, may be a little further off."""


@pytest.mark.parametrize("name", names())
def test_the_error_of_the_estimate(name: str) -> None:
    draw, errors = np.random.default_rng(7), []
    for seed in range(60):
        p, v = 2 * int(draw.integers(1, 5)), schedule_of(name).chunks or 2
        case = Case(name, p, p * int(draw.integers(2, 9)), v, *draw.uniform(0.3, 1.0, 3))
        total_s, estimate_s, _ = unequal(case, seed, 0.2)
        errors.append(abs(estimate_s / total_s - 1.0))
    assert np.mean(errors) < (0.03 if name in SHIPPED else 0.04)
    assert np.max(errors) < 0.2


@settings(deadline=None, max_examples=60)
@given(cases())
def test_the_estimate_of_equal_stages_is_the_closed_form(case: Case) -> None:
    times = np.array([case.f, case.b, case.w])
    estimate = unequal_total_s(code_of(case.name), case.p, case.m, case.v, times, case.p * times)
    assert float(estimate) == pytest.approx(closed(case), rel=1e-9)
