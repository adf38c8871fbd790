"""How large the calls were that a calibration is fitted to: the ends of their FLOPs and moved bytes, by kind.

Every operator has these two. A call between both pairs of ends is interpolated; it may still be far from any that was
measured, where long and narrow shapes are as large as square ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Final

import numpy as np

from hardware_specs.calibrations import SizeRange
from workloads.graph import OpColumns
from workloads.operators import OpKind

_DIGITS: Final = 4


def measured_sizes(rows: Iterable[OpColumns]) -> dict[str, SizeRange]:
    """The sizes of measured calls by operator kind, in the order of the kinds."""
    listed = list(rows)
    if not listed:
        return {}
    kinds, flops, moved = (
        np.concatenate(parts)
        for parts in zip(*((each.kind, each.flops, each.moved_bytes) for each in listed), strict=True)
    )
    return {
        OpKind(kind).name.lower(): _range(flops[kinds == kind], moved[kinds == kind])
        for kind in np.unique(kinds).tolist()
    }


def _range(flops: np.ndarray, moved_bytes: np.ndarray) -> SizeRange:
    return SizeRange(_ends(flops, "FLOP"), _ends(moved_bytes, "B"))


def _ends(values: np.ndarray, unit: str) -> tuple[str, str]:
    """The least rounded down and the most rounded up, so that every call lies between them."""
    least, most = float(values.min()), float(values.max())
    return f"{_rounded(least, ROUND_FLOOR)} {unit}", f"{_rounded(most, ROUND_CEILING)} {unit}"


def _rounded(value: float, rounding: str) -> str:
    return f"{float(Context(prec=_DIGITS, rounding=rounding).create_decimal_from_float(value)):.{_DIGITS}g}"
