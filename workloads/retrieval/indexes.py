"""Indexes of vectors: what they hold, how many bytes that is, how much of it a query looks at.

- ``Flat``: all vectors; every query meets every one of them.
- ``IvfFlat``: vectors in ``lists`` around centroids; a query meets those of its nearest ``probes`` lists (Sivic and
  Zisserman, ICCV 2003, doi:10.1109/ICCV.2003.1238663).
- ``IvfPq``: the same with codes of product quantisation: ``code_bytes`` parts of a vector, each the number of one of
  256 centroids (Jegou, Douze, Schmid, TPAMI 33(1), 2011, doi:10.1109/TPAMI.2010.57).
- ``Hnsw``: a graph of near vectors, in layers that thin out (Malkov and Yashunin, TPAMI 42(4), 2020,
  doi:10.1109/TPAMI.2018.2889473, arXiv:1603.09320).

Bytes are those of FAISS (Johnson, Douze, Jegou, arXiv:1702.08734; Douze et al., arXiv:2401.08281): 8 for the id of a
vector in a list, 4 for the link of a graph, centroids in fp32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError

ELEMENTS: Final = ("fp32", "fp16", "bf16", "int8")
"""Formats that vectors are stored in."""
CODEBOOK: Final = 256
"""Centroids of a part of a code of one byte."""
IMBALANCE: Final = 1.25
"""Vectors that a query meets over those of lists of equal length: long lists are probed more often.

Source: distances of FAISS IVF-PQ with 2^20 lists on Deep1B and BIGANN at 16 to 128 probes, 1.22 to 1.26 times
probes / lists (harsha-simhadri/big-ann-benchmarks, pull requests 58 and 69, 2021).
"""
TABLES_MOST_BYTES: Final = 2.0**31
"""Largest tables of distances between list centroids and code centroids that are kept with an index.

Source: FAISS, ``precomputed_table_max_bytes`` of IndexIVFPQ.
"""
MOST_VECTORS: Final = 10**12
MOST_DIMENSIONS: Final = 65_536
MOST_RESULTS: Final = 16_384

_ID_BYTES: Final = 8.0
_LINK_BYTES: Final = 4.0
_NODE_BYTES: Final = 12.0
"""Level of a vector (4) and where its links begin (8)."""
_FRESH: Final = 2.2
"""Vectors that a step of a graph search meets for the first time, over the square root of the links of a vector.

