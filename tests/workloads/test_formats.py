"""Storage formats: bits per weight from their layout, names and aliases."""

from __future__ import annotations

import pytest

from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import UnknownName
from workloads.formats import format_names, load_format


@pytest.mark.parametrize(
    ("name", "weights", "block_bytes"),
    [
        # ggml block structs: bytes of one block over its weights.
        ("q4_0", 32, 2 + 16),
        ("q4_1", 32, 2 + 2 + 16),
        ("q5_0", 32, 2 + 4 + 16),
        ("q5_1", 32, 2 + 2 + 4 + 16),
        ("q8_0", 32, 2 + 32),
        ("q6_k", 256, 128 + 64 + 16 + 2),
        ("tq2_0", 256, 64 + 2),
        # Groups with their scales: AWQ 128 x 4 bits + fp16 scale + 4-bit zero; NVFP4 and MXFP4 with one byte of scale.
        ("int4", 128, 64 + 2 + 0.5),
        ("nvfp4", 16, 8 + 1),
        ("mxfp4", 32, 16 + 1),
        ("mxfp8", 32, 32 + 1),
        ("fp8_block", 128 * 128, 128 * 128 + 4),
    ],
)
def test_bits_per_weight_follow_from_the_block(name: str, weights: int, block_bytes: float) -> None:
    assert load_format(name).bits_per_weight == pytest.approx(8 * block_bytes / weights, rel=1e-12)


def test_bytes_are_an_eighth_of_bits() -> None:
    assert load_format("q4_0").bytes_per_weight == 0.5625
    assert load_format("bf16").bytes_per_weight == 2.0


@pytest.mark.parametrize("name", format_names())
def test_every_format_is_complete(name: str) -> None:
    found = load_format(name)
    assert found.id == name
    assert 1.0 <= found.bits_per_weight <= 32.0
    assert found.source and found.layout
    assert found.compute_dtype in ("", *COMPUTE_DTYPES)
    assert found.weight_only == (found.compute_dtype == "")
    for alias in found.aliases:
        assert load_format(alias) is found


def test_no_alias_means_two_formats() -> None:
    spellings = [s for name in format_names() for s in (name, *load_format(name).aliases)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Q4_K_M", "q4_k_m"), ("q4-0", "q4_0"), (" BF16 ", "bf16"), ("awq", "int4"), ("W8A8", "int8"), ("e4m3", "fp8")],
)
def test_spelling_does_not_matter(written: str, meant: str) -> None:
    assert load_format(written).id == meant


def test_weight_only_formats_are_unpacked() -> None:
    assert load_format("int4").weight_only
    assert load_format("int8_wo").weight_only
    assert not load_format("fp8").weight_only


def test_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown storage format 'q4_k_n'; did you mean 'q4_k_\w+'"):
        load_format("q4_k_n")
