"""Training on one pool and inference on another: the trained weights cross the system in between."""

from __future__ import annotations

import msgspec

from hardware_specs.errors import InputError
from simulator import memory
from simulator.assemble import Answer, assemble, parts_of
from simulator.devices.priors import idle_w
from simulator.engine.executor import execute
from simulator.metrics import BY_NAME
from simulator.placement.program import ProgramWriter, units_of
from simulator.placement.rules import placer_of
from simulator.placement.units import Unit, transfer_link
from simulator.prepared import Prepared, prepare_pool
from simulator.result import PoolUse, Result
from simulator.scenario import PHASES, Scenario, TrainThenInfer
from simulator.steps.inference_result import inference_result
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
    train_s = _seconds(trained, "step_time_s") * work.steps
    serve_s = _seconds(served, "e2e_s")
    total = train_s + handover_s + serve_s
    metrics = {**trained.metrics, **served.metrics, "handover_s": handover_s, "makespan_s": total}
    metrics["tokens_per_s_per_device"] = served.metrics["tokens_per_s_per_device"]
    breakdown = {family: seconds * work.steps for family, seconds in trained.breakdown.items()}
    for family, seconds in (*served.breakdown.items(), ("transfer", handover_s)):
        breakdown[family] = breakdown.get(family, 0.0) + seconds
    parts = (
        *parts_of(trainer, {f: s * work.steps for f, s in trained.breakdown.items()}, {}),
        *parts_of(server, served.breakdown, {}),
        *parts_of(server, {"transfer": handover_s}, {}),
    )
    pools = (
        _pool_over(trainer, trained.pools[0], work.steps, total - train_s),
        _pool_over(server, served.pools[0], 1, total - serve_s),
    )
    answer = Answer(
        title=f"{work.model.id}: training on {trainer.pool.device.id}, inference on {server.pool.device.id}",
        metrics={name: metrics[name] for name in BY_NAME if name in metrics and name != "carbon_g"},
        pools=pools, duration_s=total, bound={**trained.bound, **served.bound}, breakdown=breakdown, parts=parts,
        phases=(*trained.phases, *served.phases), powers={"makespan_s": 1.0},
        reasons={**trained.reasons, **served.reasons},
        timeline=_timeline(work, (trainer, server), moved, (train_s, handover_s), served),
    )  # fmt: skip
    whole = assemble((trainer, server), answer)
    own = {name: whole.intervals[name] for name in ("makespan_s", "carbon_g")}
    return msgspec.structs.replace(whole, intervals={**trained.intervals, **served.intervals, **own})


def _seconds(result: Result, metric: str) -> float:
    value = result.metrics[metric]
    assert value is not None
    return value


def _pool_over(each: Prepared, use: PoolUse, times: int, waits_s: float) -> PoolUse:
    """A pool that does its part ``times`` times and waits for the other one the rest of the time, idle."""
    idle_j = idle_w(each.pool.device) * each.pool.count * waits_s
    return msgspec.structs.replace(use, busy_s=use.busy_s * times, energy_j=use.energy_j * times + idle_j)


def _pools(scenario: Scenario) -> tuple[Prepared, Prepared]:
    """The pool that trains and the one that serves."""
    placer = placer_of(scenario)
    homes = {phase: placer.pool("", phase) for phase in PHASES}
    for index, rule in enumerate(scenario.rules):
        if rule.operator or rule.layers:
            what = repr(rule.operator) if rule.operator else f"layers {list(rule.layers)}"
            raise InputError(f"[plan] place[{index}]: {what}: training and inference are placed by phase alone")
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
    """Seconds and bytes of moving the weights to every serving replica, in the serving formats.

    Pipeline stages send and receive their layers side by side.
    """
    whole = memory.weight_bytes(work.model, server.precision, Sharding()) * server.pool.plan.dp
    sources, targets = (units_of((each,))[each.pool.name] for each in (trainer, server))
    writer = ProgramWriter({trainer.pool.name: sources, server.pool.name: targets})
    flows = max(len(sources), len(targets))
    for i in range(flows):
        source, target = sources[i * len(sources) // flows], targets[i * len(targets) // flows]
        writer.send(source, target, whole / flows, (), "weights")
    return execute(writer.build()).makespan_s, whole


def _timeline(
    work: TrainThenInfer, pools: tuple[Prepared, Prepared], moved: float, seconds: tuple[float, float], served: Result
) -> Timeline:
    """Training, handover, prefill and decode, one after the other."""
    train_s, handover_s = seconds
    units = [Unit(each) for each in pools]
    source, target = (unit.name for unit in units)
    link = f"{transfer_link(*units).id} {source} > {target}"
    begin = train_s + handover_s
    answer = begin + _seconds(served, "ttft_s")
    rows = [
        Span(f"{work.steps} training steps", "gemm", source, "compute", 0.0, train_s, 0.0),
        Span("weights", "transfer", link, "transfer", train_s, begin, moved),
        Span("prefill", "attention_prefill", target, "compute", begin, answer, 0.0),
        Span("decode", "attention_decode", target, "compute", answer, begin + _seconds(served, "e2e_s"), 0.0),
    ]
    return Timeline(tuple(row for row in rows if row.end_s > row.start_s))
