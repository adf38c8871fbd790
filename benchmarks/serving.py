"""How fast requests are served: Llama-2-7B on one A100-80, 512 tokens in, 128 out, Poisson arrivals of 6.45 a second.

    python benchmarks/serving.py [--quick] [--format table|json]

A request is served by continuous batching, iteration by iteration, in compiled code. Prints medians of CPU seconds
after compilation, beside the aims: the cost of a request must not grow with their number, nor much with overload (twice
what the device can serve) or a fleet (64 replicas, each request to the one with the fewest outstanding). *Single steps*
visit every iteration on its own. Resident memory is the largest of the process. The whole process is the command for
256 requests, its interpreter's start included; it is warm: kernels and modules were compiled by a run before, as an
installed package has them (PYTHONDONTWRITEBYTECODE would compile modules anew in every process: 0.2 s).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from silicost.output import Format, print_json, print_rows
from silicost.scenarios import inference_scenario
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared, prepare
from simulator.serving.cluster import Limits, Served, cache_blocks, serve
from simulator.serving.outcome import outcome_of
from simulator.serving.requests import Asked
from simulator.serving.step_tables import StepTables, step_tables

ISL, OSL, RATE = 512, 128, 6.45
SIZES = (1_000, 10_000, 100_000, 1_000_000)
AIM_PER_S, AIM_FLAT, AIM_HARD = 60_000, 1.5, 4.0
AIM_MILLION_S, AIM_MILLION_GB, AIM_PROCESS_S = 30.0, 2.0, 1.5
COMMAND = (
    "serve", "--model", "llama-2-7b", "--device", "a100-sxm-80gb", "--rate", str(RATE), "--requests", "256", "--isl",
    str(ISL), "--osl", str(OSL), "--format", "json",
)  # fmt: skip


class Machine(NamedTuple):
    """What serves: a pool, what its server allows, and prices of its iterations."""

    ready: Prepared
    limits: Limits
    tables: StepTables

    def serve(self, count: int, rate: float, **options: Any) -> Served:
        """Draw requests and serve them."""
        arch = self.ready.scenario.workload.model
        return serve(self.ready, arch, traffic(count, rate), self.limits, tables=self.tables, **options)


def machine() -> Machine:
    """The A100, ready."""
    ready = prepare(inference_scenario("llama-2-7b", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    arch = ready.scenario.workload.model
    limits = Limits(2048, 256, 16, cache_blocks(ready, arch, 16, 2048, 256), 4096)
    return Machine(ready, limits, step_tables(ready, arch, 2048, 256, 4096))


def traffic(count: int, rate: float) -> Asked:
    """Poisson arrivals of equal requests."""
    arrival_s = np.cumsum(np.random.default_rng(0).exponential(1.0 / rate, count))
    return Asked(arrival_s, np.full(count, ISL), np.full(count, OSL))


def cpu_s(run: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of a call."""
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def row(what: str, count: int, seconds: float, base: float | None, aim: str) -> dict[str, Any]:
    """One line: requests per CPU-second, and the cost of a request over that of the first line."""
    each = seconds / count
    return {
        "what": what, "requests": count, "requests_per_cpu_s": round(count / seconds), "us_per_request": each * 1e6,
        "over_first": None if base is None else each / base, "aim": aim,
    }  # fmt: skip


def resident_gb() -> float:
    """Largest resident memory of this process [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def capacity(made: Machine) -> float:
    """Requests a second that a queue which never empties is answered at."""
    count = 20_000
    served = made.serve(count, 1e6)
    return count / float(served.replicas[0, kernel.TIME])


def scheduler(quick: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of the compiled scheduler, and what a million requests take."""
    made = machine()
    made.serve(100, RATE)
    rows: list[dict[str, Any]] = []
    base: float | None = None
    million: dict[str, float] = {}
    for count in SIZES[: 3 if quick else 4]:
        repeats = 5 if count < 100_000 else 3
        calls = max(1, 20_000 // count)
        seconds = (
            cpu_s(lambda count=count, calls=calls: [made.serve(count, RATE) for _ in range(calls)], repeats) / calls
        )
        aim = f"{AIM_PER_S:,} a second, within {AIM_FLAT} of the first"
        rows.append(row("Poisson, 6.45 a second", count, seconds, base, aim))
        base = base or seconds / count
        if count == SIZES[-1]:
            million = {"million_cpu_s": seconds, "million_resident_gb": resident_gb()}
    assert base is not None
    most, count = capacity(made), 100_000
    rows.append(row(f"overload, {2 * most:.3g} a second", count, cpu_s(lambda: made.serve(count, 2 * most), 3), base,
                    f"within {AIM_HARD}"))  # fmt: skip
    fleet = cpu_s(lambda: made.serve(count, 64 * RATE, replicas=64, router="least-outstanding"), 3)
    rows.append(row("64 replicas, least outstanding", count, fleet, base, f"within {AIM_HARD}"))
    single = cpu_s(lambda: made.serve(count, RATE, one_by_one=True), 3)
    rows.append(row("single steps", count, single, base, ""))
    served = made.serve(count, RATE)
    rows.append(row("percentiles and energy only", count, cpu_s(lambda: outcome_of(made.ready, served), 3), base, ""))
    return rows, million


def process(repeats: int) -> dict[str, float]:
    """The whole command, warm: CPU and elapsed seconds, medians."""
    spent, elapsed = [], []
    command = [sys.executable, "-m", "silicost", *COMMAND]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=around)
    for _ in range(repeats):
        before, began = os.times(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=around)
        after = os.times()
        elapsed.append(time.perf_counter() - began)
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"process_256_cpu_s": statistics.median(spent), "process_256_elapsed_s": statistics.median(elapsed)}


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 100,000 requests")
    parser.add_argument("--format", choices=[form.value for form in Format], default="table")
    arguments = parser.parse_args()
    rows, whole = scheduler(arguments.quick)
    whole |= process(3 if arguments.quick else 7)
    if arguments.format == Format.JSON:
        print_json({"scheduler": rows, **whole})
        return 0
    print_rows(rows, Format(arguments.format))
    if "million_cpu_s" in whole:
        print(f"1,000,000 requests: {whole['million_cpu_s']:.2f} s (aim {AIM_MILLION_S:.0f}), "
              f"{whole['million_resident_gb']:.2f} GB resident (aim {AIM_MILLION_GB:.0f})")  # fmt: skip
    print(f"whole process, 256 requests: {whole['process_256_cpu_s']:.2f} s of CPU, "
          f"{whole['process_256_elapsed_s']:.2f} s elapsed (aim {AIM_PROCESS_S})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
