"""The environment of a measurement: which machine, what of it was usable, which software, under which settings.

It is read once, travels with the samples as plain texts by name, and is compared when a calibration is used again.
What cannot be read stays empty; nothing is guessed.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from simulator.calibration.machine.accelerators import Accelerator, read_accelerators
from simulator.calibration.machine.allowance import Allowance, allowed_cpus, read_allowance
from simulator.calibration.machine.host import Memory, read_container, read_hypervisor, read_memory, read_os
from simulator.calibration.machine.nvml import Nvml
from simulator.calibration.machine.platform_facts import PlatformFacts, known_to_python
from simulator.calibration.machine.processor import (
    Clocks,
    Processor,
    last_level,
    read_blocks,
    read_clocks,
    read_processor,
    read_topology,
)
from simulator.calibration.machine.software import Software, read_software
from simulator.calibration.machine.struct_texts import record_from, texts_of
from simulator.calibration.machine.system_files import SystemFiles

_HERE: Final = Path("/")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of where and when something was measured; "" or None: not known.

    Args:
        date: ISO 8601.
        os, kernel: name and version of the operating system, release of its kernel.
        hypervisor: what the machine is a guest of; "none" on bare metal, "unnamed" where only its presence is known.
        container: what runs this process in a container; "" for none that shows.
        accelerators_missing: why no GPU is listed.
    """

    date: str = ""
    os: str = ""
    kernel: str = ""
    hypervisor: str = ""
    container: str = ""
    processor: Processor = Processor()
    allowance: Allowance = Allowance()
    memory: Memory = Memory()
    clocks: Clocks = Clocks()
    software: Software = Software()
    accelerators: tuple[Accelerator, ...] = ()
    accelerators_missing: str = ""

    @property
    def cores(self) -> float:
        """Physical cores that this process may use, CPU quota included (1.5: one and a half); 1 where unknown."""
        cores = self.allowance.physical_cores or self.allowance.logical_cores or 1
        return min(float(cores), self.allowance.quota_cores or float(cores))

    @property
    def threads(self) -> int:
        """Threads that can run at once, each on its own core."""
        return max(1, int(self.cores))

    @property
    def cache_bytes(self) -> int:
        """Last-level cache that the usable CPUs reach [B]; 0 where unknown."""
        return last_level(self.processor.caches)

    @property
    def free_bytes(self) -> int:
        """Memory that can still be had, limits included [B]; 0 where unknown."""
        limit, used = self.allowance.memory_limit_bytes, self.allowance.memory_used_bytes or 0
        rooms = (self.memory.available_bytes, None if limit is None else max(limit - used, 0))
        return min((room for room in rooms if room is not None), default=0)

    def as_texts(self) -> dict[str, str]:
        """Texts by name, empty facts left out: "processor.model", "software.libraries.numpy" ..."""
        return texts_of(self)

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], place: str = "environment") -> Environment:
        """The environment that ``as_texts`` wrote; names that none has are passed over.

        Raises:
            InputError: a text that its fact cannot have.
        """
        return record_from(cls, texts, place)


def read_environment(
    root: Path = _HERE,
    *,
    torch: bool = False,
    facts: PlatformFacts | None = None,
    nvml: Nvml | None = None,
    environ: Mapping[str, str] | None = None,
    today: datetime.date | None = None,
) -> Environment:
    """The environment of this process.

    Args:
        root: what /proc and /sys lie below; another than "/" is taken for the whole machine.
        torch: load torch to ask how it was built; otherwise it is asked only if it is loaded already.
        facts, nvml: what Python and NVML know; None: they are asked if ``root`` is "/", else they know nothing.
        environ: environment variables; None: those of this process.
        today: the date; None: today in UTC.
    """
    files, here = SystemFiles(root), root == _HERE
    facts = (known_to_python() if here else PlatformFacts()) if facts is None else facts
    nvml = Nvml() if nvml is None and here else nvml
    environ = os.environ if environ is None else environ
    blocks = read_blocks(files)
    topology = read_topology(files, blocks)
    allowed = allowed_cpus(files, topology, facts)
    return Environment(
        date=str(today or datetime.datetime.now(datetime.UTC).date()),
        os=read_os(files) or facts.os,
        kernel=files.text("proc/sys/kernel/osrelease") or facts.kernel,
        hypervisor=read_hypervisor(files, blocks),
        container=read_container(files),
        processor=read_processor(files, blocks, topology, allowed, facts),
        allowance=read_allowance(files, topology, allowed, facts),
        memory=read_memory(files, facts),
        clocks=read_clocks(files, blocks, facts),
        software=read_software(files, facts.libc, environ, torch),
        accelerators=read_accelerators(nvml, environ) if nvml else (),
        accelerators_missing=nvml.missing if nvml else "",
    )
