"""Indexes in words: ``ivf-pq:vectors=10M,dim=768,lists=4096,probes=32,bytes=64,k=10``."""

from __future__ import annotations

import re
from typing import Final

from workloads.retrieval.indexes import (
    IMBALANCE,
    MOST_DIMENSIONS,
    MOST_RESULTS,
    MOST_VECTORS,
    Flat,
    Hnsw,
    Index,
    IvfFlat,
    IvfPq,
    check_index,
)
from workloads.traffic.words import Form, Words, built

_MULTIPLES: Final = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
"""Letters behind counts; B is a billion."""
_COUNT: Final = re.compile(r"(\d+\.?\d*|\.\d+)\s*([kKMGB])")
_MAY: Final = ("k", "dtype")


def parse_index(text: str, place: str = "index") -> Index:
    """The index that ``text`` says: ``flat``, ``ivf-flat``, ``ivf-pq`` or ``hnsw``, with its numbers.

    Keys: ``vectors`` (10M, 1B, 250k) and ``dim``; ``k`` results (10) and ``dtype`` of the vectors (fp32); of lists
    ``lists``, ``probes`` and ``imbalance`` (1.25); of codes ``bytes``; of graphs ``m`` (32) and ``ef`` (64).

    Raises:
        UnknownName: an unknown kind of index.
        InputError: an unknown or missing key, or numbers that no index has; with ``place``.
    """
    return check_index(built(text, _FORMS, "index", place), place)


def _count(words: Words, key: str, most: int, default: int | None = None) -> int:
    """A whole number from 1 to ``most``; "10M" is ten million."""
    if key not in words.values and default is not None:
        return default
    match = _COUNT.fullmatch(words.values[key])
    if match is None:
        return words.whole(key, 1, most)
    plain = f"{float(match[1]) * _MULTIPLES[match[2]]:.17g}"
    return words._replace(values={**words.values, key: plain}).whole(key, 1, most)


def _size(words: Words) -> tuple[int, int, str, int]:
    return (
        _count(words, "vectors", MOST_VECTORS), _count(words, "dim", MOST_DIMENSIONS),
        words.values.get("dtype", "fp32"), _count(words, "k", MOST_RESULTS, 10),
    )  # fmt: skip


def _lists(words: Words) -> tuple[int, int, float]:
    imbalance = words.number("imbalance", default=IMBALANCE)
    return _count(words, "lists", MOST_VECTORS), _count(words, "probes", MOST_VECTORS), imbalance


def _flat(words: Words) -> Index:
    return Flat(*_size(words))


def _ivf_flat(words: Words) -> Index:
    return IvfFlat(*_size(words), *_lists(words))


def _ivf_pq(words: Words) -> Index:
    return IvfPq(*_size(words), *_lists(words), _count(words, "bytes", MOST_DIMENSIONS))


def _hnsw(words: Words) -> Index:
    return Hnsw(*_size(words), _count(words, "m", MOST_DIMENSIONS, 32), _count(words, "ef", MOST_VECTORS, 64))


_SIZE: Final = ("vectors", "dim")
_FORMS: Final = {
    "flat": Form(_SIZE, _MAY, _flat),
    "ivf-flat": Form((*_SIZE, "lists", "probes"), (*_MAY, "imbalance"), _ivf_flat),
    "ivf-pq": Form((*_SIZE, "lists", "probes", "bytes"), (*_MAY, "imbalance"), _ivf_pq),
    "hnsw": Form(_SIZE, (*_MAY, "m", "ef"), _hnsw),
}
INDEX_KINDS: Final = tuple(_FORMS)
