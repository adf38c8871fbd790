"""What goes before each timed call on a CPU: a product of one row whose weights fill the second-level caches."""

from __future__ import annotations

from typing import Final

from simulator.calibration.probes import numpy_calls, torch_calls
from simulator.calibration.probes.cold_block import block_bytes, numpy_block
from simulator.calibration.probes.registry import Call, Machine

_COLUMNS: Final = 1024
_ROWS: Final = 512
"""2 MiB of weights in fp32."""


def other_call(library: str, machine: Machine) -> Call:
    """A call of ``library`` ("torch", "numpy") that is unlike most that are timed."""
    if library == "torch":
        from torch.nn.functional import linear

        x = torch_calls.filled(machine, "fp32", 1, _COLUMNS)
        weights = torch_calls.cold(machine, "fp32", _ROWS, _COLUMNS)
        return torch_calls.in_turn(weights, lambda w: linear(x, w))
    row = numpy_calls.filled(1, _COLUMNS)
    each = 4 * _ROWS * _COLUMNS
    whole = numpy_block(machine)
    parts = [
        whole[place * each : (place + 1) * each].view("f4").reshape(_ROWS, _COLUMNS)
        for place in range(max(block_bytes(machine) // each, 1))
    ]
    return torch_calls.in_turn(parts, lambda w: row @ w.T)
