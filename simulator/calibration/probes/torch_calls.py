"""What probes in torch share: dtypes, operands that no cache holds, and why torch is missing."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle
from typing import Any, Final

from simulator.calibration.probes.cold_block import block_bytes, torch_block
from simulator.calibration.probes.registry import Call, Machine, Target

RUNTIMES: Final[dict[Target, str]] = {"cpu": "torch-cpu-2.13", "gpu": "torch-eager-2.4"}
"""The runtime whose kernels torch calls run, by target."""
_NAMES: Final = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8", "fp8": "float8_e4m3fn"}
_COLD: Final = 3.0
"""Operands that take turns fill the cache so many times over: no call finds its own there."""
_MOST_COPIES: Final = 64
_MOST_VIEWS: Final = 4000
_BLOCK: Final = 1 << 16


@cache
def cannot_load() -> str:
    """Why torch cannot be loaded; "" where it can."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install torch)"
    try:
        importlib.import_module("torch")
    except (ImportError, OSError, RuntimeError) as error:
        return f"torch cannot be loaded ({(str(error).strip() or repr(error)).splitlines()[0][:200]})"
    return ""


def missing(machine: Machine) -> str:
    """Why torch cannot run on ``machine``; "" where it can."""
    if reason := cannot_load():
        return reason
    if machine.target == "gpu":
        import torch

        if not torch.cuda.is_available():
            return "torch sees no GPU"
    return ""


def torch_dtype(dtype: str) -> Any:
    """The torch dtype of a compute dtype."""
    import torch

    return getattr(torch, _NAMES[dtype])


def filled(machine: Machine, dtype: str, *shape: int) -> Any:
    """A tensor of small random numbers on the device; large ones repeat a block, which is as fast as a copy."""
    import torch

    where = torch.device(machine.torch_device)
    size = math.prod(shape)
    block = torch.rand(min(size, _BLOCK), device=where) - 0.5
    block = (block * 16.0).to(torch.int8) if dtype == "int8" else block.to(torch_dtype(dtype))
    return block.repeat(-(-size // _BLOCK))[:size].view(shape)


def copies(machine: Machine, bytes_each: float) -> int:
    """How many operands of ``bytes_each`` take turns so that the cache never holds the next one."""
    if machine.target == "cpu":
        return max(1, min(int(block_bytes(machine) // max(bytes_each, 1.0)), _MOST_VIEWS))
    wanted = _COLD * machine.cache_bytes / max(bytes_each, 1.0)
    affordable = 0.5 * machine.memory_bytes / max(bytes_each, 1.0)
    return max(1, min(int(wanted) + 1, int(affordable), _MOST_COPIES))


def cold(machine: Machine, dtype: str, *shape: int) -> list[Any]:
    """Operands that take turns, each of which has left the caches when its turn comes.

    On a CPU they are parts of one block, which is filled once; one that is larger than the block is on its own.
    """
    import torch

    each = math.prod(shape) * (torch.empty(0, dtype=torch_dtype(dtype)).element_size())
    number = copies(machine, each)
    if machine.target == "gpu" or each > block_bytes(machine):
        return [filled(machine, dtype, *shape) for _ in range(number)]
    whole = torch_block(machine)
    parts = (whole[place * each : (place + 1) * each] for place in range(number))
    return [part.view(torch_dtype(dtype)).view(shape) for part in parts]


def in_turn(operands: Sequence[Any], call: Callable[[Any], object]) -> Call:
    """``call`` on one operand after the other, round and round."""
    turns = cycle(operands)
    return lambda: call(next(turns))
