"""Dataflows: named operators that people write out one by one, their checks and shapes.

For example y = x g + x t, two products that may run at the same time on two devices, and their sum::

    inputs    = (DataflowInput("x", cols=100),)
    operators = (DataflowOperator("xg", "gemm", ("x",), n=100), DataflowOperator("xt", "gemm", ("x",), n=100),
                 DataflowOperator("y", "add", ("xg", "xt")))

Every tensor is a matrix: rows (the samples of the batch) x cols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Literal, get_args

import msgspec

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError, nearest
from workloads.lowering.sized import check_sizes, result_shape

Kind = Literal[
    "gemm", "add", "mul", "relu", "gelu", "softmax", "loss",
    "matmul", "convolution", "attention", "norm", "rope", "activation", "elementwise", "embedding", "copy", "experts",
]  # fmt: skip
Optimizer = Literal["sgd", "adam"]

KINDS: tuple[str, ...] = get_args(Kind)
FORWARD = ("forward",)
TRAINING = ("forward", "backward", "update")

Shapes = dict[str, tuple[float, float]]
_ARITY: dict[str, tuple[int, float]] = {"gemm": (1, 1), "add": (2, float("inf")), "mul": (2, float("inf"))} | {
    "relu": (1, 1), "gelu": (1, 1), "softmax": (1, 1), "loss": (1, 2)
}  # fmt: skip
"""Fewest and most inputs of each kind; the second input of a loss are the labels."""


class DataflowInput(msgspec.Struct, frozen=True):
    """A tensor from outside: ``rows`` rows of ``cols`` values per sample. It needs no gradient."""

    name: str
    cols: int
    rows: int = 1


class DataflowOperator(msgspec.Struct, frozen=True):
    """One named operator.

    Args:
        name: what others and a placement call it; its gradients are "<name>.dgrad" and "<name>.wgrad".
        kind: "gemm" multiplies its input [rows, k] with a weight matrix [k, n] of its own; "loss" is softmax
            cross-entropy of (scores, labels).
        inputs: names of operators or inputs.
        n: output columns (gemm only).
        bias: a gemm adds a trained row of n values.
        parameter: the weights of a gemm are trained; false: they are frozen.
        dtype: compute dtype.
        sizes: written out instead of derived, of one sample (``workloads.lowering.sized``); inputs then say only what
            it waits for. The kinds behind "loss" need them. Such operators run forward only.
        per_step: the sizes are of a whole step, whatever its batch.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    n: int = 0
    bias: bool = False
    parameter: bool = True
    dtype: str = "fp32"
    sizes: dict[str, float] = {}
    per_step: bool = False

    @property
    def trained(self) -> bool:
        """Whether it has weights that get a gradient and an update."""
        return self.kind == "gemm" and self.parameter and not self.sizes


class Dataflow(msgspec.Struct, frozen=True, tag="dataflow"):
    """A workload of named operators: ``steps`` steps of ``batch`` samples each (all devices together).

    ``input_bytes_per_sample`` is what loading one sample moves to the device (0: inputs are there already) [B].
    """

    operators: tuple[DataflowOperator, ...]
    inputs: tuple[DataflowInput, ...]
    batch: int
    train: bool = False
    steps: int = 1
    input_bytes_per_sample: float = 0.0
    optimizer: Optimizer = "sgd"

    @property
    def phases(self) -> tuple[str, ...]:
        """Phases of one step."""
        return TRAINING if self.train else FORWARD


def check_dataflow(flow: Dataflow) -> None:
    """Refuse a dataflow that means nothing.

    Raises:
        InputError: duplicated or unknown names, cycles, shapes that do not match, sizes that are not positive.
    """
    for what, size in (("batch", flow.batch), ("steps", flow.steps)):
        if size < 1:
            raise InputError(f"dataflow: {what} = {size}: must be at least 1")
    if not flow.input_bytes_per_sample >= 0.0:
        raise InputError(f"dataflow: input_bytes_per_sample = {flow.input_bytes_per_sample}: must be 0 or more")
    if not flow.operators:
        raise InputError("dataflow: has no operators; at least one is needed")
    if flow.train and not any(o.trained for o in flow.operators):
        raise InputError("dataflow: train = true, but no operator has weights to train (a gemm with parameter = true)")
    sized = next((o.name for o in flow.operators if o.sizes), "")
    if flow.train and sized:
        raise InputError(f"dataflow: operator {sized!r} has sizes of its own and no backward; train must be false")
    shapes_of(flow.operators, flow.inputs, float(flow.batch))


