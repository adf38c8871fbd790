"""``simulate(scenario) -> Result``: pure, deterministic, the one way from a question to an answer."""

from __future__ import annotations

from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch
from simulator.steps.inference_result import inference_result
from simulator.steps.training_result import training_result


def simulate(scenario: Scenario) -> Result:
    """Answer ``scenario``. The same scenario gives the same result, to the bit.

    A design that does not fit is answered too, with ``fits`` false and the times it would take.

    Raises:
        InputError: the scenario contradicts itself or the hardware.
    """
    prepared = prepare(scenario)
    if isinstance(scenario.workload, StaticBatch):
        return inference_result(prepared, scenario.workload)
    return training_result(prepared, scenario.workload)
