"""How sure a served outcome is: the same requests on replicas that are slower and faster than predicted.

All iterations of one device under one runtime err together, so that their common error moves the whole run, and a queue
multiplies it: what is 20% slower may be overloaded. The run is therefore repeated with every time at both ends of its
80% interval, instead of scaling its metrics. The width is that of a static batch of the run's mean size and lengths,
host included, and so host times, swaps, loads and adapters move with the tables. Links between pools are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np

from simulator.bulk.metrics import batch_columns
from simulator.bulk.static_batches import Batches
from simulator.prepared import Prepared
from simulator.serving.fleet import Setup
from simulator.serving.outcome import Latency, Outcome
from simulator.serving.step_tables import StepTables
from simulator.uncertainty.intervals import Z80

Ends = tuple[float | None, float | None]


def factors(prepared: Prepared, running: float, prompt: float, output: float) -> tuple[float, float]:
    """What multiplies times at the ends of their 80% interval: fast and slow.

    Args:
        running: mean sequences of an iteration; prompt, output: mean tokens of a request.
    """
    work = Batches(*(np.array([max(1, round(value))], np.int64) for value in (running, prompt, max(output, 2.0))))
    columns, _ = batch_columns(prepared, work, ("e2e_s",), intervals=True)
    sd = math.log(float(columns["e2e_s.p90"][0] / columns["e2e_s"][0])) / Z80
    return math.exp(-Z80 * sd), math.exp(Z80 * sd)


def scaled(tables: StepTables, factor: float) -> StepTables:
    """Tables whose times are ``factor`` times as long; energy grows with the root of it, between static and dynamic."""
    grown = math.sqrt(factor)
    return tables._replace(
        rows_s=tables.rows_s * factor, head_s=tables.head_s * factor, decode_s=tables.decode_s * factor,
        prefill_s=tables.prefill_s * factor, rows_j=tables.rows_j * grown, head_j=tables.head_j * grown,
        decode_j=tables.decode_j * grown, prefill_j=tables.prefill_j * grown,
    )  # fmt: skip


def scaled_setup(setup: Setup, factor: float) -> Setup:
    """A pool whose every time is ``factor`` times as long: iterations, host, swaps, loads and adapters."""
    if factor == 1.0:
        return setup
    costs, grown = setup.costs, math.sqrt(factor)
    return replace(
        setup, tables=scaled(setup.tables, factor),
        costs=replace(
            costs, host_step_s=costs.host_step_s * factor, host_sequence_s=costs.host_sequence_s * factor,
            swap_block_s=costs.swap_block_s * factor, load_unit_s=costs.load_unit_s * factor,
            adapter_s=costs.adapter_s * factor, adapter_load_s=costs.adapter_load_s * factor,
            adapter_step_s=costs.adapter_step_s * factor, adapter_token_s=costs.adapter_token_s * factor,
            adapter_j=costs.adapter_j * grown, adapter_step_j=costs.adapter_step_j * grown,
            adapter_token_j=costs.adapter_token_j * grown,
        ),
    )  # fmt: skip


def scaled_host(prepared: Prepared, factor: float) -> Prepared:
    """A pool whose host takes ``factor`` times as long, for the scheduler of one plain pool."""
    runtime = prepared.pool.runtime
    step, each = (
        fact and msgspec.structs.replace(fact, value=fact.value * factor)
        for fact in (runtime.host_step, runtime.host_sequence)
    )
    runtime = msgspec.structs.replace(runtime, host_step=step, host_sequence=each)
    return replace(prepared, pool=msgspec.structs.replace(prepared.pool, runtime=runtime))


def interval_ends(fast: Outcome, slow: Outcome) -> Mapping[str, Ends]:
    """Ends of the 80% interval of every number, by the name that programs read ("ttft_s.p99")."""
    found: dict[str, Ends] = {}
    for name, value in fast.values.items():
        found[name] = _ordered(value, slow.values[name])
    for name, latency in fast.latencies.items():
        for field in Latency._fields:
            found[f"{name}.{field}"] = _ordered(getattr(latency, field), getattr(slow.latencies[name], field))
    return found


def _ordered(one: float | None, other: float | None) -> Ends:
    if one is None or other is None:
        return None, None
    return min(one, other), max(one, other)
