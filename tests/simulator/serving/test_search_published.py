"""Searches against published measurements. What rates were set from, and how far off the others are, is said by row.

Devices that are not in the catalogue are neighbours with their facts changed. Ratios are predicted over measured time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pytest

from hardware_specs.overrides import apply_overrides
from silicost.scenarios import inference_scenario
from simulator.prepared import Prepared, prepare
from simulator.serving.search_tables import search_cost
from workloads.retrieval.index_words import parse_index

TITAN_X: Final = {
    "compute.units": "24", "compute.clock_base": "1000 MHz", "compute.clock_boost": "1075 MHz",
    "compute.peaks.fp32": "6.6 TFLOP/s", "memory.bandwidth": "336.5 GB/s", "memory.capacity": "24 GiB",
}  # fmt: skip
"""GM200, but for its memory of 12 GiB: the billion vectors keep their ids on the host there."""
CHANGED: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {"titan-x": ("titan-xp", TITAN_X)}


class Row(NamedTuple):
    """Device, index, queries, seconds measured, and between which ratios the prediction lies."""

    device: str
    searched: str
    queries: int
    seconds: float
    least: float
    most: float


def _graph(rest: str, per_s: float, least: float, most: float) -> Row:
    return Row("graviton3", f"hnsw:vectors=1M,dim=256,{rest}", 100_000, 100_000 / per_s, least, most)


USEARCH: Final = (
    _graph("m=16,ef=64", 131_654, 0.9, 1.1), _graph("m=12,ef=64", 149_728, 0.9, 1.1),
    _graph("m=32,ef=64", 104_050, 0.9, 1.1), _graph("m=16,ef=32", 228_422, 0.9, 1.1),
    _graph("m=16,ef=128", 69_065, 0.9, 1.1), _graph("m=16,ef=64", 171_856, 0.9, 1.3),
    _graph("m=16,ef=64,dtype=fp16", 153_788, 0.65, 1.0), _graph("m=16,ef=64,dtype=int8", 274_653, 0.9, 1.1),
)  # fmt: skip
"""unum-cloud/usearch at 14e7a8c, docs/benchmarks.md: all 64 cores of a c7g.metal, 1M vectors of Wikipedia. None was
fitted, but that walks and bandwidth join by a norm of order 2 was decided with them in sight. The sixth row repeats the
first and differs from it by 31%; 16-bit floats are converted there."""

SCANS: Final = tuple(
    Row("rtx-5090", f"ivf-flat:vectors=10M,dim=128,lists=4096,probes={probes}", 10_000, seconds, 1.2, 1.7)
    for probes, seconds in ((4, 0.037), (16, 0.130), (64, 0.491))
)
"""FAISS, SIFT10M: workloads/faiss/README.md of weiso131/schedcp at 065bb4f. None was fitted. The measured rate of 64
probes is 0.92 of the bandwidth without any imbalance: lists that several queries read at a time come from the cache
there. At an imbalance of 1 the ratios are 1.07 to 1.28."""

FLAT: Final = (
    Row("titan-x", "flat:vectors=1M,dim=128,k=1", 10_000, 0.715, 1.0, 1.25),
    Row("titan-x", "flat:vectors=1M,dim=128,k=128", 10_000, 0.761, 1.0, 1.25),
    *(
        Row("titan-x", f"ivf-flat:vectors=1M,dim=128,lists=16384,probes={probes},k=100,dtype=fp16", 10_000, seconds,
            0.55, 1.35)
        for probes, seconds in ((16, 0.049), (64, 0.104), (256, 0.299), (512, 0.527))
    ),
)  # fmt: skip
"""FAISS, benchs/README.md at 12049da (Johnson, Douze, Jegou, arXiv:1702.08734), SIFT1M on a Titan X. None was fitted.
Few probes take some 25 ms there that nothing here explains (queries and results cross PCIe)."""

CODES: Final = (
    *(
        Row("titan-x", f"ivf-pq:vectors=1M,dim=128,lists=4096,probes={probes},bytes=64,k=100", 10_000, seconds,
            0.5, 1.5)
        for probes, seconds in ((8, 0.064), (16, 0.088), (64, 0.224), (256, 0.717), (512, 1.348))
    ),
    *(
        Row("titan-x", f"ivf-pq:vectors=1B,dim=32,lists=262144,probes={probes},bytes=8", 10_000, seconds, 0.85, 1.1)
        for probes, seconds in ((8, 0.170), (32, 0.244), (64, 0.353), (128, 0.587), (256, 1.160))
    ),
)  # fmt: skip
"""The same source, SIFT1M and SIFT1B (vectors turned to 32 dimensions). The rate of look-ups was set from what further
probes take in both."""

WALKS: Final = tuple(
    Row("l40s", f"hnsw:vectors=1M,dim=128,m=32,ef={ef},dtype=int8", 10_000, 10_000 / per_s, 0.6, 1.3)
    for ef, per_s in ((16, 813_370), (32, 684_561), (64, 451_904), (128, 270_946), (256, 152_694))
)
"""facebookresearch/faiss, issue 5458, 8-bit vectors. The time of a step was set from ef 64; vectors, their dimensions
and links are assumed, and hardly matter."""

PIPELINES: Final = tuple(
    Row("alveo-u55c", f"ivf-pq:vectors=100M,dim=128,lists={lists},probes={probes},bytes=16", 100_000, 100_000 / per_s,
        0.9, 1.1)
    for lists, probes, per_s in ((2048, 28, 2099.96), (4096, 29, 3249.16), (8192, 22, 4058.44))
)  # fmt: skip
"""WenqiJiang/SIGMOD-2022-submission-Fanns at 1dc7ecb (FANNS, arXiv:2306.11182), the authors' own prediction of their
designs, no measurement; rates of lanes and tables were set from 4096 lists."""

ROWS: Final = (*USEARCH, *SCANS, *FLAT, *CODES, *WALKS, *PIPELINES)


@cache
def ready(device: str) -> Prepared:
    base, changes = CHANGED.get(device, (device, {}))
    scenario = inference_scenario("bge-small-en-v1.5", base, batch=1, isl=1, osl=1, runtime="ideal", dtype="fp32")
    pool = scenario.pools[0]
    pool = msgspec.structs.replace(pool, device=apply_overrides(pool.device, changes))
    return prepare(msgspec.structs.replace(scenario, pools=(pool,)))


def ratio(row: Row) -> float:
    found = search_cost(ready(row.device), parse_index(row.searched), np.array([float(row.queries)]))
    return float(found.seconds[0]) / row.seconds


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.device} {row.searched} {row.seconds:.4g}")
def test_searches_take_what_was_published(row: Row) -> None:
    assert row.least < ratio(row) < row.most


def test_half_of_all_rows_are_within_15_percent() -> None:
    errors = np.abs([np.log(ratio(row)) for row in ROWS])
    assert len(errors) >= 30
    assert np.median(errors) < np.log(1.15)
    assert np.quantile(errors, 0.9) < np.log(1.65)
