"""Indexes in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnknownName
from workloads.retrieval.index_words import INDEX_KINDS, parse_index
from workloads.retrieval.indexes import NAMES, Flat, Hnsw, Index, IvfFlat, IvfPq


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("flat:vectors=1M,dim=768", Flat(1_000_000, 768)),
        ("flat: vectors = 2.5k , dim = 8, dtype=fp16, k=3", Flat(2500, 8, "fp16", 3)),
        ("ivf-flat:vectors=1B,dim=96,lists=64k,probes=32,imbalance=1.1", IvfFlat(
            10**9, 96, lists=64_000, probes=32, imbalance=1.1
        )),
        ("ivf-pq:vectors=10M,dim=768,lists=4096,probes=32,bytes=64,k=10", IvfPq(
            10_000_000, 768, lists=4096, probes=32, code_bytes=64
        )),
        ("hnsw:vectors=1e6,dim=384", Hnsw(1_000_000, 384)),
        ("hnsw:vectors=1G,dim=384,m=16,ef=128,dtype=int8,k=100", Hnsw(10**9, 384, "int8", 100, 16, 128)),
    ],
)  # fmt: skip
def test_words(text: str, index: Index) -> None:
    assert parse_index(text) == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flat:vectors=1M", r"--index: flat: missing key dim \(write flat:vectors=\.\.\.,dim=\.\.\.\)"),
        ("flat:vectors=1M,dim=8,m=3", r"flat: unknown key 'm'"),
        ("flat:vectors=1M,dim=8,dim=9", r"dim is there twice"),
        ("flat:vectors=1.5,dim=8", r"vectors '1\.5' must be a whole number from 1 to"),
        ("flat:vectors=0.0001k,dim=8", r"must be a whole number"), ("flat:vectors=9999B,dim=8", r"must be a whole"),
        ("flat:vectors=,dim=8", r"must be key=value"), ("flat:vectors=1MM,dim=8", r"unknown unit 'MM'"),
        ("flat:vectors=nan,dim=8", r"vectors"), ("flat:vectors=1M,dim=8,dtype=half", r"dtype is 'half'"),
        ("ivf-flat:vectors=1M,dim=8,lists=4,probes=5", r"probes is 5; allowed: 1 to 4"),
        ("ivf-pq:vectors=1M,dim=100,lists=4,probes=1,bytes=64", r"bytes is 64; it must divide dim, 100"),
        ("hnsw:vectors=1M,dim=8,ef=1", r"ef is 1; allowed: 10 to"),
    ],
)  # fmt: skip
def test_words_that_say_nothing(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_index(text, "--index")


def test_a_near_kind_is_suggested() -> None:
    with pytest.raises(UnknownName, match=r"--index: unknown index 'hnws'; did you mean 'hnsw'"):
        parse_index("hnws:vectors=1M,dim=8", "--index")
    assert tuple(NAMES.values()) == INDEX_KINDS


@given(st.text(max_size=60))
def test_any_text_is_an_index_or_a_clear_error(text: str) -> None:
    for whole in (text, f"hnsw:{text}", f"flat:vectors={text},dim=8"):
        try:
            parse_index(whole)
        except InputError as error:
            assert str(error).startswith("index: ") and "\n" not in str(error)
