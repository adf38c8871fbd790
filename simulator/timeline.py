"""Who did what when: the record that the engine writes and that figures and traces read."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec


class Span(NamedTuple):
    """One piece of work on one resource, from ``start_s`` to ``end_s``.

    ``resource`` is a device ("gpu0") or a link ("nvlink:gpu0-gpu1"), ``lane`` the engine in it ("compute",
    "communication", "host"), ``family`` the operator family, ``amount`` the FLOPs of what computes and the bytes of
    what moves, ``dynamic_j`` what one device of the resource spends on it beside its static power [J].
    """

    name: str
    family: str
    resource: str
    lane: str
    start_s: float
    end_s: float
    amount: float
    dynamic_j: float = 0.0


class Action(NamedTuple):
    """One action of a pipeline rank, a micro-batch on a stage: ``kind`` F (forward), B (backward), or the halves of a
    backward, I (gradient of the input) and W (gradients of the weights)."""

    kind: str
    stage: int
    micro_batch: int
    start_s: float
    end_s: float


class RankSteps(msgspec.Struct, frozen=True):
    """A pipeline rank over a training step.

    ``weights`` to ``overhead`` are the parts of its memory at its fullest [B]; ``beside`` is what is computed again and
    gradients while a micro-batch goes backward, or the logits of the loss. From each of ``times_s`` on it holds so many
    ``sizes_bytes``, what lies there for the whole step included.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    beside: float
    overhead: float
    actions: tuple[Action, ...]
    times_s: tuple[float, ...]
    sizes_bytes: tuple[float, ...]

    @property
    def fixed(self) -> float:
        """What lies there for the whole step [B]."""
        return self.weights + self.gradients + self.optimizer + self.overhead


class Timeline(msgspec.Struct, frozen=True):
    """All spans of a run, ordered by (start, resource, lane, name), and the pipeline ranks of a training step.

    ``static_w`` is what one device of a resource draws whether or not an engine of it works [W]; it holds the
    resources whose power over time is known.
    """

    spans: tuple[Span, ...]
    ranks: tuple[RankSteps, ...] = ()
    static_w: dict[str, float] = {}

    @property
    def end_s(self) -> float:
        """When the last span ends [s]; 0 for an empty timeline."""
        return max((span.end_s for span in self.spans), default=0.0)

    @property
    def resources(self) -> tuple[str, ...]:
        """All resources in order of first use."""
        return tuple(dict.fromkeys(span.resource for span in self.spans))

    def busy_s(self, resource: str, lane: str = "compute") -> float:
        """Seconds in which ``resource`` was busy on ``lane``; overlapping spans count once [s]."""
        total, reached = 0.0, float("-inf")
        for span in self.spans:
            if span.resource == resource and span.lane == lane and span.end_s > reached:
                total += span.end_s - max(span.start_s, reached)
                reached = span.end_s
        return total

    def power_w(self, resource: str) -> list[tuple[float, float]]:
        """What one device of ``resource`` draws, from each of these times on [s, W]: its static power, and what spans
        that run spend beside it, each spread over its time. Nothing where that is not known; host time does not count.

        Its integral until a time when all is over is the energy of the run up to there.
        """
        static = self.static_w.get(resource)
        if static is None:
            return []
        changes: dict[float, list[tuple[int, float]]] = {0.0: []}
        for span in self.spans:
            if span.resource == resource and span.lane != "host" and span.end_s > span.start_s:
                power = span.dynamic_j / (span.end_s - span.start_s)
                changes.setdefault(span.start_s, []).append((1, power))
                changes.setdefault(span.end_s, []).append((-1, -power))
        steps: list[tuple[float, float]] = []
        running, drawn = 0, 0.0
        for at in sorted(changes):
            running += sum(count for count, _ in changes[at])
            # Exactly nothing when nothing runs, whatever rounding has left.
            drawn = drawn + math.fsum(power for _, power in changes[at]) if running else 0.0
            steps.append((at, static + drawn))
        return steps