Rounded from counts of FAISS 1.15 (``hnsw_stats``) on 20,000 and 100,000 vectors of 256 dimensions in 1,000 clusters:
8.5, 12.8 and 16.2 a step at 16, 32 and 64 links and ef 64. More at a smaller ef (14 at 32 links and ef 16), fewer at a
larger (11 at ef 256); 9 to 15 on data of another inner dimension.
"""
_ENTRY_STEPS: Final = 10.0
"""Steps beside ``ef_search``: down through the layers. The same counts: 7 to 13."""


@dataclass(frozen=True)
class Flat:
    """``vectors`` of ``dim`` values in ``dtype``; ``k`` results a query."""

    vectors: int
    dim: int
    dtype: str = "fp32"
    k: int = 10

    @property
    def bytes(self) -> float:
        """Bytes of the index [B]."""
        return self.vectors * self.vector_bytes

    @property
    def vector_bytes(self) -> float:
        """Bytes of one vector [B]."""
        return self.dim * BITS[self.dtype] / 8.0


@dataclass(frozen=True)
class IvfFlat(Flat):
    """Vectors in ``lists``, of which a query scans ``probes``; ``imbalance`` as ``IMBALANCE``."""

    lists: int = 1
    probes: int = 1
    imbalance: float = IMBALANCE

    @property
    def bytes(self) -> float:
        """Bytes of the index [B]: vectors, ids, centroids."""
        return self.vectors * (self.vector_bytes + _ID_BYTES) + self.centroid_bytes

    @property
    def centroid_bytes(self) -> float:
        """Bytes of the centroids of all lists [B]."""
        return 4.0 * self.lists * self.dim

    @property
    def list_vectors(self) -> float:
        """Vectors that a probe meets."""
        return self.vectors * min(self.imbalance / self.lists, 1.0 / self.probes)


@dataclass(frozen=True)
class IvfPq(IvfFlat):
    """Codes of ``code_bytes`` in lists; of the difference between a vector and the centroid of its list."""

    code_bytes: int = 1

    @property
    def bytes(self) -> float:
        """Bytes of the index [B]: codes, ids, centroids of lists and of codes, tables where they are kept."""
        tables = self.tables_bytes if self.keeps_tables else 0.0
        return self.vectors * (self.code_bytes + _ID_BYTES) + self.centroid_bytes + 4.0 * CODEBOOK * self.dim + tables

    @property
    def tables_bytes(self) -> float:
        """Bytes of a distance from every list centroid to every code centroid [B]."""
        return 4.0 * self.lists * CODEBOOK * self.code_bytes

    @property
    def keeps_tables(self) -> bool:
        """Whether tables are computed once and kept."""
        return self.tables_bytes <= TABLES_MOST_BYTES


@dataclass(frozen=True)
class Hnsw(Flat):
    """A graph with ``links`` (M) to a vector in upper layers and twice as many in the lowest; ``ef_search`` vectors
    are kept while a query walks."""

    links: int = 32
    ef_search: int = 64

    @property
    def bytes(self) -> float:
        """Bytes of the index [B]: vectors, links of all layers, of which a vector is in 1 / (links - 1) upper ones."""
        links = self.lowest_links + self.links / (self.links - 1.0)
        return self.vectors * (self.vector_bytes + links * _LINK_BYTES + _NODE_BYTES)

    @property
    def lowest_links(self) -> float:
        """Links of a vector in the lowest layer."""
        return 2.0 * self.links

    @property
    def steps(self) -> float:
        """Vectors whose links a query follows, one after the other."""
        return min(self.ef_search + _ENTRY_STEPS, float(self.vectors))

    @property
    def distances(self) -> float:
        """Vectors that a query is compared with."""
        return min(self.steps * _FRESH * math.sqrt(self.lowest_links), float(self.vectors))

    @property
    def step_bytes(self) -> float:
        """Bytes of the links of one vector [B]."""
        return self.lowest_links * _LINK_BYTES


Index = Flat | IvfFlat | IvfPq | Hnsw
NAMES: Final[dict[type[Flat], str]] = {Flat: "flat", IvfFlat: "ivf-flat", IvfPq: "ivf-pq", Hnsw: "hnsw"}


def check_index(index: Index, place: str = "index") -> Index:
    """``index`` itself, if it can be.

    Raises:
        InputError: a size, a format or a share that no index has; with ``place``, the value and what is allowed.
    """
    name = f"{place}: {NAMES[type(index)]}"
    if index.dtype not in ELEMENTS:
        raise InputError(f"{name}: dtype is {index.dtype!r}; allowed: {', '.join(ELEMENTS)}")
    _within(name, "vectors", index.vectors, 1, MOST_VECTORS)
    _within(name, "dim", index.dim, 1, MOST_DIMENSIONS)
    _within(name, "k", index.k, 1, min(index.vectors, MOST_RESULTS))
    if isinstance(index, IvfFlat):
        _within(name, "lists", index.lists, 1, index.vectors)
        _within(name, "probes", index.probes, 1, index.lists)
        _within(name, "imbalance", index.imbalance, 1.0, 100.0)
    if isinstance(index, IvfPq) and (index.code_bytes < 1 or index.dim % index.code_bytes):
        raise InputError(f"{name}: bytes is {index.code_bytes}; it must divide dim, {index.dim}")
    if isinstance(index, Hnsw):
        _within(name, "m", index.links, 2, 1024)
        _within(name, "ef", index.ef_search, index.k, 1_000_000)
    return index


def _within(place: str, key: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(f"{place}: {key} is {value}; allowed: {least} to {most}")
