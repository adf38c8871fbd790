"""What operators of a model grow with: products of the sizes of a step, visible keys and pairs, active experts.

A step is ``batch`` sequences of ``q_len`` new tokens that see ``kv_len`` tokens. Every count of an operator is a sum of
such features times constants, which is what makes whole arrays of steps cheap (``bulk.templates``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from workloads.lowering.plan import Sharding
from workloads.models.architecture import Architecture, Experts

Floats = npt.NDArray[np.float64]


class Shapes(NamedTuple):
    """Steps as columns, shape [s] each: sequences (not always whole), new tokens of each, tokens that the last sees."""

    batch: Floats
    q_len: Floats
    kv_len: Floats

    def take(self, rows: npt.NDArray[np.intp]) -> Shapes:
        """The steps with these indices."""
        return Shapes(self.batch[rows], self.q_len[rows], self.kv_len[rows])


class Reach(NamedTuple):
    """Which keys an attention sees: ``window`` tokens (0: all), earlier ones only where it is causal."""

    window: float
    causal: bool


class Routing(NamedTuple):
    """Experts, how many of them a token chooses, and routed tokens per row of a step."""

    experts: float
    top_k: float
    per_row: float


@dataclass(frozen=True)
class Features:
    """The features that operators of one model under one sharding can grow with."""

    reaches: tuple[Reach, ...]
    routings: tuple[Routing, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names, in the order of the rows of ``values``."""
        own = [f"{name} {reach}" for reach in self.reaches for name in ("seen", "batch seen", "batch q seen", "pairs")]
        own += [f"{name} {routing}" for routing in self.routings for name in ("active", "imbalance")]
        return (*_SIZES, *own)

    @property
    def sees_context(self) -> tuple[bool, ...]:
        """Whether each feature depends on ``kv_len``."""
        own = [True] * 4 * len(self.reaches) + [False] * 2 * len(self.routings)
        return (*("kv" in name for name in _SIZES), *own)

    @property
    def rare(self) -> tuple[bool, ...]:
        """Whether only unfused attention and state space scans grow with each feature."""
        return tuple(name.startswith(("batch q seen", "batch chunked q")) for name in self.names)

    def values(self, shapes: Shapes, used: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Each feature of each step, shape [features, s]; 0 for those that are not ``used`` [features]."""
        b, q, kv = shapes
        wanted = np.ones(len(self.names), np.bool_) if used is None else used
        rows = np.zeros((len(wanted), len(b)))
        for place, of in enumerate(_SIZES.values()):
            if wanted[place]:
                rows[place] = of(b, q, kv)
        first = len(_SIZES)
        for reach in self.reaches:
            if wanted[first : first + 4].any():
                seen, pairs = seen_keys(q, kv, reach), visible_pairs(q, kv, reach)
                rows[first], rows[first + 1], rows[first + 2], rows[first + 3] = seen, b * seen, b * q * seen, b * pairs
            first += 4
        for routing in self.routings:
            if wanted[first : first + 2].any():
                rows[first], rows[first + 1] = expert_load(b * q * routing.per_row, routing)
            first += 2
        return rows


_SIZES: Final[dict[str, Callable[[Floats, Floats, Floats], Floats]]] = {
    "one": lambda b, q, kv: np.ones_like(b),
    "batch": lambda b, q, kv: b,
    "q": lambda b, q, kv: q,
    "batch q": lambda b, q, kv: b * q,
    "batch chunked q": lambda b, q, kv: b * q * np.minimum(q, 256.0),
    "kv": lambda b, q, kv: kv,
    "batch kv": lambda b, q, kv: b * kv,
}


def features_of(arch: Architecture, sharding: Sharding) -> Features:
    """The features of ``arch`` cut by ``sharding``."""
    reaches = [Reach(float(g.attention.window), g.attention.causal) for g in arch.groups if g.attention is not None]
    per_row = sharding.ep / sharding.tp if sharding.ep > 1 else 1.0
    routings = [
        Routing(float(g.mlp.count), float(g.mlp.top_k), per_row) for g in arch.groups if isinstance(g.mlp, Experts)
    ]
    return Features(tuple(dict.fromkeys(reaches)), tuple(dict.fromkeys(routings)))


def seen_keys(q_len: Floats, kv_len: Floats, reach: Reach) -> Floats:
    """Keys that any of the new tokens sees, as ``workloads.operators.attention`` counts them, shape [s]."""
    if not reach.window:
        return kv_len
    look = reach.window if reach.causal else reach.window // 2 + 1.0
    return np.minimum(kv_len, look + q_len - 1.0)


def visible_pairs(q_len: Floats, kv_len: Floats, reach: Reach) -> Floats:
    """``workloads.operators.visible_pairs`` of whole arrays, shape [s]."""
    if not reach.causal:
        if not reach.window:
            return q_len * kv_len
        look = Reach(reach.window // 2 + 1.0, True)
        return visible_pairs(q_len, kv_len, look) + visible_pairs(q_len, q_len, look) - q_len
    first = kv_len - q_len + 1.0
    whole = q_len * (first + kv_len) / 2.0
    if not reach.window:
        return whole
    rising = np.maximum(0.0, np.minimum(q_len, reach.window - first))
    cut = rising * (first + first + rising - 1.0) / 2.0 + (q_len - rising) * reach.window
    return np.where(reach.window >= kv_len, whole, cut)


def expert_load(tokens: Floats, routing: Routing) -> tuple[Floats, Floats]:
    """Active experts and imbalance of uniform routing (``workloads.routing.expert_load``), shape [s] each."""
    missed = np.log1p(-min(routing.top_k / routing.experts, 1.0 - 1e-12))
    active = routing.experts * -np.expm1(tokens * missed)
    rows = tokens * routing.top_k
    mean = rows / active
    hottest = mean + np.sqrt(2.0 * mean * np.log(max(routing.experts, 1.0)))
    return active, np.maximum(1.0, np.minimum(hottest, tokens) * active / rows)
