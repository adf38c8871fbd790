"""How fast studies are answered: points a second, against what this machine could do at best.

    python benchmarks/sweeps.py [--points N] [--workers N]

A point is prefill, decode, memory, energy and cost of one model, system, plan, batch and lengths. *Grid*: ten million
points of 5 models x 10 devices x 2 dtypes x 2 tp x 10 batches x 64 x 78 lengths, Parquet written. *Scattered*: a sample
of models, devices and dtypes with lengths and batches of their own, in memory. The limit that a grid is compared with
is to write the same table, already computed, to Parquet in as many processes. Prints medians; resident memory is the
largest of a process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

GRID = """
title = "ten million points"
metrics = ["ttft_s", "tpot_s", "output_tokens_per_s", "j_per_output_token", "usd_per_million_output_tokens",
           "memory_bytes"]
[axes]
model = ["llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b", "mixtral-8x7b", "gemma-2-9b"]
device = ["h100-sxm-80gb", "h200-sxm-141gb", "a100-sxm-80gb", "l40s", "mi300x", "b200-sxm", "tpu-v5p", "gaudi-2",
          "rtx-4090", "l4"]
dtype = "bf16,fp8"
tp = [1, 2]
batch = "1:512:*2"
isl = "128:8192:+128"
osl = "16:1248:+16"
"""
SCATTERED = """
title = "scattered"
metrics = ["ttft_s", "tpot_s", "output_tokens_per_s", "j_per_output_token", "usd_per_million_output_tokens",
           "memory_bytes"]
[sample]
kind = "random"
n = 400000
[axes]
model = ["llama-3.1-8b", "qwen2.5-7b", "mixtral-8x7b"]
device = ["h100-sxm-80gb", "a100-sxm-80gb", "tpu-v5p", "gaudi-2"]
batch = { low = 1, high = 512, log = true, whole = true }
isl = { low = 1, high = 8192, whole = true }
osl = { low = 2, high = 2048, whole = true }
"""


def study(text: str, folder: Path, intervals: bool = False):
    """The study of a text, ready."""
    from silicost.studies.study import read_study
    from silicost.studies.work import prepare_study

    path = folder / "study.toml"
    path.write_text(("intervals = true\n" if intervals else "") + text)
    return prepare_study(read_study(path))


def run(prepared, folder: Path, workers: int) -> tuple[int, float]:
    """Points and seconds of a whole run, its worker processes' start included."""
    from simulator.explore.executors import executor_of, run_parts
    from simulator.explore.store import open_store

    began = time.perf_counter()
    with open_store(folder, prepared.definition, print) as writer:
        outcome = run_parts(writer, executor_of("local", workers), prepared.work, prepared.recipe)
    return outcome.progress.points_made, time.perf_counter() - began


def scattered_rate(seed: int, intervals: bool, points: int) -> tuple[int, float]:
    """Points and seconds of a scattered sample in this process, kernels compiled."""
    with tempfile.TemporaryDirectory() as name:
        prepared = study(SCATTERED.replace("n = 400000", f"n = {points}\nseed = {seed}"), Path(name), intervals)
        prepared.work.evaluator(prepared.work.sampler.points(0, 2000))
        sample = prepared.work.sampler.points(0, points)
        began = time.perf_counter()
        prepared.work.evaluator(sample)
        return points, time.perf_counter() - began


def write_only(files: list[str], folder: str) -> float:
    """Seconds to write tables that are in memory already."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in files]
    began = time.perf_counter()
    for number, table in enumerate(tables):
        sink = pa.BufferOutputStream()
        names = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        pq.write_table(table, sink, compression="lz4", write_page_checksum=True, use_dictionary=names)
        with Path(folder, f"{os.getpid()}-{number}").open("wb") as file:
            file.write(sink.getvalue())
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - began


def resident_gb() -> float:
    """Largest resident memory of this process and of any child that has ended [GB]."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024 / 1e9


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3, help="of the scattered sample")
    parser.add_argument("--intervals", action="store_true", help="the grid with intervals too")
    arguments = parser.parse_args()
    workers = arguments.workers
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepared = study(GRID, root)
        points, seconds = run(prepared, root / "grid", workers)
        size = sum(path.stat().st_size for path in (root / "grid" / "parts").iterdir())
        print(
            f"grid, {workers} processes: {points:,} points in {seconds:.1f} s, {points / seconds:,.0f} points/s, "
            f"{size / 1e6:.0f} MB of Parquet, largest process {resident_gb():.2f} GB"
        )
        files = [str(path) for path in sorted((root / "grid" / "parts").iterdir())]
        shares = [files[number::workers][:8] for number in range(workers)]
        (root / "copies").mkdir()
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            spent = list(pool.map(write_only, shares, [str(root / "copies")] * workers))
        rows = 200_000 * sum(map(len, shares))
        limit = rows / max(spent)
        print(
            f"limit: the same table only written, {limit:,.0f} points/s; reached {points / seconds / limit:.0%} of it"
        )
        if arguments.intervals:
            points, slow = run(study(GRID, root, True), root / "intervals", workers)
            print(f"grid with intervals: {points / slow:,.0f} points/s; intervals cost {slow / seconds - 1.0:+.0%}")
    for intervals in (False, True):
        rates = []
        for repeat in range(arguments.repeats):
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                answers = list(
                    pool.map(
                        scattered_rate, [10 * repeat + n for n in range(workers)], [intervals] * workers,
                        [100_000] * workers,
                    )
                )  # fmt: skip
            rates.append(sum(n for n, _ in answers) / max(s for _, s in answers))
        words = " with intervals" if intervals else ""
        print(f"scattered{words}, {workers} processes: {statistics.median(rates):,.0f} points/s "
              f"(median of {len(rates)}, {np.min(rates):,.0f} to {np.max(rates):,.0f})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
