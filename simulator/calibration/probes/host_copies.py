"""Copies on the host: pageable memory to memory, and a drive to memory and back.

The copy is numpy's, one thread of the C library's memcpy; "fresh" into memory that was just allocated, whose pages
the operating system has to give. The drive is read past the page cache ("direct" or "dropped", see ``disk``) and
written until it has the data ("fsync"), at three sizes, which tell its latency from its bandwidth.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from simulator.calibration.probes import disk
from simulator.calibration.probes.numpy_calls import Array, filled
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from simulator.calibration.probes.stream import outside
from workloads import operators as op

_READ: Final = (32 << 20, 4 << 10, 1 << 20)
"""Bytes of a read; the first is sequential reading at large."""
_WRITTEN: Final = (16 << 20, 1 << 20)
_FILE: Final = {False: 64 << 20, True: 32 << 20}
"""Bytes of the file that reads go through, by ``Machine.quick``."""


def copies(machine: Machine) -> Iterator[Case]:
    """Copies from memory to memory."""
    count = outside(machine) // 8
    operator = op.transfer("host.copy", 4.0 * count)
    for variant in ("pageable",) if machine.quick else ("pageable", "fresh"):
        yield Case(operator, partial(_prepare_copy, count, variant), 8.0 * count, variant, 1)


def _never_missing(machine: Machine) -> str:
    return ""


def _prepare_copy(count: int, variant: str) -> Call:
    source = filled(count)
    return source.copy if variant == "fresh" else partial(_copied, np.zeros_like(source), source)


def _copied(target: Array, source: Array) -> Array:
    np.copyto(target, source)
    return target


def disk_probe(folder: Path | None = None) -> Probe:
    """The probe of the drive that holds ``folder``; None: the folder for temporary files."""
    return Probe("disk", ("cpu",), {}, partial(missing_disk, folder), partial(transfers, folder))


def missing_disk(folder: Path | None, machine: Machine) -> str:
    """Why the drive cannot be measured; "" where it can."""
    return disk.missing_in(_folder(folder), _FILE[machine.quick])


def transfers(folder: Path | None, machine: Machine) -> Iterator[Case]:
    """Reads and writes of the drive."""
    place, file_size = _folder(folder), _FILE[machine.quick]
    way = "direct" if disk.takes_direct(place) else "dropped"
    for size in _READ[: 2 if machine.quick else None]:
        yield Case(op.transfer("disk.read", size), partial(disk.reader, place, size, file_size), float(size), way)
    for size in _WRITTEN[: 1 if machine.quick else None]:
        yield Case(op.transfer("disk.write", size), partial(disk.writer, place, size), float(size), "fsync")


def _folder(folder: Path | None) -> Path:
    return Path(tempfile.gettempdir()) if folder is None else folder


register(Probe("host.copies", ("cpu",), {}, _never_missing, copies))
register(disk_probe())
