"""One block of memory, far larger than the caches, that operands take turns in.

Weights of a model fill the caches many times over between one use of a matrix and the next. Caches of a socket may be
larger than what a guest is told, and page tables of a large model fill a part of them: the block is nine times the
last-level cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.calibration.probes.registry import Machine

_COLD: Final = 9.0
_LEAST: Final = 64e6
"""Block where the cache is small or not known [B]."""
_MEMORY_SHARE: Final = 0.4
_LINE: Final = 64


def block_bytes(machine: Machine) -> int:
    """Size of the block [B], whole cache lines."""
    wanted = max(_COLD * machine.cache_bytes, _LEAST)
    return int(min(wanted, _MEMORY_SHARE * machine.memory_bytes)) // _LINE * _LINE


def numpy_block(machine: Machine) -> npt.NDArray[np.uint8]:
    """The block as numpy allocates its arrays: it asks for huge pages.

    Its bytes are numbers between 1/128 and 1/2 in bf16, and in fp32 and fp16 normal numbers, too.
    """
    return _numpy_block(block_bytes(machine))


def torch_block(machine: Machine) -> Any:
    """The same as torch allocates its tensors, without asking for huge pages: its page tables take longer to walk."""
    return _torch_block(block_bytes(machine))


@lru_cache(maxsize=1)
def _numpy_block(size: int) -> npt.NDArray[np.uint8]:
    whole: npt.NDArray[np.uint8] = np.empty(size, np.uint8)
    _fill(whole)
    return whole


@lru_cache(maxsize=1)
def _torch_block(size: int) -> Any:
    import torch

    whole = torch.empty(size, dtype=torch.uint8)
    _fill(whole.numpy())
    return whole


def _fill(whole: npt.NDArray[np.uint8]) -> None:
    pattern = np.random.default_rng(0).integers(0x3C00, 0x3F00, 1 << 15, np.uint16).view(np.uint8)
    for start in range(0, len(whole), len(pattern)):
        stop = min(start + len(pattern), len(whole))
        whole[start:stop] = pattern[: stop - start]
