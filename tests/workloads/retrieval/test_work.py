"""Work of searches: counts by hand, and what grows with what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.operator_record import OpKind
from workloads.retrieval.indexes import Flat, Hnsw, Index, IvfFlat, IvfPq
from workloads.retrieval.work import Stage, search_work

FLAT = Flat(1000, 16, k=5)
LISTS = IvfFlat(1000, 16, k=5, lists=10, probes=2, imbalance=1.0)
CODES = IvfPq(1000, 16, k=5, lists=10, probes=2, imbalance=1.0, code_bytes=4)
GRAPH = Hnsw(1000, 16, k=5, links=8, ef_search=6)


def named(index: Index, queries: float) -> dict[str, Stage]:
    return {stage.operator.name.removeprefix("search."): stage for stage in search_work(index, queries)}


def test_flat_searches_are_a_product_and_a_selection() -> None:
    stages = named(FLAT, 3.0)
    assert list(stages) == ["distances", "selection"]
    product = stages["distances"].operator
    assert (product.kind, product.flops, product.weight_bytes) == (OpKind.GEMM, 2.0 * 3 * 1000 * 16, 64_000.0)
    assert product.write_bytes == 3 * 1000 * 4.0
    selection = stages["selection"].operator
    assert (selection.vector_flops, selection.read_bytes, selection.write_bytes) == (3000.0, 12_000.0, 3 * 5 * 12.0)


def test_each_query_reads_its_own_lists() -> None:
    stages = named(LISTS, 3.0)
    assert list(stages) == ["centroids", "lists", "scan", "selection"]
    assert stages["centroids"].operator.flops == 2.0 * 3 * 10 * 16
    scan = stages["scan"]
    assert (scan.operator.kind, scan.operator.batch, scan.operator.n) == (OpKind.BATCHED_GEMM, 6.0, 100.0)
    assert scan.operator.weight_bytes == 6 * 100 * 64.0
    assert (scan.queries, scan.pieces) == (3.0, 6.0)
    assert stages["selection"].operator.n == 200.0


def test_codes_are_looked_up_byte_by_byte() -> None:
    stages = named(CODES, 3.0)
    assert list(stages) == ["centroids", "lists", "tables", "scan", "selection"]
    assert stages["tables"].entries == 3 * 2 * 256 * 4
    assert stages["tables"].operator.read_bytes == 4.0 * stages["tables"].entries
    assert stages["scan"].lookups == stages["scan"].operator.read_bytes == 3 * 2 * 100 * 4


def test_tables_that_are_not_kept_are_computed() -> None:
    large = IvfPq(10**9, 128, lists=1 << 18, probes=4, code_bytes=64)
    tables = named(large, 2.0)["tables"].operator
    assert not large.keeps_tables
    assert tables.vector_flops == 3.0 * 2 * 4 * 256 * 128
    assert tables.read_bytes == 256 * 128 * 4.0


def test_walks_read_links_and_vectors() -> None:
    (walk,) = search_work(GRAPH, 3.0)
    assert walk.gather is not None
    assert walk.gather == (GRAPH.steps, 64.0, GRAPH.distances, 64.0)
    assert walk.operator.read_bytes == pytest.approx(3.0 * 64.0 * (GRAPH.steps + GRAPH.distances))
    assert walk.operator.vector_flops == pytest.approx(2.0 * 3 * GRAPH.distances * 16)


def test_bytes_of_vectors_follow_their_format() -> None:
    for dtype, each in (("fp32", 4.0), ("fp16", 2.0), ("bf16", 2.0), ("int8", 1.0)):
        product = named(Flat(1000, 16, dtype), 1.0)["distances"].operator
        assert product.weight_bytes == 16_000.0 * each
        assert product.dtype == ("fp32" if dtype == "int8" else dtype)


@given(queries=st.integers(1, 1000), index=st.sampled_from([FLAT, LISTS, CODES, GRAPH]))
def test_work_is_that_of_each_query(queries: int, index: Index) -> None:
    """But for weights that a product reads once."""
    for one, many in zip(search_work(index, 1.0), search_work(index, float(queries)), strict=True):
        for name in ("flops", "vector_flops", "read_bytes", "write_bytes"):
            assert getattr(many.operator, name) <= queries * getattr(one.operator, name) * (1.0 + 1e-12)
        assert many.lookups == pytest.approx(queries * one.lookups)
        assert many.entries == pytest.approx(queries * one.entries)
        assert many.gather == one.gather
