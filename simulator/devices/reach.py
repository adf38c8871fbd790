"""Whether calls lie within what was measured, or beyond it: interpolated or extrapolated.

A call is interpolated where its FLOPs and its moved bytes lie between those of the calls of its kind that the
calibration which prices it was fitted to, on this very device and with weights of its sort. It is extrapolated beyond
them, where no call of its kind was measured, by an entry of other devices or of other weights (packed ones by one of
plain ones), where zeros of sparse weights are passed over, and by priors of the class. Where the entry does not record
what was measured, nothing is said.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.devices.calibrated import KINDS, WEIGHTS, Choice, Chosen, weights_of
from workloads.graph import OpColumns
from workloads.operators import OpKind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NOWHERE: Final = (math.inf, -math.inf, math.inf, -math.inf)
_NOT_RECORDED: Final = (math.nan, math.nan, math.nan, math.nan)
_PRODUCTS: Final = (int(OpKind.GEMM), int(OpKind.BATCHED_GEMM))
_WHOLE: Final = 1.0 - 1e-9
"""Share of the FLOPs of a dense product that is all of them but for rounding."""


class Reach(NamedTuple):
    """Which calls are interpolated and which extrapolated, shape [n] each; of the others it is not recorded."""

    interpolated: Bools
    extrapolated: Bools


def sizes_of(choice: Choice, device: str) -> Floats:
    """The least and most FLOPs and the least and most moved bytes that were measured, by the record that prices a call
    (priors first), by kind and by sort of weights; shape [1 + entries, kinds, weights, 4]. NaN where that is not
    recorded, empty where nothing was measured."""
    sizes = np.empty((1 + len(choice.entries), len(KINDS), len(WEIGHTS), 4))
    sizes[:] = _NOWHERE
    for row, chosen in zip(sizes[1:], choice.entries, strict=True):
        if _is_own(chosen, device):
            own = row[:, WEIGHTS.index(chosen.entry.weights)]
            own[:] = _NOWHERE if chosen.entry.measured else _NOT_RECORDED
            for kind, ends in chosen.entry.sizes.items():
                own[KINDS[kind]] = ends
    return sizes


def _is_own(chosen: Chosen, device: str) -> bool:
    """Whether an entry was fitted to calls of the device itself: one of a whole device is no measurement of a part."""
    return chosen.own_device and device in (chosen.entry.fit.devices or (device,))


def reach_of(sizes: Floats, which: Ints, columns: OpColumns) -> Reach:
    """What ``sizes`` (as ``sizes_of`` has them) say of calls that are priced with the records ``which``, shape [n]."""
    ends = np.where(_skips(columns)[:, None], _NOWHERE, sizes[which, columns.kind, weights_of(columns)])
    least_flops, most_flops, least_bytes, most_bytes = ends.T
    moved = columns.moved_bytes
    within = (least_flops <= columns.flops) & (columns.flops <= most_flops)
    within &= (least_bytes <= moved) & (moved <= most_bytes)
    return Reach(within, ~within & ~np.isnan(least_flops))


def _skips(columns: OpColumns) -> Bools:
    """Which products pass over zeros (``workloads.operators.skipping``): they do fewer FLOPs than their sizes ask for.
    No entry was fitted to any."""
    dense = 2.0 * columns.batch * columns.m * columns.n * columns.k
    return np.isin(columns.kind, _PRODUCTS) & (columns.flops < _WHOLE * dense)