def shapes_of(operators: Sequence[DataflowOperator], inputs: Sequence[DataflowInput], batch: float) -> Shapes:
    """Rows and columns of every tensor by name, inputs first, then operators in topological order.

    Raises:
        InputError: as ``check_dataflow``.
    """
    shapes: Shapes = {}
    for tensor in inputs:
        if tensor.name in shapes:
            raise InputError(f"dataflow: input {tensor.name!r} is named twice; names must differ")
        if tensor.cols < 1 or tensor.rows < 1:
            raise InputError(f"dataflow: input {tensor.name!r}: {tensor.rows} x {tensor.cols} must be at least 1 x 1")
        shapes[tensor.name] = (batch * tensor.rows, float(tensor.cols))
    for operator in sorted_operators(operators, tuple(shapes)):
        shapes[operator.name] = _shape(operator, [shapes[name] for name in operator.inputs], batch)
    return shapes


def sorted_operators(operators: Sequence[DataflowOperator], inputs: Sequence[str]) -> list[DataflowOperator]:
    """Operators so that each stands after what it reads, otherwise as written.

    Raises:
        InputError: duplicated or unknown names, or a cycle.
    """
    names = [*inputs, *(o.name for o in operators)]
    times = Counter(names)
    for operator in operators:
        if times[operator.name] > 1:
            raise InputError(f"dataflow: operator {operator.name!r} is named twice; names must differ")
        for name in operator.inputs:
            if name not in times:
                close = nearest(name, [n for n in names if n != operator.name])
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InputError(
                    f"dataflow: operator {operator.name!r}: unknown input {name!r}{hint} (known: {', '.join(names)})"
                )
    return _in_order(operators, set(inputs))


def _in_order(operators: Sequence[DataflowOperator], outside: set[str]) -> list[DataflowOperator]:
    """Always the first operator, as written, of those whose inputs are all there."""
    readers: dict[str, list[int]] = {}
    missing = [set(o.inputs) - outside for o in operators]
    for place, names in enumerate(missing):
        for name in names:
            readers.setdefault(name, []).append(place)
    ready = [place for place, names in enumerate(missing) if not names]
    ordered: list[DataflowOperator] = []
    while ready:
        found = operators[heappop(ready)]
        ordered.append(found)
        for place in readers.get(found.name, ()):
            missing[place].discard(found.name)
            if not missing[place]:
                heappush(ready, place)
    if len(ordered) < len(operators):
        stuck = ", ".join(repr(o.name) for o, names in zip(operators, missing, strict=True) if names)
        raise InputError(f"dataflow: operators {stuck} wait for each other or for such; there must be no cycle")
    return ordered


def _shape(operator: DataflowOperator, shapes: list[tuple[float, float]], batch: float) -> tuple[float, float]:
    """The shape of an operator's result; checks the operator on the way."""
    place = f"dataflow: operator {operator.name!r}"
    if operator.kind not in KINDS:
        close = nearest(operator.kind, KINDS)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: unknown kind {operator.kind!r}{hint} (allowed: {', '.join(KINDS)})")
    if operator.dtype not in BITS:
        raise InputError(f"{place}: unknown dtype {operator.dtype!r} (allowed: {', '.join(BITS)})")
    if operator.sizes:
        check_sizes(operator.kind, operator.sizes, place)
        return result_shape(operator.kind, operator.sizes, 1.0 if operator.per_step else batch)
    if operator.kind not in _ARITY:
        check_sizes(operator.kind, operator.sizes, place)
    fewest, most = _ARITY[operator.kind]
    if not fewest <= len(shapes) <= most:
        allowed = str(fewest) if fewest == most else f"{fewest} or more" if most > fewest + 1 else f"{fewest} or {most}"
        raise InputError(f"{place}: {operator.kind} takes {allowed} inputs, not {len(shapes)}")
    rows, cols = shapes[0]
    if operator.kind == "gemm":
        if operator.n < 1:
            raise InputError(f"{place}: n = {operator.n}: output columns must be at least 1")
        return rows, float(operator.n)
    if operator.n:
        raise InputError(f"{place}: n = {operator.n}: only a gemm has it")
    rows_only = operator.kind == "loss"
    for name, (other_rows, other_cols) in zip(operator.inputs, shapes, strict=True):
        if other_rows != rows or (other_cols != cols and not rows_only):
            raise InputError(
                f"{place}: {operator.inputs[0]!r} is {rows:g} x {cols:g}, but {name!r} is {other_rows:g} x "
                f"{other_cols:g}; {'rows' if rows_only else 'shapes'} must be equal"
            )
    return (rows, 1.0) if rows_only else (rows, cols)


def parameters_of(flow: Dataflow) -> float:
    """Trained parameters of a dataflow, biases included."""
    shapes = shapes_of(flow.operators, flow.inputs, float(flow.batch))
    return sum((shapes[o.inputs[0]][1] + o.bias) * o.n for o in flow.operators if o.trained)
