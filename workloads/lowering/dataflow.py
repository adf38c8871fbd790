"""Lowering of a dataflow: one step of named operators as the graph of one device or of several.

Dependencies are the real ones, so that branches placed on different devices overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hardware_specs.errors import InputError
from workloads.graph import Graph
from workloads.lowering.dataflow_record import (
    FORWARD,
    TRAINING,
    Dataflow,
    DataflowInput,
    DataflowOperator,
    Optimizer,
    check_dataflow,
    parameters_of,
    shapes_of,
    sorted_operators,
)
from workloads.lowering.differentiate import StepWriter

__all__ = [
    "FORWARD",
    "TRAINING",
    "Dataflow",
    "DataflowInput",
    "DataflowOperator",
    "check_dataflow",
    "lower_dataflow",
    "parameters_of",
    "shapes_of",
]


def lower_dataflow(
    operators: Sequence[DataflowOperator],
    inputs: Sequence[DataflowInput],
    batch: int,
    phases: Sequence[str] = FORWARD,
    *,
    dp: int = 1,
    optimizer: Optimizer = "sgd",
) -> Graph:
    """The graph of one step on one of ``dp`` replicas, each with batch / dp samples.

    Names are "<name>", "<name>.dgrad", "<name>.wgrad", "<name>.all_reduce" (dp > 1) and "<name>.update"; where a
    tensor has several consumers their gradients are added by "<name>.gradient". If there is a loss only losses
    start the backward, otherwise every result that nothing reads does, with a gradient of its own shape. Blocks are
    the phases; ``write_bytes`` of a producer is what a consumer elsewhere must receive.

    Raises:
        InputError: as ``check_dataflow``; or dp does not divide the batch.
    """
    if tuple(phases) not in (FORWARD, TRAINING):
        raise InputError(f"dataflow: phases {', '.join(phases)}: allowed are forward alone, or {', '.join(TRAINING)}")
    if dp < 1 or batch % dp:
        raise InputError(f"--dp {dp}: must divide the batch of {batch} samples")
    shapes = shapes_of(operators, inputs, batch / dp)
    ordered = sorted_operators(operators, [tensor.name for tensor in inputs])
    writer = StepWriter(ordered, shapes, batch / dp)
    written: dict[str, Callable[[], None]] = {
        "forward": writer.forward,
        "backward": lambda: writer.backward(dp),
        "update": lambda: writer.update(optimizer),
    }
    for phase in phases:
        with writer.builder.block(phase):
            written[phase]()
    return writer.builder.build()
