"""Rows that a fit has seen are told from others by table and device; what a prediction rests on is said in a line."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from simulator.validation.outcome import Prediction, blank, fits_in, is_fitted, joined, outcome_of, provenance_of
from workloads.runtimes.catalogue import load_runtime


def test_fits_are_found_at_any_depth() -> None:
    assert {fit.id for fit in fits_in(load_runtime("neuron-2.20"))} == {"prefill", "decode", "collectives"}
    assert not fits_in(load_runtime("ideal"))


@pytest.mark.parametrize(
    ("runtime", "device", "tables", "fitted"),
    [
        ("llamacpp-cpu", "ryzen-9-7950x", ("cpu_edge_misc",), True),
        ("llamacpp-cpu", "ryzen-9-7950x", ("my source", "cpu_edge_misc"), True),
        ("llamacpp-cpu", "raspberry-pi-5", ("cpu_edge_misc",), False),
        ("llamacpp-cpu", "ryzen-9-7950x", ("openvino",), False),
        ("vllm-2023", "a100-sxm-80gb", ("splitwise-sim",), True),
        ("vllm-0.19", "a100-sxm-80gb", ("splitwise-sim",), False),
        ("llamacpp-metal-2024", "apple-m3", ("llamacpp_apple_4167",), True),
        ("ideal", "a40", ("vidur",), True),  # the law of its class
        ("ideal", "rtx-4090", ("vidur",), False),
        ("ideal", "tpu-v6e", ("vidur",), False),
    ],
)
def test_rows_count_as_fitted_by_table_and_device(
    runtime: str, device: str, tables: tuple[str, ...], fitted: bool
) -> None:
    assert is_fitted(runtime, device, *tables) is fitted


def test_provenance_says_whether_the_row_named_the_runtime() -> None:
    spec, runtime = load_device("t4"), load_runtime("ideal")
    assert provenance_of(spec, runtime, True).endswith("runtime ideal")
    assert "its usual runtime" in provenance_of(spec, runtime, False)


def test_rows_and_columns_say_the_same() -> None:
    rows = [Prediction(1.0, 2.0, runtime="ideal", fitted=True), Prediction(3.0, skip_reason="why")]
    outcome = joined([outcome_of(rows), blank(1), outcome_of([])])
    assert len(outcome) == 3
    assert outcome.observed[:2].tolist() == [1.0, 3.0]
    assert outcome.skip_reason.tolist() == ["", "why", ""]
    assert outcome.fitted.tolist() == [True, False, False]
    assert outcome.take(outcome.fitted).runtime.tolist() == ["ideal"]
