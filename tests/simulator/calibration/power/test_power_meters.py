"""GPU energy by counter or by samples, and what stands in where there is no meter."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration.machine.nvml import Nvml
from simulator.calibration.machine.system_files import SystemFiles
from simulator.calibration.power.energy import Energy
from simulator.calibration.power.gpu_power import NvmlMeter
from simulator.calibration.power.power_meters import NoMeter, meter_for
from simulator.calibration.power.rapl import RaplMeter

WriteTree = Callable[[Mapping[str, str]], Path]
NEVER_S = 1e6


def meter_of(module: Any, times: list[float], **named: Any) -> NvmlMeter:
    clock = iter(times)
    return NvmlMeter(Nvml(module), 0, lambda: next(clock), NEVER_S, named.get("environ", {}))


def test_the_counter_gives_energy(nvml_of: Any, h100: dict[str, Any]) -> None:
    gpu = h100 | {"TotalEnergyConsumption": 5_000_000}
    meter = meter_of(nvml_of(gpu), [10.0, 12.0])
    assert meter.missing == ""
    meter.start()
    gpu |= {"ClockInfo": {1: 1700}, "CurrentClocksEventReasons": 0x04}
    meter.sample()
    gpu |= {"ClockInfo": {1: 1500}, "CurrentClocksEventReasons": 0x20}
    meter.sample()
    gpu |= {"ClockInfo": {1: 345}, "CurrentClocksEventReasons": 0x1, "TotalEnergyConsumption": 6_300_000}
    found = meter.stop()
    assert [found.joules, found.seconds, found.mean_w] == pytest.approx([1300.0, 2.0, 650.0])
    assert found.clock_hz == pytest.approx(1.6e9)
    assert found.throttled == "software power cap, software thermal slowdown"
    assert found.source == "NVML energy counter"


def test_a_counter_that_did_not_move_gives_nothing(nvml_of: Any, h100: dict[str, Any]) -> None:
    meter = meter_of(nvml_of(h100), [0.0, 0.01])
    meter.start()
    found = meter.stop()
    assert math.isnan(found.joules) and found.seconds == pytest.approx(0.01)
    assert found.clock_hz == pytest.approx(1.755e9)


def test_samples_of_power_are_integrated(nvml_of: Any) -> None:
    gpu = {"PowerUsage": [100_000, 100_000, 200_000, 400_000, 100_000]}
    meter = meter_of(nvml_of(gpu), [0.0, 1.0, 1.5, 3.5])
    assert meter.missing == ""
    meter.start()
    meter.sample()
    meter.sample()
    found = meter.stop()
    assert found.joules == pytest.approx(150.0 + 150.0 + 500.0)
    assert (found.seconds, found.source) == (3.5, "NVML power samples")
    assert math.isnan(found.clock_hz) and found.throttled == ""


def test_a_gpu_that_falls_silent_gives_nothing(nvml_of: Any) -> None:
    gpu: dict[str, Any] = {"PowerUsage": 100_000}
    meter = meter_of(nvml_of(gpu), [0.0, 1.0])
    meter.start()
    del gpu["PowerUsage"]
    assert math.isnan(meter.stop().joules)


def test_the_thread_samples_by_itself(nvml_of: Any) -> None:
    meter = NvmlMeter(Nvml(nvml_of({"PowerUsage": 250_000, "ClockInfo": {1: 1000}})), period_s=0.001, environ={})
    sample, sampled = meter._ticker._tick, threading.Event()

    def tick() -> None:
        sample()
        sampled.set()

    meter._ticker._tick = tick
    meter.start()
    assert sampled.wait(30.0)
    found = meter.stop()
    assert found.mean_w == pytest.approx(250.0)
    assert found.clock_hz == pytest.approx(1e9)


def test_a_meter_can_start_again(nvml_of: Any, h100: dict[str, Any]) -> None:
    gpu = h100 | {"TotalEnergyConsumption": [0, 1000, 2000, 2000, 5000]}
    meter = meter_of(nvml_of(gpu), [0.0, 1.0, 5.0, 6.0])
    meter.start()
    assert meter.stop().joules == pytest.approx(1.0)
    with pytest.raises(ValueError, match="not started"):
        meter.stop()
    meter.start()
    assert meter.stop().joules == pytest.approx(3.0)


def test_why_a_gpu_has_no_meter(nvml_of: Any, h100: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: Any, index: int = 0, environ: Mapping[str, str] | None = None) -> str:
        meter = meter_for("gpu", index, nvml=Nvml(module), environ=environ or {})
        assert isinstance(meter, NoMeter)
        return meter.missing

    assert missing(nvml_of({"Name": "mute"})) == "GPU 0 tells neither energy nor power"
    assert missing(nvml_of(h100), 1) == "there is no GPU 1"
    assert missing(nvml_of(h100), 0, {"CUDA_VISIBLE_DEVICES": ""}) == "there is no GPU 0"
    assert missing(nvml_of(h100, fails="Driver Not Loaded")) == "no NVIDIA driver that answers (Driver Not Loaded)"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert meter_for("gpu").missing == "nvidia-ml-py is not installed"


def test_the_usable_meter_is_picked(nvml_of: Any, h100: dict[str, Any], tmp_path: Path, write_tree: WriteTree) -> None:
    assert isinstance(meter_for("gpu", nvml=Nvml(nvml_of(h100)), environ={}), NvmlMeter)
    zone = "sys/class/powercap/intel-rapl:0"
    root = write_tree({f"{zone}/name": "package-0", f"{zone}/energy_uj": "1", f"{zone}/max_energy_range_uj": "9"})
    assert isinstance(meter_for("cpu", files=SystemFiles(root)), RaplMeter)
    assert meter_for("cpu", files=SystemFiles(tmp_path / "none")).missing.startswith("no RAPL counters")


def test_no_meter_still_gives_the_time() -> None:
    clock = iter([1.0, 3.5])
    meter = NoMeter("none here", lambda: next(clock))
    with pytest.raises(ValueError, match="not started"):
        meter.stop()
    meter.start()
    found = meter.stop()
    assert found.seconds == 2.5 and math.isnan(found.joules) and math.isnan(found.mean_w)


def test_mean_power_needs_time() -> None:
    assert Energy(10.0, 4.0).mean_w == 2.5
    assert math.isnan(Energy(10.0, 0.0).mean_w)
