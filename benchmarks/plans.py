"""Measure the search of training plans: how fast it is, and whether its closed forms choose what programs would.

The engine runs the program of a schedule action by action, on stages of their own length with sends between them; the
closed form estimates that. Of a sample of plans that fit, the *regret* is what the choice of the closed form takes on
the engine over the best of the sample there, less one.

python benchmarks/plans.py [--plans N] [--seeds N] [--quick] [--format table|json]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.stats import kendalltau

from silicost.output import Format, print_json, print_rows
from silicost.plan_search import Found, bounds_of, search_plans
from silicost.scenarios import training_scenario
from simulator.bulk.plans import plan_of
from simulator.prepared import Prepared, communicators_of
from simulator.scenario import Plan, Scenario, TrainStep
from simulator.schedules.registry import program, schedule_of
from simulator.schedules.timeline import run, seconds_of
from simulator.steps.overlap import beside_products, overlapped, sends_s
from simulator.steps.replicas import state_bytes, zero_stage
from simulator.steps.train_step import (
    micro_batches,
    parts_of_stages,
    price_micro_batch,
    send_seconds,
    through_seconds,
)
from workloads.lowering.training import Gradients

RATE_TARGET = 100_000
SECONDS_TARGET = 20.0
REGRET_TARGET = 0.01
FASTEST = 4.0
"""Plans up to so many times as slow as the best are drawn from: nobody confuses others with it."""


class Case(NamedTuple):
    """A question: which plan of a model on so many devices."""

    model: str
    device: str
    devices: int
    global_batch: int
    seq_len: int

    def scenario(self) -> Scenario:
        return training_scenario(
            self.model, self.device, global_batch=self.global_batch, seq_len=self.seq_len, dp=self.devices, tp=1
        )


CASES = (
    Case("gpt3-175b", "a100-sxm-80gb", 64, 64, 2048), Case("llama-3.1-70b", "h100-sxm-80gb", 64, 128, 8192),
    Case("mixtral-8x7b", "h100-sxm-80gb", 64, 128, 4096), Case("llama-3.1-8b", "tpu-v5p", 64, 256, 4096),
)  # fmt: skip


def through_program_s(prepared: Prepared, work: TrainStep, plan: Plan) -> tuple[float, float]:
    """Micro-batches through the stages of a plan with their sends, by the closed form and by the program [s]."""
    groups = communicators_of(prepared.network, plan, prepared.pool.runtime.collectives)
    runtime, count = prepared.pool.runtime, micro_batches(work, plan)
    how = replace(prepared.how, sharding=plan.sharding)
    zero = zero_stage(work, plan, runtime)
    gradients = state_bytes(work, how.precision.attention, runtime).gradients
    kept = Gradients(gradients, count > 1 and zero < 3, how.fused("accumulate"))
    micro, beside = price_micro_batch(work, plan, how, prepared.model, groups, kept), overlapped(plan, runtime, zero)
    if "tensor" in beside:
        micro = beside_products(micro, plan.tp)
    one_s, hidden = send_seconds(work, plan, how, prepared.model, groups), "pipeline" in beside
    slowest = max(np.array(parts_of_stages(micro, plan)).sum(axis=0))
    closed = through_seconds(micro, plan, count) + sends_s(one_s, slowest, count, plan.pp, plan.vpp, hidden)
    name = plan.schedule or ("interleaved" if plan.vpp > 1 else "1f1b")
    chunks = schedule_of(name).chunks or plan.vpp
    made = program(name, plan.pp, count, chunks)
    parts = parts_of_stages(micro, _of_chunks(plan, made.stage_count))
    return closed, run(made, seconds_of(*parts), one_s, overlapped=hidden).total_s


def _of_chunks(plan: Plan, stages: int) -> Plan:
    return msgspec.structs.replace(plan, pp=stages, stages=())


def sample(found: Found, count: int, seed: int) -> Sequence[int]:
    """Rows of plans with several stages that fit and are not hopeless."""
    costs, best = found.costs, np.nanmin(np.where(found.costs.fits, found.costs.step_s, np.nan))
    rows = np.flatnonzero(costs.fits & (found.plans.pp > 1) & (costs.step_s <= FASTEST * best))
    rng = np.random.default_rng(seed)
    return [int(row) for row in rng.choice(rows, min(count, len(rows)), replace=False)]


def regret_of(case: Case, plans: int, seeds: int) -> dict[str, object]:
    """Regret, rank correlation and difference of closed form and engine on samples of plans of a case."""
    found = search_plans(case.scenario(), {})
    work = found.prepared.scenario.workload
    assert isinstance(work, TrainStep)
    regrets, taus, errors = [], [], []
    for seed in range(seeds):
        closed, engine = [], []
        for row in sample(found, plans, seed):
            plan = plan_of(found.prepared.pool.plan, found.plans, row)
            mine, theirs = through_program_s(found.prepared, work, plan)
            closed.append(float(found.costs.step_s[row]))
            engine.append(closed[-1] - mine + theirs)
        first = int(np.argmin(closed))
        regrets.append(engine[first] / min(engine) - 1.0)
        taus.append(float(kendalltau(closed, engine).statistic))
        errors.append(float(np.mean(np.abs(np.array(closed) / engine - 1.0))))
    return {
        "model": case.model, "device": case.device, "count": case.devices, "plans": len(closed), "seeds": seeds,
        "regret_worst": max(regrets), "regret_median": statistics.median(regrets), "tau": statistics.median(taus),
        "difference": statistics.median(errors), "target": REGRET_TARGET,
    }  # fmt: skip


def speed_of(case: Case, repeats: int) -> dict[str, object]:
    """How long a search takes, its tables included, in one process."""
    scenario = case.scenario()
    search_plans(Case("llama-3.2-1b", case.device, 8, 8, 1024).scenario(), {})
    walls, cpus, found = [], [], None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        found = search_plans(scenario, {})
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    assert found is not None
    evaluated = len(found.plans.tp)
    return {
        "model": case.model, "device": case.device, "count": case.devices, "plans": evaluated,
        "fit": int(found.costs.fits.sum()), "wall_s": statistics.median(walls), "target_s": SECONDS_TARGET,
        "plans_per_cpu_s": evaluated / statistics.median(cpus), "target": RATE_TARGET,
        "overlaps": len(bounds_of(found.prepared, ()).overlaps),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the first case only, once")
    parser.add_argument("--format", choices=[str(each) for each in Format], default="table")
    args = parser.parse_args()
    cases = CASES[:1] if args.quick else CASES
    speed = [speed_of(case, 1 if args.quick else 3) for case in cases]
    regret = [regret_of(case, args.plans, 1 if args.quick else args.seeds) for case in cases]
    if args.format == "json":
        print_json({"speed": speed, "regret": regret})
        return
    for rows in (speed, regret):
        print_rows(rows, Format(args.format))
        print()


if __name__ == "__main__":
    main()
