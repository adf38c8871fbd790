"""A static inference batch in closed form: one prefill, then osl - 1 decode steps at growing context.

Decode steps differ only by their context, along which the step time is smooth: it is priced at up to
``CONTEXT_POINTS`` contexts and integrated by the trapezoidal rule (exact when there are no more steps than that).
With pp pipeline stages the batch is cut into up to pp micro-batches; a step then takes one micro-batch's way through
all stages, which keeps all of them busy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.devices.model import DeviceModel
from simulator.network.communicator import Communicator
from simulator.scenario import Plan, StaticBatch
from simulator.steps.pricing import PricedGraph, price_graph
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import Lowering
from workloads.runtimes.record import Runtime

CONTEXT_POINTS = 9


@dataclass(frozen=True)
class BatchCost:
    """Seconds and joules of a static batch.

    ``prefill`` and ``decode`` are priced graphs of one device (decode at the mean context); times include the
    host, ``host_s`` per step. ``busy_j`` and ``busy_s`` are of one device: what its operators spend, and how long
    they run; the rest of the time it waits for the host or, with pipeline stages, for work.
    """

    ttft_s: float
    decode_s: float
    prefill: PricedGraph
    decode: PricedGraph | None
    busy_j: float
    busy_s: float
    steps: int
    host_s: float

    @property
    def tpot_s(self) -> float | None:
        """Mean decode step [s]; None where only one token is produced."""
        return self.decode_s / self.steps if self.steps else None

    @property
    def e2e_s(self) -> float:
        """Time of the whole batch [s]."""
        return self.ttft_s + self.decode_s


def decode_contexts(isl: int, osl: int) -> tuple[list[int], list[float]]:
    """Contexts at which decode is priced, and how many steps each stands for (trapezoidal weights, sum osl - 1)."""
    steps = osl - 1
    if steps <= 0:
        return [], []
    if steps <= CONTEXT_POINTS:
        return [isl + 1 + j for j in range(steps)], [1.0] * steps
    points = np.unique(np.linspace(isl + 1, isl + steps, CONTEXT_POINTS).round().astype(int))
    # Sum over integers a..b of a piecewise linear function with knots at the points.
    weights = np.zeros(len(points))
    weights[0] += 0.5
    weights[-1] += 0.5
    for i, gap in enumerate(np.diff(points)):
        weights[i] += gap / 2.0
        weights[i + 1] += gap / 2.0
    return [int(p) for p in points], [float(w) for w in weights]


def host_seconds(runtime: Runtime, sequences: float) -> float:
    """What the host adds to a step of ``sequences`` [s]."""
    each = runtime.host_sequence.value if runtime.host_sequence else 0.0
    return runtime.host_step.value + each * sequences


def price_batch(
    work: StaticBatch, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator]
) -> BatchCost:
    """Price ``work`` on a replica group; with dp replicas each takes an equal part of the batch (rounded up)."""
    replica = -(-work.batch // plan.dp)
    micro = -(-replica // min(plan.pp, replica))
    micro_batches = -(-replica // micro)
    host = host_seconds(model.runtime, replica)
    phase = "encode" if work.model.is_encoder else "prefill"

    graph = lower_step(work.model, phase, micro, work.isl, work.isl, how)  # type: ignore[arg-type]
    prefill = price_graph(graph, model, communicators)
    # Fill the pipeline once, then one micro-batch leaves per stage time.
    ttft = prefill.total_s * (1.0 + (micro_batches - 1) / plan.pp) + host
    contexts, weights = decode_contexts(work.isl, work.osl)
    share = micro_batches / plan.pp
    seconds, busy_s, busy_j, middle = 0.0, share * prefill.total_s, share * prefill.total_j, None
    for index, (context, weight) in enumerate(zip(contexts, weights, strict=True)):
        step = price_graph(lower_step(work.model, "decode", micro, 1, context, how), model, communicators)
        seconds += weight * (step.total_s + host)
        busy_s += weight * share * step.total_s
        busy_j += weight * share * step.total_j
        if index == len(contexts) // 2:
            middle = step
    return BatchCost(ttft, seconds, prefill, middle, busy_j, busy_s, max(work.osl - 1, 0), host)
