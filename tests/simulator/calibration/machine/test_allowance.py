"""What a process may use: affinity, CPU quotas and memory limits of both versions of control groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from simulator.calibration.machine.allowance import throttled_s
from simulator.calibration.machine.environment import read_environment
from simulator.calibration.machine.system_files import SystemFiles

WriteTree = Callable[[Mapping[str, str]], Path]
GIB = 2**30
V2 = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"


def test_affinity_counts_cores_not_threads(xeon: Path, write_tree: WriteTree) -> None:
    write_tree({"proc/self/status": "Cpus_allowed_list:\t0,8,1"})
    allowance = read_environment(xeon, environ={}).allowance
    assert (allowance.cpus, allowance.logical_cores, allowance.physical_cores, allowance.sockets) == ("0,8,1", 3, 2, 1)


def test_caches_of_other_sockets_do_not_serve(xeon: Path, write_tree: WriteTree) -> None:
    write_tree({"proc/self/status": "Cpus_allowed_list:\t4"})
    found = read_environment(xeon, environ={})
    assert found.cache_bytes == 105 * 2**20
    assert [(cache.count, cache.usable) for cache in found.processor.caches] == [(8, 1), (8, 1), (8, 1), (2, 1)]


def test_cpus_that_are_offline_cannot_be_used(epyc_vm: Path, write_tree: WriteTree) -> None:
    write_tree({"proc/self/status": "Cpus_allowed_list:\t0-127"})
    assert read_environment(epyc_vm, environ={}).allowance.logical_cores == 2


@pytest.mark.parametrize(
    "group",
    [
        {"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"},
        {"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000",
         "sys/fs/cgroup/a/cpu.max": "150000 100000", "sys/fs/cgroup/cgroup.controllers": "cpu"},
        {"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "75000 50000"},
        {"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/../other", "sys/fs/cgroup/cpu.max": "150000 100000"},
        {"proc/self/mountinfo": "", "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000",
         "sys/fs/cgroup/cgroup.controllers": "cpu memory"},
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        {"proc/self/cgroup": "1:cpu,cpuacct:/docker/abc",
         "proc/self/mountinfo": "9 1 0:2 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
         "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000",
         "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"},
    ],
    ids=["v2", "v2 parent", "v2 period", "v2 outside", "v2 no mounts", "v1", "v1 docker"],
)  # fmt: skip
def test_a_quota_of_one_and_a_half_cpus(epyc_vm: Path, write_tree: WriteTree, group: dict[str, str]) -> None:
    write_tree(group)
    found = read_environment(epyc_vm, environ={})
    assert found.allowance.quota_cores == 1.5
    assert (found.cores, found.threads) == (1.5, 1)


@pytest.mark.parametrize(("text", "quota"), [("max 100000", None), ("400000 100000", 4.0), ("", None), ("1 0", None)])
def test_a_wide_quota_leaves_the_cores(epyc_vm: Path, write_tree: WriteTree, text: str, quota: float | None) -> None:
    write_tree({"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": text})
    found = read_environment(epyc_vm, environ={})
    assert (found.allowance.quota_cores, found.cores) == (quota, 2.0)


def test_the_tightest_memory_limit_holds_and_files_can_be_dropped(epyc_vm: Path, write_tree: WriteTree) -> None:
    write_tree({
        "proc/self/mountinfo": V2, "proc/self/cgroup": "0::/pod/one", "sys/fs/cgroup/pod/one/memory.max": str(8 * GIB),
        "sys/fs/cgroup/pod/one/memory.current": "5", "sys/fs/cgroup/pod/memory.max": str(4 * GIB),
        "sys/fs/cgroup/pod/memory.current": str(3 * GIB),
        "sys/fs/cgroup/pod/memory.stat": f"anon 5\ninactive_file {GIB}",
        "sys/fs/cgroup/memory.max": "max",
    })  # fmt: skip
    found = read_environment(epyc_vm, environ={})
    assert (found.allowance.memory_limit_bytes, found.allowance.memory_used_bytes) == (4 * GIB, 2 * GIB)
    assert found.free_bytes == 2 * GIB


def test_a_memory_limit_of_version_one(epyc_vm: Path, write_tree: WriteTree) -> None:
    place = "sys/fs/cgroup/memory/jobs/one/memory"
    write_tree({f"{place}.limit_in_bytes": str(2 * GIB), f"{place}.usage_in_bytes": str(GIB)})
    found = read_environment(epyc_vm, environ={})
    assert (found.allowance.memory_limit_bytes, found.free_bytes) == (2 * GIB, GIB)


@pytest.mark.parametrize(
    ("stat", "seconds"),
    [
        ("usage_usec 9\nnr_throttled 3\nthrottled_usec 250000", 0.25),
        ("nr_throttled 3\nthrottled_time 2000000000", 2.0),
        ("", None),
    ],
)
def test_time_that_a_quota_took(write_tree: WriteTree, stat: str, seconds: float | None) -> None:
    root = write_tree({"proc/self/mountinfo": V2, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.stat": stat})
    assert throttled_s(SystemFiles(root)) == seconds
