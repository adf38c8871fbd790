"""A run says what of its time lies between measured calls: on calibrations with their sizes, without, and far away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hardware_specs.calibrations import SizeRange, load_calibration, use_calibration
from reports.rests import reaches_of
from silicost.scenarios import inference_scenario, training_scenario
from simulator.calibration.write import machine_text
from simulator.result import Result
from simulator.simulate import simulate

MakeFile = Callable[..., Path]
Sized = Callable[[SizeRange | None], Result]
EVERYTHING = SizeRange(("0 FLOP", "1 EFLOP"), ("0 B", "1 EB"))
NOTHING_NEAR = SizeRange(("1 EFLOP", "2 EFLOP"), ("1 EB", "2 EB"))


@pytest.fixture
def ran_on(calibration_file: MakeFile) -> Sized:
    """``ran_on(range)``: a short run on a machine whose calibrations were all fitted to calls of this size."""

    def run(measured: SizeRange | None) -> Result:
        path = calibration_file()
        found = load_calibration(path)
        entries = [
            msgspec.structs.replace(each, measured=dict.fromkeys(each.operators, measured) if measured else {})
            for each in found.calibrations
        ]
        path.write_text(machine_text(msgspec.structs.replace(found, calibrations=tuple(entries))))
        use_calibration(path)
        return simulate(inference_scenario("smollm-135m", "my-cpu", batch=1, isl=32, osl=4, dtype="bf16"))

    return run


def test_inside_the_range_it_is_interpolated(ran_on: Sized) -> None:
    result = ran_on(EVERYTHING)
    reach = result.reach_of("my-cpu")
    assert reach.interpolated_s == reach.total_s > 0.0 and not reach.extrapolated_s and not reach.unrecorded_s
    (line,) = reaches_of(result)
    assert line.endswith("Interpolated: 100 % of the time of my-cpu is in calls whose size lies between measured ones.")


def test_far_outside_it_is_extrapolated(ran_on: Sized) -> None:
    result = ran_on(NOTHING_NEAR)
    reach = result.reach_of("my-cpu")
    assert reach.interpolated_s == 0.0
    assert sum(reach.extrapolated_s.values()) == pytest.approx(reach.total_s)
    assert next(iter(reach.extrapolated_s)) == "gemm"
    (line,) = reaches_of(result)
    assert (
        "Extrapolated: no time of my-cpu is in calls whose size lies between measured ones; extrapolated: gemm ("
        in line
    )


def test_without_a_range_it_is_not_recorded_and_all_numbers_are_the_same(ran_on: Sized) -> None:
    result, measured = ran_on(None), ran_on(EVERYTHING)
    (line,) = reaches_of(result)
    assert line.endswith("; whether the shapes lie between theirs is not recorded.")
    assert "nterpolated" not in line
    assert result.metrics == measured.metrics and result.intervals == measured.intervals


def test_shipped_calibrations_record_what_they_were_fitted_to() -> None:
    """An H100 with Llama 3 8B was measured; steps of a batch beyond all tables were not."""
    shares = []
    for batch, isl in ((8, 512), (4096, 8192)):
        result = simulate(inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=batch, isl=isl, osl=4))
        reach = result.reach_of("h100-sxm-80gb")
        assert reach.unrecorded_s < 1e-9 * reach.total_s
        shares.append(reach.interpolated_s / reach.total_s)
    assert shares[0] > 0.9 > 0.8 > shares[1]


def test_training_on_several_devices_leaves_collectives_out() -> None:
    scenario = training_scenario("llama-3.1-8b", "h100-sxm-80gb", count=8, tp=8, global_batch=8, seq_len=2048)
    result = simulate(scenario)
    rows = [each for phase in result.phases for each in phase.operators]
    calls = [each for each in rows if each.family not in ("collective", "transfer", "host")]
    reach = result.reach_of("h100-sxm-80gb")
    assert reach.total_s == pytest.approx(sum(each.time_s for each in calls))
    assert all(each.interpolated_s == each.extrapolated_s == 0.0 for each in rows if each.family == "collective")
    assert all(0.0 <= each.interpolated_s + each.extrapolated_s <= 1.000001 * each.time_s for each in rows)
    assert 0.0 < reach.interpolated_s < reach.total_s
    assert {"attention_backward", "optimizer"} <= set(reach.extrapolated_s)
