"""What a runtime does where a pool does not say: its scheduler, sequences at once, and whether it keeps prefixes."""

from __future__ import annotations

from typing import Final

import msgspec

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from silicost.serving.tables import PoolTable, PrefixTable
from simulator import memory
from simulator.prepared import Prepared
from workloads.models.architecture import Architecture

SEQUENCES: Final = 256
"""Sequences that run at once under a runtime that says nothing (the server's default of vLLM on most devices)."""
LARGE_BYTES: Final = 70 * 2**30
_NOT_LARGE: Final = "a100"


def as_served(table: PoolTable, prepared: Prepared, arch: Architecture, repeats: bool, place: str) -> PoolTable:
    """``table`` with the defaults of its runtime.

    Args:
        repeats: whether requests can have prefixes in common; without any a cache of them would change nothing.

    Raises:
        InputError: a prefix cache that is described and off.
    """
    runtime, cache = prepared.pool.runtime, table.prefix_cache
    if cache is not None and table.prefix_caching is False:
        raise InputError(f"{place}: prefix_caching: is off, and prefix_cache says how it is; leave one of the two out")
    scheduler = table.scheduler or runtime.scheduler or ("no-evict" if runtime.reserves_answers else "vllm-v1")
    if cache is None and table.prefix_caching:
        cache = PrefixTable()
    usual = runtime.prefix_caching and table.prefix_caching is None and not table.swap
    if cache is None and usual and repeats and _keeps_tokens(prepared, arch):
        cache = PrefixTable()
    sequences = table.max_num_seqs or (64 if arch.is_encoder else _sequences(prepared))
    return msgspec.structs.replace(table, scheduler=scheduler, prefix_cache=cache, max_num_seqs=sequences)


def _sequences(prepared: Prepared) -> int:
    runtime = prepared.pool.runtime
    large = runtime.max_num_seqs_large if is_large(prepared.pool.device) else 0
    return large or runtime.max_num_seqs or SEQUENCES


def is_large(device: DeviceSpec) -> bool:
    """Whether vLLM's server takes its larger defaults: 70 GiB or more, and no A100 (vLLM 0.9 and later,
    ``EngineArgs.get_batch_defaults`` of vllm/engine/arg_utils.py, with pull request 17885)."""
    return device.memory.capacity.value >= LARGE_BYTES and not device.id.startswith(_NOT_LARGE)


def _keeps_tokens(prepared: Prepared, arch: Architecture) -> bool:
    """Whether all of a sequence's state is a cache of tokens: recurrent states are not kept by blocks."""
    if arch.is_encoder:
        return False
    return memory.kv_bytes_per_sequence(arch, 0.0, prepared.precision, prepared.how.sharding) == 0.0
