"""Measurements, what they settle, and the advice that comes of it."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from simulator.decisions import measurements as made
from simulator.decisions.advice import Advice, Alternative, advise
from simulator.decisions.measurements import (
    all_together,
    calibrations_of_family,
    left_by_calibrations,
    possible_measurements,
    settled_by,
)
from simulator.decisions.terms import BEYOND, Source, Term, covariance_of
from simulator.uncertainty.intervals import Error
from workloads import operators as op

PRODUCT, WIDE = op.gemm("up", 8, 4096, 1024, "bf16"), op.gemm("down", 8, 1024, 4096, "bf16")


def source(device: str, family: str = "gemm", entry: str = "") -> Source:
    return Source(device, "gpu", "vllm-0.19", family, "bf16", entry)


def shared(device: str, sd: float, family: str = "gemm") -> Term:
    return Term(source(device, family), None, sd)


def beyond(device: str, sd: float) -> Term:
    return Term(source(device, BEYOND), None, sd)


UNSURE = Alternative(
    "unsure", 0.0, {shared("a", 0.3): 0.9, Term(source("a"), PRODUCT, 0.3): 0.5, beyond("a", 0.1): 1.0}
)
KNOWN = Alternative("known", 0.1, {shared("b", 0.002): 1.0, beyond("b", 0.1): 1.0})


def best(advice: Advice) -> tuple[str, str]:
    measurement = advice.options[0].measurement
    return measurement.device, measurement.family


def test_what_is_left_is_the_median_of_the_catalogue() -> None:
    entries = calibrations_of_family("gemm")
    assert len(entries) > 10
    assert all(entry.runtimes for entry in entries), "entries of a class were not measured on one device"
    left = left_by_calibrations("gemm")
    assert left == Error(*(median(getattr(e.residuals, name) for e in entries) for name in ("shared", "own")))
    assert left_by_calibrations("host") is None
    assert left_by_calibrations(BEYOND) is None


def test_only_what_a_calibration_would_better_is_offered() -> None:
    terms = (*UNSURE.loads, *KNOWN.loads)
    (only,) = possible_measurements(terms)
    assert (only.device, only.family, only.runtime, only.dtype) == ("a", "gemm", "vllm-0.19", "bf16")
    assert [terms[place] for place in only.terms] == [shared("a", 0.3), Term(source("a"), PRODUCT, 0.3)]
    left = left_by_calibrations("gemm")
    assert (only.now, only.after) == (Error(0.3, 0.3), left)


def test_a_measurement_leaves_what_calibrations_leave() -> None:
    terms = tuple(UNSURE.loads)
    (only,) = possible_measurements(terms)
    covariance = covariance_of(terms)
    left = np.diag(covariance - settled_by(np.eye(len(terms)), covariance, only))
    assert left == pytest.approx([only.after.shared**2, only.after.own**2, 0.1**2])


def test_one_of_several_entries_counts_where_it_is_off() -> None:
    good, bad = Term(source("a", entry="one"), None, 0.001), Term(source("a", entry="two"), None, 0.4)
    (only,) = possible_measurements((good, bad))
    assert only.terms.tolist() == [1]
    assert only.now.shared == 0.4


def test_a_source_that_nobody_uses_settles_nothing() -> None:
    terms = (*UNSURE.loads, Term(source("c"), WIDE, 0.5))
    loads = np.array([[*UNSURE.loads.values(), 0.0]])
    of_c = [each for each in possible_measurements(terms) if each.device == "c"]
    assert settled_by(loads, covariance_of(terms), of_c[0]).tolist() == [[0.0]]
    assert not [o for o in advise([UNSURE, KNOWN]).options if o.measurement.device == "c"]


def test_together_settle_more() -> None:
    terms = (shared("a", 0.3), shared("a", 0.2, "vector"))
    loads, covariance = np.array([[0.7, 0.3]]), covariance_of(terms)
    several = possible_measurements(terms)
    alone = [settled_by(loads, covariance, each)[0, 0] for each in several]
    both = settled_by(loads, covariance, all_together(several))[0, 0]
    whole = (loads @ covariance @ loads.T)[0, 0]
    assert max(alone) < both < whole


def test_the_unsure_device_is_to_be_measured() -> None:
    advice = advise([UNSURE, KNOWN])
    assert (advice.chosen, advice.rival) == (0, 1)
    assert best(advice) == ("a", "gemm")
    assert advice.options[0].after.flip < advice.now.flip
    assert advice.after_all == advice.options[0].after, "there is one measurement only"
    assert sum(advice.chances) == pytest.approx(1.0)
    assert sum(doubt.share for doubt in advice.doubts) == pytest.approx(1.0)
    assert advice.doubts[0].source.family == BEYOND, "what no probe measures stays"
    assert advice.ratio_sd[1] < advice.ratio_sd[0]


def test_perfect_knowledge_of_the_only_doubt_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "left_by_calibrations", lambda family: Error(0.0, 0.0))
    advice = advise([Alternative("a", 0.0, {shared("a", 0.3): 1.0}), Alternative("b", 0.05, {})])
    assert advice.now.flip > 0.4
    assert advice.options[0].after.flip == pytest.approx(0.0, abs=1e-6)
    assert advice.ratio_sd[1] == pytest.approx(0.0, abs=1e-6)


def test_what_both_alternatives_share_is_not_worth_a_measurement() -> None:
    same = {shared("a", 0.5): 1.0}
    own = [{**same, beyond(name, 0.1): 1.0} for name in ("a", "b")]
    advice = advise([Alternative(name, 0.0, loads) for name, loads in zip("ab", own, strict=True)])
    assert advice.now.flip == pytest.approx(0.5)
    assert advice.options == ()
    assert advice.after_all == pytest.approx(advice.now)


def test_brute_force_agrees() -> None:
    """Draw every term, show the measured ones with noise, and choose by regression on what was shown."""
    advice = advise([UNSURE, KNOWN])
    terms = (*UNSURE.loads, *KNOWN.loads)
    loads = np.array([[each.loads.get(term, 0.0) for term in terms] for each in (UNSURE, KNOWN)])
    (only,) = possible_measurements(terms)
    rng = np.random.default_rng(3)
    errors = rng.multivariate_normal(np.zeros(len(terms)), covariance_of(terms), 400_000)
    shown = errors[:, only.terms] + rng.normal(size=(len(errors), len(only.terms))) * np.sqrt(only.noise)
    truth = np.array([UNSURE.loss, KNOWN.loss]) + errors @ loads.T
    weights = np.linalg.lstsq(shown, truth - truth.mean(axis=0), rcond=None)[0]
    chosen = (np.array([UNSURE.loss, KNOWN.loss]) + shown @ weights).argmin(axis=1)
    rows = np.arange(len(truth))
    assert np.mean(truth.argmin(axis=1) != 0) == pytest.approx(advice.now.flip, abs=3e-3)
    assert np.mean(truth.argmin(axis=1) != chosen) == pytest.approx(advice.options[0].after.flip, abs=3e-3)
    regret = np.mean(truth[rows, chosen] - truth.min(axis=1))
    assert regret == pytest.approx(advice.options[0].after.regret, abs=1e-3)


def test_several_alternatives_rank_measurements_as_two_do() -> None:
    hopeless = Alternative("hopeless", 9.0, {shared("c", 0.3): 1.0})
    two, three = advise([UNSURE, KNOWN]), advise([UNSURE, KNOWN, hopeless])
    assert best(three) == best(two)
    assert three.options[0].after.flip == pytest.approx(two.options[0].after.flip, abs=5e-3)


def test_one_alternative_is_chosen_and_none_is_refused() -> None:
    alone = advise([UNSURE])
    assert (alone.chosen, alone.rival, alone.now.flip, alone.options) == (0, None, 0.0, ())
    with pytest.raises(ValueError, match="nothing to choose from"):
        advise([])
