"""Collectives of torch.distributed between the GPUs of this machine (NCCL), or between processes on its CPU (Gloo).

A process for each rank; they meet at a file in a temporary directory, Gloo on the loopback interface. All ranks see the
slowest one's time and so take the same decisions: how many calls, how many rounds. Messages are counted as in
``workloads.operator_record.Operator`` and in nccl-tests: the tensor of a rank (all-reduce; send/recv, where each rank
sends to the next and receives from the one before), the gathered tensor, the full input of a reduce-scatter, the send
buffer of an all-to-all.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from simulator.calibration.collective_worker import KINDS, Job
from simulator.calibration.probes.registry import Target
from simulator.calibration.samples import Measurement
from workloads import operators as op
from workloads.operators import OpKind

PROBE: Final = "torch.collectives"
SIZES: Final = tuple(1 << power for power in range(10, 29, 2))
"""Messages from a KiB to a quarter of a GiB [B]."""
START_S: Final = 120.0
"""Time that processes may take to import torch, to meet, and to set up a communicator, beside what they measure."""
_SLOWEST: Final = 4.0
"""Time that measuring may take over its budget: rounds are finished, and long calls have at least a few."""
_BACKENDS: Final[dict[Target, str]] = {"gpu": "nccl", "cpu": "gloo"}
_LOOPBACK: Final = ("lo", "lo0")


class CollectivesFailed(RuntimeError):
    """A process of a collective failed, or did not end."""


def missing_collectives(target: Target, processes: int = 2) -> str:
    """Why ``processes`` of them cannot be measured; "" where they can."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install torch)"
    import torch

    available = getattr(torch.distributed, f"is_{_BACKENDS[target]}_available", lambda: False)
    if not torch.distributed.is_available() or not available():
        return f"torch was built without {_BACKENDS[target]}"
    if target == "gpu" and torch.cuda.device_count() < processes:
        return f"{processes} processes need a GPU each; torch sees {torch.cuda.device_count()}"
    return ""


def measure_collectives(
    target: Target,
    processes: int,
    sizes: Sequence[int] = SIZES,
    budget_s: float = 20.0,
    kinds: Sequence[OpKind] = tuple(KINDS),
    start_s: float = START_S,
) -> list[Measurement]:
    """Time collectives between ``processes`` GPUs or processes on the CPU.

    Args:
        sizes: messages [B]; they are rounded down to whole elements on every rank.
        budget_s: seconds of measuring, for all kinds and sizes together.
        kinds: which collectives.
        start_s: seconds until the first one may be measured.

    Raises:
        ValueError: fewer than two processes.
        CollectivesFailed: they cannot run here, one of them failed, or they took too long.
    """
    if processes < 2:
        raise ValueError(f"a collective takes at least 2 processes, not {processes}")
    reason = missing_collectives(target, processes)
    if reason:
        raise CollectivesFailed(reason)
    with tempfile.TemporaryDirectory(prefix="silicost-") as folder:
        job = Job(
            backend=_BACKENDS[target], size=processes, store=str(Path(folder) / "store"),
            found=str(Path(folder) / "found.json"), kinds=[kind.name for kind in kinds], sizes=list(sizes),
            each_s=budget_s / max(1, len(kinds) * len(sizes)), timeout_s=start_s,
        )  # fmt: skip
        _run(job, Path(folder), start_s + _SLOWEST * budget_s)
        rows = json.loads(Path(job.found).read_text(encoding="utf-8"))
    return [_measurement(row, job) for row in rows]


def _run(job: Job, folder: Path, longest_s: float) -> None:
    """Run all ranks to their end; none outlives this call."""
    end = time.monotonic() + longest_s
    ranks: list[subprocess.Popen[bytes]] = []
    logs = [folder / f"rank{rank}.log" for rank in range(job.size)]
    try:
        for rank, log in enumerate(logs):
            with log.open("wb") as stream:
                ranks.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "simulator.calibration.collective_worker", job.text(), str(rank)],
                        stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=_environment(job),
                        start_new_session=True,
                    )
                )  # fmt: skip
        while any(process.poll() is None for process in ranks):
            _raise_failures(ranks, logs)
            if time.monotonic() > end:
                raise CollectivesFailed(f"{job.size} processes did not end within {longest_s:.0f} s")
            time.sleep(0.05)
        _raise_failures(ranks, logs)
    finally:
        for process in ranks:
            _kill(process)


def _raise_failures(ranks: Sequence[subprocess.Popen[bytes]], logs: Sequence[Path]) -> None:
    failed = [number for number, process in enumerate(ranks) if process.poll()]
    if not failed:
        return
    # Where one fails the others lose their connection: the one that says something else is the cause.
    told = [(number, _last_words(logs[number])) for number in failed]
    number, words = next((each for each in told if "onnection" not in each[1]), told[0])
    status = ranks[number].returncode
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    raise CollectivesFailed(f"process {number} of {len(ranks)} {ended}: {words or 'it said nothing'}")


def _last_words(log: Path) -> str:
    """The last line that a process wrote, which of a Python error is what went wrong; torch puts the rank before it."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return re.sub(r"^\[rank\d+\]: ", "", lines[-1])[:300] if lines else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(job: Job) -> dict[str, str]:
    """Variables of a rank: this project can be imported, one thread for each, Gloo stays on this machine."""
    paths = [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    loopback = next((name for _, name in socket.if_nameindex() if name in _LOOPBACK), "")
    if job.backend == "gloo" and loopback:
        found.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return found


def _measurement(row: dict[str, Any], job: Job) -> Measurement:
    """A row that the first rank wrote."""
    kind = OpKind[row["kind"]]
    operator = op.collective(row["kind"].lower(), kind, float(row["message_bytes"]), job.size, "tp")
    return Measurement(
        PROBE, operator, row["median_s"], row["low_s"], row["high_s"], row["rounds"], variant=job.backend,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
