"""Copies in torch: inside the memory of a device, between it and the host, and between two devices.

Pinned memory of the host is read and written by the device itself and the call returns at once; pageable memory goes
through a pinned buffer of the driver, and the host waits. No kernels of a runtime run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from simulator.calibration.probes import torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op

_COPIED: Final = tuple(1 << power for power in range(20, 31, 2))
"""Bytes that a copy inside a device reads: from what caches hold to what none does."""
_SENT: Final = tuple(1 << power for power in range(12, 29, 2))
"""Bytes of a message between host and device, or between devices."""
_QUICK: Final = 3
"""Every third size is enough for a first impression."""
_MEMORY_SHARE: Final = 0.5
_WAYS: Final = ("h2d.pinned", "d2h.pinned", "h2d.pageable", "d2h.pageable")


def copies(machine: Machine) -> Iterator[Case]:
    """Copies inside the memory of the device; on a CPU, of the host."""
    variant = "graph" if machine.target == "gpu" else ""
    for size in _sizes(machine, _COPIED):
        prepare = partial(_prepare_copy, machine, size)
        yield Case(op.stream_copy("copy", 2.0 * size), prepare, 2.0 * size, variant, graph=machine.target == "gpu")


def transfers(machine: Machine) -> Iterator[Case]:
    """Copies from host to device and back, and from the first device to the second where there are two."""
    if missing_transfers(machine):
        return
    for way in _WAYS:
        for size in _sizes(machine, _SENT):
            yield Case(op.transfer("host copy", size), partial(_prepare_transfer, machine, way, size), float(size), way)
    way = peer()
    for size in _sizes(machine, _SENT) if way else ():
        yield Case(op.transfer("peer copy", size), partial(_prepare_peer, size), float(size), way)


def missing_transfers(machine: Machine) -> str:
    """Why nothing can be sent between host and device; "" where it can."""
    if machine.target == "cpu":
        return "host and device are one: nothing is sent between them"
    return torch_calls.missing(machine)


def peer() -> str:
    """How the first device reaches the second: "peer", "peer.host" through the memory of the host, "" where none is."""
    import torch

    if torch.cuda.device_count() < 2:
        return ""
    return "peer" if torch.cuda.can_device_access_peer(0, 1) else "peer.host"


def _sizes(machine: Machine, sizes: tuple[int, ...]) -> list[int]:
    """Sizes of which two fit into the memory that may be filled, the largest in any case."""
    fit = [size for size in sizes if 2.0 * size <= _MEMORY_SHARE * machine.memory_bytes]
    return fit[::-_QUICK][::-1] if machine.quick else fit


def _prepare_copy(machine: Machine, size: int) -> Call:
    source = torch_calls.filled(machine, "fp32", size // 4)
    target = source.clone()
    return lambda: target.copy_(source)


def _prepare_transfer(machine: Machine, way: str, size: int) -> Call:
    import torch

    direction, kind = way.split(".")
    pinned = kind == "pinned"
    # Ones rather than nothing: pages that were never written are not there yet.
    host = torch.ones(size, dtype=torch.uint8, pin_memory=pinned)
    device = torch.ones(size, dtype=torch.uint8, device=machine.torch_device)
    source, target = (host, device) if direction == "h2d" else (device, host)
    return lambda: target.copy_(source, non_blocking=pinned)


def _prepare_peer(size: int) -> Call:
    import torch

    source, target = (torch.ones(size, dtype=torch.uint8, device=f"cuda:{number}") for number in range(2))
    # The copy runs in the current stream of the source's device, where the events of a clock lie too.
    return lambda: target.copy_(source, non_blocking=True)


register(Probe("torch.copies", ("gpu",), {}, torch_calls.missing, copies))
register(Probe("torch.transfers", ("gpu",), {}, missing_transfers, transfers))
