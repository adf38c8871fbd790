"""What the search of a batch of queries asks: operators, and what no operator says.

Q queries, N vectors of d values, p probes of lists of n vectors, codes of b bytes, 256 centroids a part:

=========  ===========================================================================================================
flat       distances Q x N x d as one product, selection of k among N
ivf-flat   distances Q x lists x d, selection of p lists; Q p products of one row with the n vectors of a list;
           selection of k among p n
ivf-pq     the same first; Q p tables of 256 b distances, added up from kept ones or computed; Q p n codes of b bytes,
           b look-ups each; selection of k among p n
hnsw       steps one after the other, each the links of a vector and then its unvisited neighbours, wherever they lie
=========  ===========================================================================================================

Every query reads its own lists: that some are read by several at the same time is left to the caches of a device.
Distances are written and read again by the selection, as GPUs do it (Johnson, Douze, Jegou, arXiv:1702.08734).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hardware_specs.dtypes import BITS
from workloads import operators as op
from workloads.operator_record import Operator, OpKind
from workloads.retrieval.indexes import CODEBOOK, Flat, Hnsw, Index, IvfFlat, IvfPq

_FP32_BYTES: Final = 4.0
_RESULT_BYTES: Final = 12.0
"""Score (4) and id (8) of one result."""


class Gather(NamedTuple):
    """A walk through memory of each query: ``steps`` of which each waits for the one before, every one of them a read
    of ``step_bytes``; ``accesses`` of ``access_bytes`` each, whose places are known after their step [B]."""

    steps: float
    step_bytes: float
    accesses: float
    access_bytes: float


class Stage(NamedTuple):
    """One stage of a search.

    Attributes:
        operator: FLOPs and bytes of the whole batch.
        queries: queries, where libraries work at each with one thread of a CPU (0: a stage that is cut at will).
        pieces: the same on many small processors: one list of one query each, or one walk.
        lookups: look-ups in small tables, of the whole batch.
        entries: entries of such tables that are made, of the whole batch.
        gather: walk of one query, if it has one.
    """

    operator: Operator
    queries: float = 0.0
    pieces: float = 0.0
    lookups: float = 0.0
    entries: float = 0.0
    gather: Gather | None = None


def search_work(index: Index, queries: float) -> tuple[Stage, ...]:
    """Stages of the search of ``queries`` in ``index``, one after the other."""
    if isinstance(index, Hnsw):
        return (_walk(index, queries),)
    if not isinstance(index, IvfFlat):
        product = _product("search.distances", index, queries, float(index.vectors), 1.0)
        return (Stage(product), Stage(_selection("search.selection", queries, float(index.vectors), index.k)))
    candidates = index.probes * index.list_vectors
    centroids = Flat(index.lists, index.dim)
    first = _product("search.centroids", centroids, queries, float(index.lists), 1.0)
    lists = _selection("search.lists", queries, float(index.lists), index.probes)
    scan = _codes(index, queries) if isinstance(index, IvfPq) else _lists(index, queries)
    best = _selection("search.selection", queries, candidates, index.k)
    return (Stage(first), Stage(lists), *scan, Stage(best))


def _product(name: str, index: Flat, rows: float, vectors: float, batch: float) -> Operator:
    """Distances as products in the format of the vectors, which 8-bit ones leave for fp32."""
    decoded = index.dtype == "int8"
    return op.gemm(
        name, rows, vectors, float(index.dim), "fp32" if decoded else index.dtype, batch=batch,
        weight_bits=float(BITS[index.dtype]), dequantize=decoded, activation_dtype="fp32",
    )  # fmt: skip


def _selection(name: str, queries: float, candidates: float, kept: float) -> Operator:
    """The best ``kept`` of ``candidates`` distances of each query: one pass, one comparison each."""
    return Operator(
        name, OpKind.ELEMENTWISE, "fp32", queries, candidates, 1.0, vector_flops=queries * candidates,
        read_bytes=queries * candidates * _FP32_BYTES, write_bytes=queries * kept * _RESULT_BYTES,
    )  # fmt: skip


def _lists(index: IvfFlat, queries: float) -> tuple[Stage, ...]:
    product = _product("search.scan", index, 1.0, index.list_vectors, queries * index.probes)
    return (Stage(product, queries, queries * index.probes),)


def _codes(index: IvfPq, queries: float) -> tuple[Stage, ...]:
    """Tables of each query and list, and the scan of codes with them."""
    pairs = queries * index.probes
    entries, codes = pairs * CODEBOOK * index.code_bytes, pairs * index.list_vectors
    if index.keeps_tables:
        flops, read = entries, entries * _FP32_BYTES
    else:
        # Each part of a difference against 256 centroids: subtract, square, add.
        flops, read = 3.0 * pairs * CODEBOOK * index.dim, CODEBOOK * index.dim * _FP32_BYTES
    tables = Operator(
        "search.tables", OpKind.ELEMENTWISE, "fp32", pairs, float(CODEBOOK * index.code_bytes), 1.0,
        vector_flops=flops, read_bytes=read,
    )  # fmt: skip
    scan = Operator(
        "search.scan", OpKind.ELEMENTWISE, "fp32", pairs, index.list_vectors, 1.0,
        vector_flops=codes * index.code_bytes, read_bytes=codes * index.code_bytes, write_bytes=codes * _FP32_BYTES,
    )  # fmt: skip
    return Stage(tables, queries, pairs, entries=entries), Stage(scan, queries, pairs, codes * index.code_bytes)


def _walk(index: Hnsw, queries: float) -> Stage:
    read = index.distances * index.vector_bytes + index.steps * index.step_bytes
    walk = Operator(
        "search.walk", OpKind.ELEMENTWISE, "fp32", queries, index.distances, 1.0,
        vector_flops=2.0 * queries * index.distances * index.dim, read_bytes=queries * read,
        write_bytes=queries * index.k * _RESULT_BYTES,
    )  # fmt: skip
    gather = Gather(index.steps, index.step_bytes, index.distances, index.vector_bytes)
    return Stage(walk, queries, queries, gather=gather)
