"""Which math runs for which storage format on which device."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from simulator.formats import precision_of
from simulator.scenario import Formats


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
