"""A static inference batch in closed form: the steps of its prefill, then osl - 1 decode steps at growing context.

Prefill is cut into steps as the runtime does (``steps.prefill``). Decode steps differ only by their context, along
which the step time is smooth: it is priced at up to ``CONTEXT_POINTS`` contexts and integrated by the trapezoidal rule
(exact when there are no more steps than that). With pp pipeline stages the batch is cut into up to pp micro-batches,
which follow each other through the stages (``steps.pipeline``); each begins its next token when it has left the last
stage and the first one is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from simulator.devices.model import DeviceModel
from simulator.network.communicator import Communicator
from simulator.scenario import Plan, StaticBatch
from simulator.steps.launch_queue import prefill_queued, steps_queued
from simulator.steps.pipeline import all_passed, round_seconds, servers, trapezoid
from simulator.steps.prefill import PrefillStep, chunk_tokens, prefill_steps
from simulator.steps.pricing import PricedGraph, beside_other_half, price_graphs
from workloads.graph import Graph
from workloads.lowering.inference import Phase, lower_contexts
from workloads.lowering.plan import Lowering
from workloads.models.architecture import Architecture
from workloads.runtimes.record import Runtime

CONTEXT_POINTS = 9

Amounts = TypeVar("Amounts", float, npt.NDArray[np.float64])
"""A number, or many at once."""


class Step(NamedTuple):
    """``times`` equal steps: their graph priced on one device, and the host time of each [s]."""

    priced: PricedGraph
    times: float
    host_s: float


@dataclass(frozen=True)
class BatchCost:
    """Seconds and joules of a static batch.

    ``prefill`` and ``decode`` are the steps of one replica (decode: of one micro-batch); times include the host,
    ``prefill_host_s`` of it in the whole prefill and ``decode_host_s`` in the whole decode.
    ``busy_j`` and ``busy_s`` are of one device, the mean over the stages: what its operators spend, and how long they
    run; the rest of the time it waits for the host or, with pipeline stages, for work.
    """

    ttft_s: float
    decode_s: float
    prefill: tuple[Step, ...]
    decode: tuple[Step, ...]
    prefill_host_s: float
    decode_host_s: float
    steps: int
    busy_j: float
    busy_s: float

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
    indices, weights = trapezoid(max(osl - 1, 0), CONTEXT_POINTS)
    return [isl + 1 + index for index in indices], list(weights)


def host_seconds(runtime: Runtime, sequences: float) -> float:
    """What the host adds to a step of ``sequences`` [s]."""
    each = runtime.host_sequence.value if runtime.host_sequence else 0.0
    return runtime.host_step.value + each * sequences


def launch_lag_s(runtime: Runtime, launches: Amounts, device_s: Amounts) -> Amounts:
    """How much longer the host takes to launch the operators of a step than the devices to run them [s].

    An eager host enqueues kernels before the devices need them, and waits for these once a step: the step takes
    ``max(launches x launch, device_s)``. 0 where the runtime does not run ahead, or records its launches.
    """
    lag = (launches * runtime.launch.value if runtime.runs_ahead and not runtime.graph_mode else 0.0) - device_s
    return 0.5 * (lag + abs(lag))


def prompt_phase(arch: Architecture) -> Phase:
    """What the pass over the prompt is for this model."""
    return "encode" if arch.is_encoder else "prefill"


def replica_prefill(work: StaticBatch, replica: int, runtime: Runtime, stages: int = 1) -> list[PrefillStep]:
    """Prefill steps of a replica that has ``replica`` sequences of ``work`` and ``stages`` pipeline stages."""
    chunk = chunk_tokens(replica, work.isl, runtime.prefill_chunk, stages, work.model.is_encoder)
    return prefill_steps(replica, work.isl, chunk)


def lower_prefill(arch: Architecture, steps: list[PrefillStep], how: Lowering) -> list[Graph]:
    """The graph of each prefill step; those that differ by their context alone share operators."""
    graphs: list[Graph] = []
    shapes = dict.fromkeys((step.batch, step.q_len) for step in steps)
    for batch, q_len in shapes:
        contexts = tuple(step.kv_len for step in steps if (step.batch, step.q_len) == (batch, q_len))
        graphs += lower_contexts(arch, prompt_phase(arch), batch, q_len, contexts, how)
    return graphs


def price_batch(
    work: StaticBatch, plan: Plan, how: Lowering, model: DeviceModel, communicators: Mapping[str, Communicator]
) -> BatchCost:
    """Price ``work`` on a replica group; with dp replicas each takes an equal part of the batch (rounded up)."""
    replica, runtime = -(-work.batch // plan.dp), model.runtime
    micro = -(-replica // min(plan.pp, replica))
    micro_batches = -(-replica // micro)
    chunks = replica_prefill(work, replica, runtime, plan.pp)
    contexts, weights = decode_contexts(work.isl, work.osl)
    prompts = lower_prefill(work.model, chunks, how)
    priced = price_graphs(
        [*prompts, *lower_contexts(work.model, "decode", micro, 1, tuple(contexts), how)], model, communicators
    )
    if runtime.two_batches:
        priced = [beside_other_half(graph) for graph in priced]
    prefill = tuple(
        Step(graph, chunk.repeats, host_seconds(runtime, chunk.batch) + _lag_s(runtime, graph))
        for graph, chunk in zip(priced, chunks, strict=False)
    )
    host = host_seconds(runtime, micro)
    decode = tuple(
        Step(graph, weight, host + _lag_s(runtime, graph))
        for graph, weight in zip(priced[len(prompts) :], weights, strict=True)
    )
    lag_s = sum(s.times * (s.host_s - host) for s in decode)
    steps = max(work.osl - 1, 0)
    passing = [(servers(s.priced, s.host_s, plan.pp), s.times) for s in prefill]
    room = [steps_queued(s.priced.graph, runtime, plan.pp) for s in prefill]
    if all(room):
        ttft = prefill_queued(passing, room, runtime.prefill_in_flight)
    else:
        ttft = all_passed(passing, runtime.prefill_in_flight)
    seconds = sum(s.times * round_seconds(servers(s.priced, s.host_s, plan.pp), micro_batches) for s in decode)
    # With steps in flight the host of all but the first is behind the devices.
    prefill_host_s = sum(s.times * s.host_s for s in prefill) if plan.pp == 1 else prefill[0].host_s
    runs = [(s.priced, s.times / plan.pp) for s in prefill]
    runs += [(s.priced, s.times * micro_batches / plan.pp) for s in decode]
    return BatchCost(
        ttft, seconds, prefill, decode, prefill_host_s, host * steps + lag_s, steps,
        sum(graph.total_j * times for graph, times in runs), sum(graph.total_s * times for graph, times in runs),
    )  # fmt: skip


def _lag_s(runtime: Runtime, priced: PricedGraph) -> float:
    return float(launch_lag_s(runtime, float(priced.graph.repeat.sum()), priced.total_s))
