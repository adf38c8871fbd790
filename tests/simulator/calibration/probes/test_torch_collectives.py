"""Collectives between processes on this CPU: all kinds, and what happens when a process fails or hangs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed")
if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("torch was built without gloo", allow_module_level=True)

from simulator.calibration import collective_worker  # noqa: E402
from simulator.calibration.collective_worker import KINDS, AgreedClock, Job, elements_of  # noqa: E402
from simulator.calibration.probes import torch_collectives  # noqa: E402
from simulator.calibration.probes.torch_collectives import (  # noqa: E402
    CollectivesFailed,
    measure_collectives,
    missing_collectives,
)
from simulator.calibration.timing import HostClock, time_call  # noqa: E402
from workloads.operators import COLLECTIVES, OpKind  # noqa: E402


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """All processes that a test starts."""
    found: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def note(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = popen(*arguments, **options)
        found.append(process)
        return process

    monkeypatch.setattr(torch_collectives.subprocess, "Popen", note)
    return found


def test_all_collectives_run_between_two_processes(started: list[subprocess.Popen[bytes]]) -> None:
    sizes = [1000, 1 << 16]
    found = measure_collectives("cpu", 2, sizes, budget_s=0.5)
    assert [(each.operator.kind, each.operator.message_bytes) for each in found] == [
        (kind, size) for kind in KINDS for size in (1000.0, 65536.0)
    ]
    assert set(KINDS) == set(COLLECTIVES)
    for each in found:
        assert 0.0 < each.low_s <= each.time_s <= each.high_s
        assert (each.probe, each.variant, each.operator.group, each.operator.axis) == (
            "torch.collectives", "gloo", 2, "tp"
        )  # fmt: skip
        assert each.runtime == "" and each.repeats >= 1
    assert len({each.key for each in found}) == len(found)
    assert [process.poll() for process in started] == [0, 0]


def test_a_process_that_fails_is_told_of(started: list[subprocess.Popen[bytes]]) -> None:
    with pytest.raises(CollectivesFailed, match=r"process \d of 2 ended with status 1: KeyError.*NORM"):
        measure_collectives("cpu", 2, [1024], budget_s=0.2, kinds=[OpKind.NORM])
    assert all(process.poll() is not None for process in started)


def test_processes_that_hang_are_ended(started: list[subprocess.Popen[bytes]]) -> None:
    with pytest.raises(CollectivesFailed, match="2 processes did not end within"):
        measure_collectives("cpu", 2, [1024], budget_s=0.01, start_s=0.1)
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_the_cause_is_told_rather_than_the_lost_connection(tmp_path: Path) -> None:
    ranks: list[Any] = [SimpleNamespace(poll=lambda: 1, returncode=1), SimpleNamespace(poll=lambda: -9, returncode=-9)]
    logs = [tmp_path / "0", tmp_path / "1"]
    logs[0].write_text("Traceback\nRuntimeError: Connection closed by peer [127.0.0.1]\n")
    logs[1].write_text("")
    with pytest.raises(CollectivesFailed, match="process 1 of 2 was killed by signal 9: it said nothing"):
        torch_collectives._raise_failures(ranks, logs)


def test_one_process_has_no_collective() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        measure_collectives("cpu", 1)


def test_every_rank_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_collectives("cpu") == ""
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "sees 1" in missing_collectives("gpu", 2)
    with pytest.raises(CollectivesFailed, match="a GPU each"):
        measure_collectives("gpu", 2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    assert "without nccl" in missing_collectives("gpu", 2)


@pytest.mark.parametrize(("message", "size", "elements"), [(1024, 2, 512), (1000, 4, 500), (1, 8, 8), (30, 4, 12)])
def test_messages_are_equal_parts(message: int, size: int, elements: int) -> None:
    assert elements_of(message, size) == elements


class Recorder:
    """The part of torch.distributed that calls use; tensors are numbers of elements."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.distributed = self
        self.bfloat16 = "bf16"
        self.isend, self.irecv = "isend", "irecv"

    def ones(self, elements: int, dtype: str, device: str) -> int:
        assert (dtype, device) == ("bf16", "cpu")
        return elements

    def all_reduce(self, x: int) -> None:
        self.calls.append(("all_reduce", x))

    def all_gather_single(self, whole: int, part: int) -> None:
        self.calls.append(("all_gather", (whole, part)))

    def reduce_scatter_tensor(self, part: int, whole: int) -> None:
        self.calls.append(("reduce_scatter", (part, whole)))

    def all_to_all_single(self, got: int, sent: int) -> None:
        self.calls.append(("all_to_all", (got, sent)))

    def P2POp(self, way: str, tensor: int, peer: int) -> tuple[str, int, int]:  # noqa: N802
        return way, tensor, peer

    def batch_isend_irecv(self, both: list[Any]) -> list[Any]:
        self.calls.append(("send_recv", both))
        return [SimpleNamespace(wait=lambda: self.calls.append(("wait", None)))] * len(both)


def test_messages_are_counted_as_operators_say() -> None:
    recorder = Recorder()
    for make in KINDS.values():
        make(recorder, 600, 2, 3, "cpu")()
    both = [("isend", 600, 0), ("irecv", 600, 1)]
    assert recorder.calls == [
        ("all_reduce", 600), ("all_gather", (600, 200)), ("reduce_scatter", (200, 600)), ("all_to_all", (600, 600)),
        ("send_recv", both), ("wait", None), ("wait", None),
    ]  # fmt: skip


def test_all_ranks_read_the_slowest_clock() -> None:
    seen: list[float] = []

    def slowest(seconds: float) -> float:
        seen.append(seconds)
        return max(seconds, 1e-3)

    clock = AgreedClock(HostClock(), slowest)
    timing = time_call(lambda: None, clock, budget_s=0.01, warm_s=0.002)
    assert timing.median_s == pytest.approx(1e-3)
    assert len(seen) >= 6


def test_a_job_goes_through_its_text() -> None:
    job = Job(backend="gloo", size=2, store="/a b/c", found="d", kinds=["ALL_REDUCE"], sizes=[8], each_s=0.5,
              timeout_s=3.0)  # fmt: skip
    assert msgspec.json.decode(job.text(), type=Job) == job
    assert collective_worker.Job is Job


def test_gloo_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(torch_collectives.socket, "if_nameindex", lambda: [(1, "eth0"), (2, "lo")])
    job = Job(backend="gloo", size=2, store="", found="", kinds=[], sizes=[], each_s=1.0, timeout_s=1.0)
    assert torch_collectives._environment(job)["GLOO_SOCKET_IFNAME"] == "lo"
    assert "GLOO_SOCKET_IFNAME" not in torch_collectives._environment(msgspec.structs.replace(job, backend="nccl"))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    assert torch_collectives._environment(job)["GLOO_SOCKET_IFNAME"] == "ib0"
