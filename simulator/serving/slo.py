"""Service level objectives: bounds on latencies that a share of the requests must keep.

``ttft=500ms@p99,tpot=50ms@p90`` asks that 99% of all requests have their first token within 500 ms, and 90% a mean gap
of at most 50 ms. A request is *good* if it keeps every bound; goodput counts good requests a second (Zhong et al.,
DistServe, arXiv:2401.09670).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.units import parse_quantity

KINDS: Final = ("ttft", "tpot", "e2e", "queue")
_BOUND: Final = re.compile(r"\s*([a-z0-9_]+)\s*=\s*([^@]+?)\s*(?:@\s*p(\d{1,2}(?:\.\d+)?)\s*)?")


class Bound(NamedTuple):
    """At most ``seconds`` of a kind of latency for the share ``share`` of the requests."""

    kind: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Slo:
    """Bounds on latencies."""

    bounds: tuple[Bound, ...]

    def kept(self, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Which requests keep every bound, [n]; one without such a latency (one token has no gap) keeps it."""
        good = np.ones(len(columns["ttft_s"]), np.bool_)
        for bound in self.bounds:
            values = columns[f"{bound.kind}_s"]
            good &= (values <= bound.seconds) | ~np.isfinite(values)
        return good


def parse_slo(text: str, place: str = "--slo") -> Slo:
    """The bounds in a text; without ``@p..`` of all requests but one in a hundred (p99).

    Raises:
        InputError: an unknown latency, no time, a share that is none, one latency twice.
    """
    bounds: list[Bound] = []
    for part in text.split(","):
        found = _BOUND.fullmatch(part)
        if found is None:
            raise InputError(f"{place} {clipped(part.strip())!r}: must be as ttft=500ms@p99,tpot=50ms@p90")
        kind = found[1].removesuffix("_s")
        if kind not in KINDS:
            close = nearest(kind, KINDS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place} {clipped(kind)!r}: unknown latency{hint} (allowed: {', '.join(KINDS)})")
        seconds = parse_quantity(found[2], "s", f"{place} {kind}")
        if seconds <= 0.0:
            raise InputError(f"{place} {kind}={found[2]}: must be above zero")
        share = float(found[3] or 99) / 100.0
        if not 0.0 < share < 1.0:
            raise InputError(f"{place} {kind}@p{found[3]}: must be between p1 and p99.9")
        if any(bound.kind == kind for bound in bounds):
            raise InputError(f"{place}: {kind} is there twice")
        bounds.append(Bound(kind, seconds, share))
    return Slo(tuple(bounds))
