"""Whether calls lie within what was measured, or beyond it: interpolated or extrapolated.

A call is interpolated where its FLOPs and its moved bytes lie between those of the calls of its kind that the
calibration which prices it was fitted to, on this very device. It is extrapolated beyond them, where no call of its
kind was measured, by an entry of other devices, and by priors of the class. Where the entry does not record what was
measured, nothing is said.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.devices.calibrated import KINDS, Choice, Chosen
from workloads.graph import OpColumns

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NOWHERE: Final = (math.inf, -math.inf, math.inf, -math.inf)
_NOT_RECORDED: Final = (math.nan, math.nan, math.nan, math.nan)


class Reach(NamedTuple):
    """Which calls are interpolated and which extrapolated, shape [n] each; of the others it is not recorded."""

    interpolated: Bools
    extrapolated: Bools


def sizes_of(choice: Choice, device: str) -> Floats:
    """The least and most FLOPs and the least and most moved bytes that were measured, by the record that prices a call
    (priors first) and by kind; shape [1 + entries, kinds, 4]. NaN where that is not recorded, empty where nothing was
    measured."""
    sizes = np.empty((1 + len(choice.entries), len(KINDS), 4))
    sizes[0] = _NOWHERE
    for row, chosen in zip(sizes[1:], choice.entries, strict=True):
        row[:] = _NOT_RECORDED if _is_own(chosen, device) and not chosen.entry.measured else _NOWHERE
        if _is_own(chosen, device):
            for kind, ends in chosen.entry.sizes.items():
                row[KINDS[kind]] = ends
    return sizes


def _is_own(chosen: Chosen, device: str) -> bool:
    """Whether an entry was fitted to calls of the device itself: one of a whole device is no measurement of a part."""
    return chosen.own_device and device in (chosen.entry.fit.devices or (device,))


def reach_of(sizes: Floats, which: Ints, columns: OpColumns) -> Reach:
    """What ``sizes`` (as ``sizes_of`` has them) say of calls that are priced with the records ``which``, shape [n]."""
    least_flops, most_flops, least_bytes, most_bytes = sizes[which, columns.kind].T
    moved = columns.moved_bytes
    within = (least_flops <= columns.flops) & (columns.flops <= most_flops)
    within &= (least_bytes <= moved) & (moved <= most_bytes)
    return Reach(within, ~within & ~np.isnan(least_flops))
