"""From flags to a served outcome: the front door of request-level simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario
from simulator.bulk.metrics import model_of
from simulator.checks import check_count
from simulator.prepared import Prepared, prepare
from simulator.serving.cluster import Limits, Served, cache_blocks, serve
from simulator.serving.outcome import Outcome, outcome_of
from simulator.serving.requests import Asked
from simulator.serving.slo import Slo
from simulator.serving.step_tables import step_tables
from simulator.serving.uncertain import Ends, factors, interval_ends, scaled
from workloads.traffic.record import Traffic

SCHEDULERS: Final = ("vllm-v1",)
BLOCK_TOKENS: Final = 16
"""Tokens of a cache block (vLLM's default)."""
SEQUENCES: Final = 256
"""Sequences that run at once (vLLM's default of ``--max-num-seqs`` on GPUs below 70 GB)."""
MOST_REPLICAS: Final = 100_000


@dataclass(frozen=True)
class Server:
    """How a replica batches; 0 means the runtime's own, or what the memory holds.

    Args:
        sequences, batched_tokens, block_tokens: as vLLM's ``--max-num-seqs``, ``--max-num-batched-tokens``,
            ``--block-size``.
        kv_blocks: blocks of the cache; 0: from the memory.
        context: longest sequence [tokens]; 0: the model's.
        utilisation: share of the memory that may be filled; 0: the runtime's.
    """

    sequences: int = SEQUENCES
    batched_tokens: int = 0
    block_tokens: int = BLOCK_TOKENS
    kv_blocks: int = 0
    context: int = 0
    utilisation: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A served run: what it came to, the ends of its 80% intervals by name, and every request."""

    outcome: Outcome
    intervals: Mapping[str, Ends]
    served: Served
    prepared: Prepared


def serving_answer(
    model: str, device: str, traffic: Traffic, server: Server, *, replicas: int = 1, router: str = "round-robin",
    slo: Slo | None = None, seed: int = 0, intervals: bool = True, **hardware: Any,
) -> Answer:  # fmt: skip
    """Serve ``traffic`` on ``replicas`` equal replicas.

    Args:
        hardware: as ``silicost.scenarios.inference_scenario`` takes it; its count is that of one replica.
        intervals: run the same requests at both ends of the interval of times as well.

    Raises:
        InputError: an unknown name, impossible numbers, a device that cannot hold the model.
    """
    check_count("--replicas", replicas, MOST_REPLICAS)
    prepared = prepare(inference_scenario(model, device, batch=1, isl=1, osl=1, **hardware))
    prepared = _utilised(prepared, server.utilisation)
    arch = model_of(prepared)
    limits = limits_of(prepared, server)
    asked = Asked(traffic.arrival_s, traffic.input, traffic.output)
    tables = step_tables(prepared, arch, limits.batched_tokens, limits.sequences, limits.context)
    options: dict[str, Any] = {
        "replicas": replicas, "router": router, "concurrency": traffic.concurrency, "seed": seed,
    }  # fmt: skip
    served = serve(prepared, arch, asked, limits, tables=tables, **options)
    outcome = outcome_of(prepared, served, slo)
    ends: Mapping[str, Ends] = {}
    if intervals and outcome.values["completed"]:
        running = max(outcome.values["running_mean"] or 1.0, 1.0)
        both = factors(prepared, running, float(np.mean(asked.input)), float(np.mean(asked.output)))
        found = [
            outcome_of(prepared, serve(prepared, arch, asked, limits, tables=scaled(tables, one), **options), slo)
            for one in both
        ]
        ends = interval_ends(*found)
    return Answer(outcome, ends, served, prepared)


def limits_of(prepared: Prepared, server: Server) -> Limits:
    """What a replica allows.

    Raises:
        InputError: no whole numbers, or no room for a cache.
    """
    arch, runtime = model_of(prepared), prepared.pool.runtime
    batched = server.batched_tokens or runtime.prefill_chunk or 8192
    for flag, count in (
        ("--max-num-seqs", server.sequences), ("--max-batched-tokens", batched), ("--block-size", server.block_tokens),
    ):  # fmt: skip
        check_count(flag, count, 1_000_000)
    if batched < server.sequences:
        raise InputError(
            f"--max-batched-tokens {batched}: must be at least --max-num-seqs {server.sequences}: each gets a token"
        )
    blocks = server.kv_blocks or cache_blocks(prepared, arch, server.block_tokens, batched, server.sequences)
    context = server.context or arch.max_positions or 131_072
    context = min(context, blocks * server.block_tokens)
    return Limits(batched, server.sequences, server.block_tokens, blocks, context)


def _utilised(prepared: Prepared, share: float) -> Prepared:
    """``prepared`` with another share of the memory in use."""
    if not share:
        return prepared
    if not 0.0 < share <= 1.0:
        raise InputError(f"--memory-utilization {share:g}: must be above 0 and at most 1")
    from dataclasses import replace

    from hardware_specs.facts import Fact, Mark

    runtime = prepared.pool.runtime
    fact = Fact(share, "number", f"{share:g}", Mark.ASSUMED, "--memory-utilization")
    pool = msgspec.structs.replace(prepared.pool, runtime=msgspec.structs.replace(runtime, memory_utilisation=fact))
    return replace(prepared, pool=pool)


def write_requests(path: Path, served: Served) -> None:
    """Every request as a row of a Parquet file.

    Raises:
        InputError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hardware_specs.files import write_bytes
    from simulator.serving.outcome import request_columns

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(request_columns(served)), sink)
    write_bytes(path, sink.getvalue().to_pybytes())
