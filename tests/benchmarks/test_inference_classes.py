"""Scores of inference by class, on rows that predictions themselves made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.simulate import simulate
from simulator.validation.predictor import Predictor

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import inference_cases
import inference_classes
import inference_folds

ROW = {
    "source": "bench", "engine": "vLLM 0.6.3", "device": "h100-sxm-80gb", "device_class": "gpu", "n_devices": "1",
    "model": "llama-3-8b", "weight_dtype": "bf16", "tp": "1", "batch": "8", "batch_kind": "exact", "input_len": "256",
    "output_len": "64", "metric": "e2e_s", "measured": "4.0", "power_w": "", "energy_scope": "", "quality": "A",
    "note": "",
}  # fmt: skip


def cases(tmp_path: Path, *changes: dict[str, Any]) -> list[inference_cases.Case]:
    """The judged cases of rows that differ from ``ROW`` by ``changes``."""
    lines = [",".join(ROW), *(",".join(str(cell) for cell in (ROW | change).values()) for change in changes)]
    file = tmp_path / "points.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return inference_cases.judged([file])


def test_batches_that_are_known_are_judged(tmp_path: Path) -> None:
    kinds = ["exact", "static", "mean", "", "max", "saturated", "unknown"]
    found = cases(tmp_path, *({"batch_kind": kind} for kind in kinds))
    assert [case.row["batch_kind"] for case in found] == ["exact", "static", "mean", ""]
    assert not cases(tmp_path, {"quality": "C"})


def test_rows_are_scored_in_the_class_of_device_and_software(tmp_path: Path) -> None:
    found = cases(
        tmp_path, {}, {"engine": "llama.cpp"}, {"device": "mi300x"}, {"device": "gaudi-2", "engine": ""},
        {"metric": "j_per_output_token"}, {"device": "no-such-device"},
    )  # fmt: skip
    kinds = [case.kind for case in found]
    assert kinds == ["gpu-servers", "gpu-others", "gpu-others", "asic", "joules", "gpu-others"]
    assert [bool(case.reason) for case in found] == [False] * 5 + [True]


def test_trials_predict_what_simulations_say(tmp_path: Path) -> None:
    metrics = ("ttft_s", "tpot_s", "e2e_s", "prefill_tokens_per_s", "decode_tokens_per_s", "output_tokens_per_s")
    found = cases(tmp_path, *({"metric": metric} for metric in metrics), {"tp": "2", "n_devices": "2"})
    spared = inference_cases.Spared({})
    expected = [np.log(inference_cases.guess_of(case, spared).predicted / case.observed) for case in found]
    assert inference_folds.trials_of(found).log_ratios(spared) == pytest.approx(expected, rel=1e-12)


def test_powers_count_where_no_joules_do(tmp_path: Path) -> None:
    alone = cases(tmp_path, {"power_w": "500"})
    assert [(case.metric, case.kind, case.observed) for case in alone] == [
        ("e2e_s", "gpu-servers", 4.0), ("power_w", "joules", 500.0)
    ]  # fmt: skip
    assert [case.is_energy for case in alone] == [False, True]
    both = cases(tmp_path, {"power_w": "500"}, {"metric": "j_per_output_token"})
    assert [case.metric for case in both] == ["e2e_s", "j_per_output_token"]


def test_the_power_of_a_run_counts_once(tmp_path: Path) -> None:
    metrics = ({"metric": name, "power_w": "500"} for name in ("ttft_s", "e2e_s", "tpot_s"))
    found = [case for case in cases(tmp_path, *metrics) if case.is_energy]
    assert [case.row["ran"] for case in found] == ["e2e_s"]
    two = ({"metric": name, "power_w": watts} for name, watts in (("e2e_s", "500"), ("e2e_s", "400")))
    assert [case.observed for case in cases(tmp_path, *two) if case.is_energy] == [500.0, 400.0]


def test_powers_of_short_runs_and_unclear_scopes_are_left_out(tmp_path: Path) -> None:
    changes = ({"measured": "0.5"}, {"energy_scope": "unclear"}, {"metric": "prefill_tokens_per_s", "measured": "9000"})
    assert not [case for case in cases(tmp_path, *({"power_w": "500"} | each for each in changes)) if case.is_energy]
    assert inference_cases.seconds_of(ROW | {"metric": "decode_tokens_per_s", "measured": "256"}) == 8 * 64 / 256
    assert inference_cases.seconds_of(ROW | {"metric": "tpot_s", "measured": "0.05"}) == 64 * 0.05


def test_powers_of_devices_at_rest_are_left_out(tmp_path: Path) -> None:
    """An H100 of 700 W."""
    watts = ("100", "150", "300")
    assert [case.observed for case in cases(tmp_path, *({"power_w": w} for w in watts)) if case.is_energy] == [
        150.0, 300.0
    ]  # fmt: skip
    assert not [case for case in cases(tmp_path, {"power_w": "150", "n_devices": "2", "tp": "2"}) if case.is_energy]


def test_logs_from_the_start_of_a_process_hold_loading(tmp_path: Path) -> None:
    """13 GB load in 5 s; five runs of 4.0 s follow, and of prompts one before."""
    logged = {"power_w": "400", "energy_scope": "gpu_only (as logged)"}
    assert inference_cases.loading_share(ROW | logged | {"note": "bytes=13000000000"}) == pytest.approx(5.0 / 25.0)
    decoding = logged | {"metric": "decode_tokens_per_s", "measured": "128", "note": "bytes=13000000000"}
    assert inference_cases.loading_share(ROW | decoding) == pytest.approx(5.0 / (5.0 + 5.0 * 4.0))
    assert inference_cases.loading_share(ROW | decoding | {"energy_scope": "gpu_only"}) == 0.0
    prompts = logged | {"metric": "prefill_tokens_per_s", "measured": "512", "note": "bytes=13000000000"}
    assert inference_cases.loading_share(ROW | prompts) == pytest.approx(5.0 / (5.0 + 6.0 * 4.0))
    assert not [case for case in cases(tmp_path, logged | {"note": "bytes=31000000000"}) if case.is_energy]
    whole, alone = (
        inference_cases.guess_of(case, Predictor({})).predicted
        for case in cases(tmp_path, decoding, decoding | {"energy_scope": "gpu_only", "power_w": "401"})
        if case.is_energy
    )
    assert whole == pytest.approx(0.8 * alone + 0.2 * 0.14 * 700.0)


def test_power_is_joules_over_seconds(tmp_path: Path) -> None:
    (_, case) = cases(tmp_path, {"power_w": "400"})
    predictor = Predictor({})
    guess = inference_cases.guess_of(case, predictor)
    (point,) = predictor.known
    again = simulate(predictor.scenario(point))
    assert guess.predicted == pytest.approx(again.energy.device / (again.metrics["e2e_s"] or 0.0))
    assert 50.0 < guess.predicted < 700.0


def test_classes_are_means_over_groups(tmp_path: Path) -> None:
    """A group of one row counts as much as one of three; what is not predicted counts as 100%."""
    found = cases(tmp_path, {}, {}, {}, {"source": "other"})
    guesses = [inference_cases.Guess(4.0 * value) for value in (1.1, 1.2, 0.7, float("nan"))]
    (line,) = inference_classes.table(found, guesses, "shipped", False, False)
    assert line.split()[:5] == ["gpu-servers", "shipped", "2", "4", "1"]
    assert line.split()[6] == f"{(0.2 + 1.0) / 2:.1%}"


def test_a_perfect_measurement_has_no_error(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, {})
    predicted = inference_cases.guess_of(case, Predictor({})).predicted
    (exact,) = cases(tmp_path, {"measured": f"{predicted:.12g}"})
    (guess,) = inference_classes.predicted([exact], "shipped")
    assert guess is not None
    assert inference_cases.error_of(exact, guess) < 1e-9


def test_a_datasheet_has_nothing_fitted_to_its_device(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, {})
    (known,), (sheet,) = (inference_classes.predicted([case], view) for view in ("shipped", "datasheet"))
    assert known is not None and sheet is not None
    assert known.predicted != sheet.predicted
    (after,) = inference_classes.predicted([case], "shipped")
    assert after == known


def test_one_model_alone_is_not_refitted(tmp_path: Path) -> None:
    found = cases(tmp_path, *({"batch": str(batch)} for batch in (1, 2, 4, 8, 16)))
    runtimes, honest = inference_folds.refitted(found, "model")
    assert runtimes == [{}] * 5
    assert honest == [False] * 5
