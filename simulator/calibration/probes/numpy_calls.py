"""What probes in numpy share: the runtime, operands, and why numpy cannot be measured."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.calibration.probes.registry import Machine, Target

Array = npt.NDArray[Any]

RUNTIMES: Final[dict[Target, str]] = {"cpu": "numpy-2"}
"""The runtime whose kernels numpy calls run."""
_BLOCK: Final = 1 << 16


def missing(machine: Machine) -> str:
    """Why numpy is not measured; "" where it is. Its BLAS multiplies in fp32 and wider alone."""
    return "" if "fp32" in machine.dtypes else "numpy multiplies in fp32, which this machine is not asked for"


def filled(*shape: int) -> Array:
    """fp32 of small random numbers; large arrays repeat a block, which is as fast as a copy."""
    size = math.prod(shape)
    block = np.random.default_rng(0).random(min(size, _BLOCK), np.float32) - np.float32(0.5)
    return np.resize(block, size).reshape(shape)
