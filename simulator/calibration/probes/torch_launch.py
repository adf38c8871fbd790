"""What it takes to start work in torch: calls with next to nothing to do, one after the other and in a graph.

"eager": calls one after the other, which the host enqueues more slowly than the device finishes them: the host's time
of a call. "latency": a call and the wait for its end. "graph": a node of a captured graph, which is the shortest kernel
and the gap to the next. Whole operators as models call them follow at their smallest sizes, eager, since an operator
is a chain of calls. None of this says how fast kernels are, so that no runtime is named and fits of kernels pass it by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final

from simulator.calibration.probes import torch_attention, torch_calls, torch_products, torch_vector
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, register
from workloads import operators as op
from workloads.operators import Operator, element_bytes

_WIDTH: Final = 64
"""Numbers in a row: enough for a head of attention."""
_KEYS: Final = 16


def calls(machine: Machine) -> Iterator[Case]:
    """Single calls in each of the ways that they can be started."""
    dtype = next((each for each in machine.dtypes if element_bytes(each) >= 2.0), "fp32")
    for operator in (
        op.elementwise("launch", 1, _WIDTH, dtype),
        op.gemm("launch", 1, _WIDTH, _WIDTH, dtype),
        op.norm("launch", 1, _WIDTH, dtype),
        op.attention("launch", 1, _KEYS, 1, 1, _WIDTH, dtype=dtype, kv_bits=8.0 * element_bytes(dtype)),
    ):
        bytes_ = 2.0 * operator.moved_bytes
        yield Case(operator, partial(_prepare, machine, operator), bytes_, "eager")
        if machine.target == "gpu":
            yield Case(operator, partial(_prepare_waiting, machine, operator), bytes_, "latency")
            yield Case(operator, partial(_prepare, machine, operator), bytes_, "graph", graph=True)


def operators(machine: Machine) -> Iterator[Case]:
    """The smallest case of every kind of operator that probes of kernels have, as an eager model runs it."""
    smallest: dict[tuple[object, ...], Case] = {}
    designs = (torch_products.cases, torch_attention.decode_cases, torch_attention.prefill_cases, torch_vector.cases)
    for case in chain.from_iterable(design(machine) for design in designs):
        o = case.operator
        way = (o.kind, o.name, o.dtype, case.variant)
        if way not in smallest or o.moved_bytes < smallest[way].operator.moved_bytes:
            smallest[way] = case
    for case in smallest.values():
        words = [word for word in case.variant.split() if word not in ("graph", "queued")]
        yield replace(case, variant=" ".join([*words, "eager"]), graph=False)


def _prepare(machine: Machine, operator: Operator) -> Call:
    """The call of one kernel, or of the few that torch makes of it."""
    from torch.nn import functional as F  # noqa: N812

    x = torch_calls.filled(machine, operator.dtype, 1, 1, 1, _WIDTH)
    keys = torch_calls.filled(machine, operator.dtype, 1, 1, _KEYS, _WIDTH)
    square = torch_calls.filled(machine, operator.dtype, _WIDTH, _WIDTH)
    makers: dict[str, Callable[[], Any]] = {
        "elementwise": lambda: x + x,
        "gemm": lambda: F.linear(x, square),
        "norm": lambda: F.rms_norm(x, (_WIDTH,), square[0], 1e-5),
        "attention_decode": lambda: F.scaled_dot_product_attention(x, keys, keys),
    }
    return makers[operator.kind.name.lower()]


def _prepare_waiting(machine: Machine, operator: Operator) -> Call:
    import torch

    call = _prepare(machine, operator)

    def wait() -> None:
        call()
        torch.cuda.synchronize()

    return wait


register(Probe("torch.launch", ("gpu",), {}, torch_calls.missing, calls))
register(Probe("torch.eager", ("gpu",), {}, torch_calls.missing, operators))
