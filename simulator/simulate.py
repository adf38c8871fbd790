"""``simulate(scenario) -> Result``: pure, deterministic, the one way from a question to an answer."""

from __future__ import annotations

from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch, TrainStep, TrainThenInfer
from simulator.steps.inference_result import inference_result
from simulator.steps.training_result import training_result
from simulator.timeline import Timeline


def simulate(scenario: Scenario, timeline: bool = False) -> Result:
    """Answer ``scenario``. The same scenario gives the same result, to the bit.

    One pool is answered in closed form, several run on the engine. A design that does not fit is answered too,
    with ``fits`` false and the times it would take.

    Args:
        timeline: also run one pool on the engine, for the picture of one prefill and decode step, or one micro-batch;
            of a training step, with its pipeline ranks.

    Raises:
        InputError: the scenario contradicts itself or the hardware.
    """
    work = scenario.workload
    if scenario.mixed:
        from simulator.fallback import check_placed

        check_placed(scenario)
    if scenario.privacy.limits:
        from simulator.placement.privacy import check_privacy

        check_privacy(scenario)
    if isinstance(work, StaticBatch) and scenario.mixed:
        from simulator.placement.inference import placed_inference

        return placed_inference(scenario, work)
    if isinstance(work, TrainStep) and scenario.mixed:
        from simulator.placement.balance import mixed_training

        return mixed_training(scenario, work)
    if isinstance(work, TrainThenInfer):
        from simulator.placement.lifecycle import lifecycle_result

        return lifecycle_result(scenario, work)
    if isinstance(work, (StaticBatch, TrainStep)):
        prepared = prepare(scenario)
        seen = Timeline(())
        if timeline:
            from simulator.placement.single import watch

            seen = watch(prepared)
        if isinstance(work, StaticBatch):
            return inference_result(prepared, work, seen)
        if timeline:
            from simulator.steps.rank_steps import with_ranks

            seen = with_ranks(seen, prepared, work)
        return training_result(prepared, work, seen)
    from simulator.placement.dataflow import placed_dataflow

    return placed_dataflow(scenario, work)
