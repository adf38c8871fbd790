"""One rank of a group of processes that measure collectives together: ``python -m ... JOB RANK``.

The first rank writes what was measured; see ``simulator.calibration.probes.torch_collectives``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from hardware_specs.files import write_text
from simulator.calibration.cuda_clock import CudaClock
from simulator.calibration.probes.registry import Call
from simulator.calibration.timing import Clock, HostClock, time_call
from workloads.operators import OpKind

_ELEMENT_BYTES: Final = 2
"""Tensors are bf16, as activations and gradients are."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What all ranks do.

    Args:
        backend: "nccl" or "gloo".
        size: ranks.
        store: file at which they meet.
        found: file that the first one writes.
        kinds: names of ``OpKind``.
        sizes: messages [B].
        each_s: seconds for one kind and size.
        timeout_s: longest wait of a rank for the others.
    """

    backend: str
    size: int
    store: str
    found: str
    kinds: list[str]
    sizes: list[int]
    each_s: float
    timeout_s: float

    def text(self) -> str:
        """As JSON."""
        return msgspec.json.encode(self).decode()


class AgreedClock:
    """A clock of which all ranks read the same: the time of the slowest.

    Args:
        clock: of this rank.
        slowest: the largest of the numbers that the ranks pass to it.
    """

    def __init__(self, clock: Clock, slowest: Callable[[float], float]) -> None:
        self._clock, self._slowest = clock, slowest

    def round_s(self, call: Call, calls: int) -> float:
        """See ``Clock``."""
        return self._slowest(self._clock.round_s(call, calls))

    def now_s(self) -> float:
        """See ``Clock``."""
        return self._slowest(self._clock.now_s())


def all_reduce(torch: Any, elements: int, rank: int, size: int, where: str) -> Call:
    """Sum of a tensor of ``elements`` over all ranks."""
    x = _tensor(torch, elements, where)
    return lambda: torch.distributed.all_reduce(x)


def all_gather(torch: Any, elements: int, rank: int, size: int, where: str) -> Call:
    """A tensor of ``elements`` from an equal part on each rank."""
    part, whole = _tensor(torch, elements // size, where), _tensor(torch, elements, where)
    gather = _newest(torch, "all_gather_single", "all_gather_into_tensor")
    return lambda: gather(whole, part)


def reduce_scatter(torch: Any, elements: int, rank: int, size: int, where: str) -> Call:
    """Sum of a tensor of ``elements`` over all ranks, a part of it on each."""
    part, whole = _tensor(torch, elements // size, where), _tensor(torch, elements, where)
    scatter = _newest(torch, "reduce_scatter_single", "reduce_scatter_tensor")
    return lambda: scatter(part, whole)


def all_to_all(torch: Any, elements: int, rank: int, size: int, where: str) -> Call:
    """Equal parts of ``elements`` from each rank to each."""
    sent, got = (_tensor(torch, elements, where) for _ in range(2))
    return lambda: torch.distributed.all_to_all_single(got, sent)


def send_recv(torch: Any, elements: int, rank: int, size: int, where: str) -> Call:
    """``elements`` from each rank to the next, all at once."""
    distributed = torch.distributed
    sent, got = (_tensor(torch, elements, where) for _ in range(2))
    after, before = (rank + 1) % size, (rank - 1) % size

    def call() -> None:
        both = [
            distributed.P2POp(distributed.isend, sent, after),
            distributed.P2POp(distributed.irecv, got, before),
        ]
        for work in distributed.batch_isend_irecv(both):
            work.wait()

    return call


KINDS: Final[dict[OpKind, Callable[[Any, int, int, int, str], Call]]] = {
    OpKind.ALL_REDUCE: all_reduce,
    OpKind.ALL_GATHER: all_gather,
    OpKind.REDUCE_SCATTER: reduce_scatter,
    OpKind.ALL_TO_ALL: all_to_all,
    OpKind.SEND_RECV: send_recv,
}
"""Calls of torch by kind, for a number of elements of the message, a rank, ranks, and a device."""


def elements_of(message_bytes: int, size: int) -> int:
    """Elements of a message of about ``message_bytes``, equal parts for all ranks, one for each at least."""
    return max(1, message_bytes // (_ELEMENT_BYTES * size)) * size


def measure(torch: Any, job: Job, rank: int) -> list[dict[str, Any]]:
    """Rows of all kinds and sizes: message, median, ends of its interval [s], rounds."""
    where = f"cuda:{rank}" if job.backend == "nccl" else "cpu"
    clock = AgreedClock(CudaClock(torch) if job.backend == "nccl" else HostClock(), _slowest_of(torch, where))
    rows = []
    for name in job.kinds:
        for message_bytes in job.sizes:
            elements = elements_of(message_bytes, job.size)
            call = KINDS[OpKind[name]](torch, elements, rank, job.size, where)
            timing = time_call(call, clock, budget_s=job.each_s, warm_s=min(0.02, 0.2 * job.each_s))
            row = {"kind": name, "message_bytes": elements * _ELEMENT_BYTES, "rounds": timing.rounds}
            rows.append({**row, "median_s": timing.median_s, "low_s": timing.low_s, "high_s": timing.high_s})
    return rows


def main(arguments: Sequence[str]) -> None:
    """Meet the others, measure, and write if first."""
    import torch

    job, rank = msgspec.json.decode(arguments[0], type=Job), int(arguments[1])
    about: dict[str, Any] = {}
    if job.backend == "nccl":
        torch.cuda.set_device(rank)
        about["device_id"] = torch.device("cuda", rank)
    torch.distributed.init_process_group(
        job.backend, init_method=Path(job.store).as_uri(), rank=rank, world_size=job.size,
        timeout=timedelta(seconds=job.timeout_s), **about,
    )  # fmt: skip
    try:
        rows = measure(torch, job, rank)
        if rank == 0:
            write_text(Path(job.found), json.dumps(rows))
    finally:
        torch.distributed.destroy_process_group()


def _tensor(torch: Any, elements: int, where: str) -> Any:
    return torch.ones(max(1, elements), dtype=torch.bfloat16, device=where)


def _newest(torch: Any, name: str, older: str) -> Any:
    """A function of torch.distributed, which was renamed in 2.13."""
    return getattr(torch.distributed, name, None) or getattr(torch.distributed, older)


def _slowest_of(torch: Any, where: str) -> Callable[[float], float]:
    """The largest of what ranks pass, on all of them."""
    distributed = torch.distributed

    def slowest(seconds: float) -> float:
        shared = torch.tensor([seconds], dtype=torch.float64, device=where)
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
        return float(shared.item())

    return slowest


if __name__ == "__main__":
    main(sys.argv[1:])
