"""Fitted numbers go into the text of a runtime; prose and all other facts stay."""

from __future__ import annotations

from importlib.resources import files

import pytest

from hardware_specs.facts import Fit, Mark
from simulator.calibration.rewrite import with_fitted
from workloads.runtimes.catalogue import load_runtime

FIT = Fit("runs", ("table",), 'rule with "quotes"', "2026-01-01", ("t4",), 12, ("device", "model"), ("0a1b2c3d",))


def text_of(name: str) -> str:
    return (files("workloads.runtimes") / "data" / f"{name}.toml").read_text(encoding="utf-8")


def test_values_marks_and_the_fit_are_written(tmp_path):
    file = tmp_path / "vllm-2023.toml"
    file.write_text(with_fitted(text_of("vllm-2023"), {"moe": 0.4321, "host_step": 4.567e-3, "launch": 3.21e-6}, FIT))
    runtime, before = load_runtime(file), load_runtime("vllm-2023")
    assert runtime.factors.moe.value == 0.432
    assert (runtime.host_step.text, runtime.launch.text) == ("4.57 ms", "3.21 us")
    assert runtime.host_step.mark is Mark.CALIBRATED
    assert runtime.host_step.fit == FIT
    assert runtime.factors.collective == before.factors.collective
    assert runtime.memory_utilisation == before.memory_utilisation


def test_a_fit_that_no_fact_names_any_more_goes():
    old = (
        'a = { value = "1 us", calibrated = "hand" }\n\n[fits.hand]\nsources = ["x"]\nrule = "r"\ndate = "2026-01-01"\n'
    )
    new = with_fitted(old, {"a": 2e-6}, FIT)
    assert "[fits.hand]" not in new
    assert new.startswith('a = { value = "2 us", calibrated = "runs" }\n\n[fits.runs]\n')


def test_a_fit_that_another_fact_names_stays():
    facts = 'a = { value = 1.0, calibrated = "hand" }\nb = { value = 2.0, calibrated = "hand" }\n'
    old = f'{facts}\n[fits.hand]\nrule = "r"\n'
    assert '[fits.hand]\nrule = "r"\n' in with_fitted(old, {"a": 0.5}, FIT)


def test_writing_the_same_again_changes_nothing():
    once = with_fitted(text_of("llamacpp-2024"), {"gemm": 0.5, "vector": 0.25}, FIT)
    assert with_fitted(once, {"gemm": 0.5, "vector": 0.25}, FIT) == once


def test_a_name_without_a_fact_is_refused():
    with pytest.raises(ValueError, match="no fact gems"):
        with_fitted(text_of("ideal"), {"gems": 1.0}, FIT)
