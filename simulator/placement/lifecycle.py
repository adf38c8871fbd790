"""Training on one pool and inference on another: the trained weights cross the system in between."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hardware_specs.errors import InputError
from simulator import memory
from simulator.assemble import Answer, assemble, parts_of
from simulator.devices.priors import idle_w
from simulator.engine.executor import execute
from simulator.engine.tasks import Lane, Program, Task
from simulator.metrics import BY_NAME
from simulator.placement.rules import PHASES, placer_of
from simulator.placement.units import Unit, transfer_flow
from simulator.prepared import Prepared, prepare_pool
from simulator.result import Result
from simulator.scenario import Scenario, TrainThenInfer
from simulator.steps.inference_result import POWERS as INFERENCE_POWERS
from simulator.steps.inference_result import inference_result
from simulator.steps.training_result import POWERS as TRAINING_POWERS
from simulator.steps.training_result import training_result
from simulator.timeline import Span, Timeline
from workloads.lowering.plan import Sharding

TRAINING_PHASES = ("forward", "backward", "update")


def lifecycle_result(scenario: Scenario, work: TrainThenInfer) -> Result:
    """Train for ``work.steps`` steps, hand the weights over, answer one batch.

    Raises:
        InputError: rules that split one of the two over several pools, or pools that take no part.
    """
    trainer, server = _pools(scenario)
    trained = training_result(trainer, work.train, Timeline(()))
    served = inference_result(server, work.infer, Timeline(()))
    handover_s, moved = _handover(trainer, server, work)
    train_s = trained.metrics["step_time_s"] or 0.0
    spans = _spans(work, trainer, server, moved, [train_s * work.steps, handover_s, served])
    total = train_s * work.steps + handover_s + (served.metrics["e2e_s"] or 0.0)
    metrics = {**trained.metrics, **served.metrics, "handover_s": handover_s, "makespan_s": total}
    metrics["tokens_per_s_per_device"] = served.metrics["tokens_per_s_per_device"]
    breakdown = {family: seconds * work.steps for family, seconds in trained.breakdown.items()}
    for family, seconds in (*served.breakdown.items(), ("transfer", handover_s)):
        breakdown[family] = breakdown.get(family, 0.0) + seconds
    parts = (
        *parts_of(trainer, {f: s * work.steps for f, s in trained.breakdown.items()}, {}),
        *parts_of(server, served.breakdown, {}),
    )
    waiting = {
        trainer.pool.name: (trained, work.steps, total - train_s * work.steps),
        server.pool.name: (served, 1, total - (served.metrics["e2e_s"] or 0.0)),
    }
    pools = tuple(
        msgspec.structs.replace(
            result.pools[0], busy_s=result.pools[0].busy_s * times,
            energy_j=result.pools[0].energy_j * times
            + idle_w(each.pool.device) * each.pool.count * idle_s,
        )
        for each in dict.fromkeys((trainer, server))
        for result, times, idle_s in (waiting[each.pool.name],)
    )  # fmt: skip
    answer = Answer(
        kind="train-then-infer",
        title=f"{work.model.id}: training on {trainer.pool.device.id}, inference on {server.pool.device.id}",
        metrics={name: metrics[name] for name in BY_NAME if name in metrics and name != "carbon_g"},
        pools=pools, duration_s=total, bound={**trained.bound, **served.bound}, breakdown=breakdown, parts=parts,
        phases=(*trained.phases, *served.phases), powers={**TRAINING_POWERS, **INFERENCE_POWERS, "makespan_s": 1.0},
        reasons={**trained.reasons, **served.reasons}, timeline=spans,
    )  # fmt: skip
    return assemble((trainer, server), answer)


def _pools(scenario: Scenario) -> tuple[Prepared, Prepared]:
    """The pool that trains and the one that serves."""
    placer = placer_of(scenario)
    homes = {phase: placer.pool("", phase) for phase in PHASES}
    training = {homes[phase] for phase in TRAINING_PHASES}
    serving = {homes[phase] for phase in ("prefill", "decode")}
    for what, names in (("training", training), ("inference", serving)):
        if len(names) > 1:
            raise InputError(f"[plan] place: {what} is split over {', '.join(sorted(names))}; it must run on one pool")
    idle = {pool.name for pool in scenario.pools} - training - serving
    if idle or training == serving:
        raise InputError(
            f"[plan] place: training runs on {training.pop()}, inference on {serving.pop()}; each of the two "
            "pools must do one of them (place phases forward, backward and update, or prefill and decode)"
        )
    prepared = {pool.name: prepare_pool(scenario, pool) for pool in scenario.pools}
    return prepared[training.pop()], prepared[serving.pop()]


def _handover(trainer: Prepared, server: Prepared, work: TrainThenInfer) -> tuple[float, float]:
    """Seconds and bytes of moving one copy of the weights from the training devices to the serving ones."""
    whole = memory.weight_bytes(work.model, server.precision, Sharding())
    source, target = Unit(trainer), Unit(server)
    lane = Lane(f"{trainer.network.host.id} {source.name} > {target.name}", "transfer")
    task = Task("weights", "transfer", "communication", (lane,), flow=transfer_flow(whole, source, target))
    run = execute(Program((task,), {**source.ports(), **target.ports()}))
    return run.makespan_s, whole


def _spans(
    work: TrainThenInfer, trainer: Prepared, server: Prepared, moved: float, parts: Sequence[float | Result]
) -> Timeline:
    """Training, handover, prefill and decode, one after the other."""
    train_s, handover_s, served = parts
    assert isinstance(train_s, float) and isinstance(handover_s, float) and isinstance(served, Result)
    source, target = Unit(trainer).name, Unit(server).name
    link = f"{trainer.network.host.id} {source} > {target}"
    ttft, e2e = served.metrics["ttft_s"] or 0.0, served.metrics["e2e_s"] or 0.0
    begin = train_s + handover_s
    rows = [
        Span(f"{work.steps} training steps", "gemm", source, "compute", 0.0, train_s, 0.0),
        Span("weights", "transfer", link, "transfer", train_s, begin, moved),
        Span("prefill", "attention_prefill", target, "compute", begin, begin + ttft, 0.0),
        Span("decode", "attention_decode", target, "compute", begin + ttft, begin + e2e, 0.0),
    ]
    return Timeline(tuple(row for row in rows if row.end_s > row.start_s))
