"""Rows that a fit has seen are told from others by table and device; what a prediction rests on is said in a line."""

from __future__ import annotations

import msgspec
import pytest

from hardware_specs.devices import load_device
from hardware_specs.facts import Fit, fits_in, group_digest
from simulator.validation import outcome
from simulator.validation.outcome import (
    RUN_GROUPS,
    Prediction,
    blank,
    is_fitted,
    joined,
    outcome_of,
    provenance_of,
    run_key,
)
from workloads.runtimes.catalogue import load_runtime


def test_fits_are_found_at_any_depth() -> None:
    assert {fit.id for fit in fits_in(load_runtime("neuron-2.20"))} == {"prefill", "decode", "collectives"}
    assert not fits_in(load_runtime("ideal"))


@pytest.mark.parametrize(
    ("runtime", "device", "tables", "fitted"),
    [
        ("llamacpp-cpu", "ryzen-9-7950x", ("cpu_edge_misc",), True),
        ("llamacpp-cpu", "ryzen-9-7950x", ("my source", "cpu_edge_misc"), True),
        ("llamacpp-cpu", "raspberry-pi-5", ("cpu_edge_misc",), True),
        ("llamacpp-cpu", "ryzen-9-7950x", ("openvino",), False),
        ("vllm-2023", "h100-sxm-80gb", ("splitwise-sim",), True),
        ("vllm-2023", "a100-sxm-40gb", ("splitwise-sim",), False),
        ("vllm-0.19", "a100-sxm-80gb", ("splitwise-sim",), False),
        ("llamacpp-metal-2024", "apple-m3-max", ("llamacpp_apple_4167",), True),
        ("ideal", "a40", ("vidur",), True),  # the law of its class
        ("ideal", "rtx-4090", ("vidur",), False),
        ("ideal", "tpu-v6e", ("vidur",), False),
    ],
)
def test_rows_count_as_fitted_by_table_and_device(
    runtime: str, device: str, tables: tuple[str, ...], fitted: bool
) -> None:
    assert is_fitted(runtime, device, *tables) is fitted


@pytest.mark.parametrize(("tp", "fitted"), [("4", True), ("4.0", True), ("2", False), ("8", False), ("", True)])
def test_a_fit_to_one_number_of_ways_has_not_seen_others(tp: str, fitted: bool) -> None:
    assert is_fitted("vllm-2023", "h100-sxm-80gb", "splitwise-sim", model="llama-2-70b", tp=tp) is fitted


def test_a_fit_of_grouped_runs_did_not_see_the_groups_that_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = group_digest(run_key("t4", "seen-7b"))
    grouped = Fit("own", ("table",), "rule", "2026-01-01", ("t4",), split_by=RUN_GROUPS, groups=(seen,))
    runtime = load_runtime("ideal")
    step = msgspec.structs.replace(runtime.host_step, fit=grouped)
    monkeypatch.setattr(outcome, "load_runtime", lambda name: msgspec.structs.replace(runtime, host_step=step))
    fitted = is_fitted.__wrapped__
    assert fitted("ideal", "t4", "table", model="seen-7b")
    assert not fitted("ideal", "t4", "table", model="other-7b")
    assert not fitted("ideal", "t4", "other table", model="seen-7b")
    assert fitted("ideal", "t4", "table"), "nothing is known of the model: it may have been seen"


def test_provenance_says_whether_the_row_named_the_runtime() -> None:
    spec, runtime = load_device("t4"), load_runtime("ideal")
    assert provenance_of(spec, runtime, True).endswith("runtime ideal")
    assert "its usual runtime" in provenance_of(spec, runtime, False)


def test_rows_and_columns_say_the_same() -> None:
    rows = [Prediction(1.0, 2.0, runtime="ideal", fitted=True), Prediction(3.0, skip_reason="why")]
    found = joined([outcome_of(rows), blank(1), outcome_of([])])
    assert len(found) == 3
    assert found.observed[:2].tolist() == [1.0, 3.0]
    assert found.skip_reason.tolist() == ["", "why", ""]
    assert found.fitted.tolist() == [True, False, False]
    assert found.take(found.fitted).runtime.tolist() == ["ideal"]
