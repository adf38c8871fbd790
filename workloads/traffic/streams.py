"""Random numbers of traffic: one stream a quantity, of which a longer run reads further than a shorter one."""

from __future__ import annotations

import hashlib

import numpy as np

from hardware_specs.errors import InputError


def stream(seed: int, quantity: str) -> np.random.Generator:
    """The stream of ``quantity`` ("arrivals", "input" ...).

    Philox 4x64-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405), keyed by the seed and the quantity: other laws of
    one quantity change no draw of another, and numbers that are drawn together are those that are drawn one by one.

    Raises:
        InputError: a seed outside 0 .. 2^64 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise InputError(f"seed {seed!r}; allowed: a whole number from 0 to 2^64 - 1")
    key = int.from_bytes(hashlib.blake2b(f"traffic {quantity}".encode(), digest_size=8).digest(), "little")
    return np.random.Generator(np.random.Philox(key=np.array([seed, key], np.uint64)))


def counted(count: int, what: str = "requests", least: int = 0) -> int:
    """``count``, once it is known to be a whole number from ``least`` on.

    Raises:
        InputError: it is none.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise InputError(f"{what} {count!r}; allowed: a whole number from {least} on")
    return count
