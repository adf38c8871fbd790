"""Launches that wait for the devices: how many steps fit into the queue of a pipeline stage.

A host that runs ahead of its devices fills their command buffers, which hold about a thousand launches, and then
blocks. Where one thread launches for all stages of a pipeline, it does not give the first stage its next step while the
last stage has yet to take its launches of this one, and stages run one after the other: the more, the larger the model
and the fewer the stages (llama.cpp pull request 19042, 2026-01-23, which makes the buffers four times as large).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from simulator.kernels.launch_queues import all_queued
from simulator.steps.pipeline import FOLLOWED
from workloads.graph import Graph
from workloads.operator_record import Operator, OpKind
from workloads.runtimes.record import Runtime

PRODUCT_KERNELS: Final = 3.0
"""Activations are narrowed to 16 bits, multiplied, and the result widened. Here and below: what ggml launches on CUDA,
counted in ggml-cuda.cu at b3000 (ggml_cuda_op_mul_mat_cublas, ggml_cuda_mul_mat_batched_cublas) by hand."""
UNPACKED_KERNELS: Final = 4.0
"""Packed weights are unpacked first; products of heads need their pointers worked out."""
PACKED_KERNELS: Final = 2.0
"""Activations are quantised and multiplied with the packed weights."""
OTHER_KERNELS: Final = 2.0
"""Norm and scale, activation and product, queries and keys, copies to the cache."""


def kernels_of(op: Operator, packed_kernel: str) -> float:
    """How many kernels llama.cpp launches for ``op`` at many rows."""
    if op.kind in (OpKind.GEMM, OpKind.MOE_GEMM):
        if not op.dequantize:
            return PRODUCT_KERNELS
        return PACKED_KERNELS if packed_kernel in ("row", "tile") else UNPACKED_KERNELS
    return UNPACKED_KERNELS if op.kind == OpKind.BATCHED_GEMM else OTHER_KERNELS


def steps_queued(graph: Graph, runtime: Runtime, stages: int) -> float:
    """Steps like ``graph`` whose launches fit into the queue of one of ``stages``; 0 where nothing limits them."""
    if not runtime.launch_queue or stages == 1:
        return 0.0
    kernels = sum(
        kernels_of(op, runtime.packed_kernel) * times
        for op, times in zip(graph.operators, graph.repeat.tolist(), strict=True)
    )
    return float(runtime.launch_queue.value * stages / kernels)


def prefill_queued(steps: Sequence[tuple[Sequence[float], float]], room: Sequence[float], in_flight: int) -> float:
    """As ``pipeline.all_passed``, where queues of stages hold the launches of ``room`` steps, shape [kinds] [s]."""
    out = np.empty(1)
    servers, repeats = np.array([seconds for seconds, _ in steps]), np.array([times for _, times in steps], float)
    all_queued(np.array([0, len(steps)]), servers, repeats, np.array(room), in_flight, FOLLOWED, out)
    return float(out[0])
