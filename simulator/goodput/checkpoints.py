"""What a checkpoint costs, and how often to write one.

Intervals are of work between two checkpoints. Young 1974 (doi:10.1145/361147.361115) and Daly 2006
(doi:10.1016/j.future.2004.11.016) approximate the optimum; for exponential failures it is known exactly (Daly 2006,
by the Lambert function; M. Bougeret et al. 2011, doi:10.1145/2063384.2063428).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import lambertw

from hardware_specs.errors import InputError

_SERIES_BELOW = 1e-5


@dataclass(frozen=True)
class Checkpoint:
    """What is saved and over which wires.

    Args:
        bytes: weights and optimizer states, once (not once a replica) [B].
        node_bytes_per_s: what one node writes [B/s].
        storage_bytes_per_s: what the storage takes in from all nodes [B/s].
        asynchronous: devices copy their state to host memory and go on; the write runs beside the training.
        copy_bytes_per_s: copy of one node to its host memory [B/s], of asynchronous checkpoints.
        interference: share of the speed that training loses while such a write runs.
        fixed_s: what each checkpoint stops training for besides (barrier, metadata) [s].

    Raises:
        InputError: no positive bandwidth, negative bytes or times, an interference outside 0 .. 1.
    """

    bytes: float
    node_bytes_per_s: float
    storage_bytes_per_s: float = math.inf
    asynchronous: bool = False
    copy_bytes_per_s: float = math.inf
    interference: float = 0.0
    fixed_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("node_bytes_per_s", "storage_bytes_per_s", "copy_bytes_per_s"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"checkpoint {name} {getattr(self, name)}; allowed: above 0")
        for name in ("bytes", "fixed_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"checkpoint {name} {getattr(self, name)}; allowed: from 0 on")
        if not 0.0 <= self.interference < 1.0:
            raise InputError(f"checkpoint interference {self.interference}; allowed: from 0 to below 1")

    def transfer_s(self, nodes: int) -> float:
        """Time to write it, or to read it, over all nodes at once [s]."""
        return self.bytes / min(nodes * self.node_bytes_per_s, self.storage_bytes_per_s)

    def times(self, nodes: int) -> CheckpointTimes:
        """What one checkpoint takes from ``nodes`` nodes."""
        write = self.transfer_s(nodes)
        if not self.asynchronous:
            return CheckpointTimes(self.fixed_s + write, 0.0)
        copy = self.bytes / (nodes * self.copy_bytes_per_s)
        return CheckpointTimes(self.fixed_s + copy + self.interference * write, write)


@dataclass(frozen=True)
class CheckpointTimes:
    """What one checkpoint costs the training [s], and how long after it the state is safe [s]."""

    stall_s: float
    unsafe_s: float


def young_interval_s(stall_s: float, mtbf_s: float) -> float:
    """sqrt(2 stall MTBF) [s], Young 1974."""
    return math.sqrt(2.0 * stall_s * mtbf_s)


def daly_interval_s(stall_s: float, mtbf_s: float) -> float:
    """sqrt(2 d M) (1 + sqrt(d / 2M) / 3 + (d / 2M) / 9) - d for d < 2 M, else M [s], Daly 2006, eq. 37."""
    if math.isinf(mtbf_s):
        return math.inf
    ratio = stall_s / (2.0 * mtbf_s)
    if ratio >= 1.0:
        return mtbf_s
    return math.sqrt(2.0 * stall_s * mtbf_s) * (1.0 + math.sqrt(ratio) / 3.0 + ratio / 9.0) - stall_s


def optimal_interval_s(stall_s: float, mtbf_s: float) -> float:
    """MTBF (1 + W(-exp(-stall / MTBF - 1))) [s], W Lambert's function: exact; independent of what a restart takes."""
    if math.isinf(mtbf_s):
        return math.inf
    ratio = stall_s / mtbf_s
    if ratio < _SERIES_BELOW:
        p = math.sqrt(-2.0 * math.expm1(-ratio))
        return mtbf_s * (p - p**2 / 3.0 + 11.0 * p**3 / 72.0)
    return mtbf_s * (1.0 + float(lambertw(-math.exp(-ratio - 1.0)).real))
