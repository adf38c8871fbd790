"""Equal replicas behind a router, served by the compiled scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, UnknownName
from simulator import memory
from simulator.checks import LARGEST, check_count
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared
from simulator.serving.requests import Asked, Columns, columns_of
from simulator.serving.step_tables import StepTables, step_tables
from workloads.models.architecture import Architecture

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUTERS: Final = {
    "round-robin": kernel.ROUND_ROBIN, "least-outstanding": kernel.LEAST_OUTSTANDING,
    "power-of-two": kernel.POWER_OF_TWO,
}  # fmt: skip
LEAST_GAP_S: Final = 1e-5
GAPS_PER_DOUBLING: Final = 16
GAP_BINS: Final = 512
"""Gaps between tokens are counted in bins whose ends differ by a sixteenth of a doubling, from 10 us on."""
MOST_PER_ITERATION: Final = 1_000_000
MOST_BLOCK: Final = 65_536
MOST_BLOCKS: Final = 1 << 31
MOST_REPLICAS: Final = 100_000
"""Upper bounds of sizes that tables and states are as long as."""


class Limits(NamedTuple):
    """What a server allows: new tokens of an iteration, sequences at once, tokens of a block, blocks, context."""

    batched_tokens: int
    sequences: int
    block_tokens: int
    blocks: int
    context: int


@dataclass(frozen=True)
class Served:
    """What came of all requests: their columns, what is known of each replica, counts of gaps between tokens."""

    requests: Columns
    replicas: Floats
    gaps: Ints
    limits: Limits


def cache_blocks(
    prepared: Prepared, arch: Architecture, block_tokens: int, batched_tokens: int, sequences: int
) -> int:  # fmt: skip
    """Blocks of the cache of one replica: usable memory less weights, the activation peak and what the runtime holds,
    or the share of what those leave free where the runtime sizes its cache so.

    States of state space layers do not grow: each sequence that may run has its own beside the blocks.

    Raises:
        InputError: nothing is left.
    """
    precision, sharding = prepared.precision, prepared.how.sharding
    weights = memory.weight_bytes(arch, precision, sharding)
    activations = memory.inference_activation_bytes(arch, batched_tokens, sequences, precision, sharding.tp)
    state = memory.kv_bytes_per_sequence(arch, 0.0, precision, sharding)
    runtime, held = prepared.pool.runtime, weights + activations + prepared.pool.runtime.context.value
    if runtime.free_memory_share is not None:
        left = runtime.free_memory_share.value * (prepared.pool.device.usable_bytes - held) - sequences * state
    else:
        left = prepared.usable_bytes - held - sequences * state
    each = memory.kv_bytes_per_sequence(arch, float(block_tokens), precision, sharding) - state
    blocks = 0 if left <= 0.0 else int(left / each) if each > 0.0 else 1 << 30
    if blocks < 1:
        raise InputError(
            f"{prepared.pool.device.id} cannot serve {arch.id}: weights {weights / 1e9:.3g} GB, activations "
            f"{activations / 1e9:.3g} GB, states {sequences * state / 1e9:.3g} GB and the runtime leave "
            f"{left / 1e9:.3g} GB of {prepared.usable_bytes / 1e9:.3g} GB"
        )
    return blocks


def serve(
    prepared: Prepared, arch: Architecture, asked: Asked, limits: Limits, *, replicas: int = 1,
    router: str = "round-robin", concurrency: int = 0, seed: int = 0, one_by_one: bool = False,
    tables: StepTables | None = None,
) -> Served:  # fmt: skip
    """Serve ``asked`` on equal replicas.

    Args:
        prepared: the pool of one replica.
        concurrency: clients that send their next request when one is answered (0: requests arrive as they say).
        seed: of routers that draw.
        one_by_one: visit every iteration on its own.
        tables: prices of iterations, where they are at hand.

    Raises:
        InputError: an impossible number, an encoder, a plan that serving does not run.
        UnknownName: an unknown router.
    """
    if router not in ROUTERS:
        raise UnknownName("router", router, ROUTERS, f"allowed: {', '.join(ROUTERS)}")
    _check_sizes(limits, replicas, concurrency)
    plan = prepared.pool.plan
    if plan.pp > 1 or plan.dp > 1:
        raise InputError(f"--pp {plan.pp} --dp {plan.dp}: replicas are cut by --tp (and --ep); use --replicas for dp")
    priced = tables or step_tables(prepared, arch, limits.batched_tokens, limits.sequences, limits.context)
    requests = columns_of(asked, limits.context, limits.blocks * limits.block_tokens)
    count = len(asked.arrival_s)
    states = np.zeros((replicas, kernel.STATE), np.int64)
    states[:, [kernel.HEAD, kernel.TAIL]] = kernel.NONE
    states[:, kernel.FREE] = limits.blocks
    states[:, kernel.SOONEST] = 1 << 62
    running = np.full((replicas, min(limits.sequences, max(count, 1))), kernel.NONE, np.int64)
    residues = np.zeros((replicas, limits.block_tokens), np.int64)
    stats = np.zeros((replicas, kernel.STATS))
    gaps = np.zeros(GAP_BINS, np.int64)
    drawn = np.random.default_rng(seed).random((count if router == "power-of-two" else 1, 2))
    picks = (drawn * replicas).astype(np.int64)
    if concurrency:
        _begin_loop(requests, states, concurrency)
    runtime, model = prepared.pool.runtime, prepared.model
    each = runtime.host_sequence.value if runtime.host_sequence else 0.0
    static_w = float(model.record["static_w"])
    costs = np.array(
        [
            runtime.host_step.value,
            each,
            static_w,
            prepared.pool.count,
            LEAST_GAP_S,
            float(GAPS_PER_DOUBLING),
            float(runtime.async_scheduling),
        ]
    )
    bounds = np.array([limits.batched_tokens, limits.sequences, limits.block_tokens, limits.blocks], np.int64)
    kernel.serve(
        requests, states, running, residues, stats, gaps, priced, bounds, costs, ROUTERS[router], picks, one_by_one
    )
    return Served(requests, stats, gaps, limits)


def _check_sizes(limits: Limits, replicas: int, concurrency: int) -> None:
    """Refuse what a server or a fleet cannot have.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    sizes = {
        "--max-batched-tokens": (limits.batched_tokens, MOST_PER_ITERATION),
        "--max-num-seqs": (limits.sequences, MOST_PER_ITERATION), "--block-size": (limits.block_tokens, MOST_BLOCK),
        "KV blocks": (limits.blocks, MOST_BLOCKS), "context": (limits.context, LARGEST),
        "--replicas": (replicas, MOST_REPLICAS),
    }  # fmt: skip
    if concurrency:
        sizes["--concurrency"] = (concurrency, LARGEST)
    for flag, (value, most) in sizes.items():
        check_count(flag, value, most)


def _begin_loop(requests: Columns, states: Ints, concurrency: int) -> None:
    """The first requests of a closed loop wait at the start; clients, and the requests of each, keep to one replica."""
    used = min(len(states), concurrency)
    number = np.arange(len(requests.status))
    requests.replica[:] = number % used
    states[:, kernel.STRIDE] = used
    states[:, kernel.NEXT] = len(number)
    for r in range(used):
        own = np.flatnonzero((requests.status != kernel.REJECTED) & (requests.replica == r))
        clients = -(-(concurrency - r) // used)
        requests.arrival_s[own[:clients]] = 0.0
        for request in own[:clients].tolist():
            kernel.push(requests, states[r], request, False)
        if len(own) > clients:
            states[r, kernel.NEXT] = own[clients]
