"""Orders of plans: what is compared, rank correlation, and what a choice by prediction costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulator.validation.outcome import Outcome, Prediction, outcome_of
from simulator.validation.points import Points
from simulator.validation.ranking import FEWEST, rankings_of, regret

MakePoints = Callable[..., Points]
ROW = {"source": "lab", "device": "a100-sxm-80gb", "model": "m", "n_devices": "8", "global_batch": "32",
       "seq_len": "2048", "precision": "bf16", "tp": "1", "pp": "1", "micro_batch": "1"}  # fmt: skip
MEASURED, PREDICTED = (1.0, 2.0, 3.0, 4.0), (2.0, 1.0, 3.0, 4.0)


def scored(
    points: MakePoints, rows: list[dict[str, str]], predicted: list[Prediction], kind: str = "training"
) -> tuple[Points, Outcome]:
    return points(kind, rows), outcome_of(predicted)


def plans(count: int = FEWEST, **other: str) -> list[dict[str, str]]:
    return [{**ROW, "micro_batch": str(number + 1), **other} for number in range(count)]


def times(measured: tuple[float, ...] = MEASURED, predicted: tuple[float, ...] = PREDICTED) -> list[Prediction]:
    return [Prediction(observed=y, predicted=p, fitted=p > 3.0) for y, p in zip(measured, predicted, strict=True)]


def test_regret_is_what_the_choice_costs() -> None:
    assert regret(np.array(MEASURED), np.array(MEASURED)) == 0.0
    assert regret(np.array(MEASURED), np.array(PREDICTED)) == pytest.approx(1.0)
    assert regret(np.array([1.0, 1.5]), np.array([2.0, 2.0])) == pytest.approx(0.5), "no choice is the worse one"


def test_figures_of_one_model(points: MakePoints) -> None:
    (one,) = rankings_of([scored(points, plans(), times())])
    assert (one["source"], one["device"], one["comparisons"], one["rows"], one["seen"]) == (
        "lab", "a100-sxm-80gb", 1, 4, 1,
    )  # fmt: skip
    assert one["kendall_tau"] == one["least_tau"] == pytest.approx(4 / 6)
    assert one["regret"] == one["median_regret"] == one["most_regret"] == pytest.approx(1.0)


def test_models_are_compared_with_themselves(points: MakePoints) -> None:
    both = scored(points, [*plans(), *plans(model="other")], [*times(), *times(predicted=MEASURED)])
    (one,) = rankings_of([both])
    assert (one["comparisons"], one["rows"]) == (2, 8)
    assert one["kendall_tau"] == pytest.approx((4 / 6 + 1.0) / 2.0)
    assert (one["least_tau"], one["regret"], one["most_regret"]) == (pytest.approx(4 / 6), 0.5, 1.0)


@pytest.mark.parametrize("column", ["n_devices", "global_batch", "seq_len", "precision", "device", "source"])
def test_what_differs_beside_the_plan_is_no_comparison(points: MakePoints, column: str) -> None:
    rows = plans()
    rows[0][column] = "16"
    assert rankings_of([scored(points, rows, times())]) == []


def test_fewer_plans_have_no_order(points: MakePoints) -> None:
    assert rankings_of([scored(points, [ROW] * FEWEST, times())]) == []
    skipped = [*times()[:3], Prediction(observed=4.0, skip_reason="unknown")]
    assert rankings_of([scored(points, plans(), skipped)]) == []
    left_out = [*times()[:3], Prediction(observed=4.0, predicted=4.0, left_out="another")]
    assert rankings_of([scored(points, plans(), left_out)]) == []
    assert rankings_of([scored(points, plans(), times(), "inference")]) == []
