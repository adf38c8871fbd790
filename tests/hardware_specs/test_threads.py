"""CPUs of which some cores are used."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.threads import CORE_BYTES_PER_S, usual_clock_gain, with_threads

RYZEN = load_device("ryzen-9-7950x")


def test_all_cores_or_no_number_change_nothing() -> None:
    assert with_threads(RYZEN, 0) is RYZEN
    assert with_threads(RYZEN, 16) is RYZEN
    assert with_threads(RYZEN, 64) is RYZEN


def test_few_cores_have_fewer_lanes_at_a_higher_clock() -> None:
    two = with_threads(RYZEN, 2)
    share = two.compute.peaks["fp32"].value / RYZEN.compute.peaks["fp32"].value
    assert two.compute.units is not None
    assert two.compute.units.value == 2.0
    assert 2.0 / 16.0 < share < 2.0 / 16.0 * 5.7 / 4.5


def test_one_core_draws_what_it_keeps_in_flight_and_many_the_whole() -> None:
    assert with_threads(RYZEN, 1).memory.bandwidth.value == CORE_BYTES_PER_S
    assert with_threads(RYZEN, 8).memory.bandwidth.value == RYZEN.memory.bandwidth.value


@pytest.mark.parametrize("name", ["ryzen-9-7950x", "xeon-8480-plus", "core-i5-1035g7"])
def test_clocks_lie_between_base_and_boost_and_fall_with_cores(name: str) -> None:
    spec = load_device(name)
    base, boost, cores = spec.compute.clock_base, spec.compute.clock_boost, spec.compute.units
    assert base and boost and cores
    gains = [usual_clock_gain(spec, threads) for threads in range(1, int(cores.value) + 1)]
    assert gains[0] == pytest.approx(boost.value / base.value)
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] == pytest.approx(usual_clock_gain(spec))
    assert gains[-1] > 1.0
