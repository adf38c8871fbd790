"""How much faster 2, 4 ... cores are than one: a large product and a stream from memory, in numpy and in torch.

numpy adds on one thread whatever it may use, so that its stream is measured on one alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from simulator.calibration.probes import numpy_calls, torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from simulator.calibration.probes.stream import outside
from simulator.calibration.probes.threads import missing_blas, powers, within
from workloads import operators as op
from workloads.operators import Operator

VARIANT: Final = "scaling"
_SIDE: Final = {False: 1536, True: 1024}
"""Rows, columns and depth of the product by ``Machine.quick``: its operands are reused from caches."""
_ARRAYS: Final = 3


def numpy_cases(machine: Machine) -> Iterator[Case]:
    """The product on 1, 2, 4 ... cores, the stream on one."""
    for threads in powers(machine.cores):
        yield _case(machine, _product(machine), threads, numpy=True)
    yield _case(machine, _stream(machine), 1, numpy=True)


def torch_cases(machine: Machine) -> Iterator[Case]:
    """Product and stream on 1, 2, 4 ... cores."""
    for threads in powers(machine.cores):
        yield _case(machine, _product(machine), threads, numpy=False)
        yield _case(machine, _stream(machine), threads, numpy=False)


def missing_numpy(machine: Machine) -> str:
    """Why numpy's threads are not measured; "" where they are."""
    return numpy_calls.missing(machine) or missing_blas(machine)


def _product(machine: Machine) -> Operator:
    side = _SIDE[machine.quick]
    return op.gemm("scaling.product", side, side, side, "fp32")


def _stream(machine: Machine) -> Operator:
    """x = y + z in arrays far larger than caches, counted as STREAM does."""
    each = outside(machine) // (4 * _ARRAYS)
    moved = op.stream_copy("scaling.stream", 4.0 * _ARRAYS * each)
    return replace(moved, m=float(each), vector_flops=float(each), read_bytes=8.0 * each, write_bytes=4.0 * each)


def _case(machine: Machine, operator: Operator, threads: int, *, numpy: bool) -> Case:
    make = partial(_numpy_call if numpy else _torch_call, machine, operator)
    prepare = partial(within, "blas" if numpy else "torch", threads, make)
    return Case(operator, prepare, operator.moved_bytes, VARIANT, threads)


def _numpy_call(machine: Machine, operator: Operator) -> Call:
    if operator.flops:
        x, w = (numpy_calls.filled(int(operator.m), int(operator.k)) for _ in range(2))
        return partial(np.matmul, x, w.T)
    y, z = (numpy_calls.filled(int(operator.m)) for _ in range(2))
    return partial(np.add, y, z, out=np.zeros_like(y))


def _torch_call(machine: Machine, operator: Operator) -> Call:
    import torch
    from torch.nn.functional import linear

    if operator.flops:
        x, w = (torch_calls.filled(machine, "fp32", int(operator.m), int(operator.k)) for _ in range(2))
        return partial(linear, x, w)
    y, z = (torch_calls.filled(machine, "fp32", int(operator.m)) for _ in range(2))
    return partial(torch.add, y, z, out=torch.zeros_like(y))


register(Probe("numpy.scaling", ("cpu",), numpy_calls.RUNTIMES, missing_numpy, numpy_cases))
register(Probe("torch.scaling", ("cpu",), torch_calls.RUNTIMES, torch_calls.missing, torch_cases))
