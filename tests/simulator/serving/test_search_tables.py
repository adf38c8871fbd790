"""Tables of searches: what they hold, what bounds them, what grows with what, what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario
from simulator.kernels.roofline import ENERGY, TIME
from simulator.prepared import Prepared, prepare
from simulator.serving.search_rates import rates_of
from simulator.serving.search_tables import MOST_QUERIES, search_cost, search_tables
from workloads.graph import columns_of
from workloads.retrieval.index_words import parse_index
from workloads.retrieval.indexes import Flat, Hnsw, Index, IvfFlat, IvfPq
from workloads.retrieval.work import search_work

DEVICES: Final = {
    "cpu": "graviton3", "gpu": "a100-sxm-80gb", "fpga": "alveo-u55c", "tpu": "tpu-v5e", "asic": "gaudi-2",
}  # fmt: skip
INDEXES: Final[dict[str, Index]] = {
    "flat": Flat(200_000, 256), "ivf-flat": IvfFlat(1_000_000, 256, lists=1024, probes=16),
    "ivf-pq": IvfPq(10_000_000, 256, lists=4096, probes=32, code_bytes=32), "hnsw": Hnsw(1_000_000, 256, links=16),
}  # fmt: skip
KNOWN: Final = [
    (device, index) for device in DEVICES for index in INDEXES
    if device in ("cpu", "gpu") or index in ("flat", "ivf-flat") or (device, index) == ("fpga", "ivf-pq")
]  # fmt: skip
READY: Final = {
    kind: prepare(inference_scenario("bge-small-en-v1.5", device, batch=1, isl=1, osl=1, runtime="ideal", dtype="fp32"))
    for kind, device in DEVICES.items()
}


def one(ready: Prepared, index: Index, *queries: float) -> list[float]:
    return [float(seconds) for seconds in search_cost(ready, index, np.array(queries)).seconds]


@pytest.mark.parametrize(("device", "index"), KNOWN)
def test_tables_hold_searches_of_every_batch_and_nothing_else(device: str, index: str) -> None:
    ready, searched = READY[device], INDEXES[index]
    tables = search_tables(ready, searched, 300)
    assert tables.rows_s.shape == tables.rows_j.shape == tables.head_s.shape == (301,)
    assert tables.rows_s[0] == tables.rows_j[0] == 0.0
    for name in ("head_s", "head_j", "decode_s", "decode_j", "prefill_s", "prefill_j"):
        assert not getattr(tables, name).any()
    assert tables.prefill_s.shape == (2, len(tables.new_at), len(tables.visible_at))
    assert tables.decode_s.shape == (len(tables.sequences_at), len(tables.contexts_at))
    found = search_cost(ready, searched, np.array([1.0, 7.0, 300.0]))
    assert tables.rows_s[[1, 7, 300]] == pytest.approx(found.seconds, rel=1e-12)
    assert tables.rows_j[[1, 7, 300]] == pytest.approx(found.joules, rel=1e-12)


@pytest.mark.parametrize(("device", "index"), KNOWN)
def test_no_search_is_faster_than_the_law_or_draws_more_than_the_device(device: str, index: str) -> None:
    ready, record = READY[device], READY[device].model.record
    queries = np.array([1.0, 3.0, 64.0, 65.0, 1000.0])
    found = search_cost(ready, INDEXES[index], queries)
    for place, count in enumerate(queries):
        columns = columns_of([stage.operator for stage in search_work(INDEXES[index], float(count))])
        law = ready.model.cost(columns)
        stages = law[TIME].max() if device == "fpga" else law[TIME].sum()
        assert found.seconds[place] >= stages * (1.0 - 1e-12)
        assert found.joules[place] >= float(record["static_w"]) * found.seconds[place]
        if device != "fpga":
            assert found.joules[place] >= law[ENERGY].sum() * (1.0 - 1e-12)
            assert found.joules[place] <= float(record["rated_w"]) * found.seconds[place] * 1.01


@pytest.mark.parametrize(("device", "index"), KNOWN)
def test_batches_are_not_dearer_than_their_queries_one_by_one(device: str, index: str) -> None:
    alone, many, large = one(READY[device], INDEXES[index], 1.0, 100.0, 10_000.0)
    assert alone < many * 1.001
    assert many <= 100.0 * alone and large <= 100.0 * many * 1.05


@settings(deadline=None, max_examples=30)
@given(probes=st.integers(1, 200), more=st.integers(1, 200), queries=st.integers(1, 500))
def test_more_probes_take_longer(probes: int, more: int, queries: int) -> None:
    for kind in ("cpu", "gpu", "fpga"):
        few, many = (
            one(READY[kind], IvfPq(10**6, 64, lists=512, probes=p, code_bytes=16), queries)[0]
            for p in (probes, probes + more)
        )
        assert many >= few * (1.0 - 1e-9)


def test_a_query_of_a_graph_waits_for_memory_on_one_core() -> None:
    """Steps and vectors one latency each, whatever the other cores do; all cores together are bound by bandwidth."""
    index = Hnsw(1_000_000, 256, links=16)
    rates = rates_of(READY["cpu"].model, index)
    alone, full, twice = one(READY["cpu"], index, 1.0, 64.0, 128.0)
    assert alone >= (index.steps + index.distances) * rates.latency_s
    assert full < 2.5 * alone and twice == pytest.approx(2.0 * full, rel=0.1)
    narrow = one(READY["cpu"], Hnsw(1_000_000, 256, "int8", links=16), 64.0)[0]
    assert narrow < 0.7 * full


def test_indexes_that_the_cache_holds_are_walked_faster() -> None:
    small, large = (rates_of(READY["cpu"].model, Hnsw(n, 64)) for n in (20_000, 10**8))
    assert small.latency_s < 0.5 * large.latency_s and large.latency_s == pytest.approx(1.1e-7, rel=0.01)


def test_a_query_of_lists_has_one_core_of_a_cpu_and_all_of_a_gpu() -> None:
    index = IvfFlat(10_000_000, 256, lists=1024, probes=64)
    cpu, gpu = READY["cpu"], READY["gpu"]
    alone, full = one(cpu, index, 1.0, 64.0)
    assert full < 8.0 * alone
    moved = index.probes * index.list_vectors * index.vector_bytes
    assert alone >= moved / rates_of(cpu.model, index).thread_bytes_per_s
    assert one(gpu, index, 1.0)[0] < 4.0 * moved / gpu.pool.device.memory.bandwidth.value


def test_an_fpga_works_at_all_stages_at_a_time() -> None:
    found = search_cost(READY["fpga"], INDEXES["ivf-pq"], np.array([1.0, 1000.0]))
    assert found.seconds[0] == pytest.approx(found.stages_s[:, 0].sum())
    assert found.stages_s[:, 1].max() < found.seconds[1] < found.stages_s[:, 1].sum()


def test_an_index_must_fit() -> None:
    index = parse_index("flat:vectors=100M,dim=768")
    with pytest.raises(InputError, match=r"a100-sxm-80gb cannot hold the flat index of 100,000,000 vectors: it takes "
                       r"307\.2 GB, 85\.\d+ GB can be used"):  # fmt: skip
        search_tables(READY["gpu"], index, 8)


@pytest.mark.parametrize(
    ("device", "index"), [("fpga", "hnsw"), ("tpu", "hnsw"), ("tpu", "ivf-pq"), ("asic", "ivf-pq")]
)
def test_searches_of_which_nothing_is_known_are_refused(device: str, index: str) -> None:
    with pytest.raises(
        InputError, match=rf"no rate of {index} searches on devices of class {device} is known; allowed"
    ):
        search_tables(READY[device], INDEXES[index], 8)


def test_impossible_questions() -> None:
    with pytest.raises(InputError, match="--max-num-seqs"):
        search_tables(READY["cpu"], INDEXES["flat"], MOST_QUERIES + 1)
    with pytest.raises(InputError, match="--max-num-seqs"):
        search_tables(READY["cpu"], INDEXES["flat"], 0)
    with pytest.raises(InputError, match="probes is 9; allowed: 1 to 4"):
        search_tables(READY["cpu"], IvfFlat(100, 8, lists=4, probes=9), 8)
    two = prepare(inference_scenario("bge-small-en-v1.5", "a100-sxm-80gb", batch=1, isl=1, osl=1, tp=2))
    with pytest.raises(InputError, match="a search runs on one device, the plan has 2"):
        search_tables(two, INDEXES["flat"], 8)


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[3] / "docs" / "retrieval.md"
    (block,) = re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "retrieval.md", "exec"), names)
    assert names["search"].rows_s.shape == (257,) and names["embedding"].head_s[64] > 0.0
    assert capsys.readouterr().out.startswith("33.44")
