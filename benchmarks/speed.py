"""Measure how fast silicost is; medians, with a plain numpy roofline beside the pricing of a graph.

python benchmarks/speed.py [--quick] [--format table|json]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import simpy

from hardware_specs.devices import load_device
from silicost.output import Format, print_json, print_rows
from silicost.scenarios import inference_scenario
from simulator.assemble import parts_of
from simulator.devices.model import compile_device
from simulator.engine.executor import execute
from simulator.engine.fabric import Fabric
from simulator.engine.tasks import Crossing, Flow, Lane, Program, Task
from simulator.prepared import prepare
from simulator.scenario import StaticBatch
from simulator.simulate import simulate
from simulator.steps.pricing import by_family, errors_by_family, price_graph
from simulator.uncertainty.intervals import log_sd
from workloads.graph import OpColumns, columns_of
from workloads.lowering.inference import lower_contexts, lower_step
from workloads.operators import gemm
from workloads.runtimes.catalogue import load_runtime

SIMULATE = (
    "simulate",
    "--model",
    "llama-3.1-70b",
    "--device",
    "h100-sxm-80gb",
    "--count",
    "8",
    "--isl",
    "1024",
    "--osl",
    "256",
)
PRICING_TARGET_S = 50e-6
INTERVAL_TARGET_S = 1e-3
MILLION_TARGET_S = 0.3


def median_s(run: Callable[[], object], calls: int, repeats: int = 7) -> float:
    """Median over ``repeats`` of the mean time of ``calls`` calls, after one that does not count [s]."""
    run()
    means = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            run()
        means.append((time.perf_counter() - began) / calls)
    return statistics.median(means)


def numpy_roofline(columns: OpColumns, peak_flops: float, bandwidth: float) -> float:
    """Seconds of all operators as max(FLOPs / peak, bytes / bandwidth): the least that any model computes."""
    moved = columns.weight_bytes + columns.read_bytes + columns.write_bytes
    return float(np.maximum(columns.flops / peak_flops, moved / bandwidth).sum())


def pricing(calls: int) -> list[dict[str, Any]]:
    """Llama 3.1 70B, decode, 8 x H100: the graph priced on one device, and with what stands around it."""
    scenario = inference_scenario("llama-3.1-70b", "h100-sxm-80gb", batch=32, isl=1024, osl=256, count=8)
    ready = prepare(scenario)
    assert isinstance(scenario.workload, StaticBatch)
    arch = scenario.workload.model
    graph = lower_step(arch, "decode", 32, 1, 1024, ready.how)
    columns = graph.columns
    spec = scenario.pools[0].device
    plain = median_s(lambda: numpy_roofline(columns, ready.peak_flops, spec.memory.bandwidth.value), calls)
    cost = median_s(lambda: ready.model.cost(columns), calls)
    whole = median_s(lambda: price_graph(graph, ready.model, ready.communicators), calls)
    fresh = median_s(
        lambda: price_graph(
            lower_step.__wrapped__(arch, "decode", 32, 1, 1024, ready.how), ready.model, ready.communicators
        ),
        calls // 4 + 1,
    )

    def with_intervals() -> None:
        priced = price_graph(graph, ready.model, ready.communicators)
        steps = [(priced, 1.0)]
        log_sd(parts_of(ready, by_family(steps), errors_by_family(steps, ready.model)))

    interval = median_s(with_intervals, calls)
    batch = median_s(lambda: simulate(scenario), calls // 40 + 1)

    def simulate_anew() -> None:
        for lowered in (lower_step, lower_contexts):
            lowered.cache_clear()
        simulate(scenario)

    first = median_s(simulate_anew, calls // 40 + 1)
    return [
        row(f"numpy roofline of {len(graph)} operators", plain * 1e6, "us"),
        row("price the graph's columns on one device", cost * 1e6, "us", cost / plain, cost <= PRICING_TARGET_S),
        row("price the graph, collectives included", whole * 1e6, "us", whole / plain),
        row("price it with its interval", interval * 1e6, "us", interval / plain, interval <= INTERVAL_TARGET_S),
        row("lower and price the graph", fresh * 1e6, "us", fresh / plain),
        row("simulate a static batch, graphs lowered before", batch * 1e3, "ms"),
        row("simulate a static batch, graphs lowered anew", first * 1e3, "ms"),
    ]


def scattered(products: int) -> dict[str, Any]:
    """Products of random sizes on an A100, priced in one call."""
    model = compile_device(load_device("a100-sxm-80gb"), load_runtime("vllm-0.19"))
    rng = np.random.default_rng(1)
    m, n, k = (np.rint(2.0 ** rng.uniform(low, 14.0, products)) for low in (0.0, 6.0, 6.0))
    one = columns_of([gemm("x", 1, 1, 1)])
    columns = OpColumns(*(np.repeat(column, products) for column in one))._replace(
        m=m, n=n, k=k, flops=2.0 * m * n * k, weight_bytes=2.0 * n * k, read_bytes=2.0 * m * k, write_bytes=2.0 * m * n
    )
    seconds = median_s(lambda: model.cost(columns), 1, 3)
    share = seconds * 1e6 / products
    return row(f"price {products:,} scattered products", seconds, "s", on_target=share <= MILLION_TARGET_S)


def engine(tasks: int) -> dict[str, Any]:
    """Tasks per second of the executor: a chain on two lanes in turn."""
    lanes = (Lane("unit", "compute"), Lane("unit", "communication"))
    chain = tuple(
        Task(f"t{i}", "gemm", "compute", (lanes[i % 2],), 1e-6, depends_on=(i - 1,) if i else ()) for i in range(tasks)
    )
    seconds = median_s(lambda: execute(Program(chain, {})), 1, 5)
    return row("engine", tasks / seconds / 1e3, "thousand tasks/s")


def fabric(flows: int) -> dict[str, Any]:
    """Changes of rates per second: flows that start one after another on eight shared links, about eight at once."""

    def run() -> None:
        env = simpy.Environment()
        net = Fabric(env, {f"link{i}": 1e9 for i in range(8)})
        for i in range(flows):
            crossings = (Crossing(f"link{i % 8}"), Crossing(f"link{(i * 3 + 1) % 8}"))
            net.move(Flow(1e6, crossings, startup_s=i * 5e-4))
        env.run()

    seconds = median_s(run, 1, 5)
    return row("fabric", 2 * flows / seconds / 1e3, "thousand changes/s")


def process_s(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """(wall, CPU) seconds of one ``silicost`` process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "silicost", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processes(repeats: int) -> list[dict[str, Any]]:
    """The command line: help, one simulation with compiled kernels at hand, and one that compiles them."""
    warm = dict(os.environ)
    process_s(SIMULATE, warm)
    rows = []
    for name, arguments in (("silicost --help", ("--help",)), ("silicost simulate, warm", SIMULATE)):
        seen = [process_s(arguments, warm) for _ in range(repeats)]
        rows.append(row(f"{name}: CPU", statistics.median(cpu for _, cpu in seen), "s"))
        rows.append(row(f"{name}: wall", statistics.median(wall for wall, _ in seen), "s"))
    with tempfile.TemporaryDirectory() as empty:
        wall, cpu = process_s(SIMULATE, warm | {"NUMBA_CACHE_DIR": empty})
    return [
        *rows,
        row("silicost simulate, empty kernel cache: CPU", cpu, "s"),
        row("silicost simulate, empty kernel cache: wall", wall, "s"),
    ]


def row(
    what: str, value: float, unit: str, ratio: float | None = None, on_target: bool | None = None
) -> dict[str, Any]:
    """One measurement as a record."""
    return {
        "what": what,
        "value": float(f"{value:.4g}"),
        "unit": unit,
        "times_numpy": float(f"{ratio:.3g}") if ratio is not None else None,
        "on_target": on_target,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--format", type=Format, default=Format.TABLE, choices=[Format.TABLE, Format.JSON])
    asked = parser.parse_args()
    calls, tasks, repeats = (200, 2000, 1) if asked.quick else (2000, 20000, 5)
    products = 100_000 if asked.quick else 1_000_000
    rows = [*pricing(calls), scattered(products), engine(tasks), fabric(tasks // 20), *processes(repeats)]
    if asked.format is Format.JSON:
        print_json(rows)
    else:
        print_rows(rows, Format.TABLE, "speed")


if __name__ == "__main__":
    main()
