"""Formats by name, by the first of a mix, by bits in words, by width; and the dtype that a device has for them."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from simulator.validation.weights import Named, dtype_on, format_named


@pytest.mark.parametrize(
    ("words", "width", "named"),
    [
        ("float16", None, Named("fp16", "fp16")),
        ("Q4_K - Medium", None, Named("bf16", "q4_k_m")),
        ("some 4 bit", 0.5625, Named("bf16", "q4_0")),
        ("int4 (W4A4, int4 lm_head)", None, Named("bf16", "int4", True)),
        ("bfp8 MLP / bf16 attention (bfp4 MLP for 70B+)", None, Named("bf16", "bfp8", True, ("bf16",))),
        ("bfp8/bfp4 mixed", None, Named("bf16", "bfp8_bfp4")),
        ("bfp8/bfp4 mixed (not stated)", None, Named("bf16", "bfp8_bfp4", True)),
        ("bfp8 and bfp4 somehow", None, Named("bf16", "bfp8", True, ("bfp4",))),
        ("W3.5A8 + N:M sparse", None, Named("bf16", "iq3_xs", True)),
        ("ternary 1.6 bit", None, Named("bf16", "tq1_0", True)),
    ],
)
def test_formats_that_words_mean(words: str, width: float | None, named: Named) -> None:
    assert format_named(words, width) == named


@pytest.mark.parametrize(("words", "said"), [("", "unpublished"), ("sparse", "unknown storage format 'sparse'")])
def test_words_that_mean_none(words: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        format_named(words)


def test_a_device_without_wide_math_computes_quantised_weights_in_what_it_has() -> None:
    narrow, usual = load_device("alveo-u280"), load_device("h100-sxm-80gb")
    assert dtype_on(narrow, "bf16", "int4") == "int8"
    assert dtype_on(narrow, "bf16", "bf16") == "bf16", "wide weights are not narrowed in silence"
    assert dtype_on(usual, "bf16", "int4") == "bf16"
