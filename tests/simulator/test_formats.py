"""Which math runs for which storage format on which device."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from simulator.formats import precision_of, training_precision
from simulator.scenario import Formats
from workloads.runtimes.catalogue import load_runtime


@pytest.mark.parametrize(
    ("device", "formats", "compute", "attention", "dequantize", "kv_bits"),
    [
        ("h100-sxm-80gb", Formats(), "bf16", "bf16", False, 16.0),
        ("h100-sxm-80gb", Formats("bf16", "fp8"), "fp8", "bf16", False, 16.0),
        ("h100-sxm-80gb", Formats("fp8"), "fp8", "bf16", False, 16.0),
        ("a100-sxm-80gb", Formats("bf16", "fp8"), "bf16", "bf16", True, 16.0),  # no fp8 units: unpacked
        ("h100-sxm-80gb", Formats("bf16", "q4_k_m", "fp8"), "bf16", "bf16", True, 8.0),
        ("tpu-v5e", Formats("fp32"), "fp32", "fp32", False, 32.0),
        ("alveo-u280", Formats("int8"), "int8", "int8", False, 8.0),  # nothing wider there
        ("alveo-v80", Formats("int8"), "int8", "bf16", False, 16.0),
    ],
)
def test_math_of_formats(
    device: str, formats: Formats, compute: str, attention: str, dequantize: bool, kv_bits: float
) -> None:
    p = precision_of(formats, load_device(device))
    assert (p.compute, p.attention, p.dequantize, p.kv_bits) == (compute, attention, dequantize, kv_bits)


def test_refuses_what_the_device_cannot_do() -> None:
    with pytest.raises(InputError, match="alveo-u280 cannot compute in bf16; it has int8"):
        precision_of(Formats("bf16"), load_device("alveo-u280"))
    with pytest.raises(InputError, match="unknown dtype 'bf61'; did you mean 'bf16'"):
        precision_of(Formats("bf61"), load_device("h100-sxm-80gb"))


MEGATRON, TITAN = load_runtime("megatron-core-2025"), load_runtime("torchtitan-2025")


@pytest.mark.parametrize("formats", [Formats("fp8"), Formats("bf16", "fp8"), Formats("fp8", recipe="fp8-delayed")])
def test_training_keeps_weights_wide_and_casts_them(formats: Formats) -> None:
    p = training_precision(formats, load_device("h100-sxm-80gb"), MEGATRON)
    assert (p.compute, p.attention, p.weight_bits, p.head_bits, p.dequantize) == ("fp8", "bf16", 16.0, 16.0, False)
    assert p.scaling is not None
    assert p.scaling.recipe.name == "fp8-delayed"
    assert (p.scaling.transposes, p.scaling.each_time) == (True, False)
    # Each sum of 128 products is added on the vector units: P8 / P32 / 128 more.
    assert p.scaling.promotion == pytest.approx(1 + 1979 / 67 / 128, rel=0.01)


def test_recipes_are_the_runtimes_unless_named() -> None:
    h100 = load_device("h100-sxm-80gb")
    for formats, name in (
        (Formats("fp8"), "fp8-tensorwise"), (Formats("bf16", "fp8_block"), "fp8-blockwise"),
        (Formats("fp8", recipe="rowwise"), "fp8-rowwise"),
    ):  # fmt: skip
        scaling = training_precision(formats, h100, TITAN).scaling
        assert scaling is not None
        assert (scaling.recipe.name, scaling.each_time) == (name, True)
    assert training_precision(Formats("bf16"), h100, TITAN).scaling is None


def test_blackwell_takes_blocks_and_either_direction() -> None:
    scaling = training_precision(Formats("fp8", recipe="mxfp8"), load_device("b200-sxm"), TITAN).scaling
    assert scaling is not None
    assert (scaling.transposes, scaling.promotion) == (False, 1.0)


@pytest.mark.parametrize(
    ("device", "formats", "message"),
    [
        (
            "h100-sxm-80gb",
            Formats("fp8", recipe="mxfp8"),
            "takes no scales of blocks; it can train in bf16, .*fp8-block",
        ),
        ("a100-sxm-80gb", Formats("fp8"), "a100-sxm-80gb has no fp8 units; it can train in bf16, fp16, fp32, tf32$"),
        ("a100-sxm-80gb", Formats("bf16", "fp8"), "has no fp8 units"),
        ("h100-sxm-80gb", Formats("bf16", "nf4"), "--weight-dtype nf4: weights that are trained cannot be stored"),
        ("h100-sxm-80gb", Formats("bf16", "int4"), "use bf16, an 8-bit recipe .--precision., or --lora-rank"),
        ("h100-sxm-80gb", Formats("fp8", recipe="fp9"), "unknown recipe 'fp9'"),
    ],
)
def test_training_refuses(device: str, formats: Formats, message: str) -> None:
    with pytest.raises(InputError, match=message):
        training_precision(formats, load_device(device), TITAN)


@pytest.mark.parametrize("weight", ["nf4", "int4", "int8_wo", "q4_k_m", "fp8"])
def test_frozen_weights_may_be_packed(weight: str) -> None:
    p = training_precision(Formats("bf16", weight), load_device("a100-sxm-80gb"), TITAN, frozen=True)
    assert (p.compute, p.dequantize) == ("bf16", True)
    assert p.weight_bits < 9.0
    assert p.scale_group == (64.0 if weight == "nf4" else 0.0)


@pytest.mark.parametrize(("dtype", "native"), [("tf32", "tf32"), ("fp32", "fp32"), ("fp16", "fp16")])
def test_plain_precisions(dtype: str, native: str) -> None:
    p = training_precision(Formats(dtype), load_device("a100-sxm-80gb"), TITAN)
    assert (p.compute, p.attention, p.weight_bits) == (native, dtype, 16.0 if dtype == "fp16" else 32.0)
