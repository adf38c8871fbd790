"""What the engine runs: tasks on lanes, with what they wait for. Built elsewhere, pure data.

A *lane* is something that does one task at a time: the compute engine of a unit of devices, its communication
engine, its host. Devices that work in lockstep (tensor and data parallel ranks) are one *unit*.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.engine.fabric import Flow


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work. It holds all its ``lanes`` from start to end.

    ``seconds`` is the time alone of what computes; for what moves bytes, ``flow`` goes over the Fabric instead.
    ``energy_j`` is that of all devices of the unit; ``amount`` is FLOPs, or bytes of a flow. ``depends_on`` holds
    indices of earlier tasks; among ready tasks the one with the lowest index goes first. ``steps`` > 1 means the
    task stands for that many equal executions in a row.
    """

    name: str
    family: str
    lanes: tuple[str, ...]
    seconds: float = 0.0
    flow: Flow | None = None
    energy_j: float = 0.0
    amount: float = 0.0
    depends_on: tuple[int, ...] = ()
    phase: str = ""


@dataclass(frozen=True)
class Program:
    """Tasks in order, and the links [B/s] that their flows share."""

    tasks: tuple[Task, ...]
    links: dict[str, float]


@dataclass(frozen=True)
class Execution:
    """When each task ran [s], shape [tasks], and what every link carried [B]."""

    start_s: tuple[float, ...]
    end_s: tuple[float, ...]
    carried_bytes: dict[str, float]

    @property
    def makespan_s(self) -> float:
        """When the last task ended [s]."""
        return max(self.end_s, default=0.0)
