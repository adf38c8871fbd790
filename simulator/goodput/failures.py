"""How often a job is interrupted, and how long it waits for a device that works.

A synchronous job stops when any part of it does, so rates add: 1 / MTBF_job = N / MTBF_device + nodes (1 / MTBF_host +
1 / MTBF_network + 1 / MTBF_software). That the MTBF of large jobs falls as 1 / N is measured: Kokolis et al. 2025,
arXiv:2410.21680, section III.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact
from hardware_specs.reliability import ReliabilitySpec


@dataclass(frozen=True)
class FailureRates:
    """Interruptions of a job per second: of hardware, which take a node away, and of software, which do not."""

    hardware_per_s: float
    software_per_s: float

    @property
    def per_s(self) -> float:
        """All interruptions per second."""
        return self.hardware_per_s + self.software_per_s

    @property
    def mtbf_s(self) -> float:
        """Mean time between interruptions of the job [s]; infinite where there are none."""
        return 1.0 / self.per_s if self.per_s else float("inf")

    @property
    def hardware_share(self) -> float:
        """Share of interruptions that take a node away."""
        return self.hardware_per_s / self.per_s if self.per_s else 0.0


def job_rates(spec: ReliabilitySpec, devices: int, devices_per_node: int) -> FailureRates:
    """Rates of a job on ``devices`` devices.

    Raises:
        InputError: fewer than one device, or than one a node.
    """
    if devices < 1 or devices_per_node < 1:
        raise InputError(f"devices {devices}, {devices_per_node} a node; allowed: whole numbers from 1 on")
    nodes = -(-devices // devices_per_node)
    hardware = devices * _rate(spec.device_mtbf) + nodes * (_rate(spec.host_mtbf) + _rate(spec.network_mtbf))
    return FailureRates(hardware, nodes * _rate(spec.software_mtbf))


def _rate(mtbf: Fact | None) -> float:
    return 1.0 / mtbf.value if mtbf else 0.0


def expected_wait_s(hardware_per_s: float, spares: int | None, repair_s: float) -> float:
    """Expected wait for a node after a hardware failure [s]: none while a spare is left.

    Broken nodes are repaired at once, each in an exponential time of mean ``repair_s``; a job that lacks a node waits
    for the first to come back, and nothing fails meanwhile. The number in repair is then the birth-death process of
    Erlang's loss system with ``spares`` + 1 places, and the wait is B(spares, hardware_per_s repair_s) repair_s /
    (spares + 1), B Erlang's loss formula (D. Gross et al., Fundamentals of Queueing Theory, 4th ed., section 2.5).

    Args:
        spares: nodes that stand by; None: always enough.
    """
    if spares is None or not hardware_per_s or not repair_s:
        return 0.0
    load = hardware_per_s * repair_s
    loss = 1.0
    for k in range(1, spares + 1):
        loss = load * loss / (k + load * loss)
    return loss * repair_s / (spares + 1)
