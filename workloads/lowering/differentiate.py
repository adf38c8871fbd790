"""Forward, backward and update of a dataflow as operators.

The backward is reverse-mode differentiation (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3): the
gradient of a tensor is the sum of what its consumers hand back, and only tensors that weights lie behind have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from workloads import operators as op
from workloads.graph import GraphBuilder
from workloads.lowering.dataflow_record import DataflowOperator, Optimizer, Shapes
from workloads.lowering.sized import sized_operator
from workloads.operators import Operator, OpKind, activation_bytes

_MOMENT_BYTES = {"sgd": 0.0, "adam": 8.0}
"""fp32 optimizer moments per parameter [B]."""

_UPDATE_FLOPS = {"sgd": 2.0, "adam": 12.0}
"""Vector FLOPs of one parameter's update."""

_GRADIENT_BYTES = 4.0
"""Weight gradients are accumulated in fp32 [B]."""


class StepWriter:
    """Writes the phases of one step of sorted operators; shapes are those of one replica with ``batch`` samples."""

    def __init__(self, operators: Sequence[DataflowOperator], shapes: Shapes, batch: float = 1.0) -> None:
        self.builder = GraphBuilder()
        self._operators, self._shapes, self._batch = operators, shapes, batch
        self._forward: dict[str, int] = {}
        self._final: dict[str, tuple[int, ...]] = {}
        self._needs_gradient: set[str] = set()
        for o in operators:
            if o.trained or self._needs_gradient.intersection(o.inputs):
                self._needs_gradient.add(o.name)

    def forward(self) -> None:
        """Every operator after those whose results it reads."""
        for o in self._operators:
            after = self._indices(o.inputs)
            self._forward[o.name] = self.builder.add(self._result(o), after)

    def backward(self, dp: int) -> None:
        """Gradients in reverse order: of the weights (all-reduced over ``dp`` replicas), then of the inputs."""
        gradients = self._seeds()
        for o in reversed(self._operators):
            sources = gradients.get(o.name, [])
            if not sources or o.name not in self._needs_gradient:
                continue
            after = tuple(dict.fromkeys(sources))
            if len(sources) > 1:
                total = op.elementwise(f"{o.name}.gradient", *self._shapes[o.name], _dtype(o), inputs=len(sources))
                after = (self.builder.add(total, after),)
            # An addition hands its gradient on as it is; all else computes that of its inputs from it.
            read = o.inputs[:1] if o.kind == "loss" else o.inputs
            needed = [name for name in read if name in self._needs_gradient]
            inner = after
            if needed and o.kind != "add":
                inner = (self.builder.add(self._input_gradient(o, needed), self._with_own(o, after)),)
            for name in needed:
                gradients.setdefault(name, []).extend(inner)
            if o.trained:
                last = self.builder.add(self._weight_gradient(o), self._with_own(o, after))
                if dp > 1:
                    size = self._parameters(o) * _GRADIENT_BYTES
                    last = self.builder.add(
                        op.collective(f"{o.name}.all_reduce", OpKind.ALL_REDUCE, size, dp, "dp"), (last,)
                    )
                # The update overwrites the weights that the gradient of the input still reads.
                self._final[o.name] = (last, *(inner if needed else ()))

    def update(self, optimizer: Optimizer) -> None:
        """One update per trained operator, as soon as its gradient is there."""
        for o in self._operators:
            if o.name not in self._final:
                continue
            width = activation_bytes(o.dtype)
            master = 0.0 if width >= 4.0 else 4.0
            self.builder.add(
                op.optimizer_update(
                    f"{o.name}.update", self._parameters(o), state_bytes=_MOMENT_BYTES[optimizer] + master,
                    gradient_bytes=_GRADIENT_BYTES, weight_bytes=width, flops_each=_UPDATE_FLOPS[optimizer],
                ),
                self._final[o.name],
            )  # fmt: skip

    def _indices(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self._forward[name] for name in names if name in self._forward))

    def _with_own(self, o: DataflowOperator, after: tuple[int, ...]) -> tuple[int, ...]:
        """``after`` and the operator's own forward, which keeps what its gradients read."""
        return tuple(dict.fromkeys((*after, self._forward[o.name])))

    def _seeds(self) -> dict[str, list[int]]:
        """Where gradients start: at the losses, or, without any, at every result that nothing reads."""
        read = {name for o in self._operators for name in o.inputs}
        starts = [o.name for o in self._operators if o.kind == "loss"]
        starts = starts or [o.name for o in self._operators if o.name not in read]
        return {name: [self._forward[name]] for name in starts}

    def _parameters(self, o: DataflowOperator) -> float:
        return (self._shapes[o.inputs[0]][1] + o.bias) * o.n

    def _result(self, o: DataflowOperator) -> Operator:
        if o.sizes:
            return sized_operator(o.name, o.kind, o.sizes, o.dtype, 1.0 if o.per_step else self._batch)
        rows, cols = self._shapes[o.inputs[0]]
        dtype = _dtype(o)
        if o.kind == "gemm":
            product = op.gemm(o.name, rows, o.n, cols, o.dtype)
            if not o.bias:
                return product
            extra = o.n * op.element_bytes(o.dtype)
            return replace(product, vector_flops=rows * o.n, weight_bytes=product.weight_bytes + extra)
        if o.kind == "gelu":
            return op.activation(o.name, rows, cols, dtype)
        if o.kind == "softmax":
            return op.softmax(o.name, rows, cols, dtype)
        if o.kind == "loss":
            # Softmax and logarithm in one pass over the scores; one value per row is left.
            return replace(op.softmax(o.name, rows, cols, dtype), write_bytes=rows * activation_bytes(dtype))
        return op.elementwise(o.name, rows, cols, dtype, inputs=len(o.inputs))

    def _input_gradient(self, o: DataflowOperator, needed: Sequence[str]) -> Operator:
        """The gradients of ``needed`` inputs of ``o`` from that of its result."""
        rows, cols = self._shapes[o.inputs[0]]
        name, dtype = f"{o.name}.dgrad", _dtype(o)
        each = rows * cols * activation_bytes(dtype)
        if o.kind == "gemm":
            return op.gemm(name, rows, cols, o.n, o.dtype)
        if o.kind == "gelu":
            return op.activation(name, rows, cols, dtype, gated=True)
        if o.kind == "softmax":
            return replace(op.softmax(name, rows, cols, dtype), read_bytes=2.0 * each)
        if o.kind == "loss":
            return op.softmax(name, rows, cols, dtype)
        if o.kind == "relu":
            return op.elementwise(name, rows, cols, dtype, inputs=2)
        # Product of several tensors: each gradient is the result's times all other factors.
        factors = len(o.inputs)
        return replace(
            op.elementwise(name, rows, cols, dtype, inputs=factors + 1),
            vector_flops=rows * cols * len(needed) * (factors - 1.0),
            write_bytes=each * len(needed),
        )

    def _weight_gradient(self, o: DataflowOperator) -> Operator:
        """x^T dy, written in fp32; the gradient of a bias is the sum over the rows of dy."""
        rows, cols = self._shapes[o.inputs[0]]
        product = op.gemm(f"{o.name}.wgrad", o.n, cols, rows, o.dtype, weights=False)
        return replace(
            product,
            vector_flops=rows * o.n if o.bias else 0.0,
            write_bytes=self._parameters(o) * _GRADIENT_BYTES,
        )


def _dtype(o: DataflowOperator) -> str:
    """dtype of activations: that of the operator, 16 bit where it multiplies in fewer."""
    return o.dtype if op.element_bytes(o.dtype) >= 2.0 else "bf16"
