"""What it takes to call numpy and torch: calls on operands so small that nothing else takes time.

On a CPU nothing overlaps with it: a call returns when its work is done. Modules of torch look for hooks before they
call the function that a model without modules calls itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from simulator.calibration.probes import numpy_calls, torch_calls
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator

VARIANT: Final = "dispatch"
_ADD: Final = op.elementwise("dispatch.add", 1, 1, "fp32")
_PRODUCT: Final = op.gemm("dispatch.product", 1, 1, 1, "fp32")
_NORM: Final = op.norm("dispatch.norm", 1, 1, "fp32", bias=True)
_MODULE: Final = op.gemm("dispatch.module", 1, 1, 1, "fp32")


def numpy_cases(machine: Machine) -> Iterator[Case]:
    """A universal function and a product."""
    for operator in (_ADD, _PRODUCT):
        yield _case(operator, partial(_prepare_numpy, operator))


def torch_cases(machine: Machine) -> Iterator[Case]:
    """An elementwise function, a product by function and by module, and a norm, each a call of its own."""
    for operator in (_ADD, _PRODUCT, _MODULE, _NORM):
        yield _case(operator, partial(_prepare_torch, machine, operator))


def _case(operator: Operator, prepare: Callable[[], Call]) -> Case:
    return Case(operator, prepare, operator.moved_bytes, VARIANT)


def _prepare_numpy(operator: Operator) -> Call:
    return partial(np.add if operator is _ADD else np.matmul, *(numpy_calls.filled(1, 1) for _ in range(2)))


def _prepare_torch(machine: Machine, operator: Operator) -> Call:
    import torch
    from torch.nn import functional as F  # noqa: N812

    x, w = (torch_calls.filled(machine, "fp32", 1, 1) for _ in range(2))
    if operator is _MODULE:
        return partial(torch.nn.Linear(1, 1, bias=False).requires_grad_(False), x)
    if operator is _NORM:
        return partial(F.layer_norm, x, (1,), w[0], w[0])
    return partial(torch.add if operator is _ADD else F.linear, x, w)


register(Probe("numpy.dispatch", ("cpu",), numpy_calls.RUNTIMES, numpy_calls.missing, numpy_cases))
register(Probe("torch.dispatch", ("cpu",), torch_calls.RUNTIMES, torch_calls.missing, torch_cases))
