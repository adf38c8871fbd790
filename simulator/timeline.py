"""Who did what when: the record that the engine writes and that figures and traces read."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Span(NamedTuple):
    """One piece of work on one resource, from ``start_s`` to ``end_s``.

    ``resource`` is a device ("gpu0") or a link ("nvlink:gpu0-gpu1"), ``lane`` the engine in it ("compute",
    "communication", "host"), ``family`` the operator family, ``amount`` bytes on links and FLOPs on devices.
    """

    name: str
    family: str
    resource: str
    lane: str
    start_s: float
    end_s: float
    amount: float


class Timeline(msgspec.Struct, frozen=True):
    """All spans of a run, ordered by (start, resource, lane, name)."""

    spans: tuple[Span, ...]

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
