"""How sure a served outcome is: the same requests on replicas that are slower and faster than predicted.

All iterations of one device under one runtime err together, so that their common error moves the whole run, and a queue
multiplies it: what is 20% slower may be overloaded. The run is therefore repeated with every time at both ends of its
80% interval, instead of scaling its metrics. The width is that of a static batch of the run's mean size and lengths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from simulator.bulk.metrics import batch_columns
from simulator.bulk.static_batches import Batches
from simulator.prepared import Prepared
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
