"""What the model itself has to compute and to read for the jobs of a pool, whatever the device: for MFU and MBU."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from simulator import memory
from simulator.kernels.fleet import columns as c
from simulator.kernels.serving import DONE, ITERATIONS
from simulator.prepared import Prepared
from simulator.serving.fleet import FleetServed
from workloads.lowering.inference import Phase, lower_step
from workloads.lowering.plan import Lowering, Precision
from workloads.models.architecture import Architecture
from workloads.runtimes.record import FUSIONS

_SHORT, _LONG = 128.0, 1024.0
"""Prompts and contexts between which the FLOPs of attention are taken from."""


@lru_cache(maxsize=256)
def _flops(arch: Architecture, phase: Phase, q_len: float, kv_len: float, precision: Precision) -> float:
    return lower_step(arch, phase, 1.0, q_len, kv_len, Lowering(precision, fusions=frozenset(FUSIONS))).flops


def model_flops(served: FleetServed, pool: int, arch: Architecture, precision: Precision) -> float:
    """Model FLOPs of the jobs that a pool ended: of a prompt what is not in the cache, of each token with its context.

    FLOPs of a prompt of n tokens are a n + b n^2, of a token that sees n tokens c + d n, causal attention counted half.
    """
    jobs = served.jobs
    own = (jobs.pool == pool) & (jobs.status == DONE)
    prompt, known = jobs.input[own].astype(np.float64), jobs.matched[own].astype(np.float64)
    phase: Phase = "encode" if arch.is_encoder else "prefill"
    short, long_ = (_flops(arch, phase, n, n, precision) for n in (_SHORT, _LONG))
    square = (long_ / _LONG - short / _SHORT) / (_LONG - _SHORT)
    each = short / _SHORT - square * _SHORT
    total = float((each * (prompt - known) + square * (prompt**2 - known**2)).sum())
    if arch.is_encoder:
        return total
    steps = np.maximum(jobs.output[own] - 1, 0).astype(np.float64)
    near, far = (_flops(arch, "decode", 1.0, n, precision) for n in (_SHORT, _LONG))
    slope = (far - near) / (_LONG - _SHORT)
    seen = steps * prompt + steps * (steps + 1.0) / 2.0
    return total + float(((near - slope * _SHORT) * steps + slope * seen).sum())


def model_bytes(served: FleetServed, pool: int, prepared: Prepared, arch: Architecture) -> float:
    """Bytes that must be read, of all devices: the weights that an iteration touches, and the cache that it sees.

    The weights of an iteration are those of one with the mean number of tokens, experts that no token chose left out.
    """
    stats = served.replicas[served.own(pool)]
    iterations = float(stats[:, ITERATIONS].sum())
    if not iterations:
        return 0.0
    tokens = float(served.bins[pool, :, [c.B_TOKENS, c.B_PROMPT_TOKENS]].sum()) / iterations
    weights, each = read_bytes(prepared, arch, max(tokens, 1.0))
    return weights * iterations + each * float(stats[:, c.READ_TOKENS].sum())


def read_bytes(prepared: Prepared, arch: Architecture, tokens: float) -> tuple[float, float]:
    """Bytes of all devices of a replica: weights that an iteration of ``tokens`` touches, and the cache of a token."""
    graph = lower_step(arch, "encode" if arch.is_encoder else "decode", tokens, 1.0, 2.0, prepared.how)
    weights = float(graph.columns.weight_bytes @ graph.repeat)
    empty = memory.kv_bytes_per_sequence(arch, 0.0, prepared.precision, prepared.how.sharding)
    each = memory.kv_bytes_per_sequence(arch, _LONG, prepared.precision, prepared.how.sharding) - empty
    plan = prepared.pool.plan
    return weights * plan.tp, each / _LONG * plan.pp * plan.tp
