"""What a training step moves beside its math, and what of it shows nevertheless.

``workloads.runtimes.record.OVERLAPS`` names the kinds. A runtime does some of them by itself and can do others
(``Runtime.can_overlap``); a plan may ask for those (``--overlap``). Keys and values on their way round a ring move
beside attention always.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hardware_specs.errors import InputError, UnknownName
from simulator.devices.model import DeviceModel
from simulator.network.communicator import Communicator, collective_cost
from simulator.scenario import Plan, TrainStep
from simulator.steps.pricing import Floats, PricedGraph
from workloads.lowering.training import CONTEXT
from workloads.models.architecture import Experts
from workloads.operators import FAMILIES, OpKind
from workloads.runtimes.record import OVERLAPS, Runtime


def overlapped(plan: Plan, runtime: Runtime, zero: int) -> frozenset[str]:
    """What moves beside the math under ``plan``.

    Raises:
        InputError: a word that is none of ``OVERLAPS``, or something that the runtime cannot do.
    """
    own = set[str]()
    if runtime.overlaps_gradients or zero == 3:
        own |= {"gradients", "weights"}
    if runtime.overlaps_tensor:
        own.add("tensor")
    if plan.overlap in ("", "none"):
        return frozenset() if plan.overlap else frozenset(own)
    able = own | set(runtime.can_overlap)
    if plan.overlap == "all":
        return frozenset(able)
    asked = [word.strip() for word in plan.overlap.split(",")]
    for word in asked:
        if word not in OVERLAPS:
            raise UnknownName("overlap", word, OVERLAPS, f"allowed: all, none, {', '.join(OVERLAPS)}", "--overlap")
        if word not in able:
            can = ", ".join(sorted(able)) or "nothing"
            raise InputError(f"--overlap {word}: runtime {runtime.id} does not; it moves beside the math: {can}")
    return frozenset(asked)


def with_times(micro: PricedGraph, time_s: Floats) -> PricedGraph:
    """``micro`` whose exchanges show for ``time_s`` alone, shape [n] [s]; the device draws static power meanwhile."""
    part = np.divide(time_s, micro.time_s, out=np.ones_like(time_s), where=micro.time_s > 0.0)
    return replace(
        micro, time_s=time_s, communication_s=micro.communication_s * part, energy_j=micro.energy_j * part
    )  # fmt: skip


def beside_attention(micro: PricedGraph, cp: int) -> PricedGraph:
    """A micro-batch whose exchanges between context parallel ranks take only what attention does not hide [s].

    A rank attends to its own keys while the first others are under way, so that of cp parts of attention cp - 1 hide
    cp - 1 parts of the exchange.
    """
    if cp == 1:
        return micro
    time_s = micro.time_s.copy()
    names = [operator.name for operator in micro.graph.operators]
    for backward in (False, True):
        moves = np.array([n == (CONTEXT + ".backward" if backward else CONTEXT) for n in names])
        attends = np.array([f"{n}.".startswith(("attention.scores.", "attention.qk.", "attention.pv.")) for n in names])
        attends &= np.array([n.endswith((".backward", ".dgrad")) == backward for n in names])
        moved_s, math_s = (float((time_s * micro.graph.repeat)[rows].sum()) for rows in (moves, attends))
        if moved_s > 0.0:
            time_s[moves] *= max(moved_s - math_s * (cp - 1.0) / cp, 0.0) / moved_s
    return with_times(micro, time_s)


def once_to_each_node(
    micro: PricedGraph, work: TrainStep, group: Communicator, model: DeviceModel
) -> PricedGraph:  # fmt: skip
    """A micro-batch whose tokens cross to each node once, whatever number of their experts live there.

    Of k experts that are drawn from n nodes, n (1 - (1 - 1/n)^k) nodes have some; inside a node each copy moves. As
    DeepEP and the kernels of DeepSeek-AI, arXiv:2412.19437, section 3.2.2, send and combine them (without the limit of
    nodes that its router sets).
    """
    chosen = max((g.mlp.top_k for g in work.model.groups if isinstance(g.mlp, Experts)), default=1)
    nodes = group.size / group.inner.size
    if nodes <= 1.0 or chosen <= 1:
        return micro
    share = nodes * (1.0 - (1.0 - 1.0 / nodes) ** chosen) / chosen
    time_s, factor = micro.time_s.copy(), float(model.record["factors"][FAMILIES.index("collective")])
    for i, operator in enumerate(micro.graph.operators):
        if operator.kind == OpKind.ALL_TO_ALL and operator.axis == "ep":
            cost = collective_cost(operator.kind, operator.message_bytes, group)
            across_s = share * cost.outer_bytes / group.outer.bandwidth
            inside_s = operator.message_bytes / group.inner.bandwidth if group.inner.size > 1 else 0.0
            alone_s = min(cost.startup_s + max(across_s, inside_s), cost.seconds)
            time_s[i] += (alone_s - cost.seconds) / factor
    return with_times(micro, time_s)


def beside_products(micro: PricedGraph, tp: int) -> PricedGraph:
    """A micro-batch whose exchanges between tensor parallel ranks take only what products do not hide [s].

    A rank multiplies the piece that it has while the next one is under way, so that of tp pieces of an exchange tp - 1
    move beside tp - 1 parts of the products of the same layer and direction (Wang et al., "Overlap Communication with
    Dependent Computation via Decomposition", ASPLOS 2023, doi:10.1145/3567955.3567959).
    """
    time_s = micro.time_s.copy()
    for block in micro.graph.blocks if tp > 1 else ():
        operators = micro.graph.operators[block.start : block.stop]
        moves = np.array([o.family == "collective" and o.axis == "tp" for o in operators])
        products = np.array([o.family == "gemm" for o in operators])
        seconds = time_s[block.start : block.stop]
        moved_s, math_s = float(seconds[moves].sum()), float(seconds[products].sum())
        if block.label.startswith("layers") and moved_s > 0.0:
            seconds[moves] *= max(1.0 - math_s / moved_s * (tp - 1.0) / tp, 1.0 / tp)
    return with_times(micro, time_s)


def sends_s(one_s: float, stage_s: float, count: int, pp: int, vpp: int, beside: bool) -> float:
    """What sends between stages add to a step [s].

    The first micro-batch crosses pp - 1 boundaries there and back; behind it each adds one exchange, which a stage that
    sends ``beside`` its math shows only where it is longer than a piece of its forward or backward.

    Args:
        one_s: one send [s].
        stage_s: a micro-batch on the slowest stage [s].
    """
    shown_s = max(one_s - stage_s / (2.0 * vpp), 0.0) if beside else one_s
    return 2.0 * (one_s * (vpp + pp - 2) + shown_s * vpp * (count - 1))
