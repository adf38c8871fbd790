"""Busy machines are told from quiet ones by counters that are given here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from simulator.calibration.machine.busy import Busy, Reading, busy_between, busy_over, read_counters
from simulator.calibration.machine.system_files import SystemFiles

WriteTree = Callable[[Mapping[str, str]], Path]


def stat(user: float, idle: float, steal: float = 0.0, cores: int = 2, guest: float = 0.0) -> str:
    """/proc/stat in seconds of 100 ticks."""
    ticks = [user, 0, 0, idle, 0, 0, 0, steal, guest, 0]
    return "\n".join(
        ["cpu  " + " ".join(f"{t * 100:.0f}" for t in ticks), *(f"cpu{n} 1 1" for n in range(cores)), "ctxt 5"]
    )


class Machine:
    """A machine whose counters go on while a process sleeps."""

    def __init__(
        self, write: WriteTree, before: Mapping[str, str], after: Mapping[str, str], own_s: float = 0.0
    ) -> None:
        self.root, self._write, self._after = write(before), write, after
        self.now_s, self.used_s, self._own_s = 100.0, 7.0, own_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.used_s += self._own_s
        self._write(self._after)

    def look(self, load: float | None = None) -> Busy:
        files = SystemFiles(self.root)
        return busy_over(0.5, files, lambda: self.now_s, self.sleep, lambda: self.used_s, lambda: load)


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.calibration.machine.busy._ticks_per_s", lambda: 100.0)


def test_others_are_what_is_left_without_this_process(write_tree: WriteTree) -> None:
    machine = Machine(write_tree, {"proc/stat": stat(10, 90)}, {"proc/stat": stat(10.9, 90.1)}, own_s=0.5)
    found = machine.look()
    assert (found.cores, found.seconds) == (2, 0.5)
    assert found.others == pytest.approx(0.8)
    assert found.own == pytest.approx(1.0)
    assert found.share == pytest.approx(0.4)
    assert found.says == "other processes use 0.8 of 2 cores; times will be noisy"


def test_a_process_alone_is_quiet(write_tree: WriteTree) -> None:
    machine = Machine(write_tree, {"proc/stat": stat(10, 90)}, {"proc/stat": stat(11.0, 90)}, own_s=1.0)
    assert machine.look().says == ""


def test_guests_are_counted_once(write_tree: WriteTree) -> None:
    machine = Machine(write_tree, {"proc/stat": stat(10, 90)}, {"proc/stat": stat(10.5, 90.5, guest=0.5)})
    assert machine.look().others == pytest.approx(1.0)


def test_steal(write_tree: WriteTree) -> None:
    machine = Machine(write_tree, {"proc/stat": stat(10, 90)}, {"proc/stat": stat(10, 90.8, 0.2)})
    found = machine.look()
    assert found.steal == pytest.approx(0.4)
    assert found.says == "the hypervisor takes 0.4 of 2 cores away; times will be noisy"


def test_one_busy_core_shows_on_a_large_machine(write_tree: WriteTree) -> None:
    before = {"proc/stat": stat(10, 90, cores=96)}
    assert (
        Machine(write_tree, before, {"proc/stat": stat(10.5, 137, cores=96)}).look().says.startswith("other processes")
    )
    assert Machine(write_tree, before, {"proc/stat": stat(10.2, 137, cores=96)}).look().says == ""


def test_a_quota_and_heat_show(write_tree: WriteTree) -> None:
    heat, group = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "sys/fs/cgroup/cpu.stat"
    before = {
        "proc/stat": stat(10, 90), heat: "3", group: "nr_throttled 1\nthrottled_usec 100000",
        "proc/self/cgroup": "0::/", "sys/fs/cgroup/cgroup.controllers": "cpu",
    }  # fmt: skip
    after = {"proc/stat": stat(10, 91), heat: "5", group: "nr_throttled 9\nthrottled_usec 200000"}
    found = Machine(write_tree, before, after).look()
    assert [found.heat, found.quota_share] == pytest.approx([2, 0.2])
    assert (
        found.says
        == "a CPU quota stops this process 20% of the time, CPUs are slowed down for heat; times will be noisy"
    )


def test_without_proc_the_load_average_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    files = SystemFiles(tmp_path)
    times = iter([0.0, 1.0, 2.0, 3.0])
    busy = busy_over(1.0, files, lambda: next(times), lambda seconds: None, lambda: 0.0, lambda: 3.1)
    assert busy.others is None and busy.share is None
    assert busy.says == "the load average is 3.1 on 4 cores; times will be noisy"
    assert busy_over(1.0, files, lambda: next(times), lambda seconds: None, lambda: 0.0, lambda: 0.3).says == ""


def test_where_nothing_is_known_that_is_said(write_tree: WriteTree) -> None:
    empty = Machine(write_tree, {"proc/other": ""}, {})
    assert empty.look().says == "how busy the machine is cannot be read here"


def test_the_load_is_that_of_before(write_tree: WriteTree) -> None:
    files = {"proc/stat": stat(10, 90), "proc/loadavg": "0.25 0.27 0.79 2/93 19150"}
    assert Machine(write_tree, files, {"proc/loadavg": "9 9 9 1/1 1"}).look().load == 0.25


def test_counters_that_step_back_are_nothing() -> None:
    before = Reading(0.0, 10.0, 5.0, 1.0, 3.0, 2, 0.0, 2)
    after = Reading(1.0, 9.0, 4.0, 1.5, 2.0, 1, 0.0, 2)
    assert busy_between(before, after) == Busy(1.0, 2, 0.0, 0.0, 0.5, 0.0, 0, 0.0)


def test_a_window_needs_time() -> None:
    reading = read_counters()
    with pytest.raises(ValueError, match=r"0\.0 s apart"):
        busy_between(reading, reading)


def test_this_machine_can_be_looked_at() -> None:
    found = busy_over(0.02)
    assert found.cores >= 1 and found.seconds > 0.0 and found.own >= 0.0
