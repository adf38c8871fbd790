"""RAPL counters of folders, with a clock that is set by hand."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration.machine.system_files import SystemFiles
from simulator.calibration.power.rapl import RaplMeter

WriteTree = Callable[[Mapping[str, str]], Path]
CAP = "sys/class/powercap"
NEVER_S = 1e6


def zone(place: str, name: str, energy_uj: int, range_uj: int = 262143328850) -> dict[str, str]:
    at = f"{CAP}/{place}"
    return {f"{at}/name": name, f"{at}/energy_uj": str(energy_uj), f"{at}/max_energy_range_uj": str(range_uj)}


@pytest.fixture
def two_sockets(write_tree: WriteTree) -> Path:
    files = zone("intel-rapl:0", "package-0", 1_000_000) | zone("intel-rapl:0:0", "core", 5)
    files |= (
        zone("intel-rapl:0:1", "dram", 100_000)
        | zone("intel-rapl:1", "psys", 7)
        | zone("intel-rapl-mmio:0", "package-0", 3)
    )
    return write_tree(files | zone("intel-rapl:2", "package-1", 2_000_000) | {f"{CAP}/intel-rapl/enabled": "1"})


def meter_of(root: Path, times: list[float]) -> RaplMeter:
    clock = iter(times)
    return RaplMeter(SystemFiles(root), lambda: next(clock), NEVER_S)


def energy(place: str, energy_uj: int) -> dict[str, str]:
    return {f"{CAP}/{place}/energy_uj": str(energy_uj)}


def test_packages_and_memory_add_up(two_sockets: Path, write_tree: WriteTree) -> None:
    meter = meter_of(two_sockets, [10.0, 12.0])
    assert meter.missing == ""
    meter.start()
    write_tree(
        energy("intel-rapl:0", 101_000_000) | energy("intel-rapl:0:1", 5_100_000) | energy("intel-rapl:2", 52_000_000)
    )
    write_tree(energy("intel-rapl:1", 999_000_000) | energy("intel-rapl:0:0", 999_000_000))
    found = meter.stop()
    parts = {"package-0": 100.0, "dram of package-0": 5.0, "package-1": 50.0}
    assert dict(found.parts) == pytest.approx(parts)
    assert [found.joules, found.seconds, found.mean_w] == pytest.approx([155.0, 2.0, 77.5])
    assert found.source == "RAPL" and math.isnan(found.clock_hz) and found.throttled == ""


def test_counters_wrap(write_tree: WriteTree) -> None:
    root = write_tree(zone("intel-rapl:0", "package-0", 65_000_000_000, 65_532_610_987))
    meter = meter_of(root, [0.0, 3.0])
    meter.start()
    write_tree(energy("intel-rapl:0", 67_389_013))
    assert meter.stop().joules == pytest.approx(600.0)


def test_a_counter_that_wraps_often_is_followed(write_tree: WriteTree) -> None:
    root = write_tree(zone("intel-rapl:0", "package-0", 0, 100_000_000))
    meter = meter_of(root, [0.0, 1.0])
    meter.start()
    for energy_uj in (60_000_000, 20_000_000, 80_000_000, 40_000_000):
        write_tree(energy("intel-rapl:0", energy_uj))
        meter.sample()
    assert meter.stop().joules == pytest.approx(240.0)


def test_a_range_that_is_hidden_leaves_a_wrap_unknown(write_tree: WriteTree) -> None:
    root = write_tree(zone("intel-rapl:0", "package-0", 50, 0))
    meter = meter_of(root, [0.0, 1.0])
    meter.start()
    write_tree(energy("intel-rapl:0", 10))
    assert math.isnan(meter.stop().joules)


def test_a_counter_that_stands_still_gives_no_energy(two_sockets: Path) -> None:
    meter = meter_of(two_sockets, [0.0, 1.0])
    meter.start()
    found = meter.stop()
    assert math.isnan(found.joules) and math.isnan(found.mean_w) and found.seconds == 1.0


def test_clocks_and_heat(two_sockets: Path, write_tree: WriteTree) -> None:
    cpu = "sys/devices/system/cpu/cpu0"
    write_tree({f"{cpu}/cpufreq/scaling_cur_freq": "1000000", f"{cpu}/thermal_throttle/core_throttle_count": "1"})
    meter = meter_of(two_sockets, [0.0, 1.0])
    meter.start()
    for khz in (3000000, 3200000):
        write_tree({f"{cpu}/cpufreq/scaling_cur_freq": str(khz), f"{cpu}/thermal_throttle/core_throttle_count": "2"})
        meter.sample()
    write_tree({f"{cpu}/cpufreq/scaling_cur_freq": "800000"} | energy("intel-rapl:0", 9_000_000))
    found = meter.stop()
    assert found.clock_hz == pytest.approx(3.1e9)
    assert found.throttled == "heat"


def test_the_thread_follows_by_itself(two_sockets: Path, write_tree: WriteTree) -> None:
    write_tree({"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2500000"})
    meter = RaplMeter(SystemFiles(two_sockets), period_s=0.001)
    sample, sampled = meter._ticker._tick, threading.Event()

    def tick() -> None:
        sample()
        sampled.set()

    meter._ticker._tick = tick
    meter.start()
    assert sampled.wait(30.0)
    write_tree(energy("intel-rapl:0", 1_500_000))
    found = meter.stop()
    assert found.joules == pytest.approx(0.5)
    assert found.clock_hz == pytest.approx(2.5e9)


def test_other_interfaces_serve_where_they_are_alone(write_tree: WriteTree) -> None:
    root = write_tree(zone("intel-rapl-mmio:0", "package-0", 3))
    assert [domain.name for domain in meter_of(root, []).domains] == ["package-0"]


def test_why_not(tmp_path: Path, two_sockets: Path, write_tree: WriteTree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meter_of(tmp_path / "none", []).missing.startswith("no RAPL counters under /sys/class/powercap")
    write_tree({f"{CAP}/intel-rapl:0/energy_uj": "none"})
    assert meter_of(two_sockets, []).missing == "energy_uj of RAPL holds no number"
    read_text = Path.read_text

    def refuse(path: Path, *arguments: Any, **named: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert (
        meter_of(two_sockets, []).missing == "permission denied reading energy_uj of RAPL (root only since Linux 5.10)"
    )


def test_stop_needs_a_start(two_sockets: Path) -> None:
    with pytest.raises(ValueError, match="not started"):
        meter_of(two_sockets, [0.0]).stop()
