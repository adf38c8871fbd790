"""What a log of a whole process says, loading included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.validation.assumptions import complete
from simulator.validation.inference import energy_per_token
from simulator.validation.inference_point import point_of
from simulator.validation.logged_power import LOADED_BYTES_PER_S, RATE, loading_share, logged_w
from simulator.validation.predictor import Predictor
from workloads.runtimes.catalogue import load_runtime

ROW = {
    "engine": "llama.cpp", "device": "ryzen-ai-max-395", "n_devices": "1", "model": "llama-2-7b",
    "weight_dtype": "q4_0", "batch": "1", "input_len": "1", "output_len": "128", "metric": "j_per_output_token",
}  # fmt: skip


def scenario() -> Scenario:
    return Predictor({}).scenario(point_of(ROW, "ryzen-ai-max-395", "llamacpp-vulkan-2025"))


def test_loading_takes_its_part_of_the_log() -> None:
    assert loading_share(LOADED_BYTES_PER_S, 0.2, 5.0) == pytest.approx(0.5)
    assert loading_share(0.0, 1.0, 5.0) == loading_share(0.0, 0.0, 5.0) == 0.0


@given(run_w=st.floats(1.0, 1e4), rest_w=st.floats(1.0, 1e4), run_s=st.floats(0.0, 1e4), size=st.floats(0.0, 1e12))
def test_a_log_says_what_lies_between_rest_and_run(run_w: float, rest_w: float, run_s: float, size: float) -> None:
    share = loading_share(size, run_s, 5.0)
    assert 0.0 <= share <= 1.0
    assert share >= loading_share(size, 2.0 * run_s, 5.0)
    low, high = sorted((run_w, rest_w))
    assert low * (1.0 - 1e-12) <= logged_w(run_w, rest_w, share) <= high * (1.0 + 1e-12)


def test_joules_of_a_log_are_its_watts_over_the_rate() -> None:
    result = simulate(scenario())
    of_run, of_log = (
        energy_per_token(result, {"energy_scope": scope}) for scope in ("soc_package", "soc_package (as logged)")
    )
    run_s = result.metrics["e2e_s"]
    assert of_run and of_log and run_s
    share = loading_share(result.memory.weights, run_s, 5.0)
    run_w = result.energy.device / run_s
    assert of_log / of_run == pytest.approx(logged_w(run_w, 0.14 * 120.0, share) / run_w)
    assert of_log < of_run


def test_the_rate_of_loading_is_assumed() -> None:
    logged = {**ROW, "energy_scope": "soc_package (as logged)"}
    spec, runtime = load_device("ryzen-ai-max-395"), load_runtime("llamacpp-vulkan-2025")
    cells, (loading,) = complete(logged, spec, runtime, {})
    assert (loading.column, float(cells[RATE]), len(loading.others)) == ("energy_scope", LOADED_BYTES_PER_S, 2)
    result = simulate(scenario())
    slow, usual, fast = (
        energy_per_token(result, {**logged, RATE: rate}) or 0.0 for rate in ("1.3e9", cells[RATE], "5.2e9")
    )
    assert slow < usual < fast
    assert complete(ROW, spec, runtime, {})[1] == ()
