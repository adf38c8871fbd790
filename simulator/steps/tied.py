"""An embedding that is the head too, on both ends of a pipeline: its gradients of both are added up."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.devices.model import DeviceModel
from simulator.memory import tied_parameters
from simulator.network.communicator import Communicator
from simulator.scenario import Plan, TrainStep
from simulator.steps.pricing import collective_seconds
from simulator.steps.ranks import ends_apart
from workloads.operators import OpKind


def tied_seconds(
    work: TrainStep, plan: Plan, gradient_bytes: float, communicators: Mapping[str, Communicator], model: DeviceModel
) -> float:
    """All-reduce of the gradient of a tied embedding between the first and the last pipeline rank [s].

    It follows the last backward, with nothing beside it (Narayanan et al., SC 2021, doi:10.1145/3458817.3476209, as
    Megatron-LM does it). 0 where the head has weights of its own, both ends are on one rank, or adapters are trained.

    Args:
        gradient_bytes: of one parameter [B].
        communicators: by axis; "ends" joins the two ranks.
    """
    if work.lora_rank or not ends_apart(plan):
        return 0.0
    size = tied_parameters(work.model) / plan.tp * gradient_bytes
    return collective_seconds(OpKind.ALL_REDUCE, size, communicators["ends"], model) if size else 0.0
