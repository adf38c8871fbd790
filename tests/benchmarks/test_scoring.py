"""Scores tell rows that a fit has seen from rows held out, by table and device."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from hardware_specs.devices import load_device
from workloads.runtimes.catalogue import load_runtime

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("scoring")


def test_fits_are_found_at_any_depth(scoring: ModuleType) -> None:
    found = {fit.id for fit in scoring.fits_in(load_runtime("neuron-2.20"))}
    assert found == {"prefill", "decode", "collectives"}
    assert not set(scoring.fits_in(load_runtime("ideal")))
    assert not set(scoring.fits_in(load_device("h100-sxm-80gb")))


@pytest.mark.parametrize(
    ("runtime", "device", "source", "fitted"),
    [
        ("llamacpp-cpu", "ryzen-9-7950x", "cpu_edge_misc", True),
        ("llamacpp-cpu", "raspberry-pi-5", "cpu_edge_misc", False),
        ("llamacpp-cpu", "ryzen-9-7950x", "openvino", False),
        ("vllm-2023", "a100-sxm-80gb", "splitwise-sim", True),
        ("vllm-0.19", "a100-sxm-80gb", "splitwise-sim", False),
        ("llamacpp-metal-2024", "apple-m3", "llamacpp_apple_4167", True),
    ],
)
def test_rows_count_as_fitted_by_table_and_device(
    scoring: ModuleType, runtime: str, device: str, source: str, fitted: bool
) -> None:
    assert scoring.is_fitted(runtime, device, source) is fitted


def test_fitted_and_held_out_rows_are_scored_apart(scoring: ModuleType) -> None:
    labels = {"source": "s", "device": "d"}
    rows = [
        scoring.Scored(labels | {"fitted": "yes"}, 1.0, 1.1),
        scoring.Scored(labels | {"fitted": "no"}, 1.0, 2.0),
        scoring.Scored(labels | {"fitted": "no"}, 1.0, reason="unknown"),
    ]
    figures = scoring.overall(rows)
    assert figures["overall_rows"]["n"] == 2
    assert figures["overall_rows_fitted"]["mean_error"] == pytest.approx(0.1)
    assert figures["overall_rows_held_out"]["mean_error"] == pytest.approx(1.0)
    assert figures["overall_rows_held_out"]["skipped"] == 1
