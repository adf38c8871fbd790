"""Dtypes and storage formats that configs name."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.formats import load_format
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.storage import default_dtype, storage_format


def tensors(bits: int, kind: str, both: bool, **more: Any) -> dict[str, Any]:
    """A ``compressed-tensors`` section with one group of layers."""
    weights = {"num_bits": bits, "type": kind, **more}
    group = {"weights": weights, "input_activations": {"num_bits": 8} if both else None}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "int4_g64"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "int4_g32"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "int4_channel"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "int8_wo"),
        ({"quant_method": "gptq", "bits": 3}, "int3"),
        ({"quant_method": "gptq", "bits": 2}, "int2"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8_wo"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_block"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "bitnet"}, "tq2_0"),
        ({"quant_method": "eetq"}, "int8_wo"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_algo": "FP8"}, "fp8"),
        (tensors(8, "float", True), "fp8"),
        (tensors(8, "float", True, strategy="block"), "fp8_block"),
        (tensors(8, "int", True), "int8"),
        (tensors(8, "int", False), "int8_wo"),
        (tensors(4, "int", True), "w4a8"),
        (tensors(4, "int", False, group_size=128), "int4"),
        (tensors(4, "int", False), "int4_channel"),
        (tensors(4, "float", True, group_size=16), "nvfp4"),
        (tensors(4, "float", False, group_size=32), "mxfp4"),
    ],
)
def test_storage_formats(section: dict[str, Any], expected: str) -> None:
    found = storage_format(Config("config.json", {"quantization_config": section}))
    assert found == expected
    assert load_format(found).id == found


def test_no_quantization_is_no_format() -> None:
    assert storage_format(Config("config.json", {})) == ""
    assert storage_format(Config("config.json", {"quantization_config": None})) == ""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"torch_dtype": "torch.float16"}, "fp16"),
        ({"dtype": "float32", "torch_dtype": "float16"}, "fp32"),
        ({"torch_dtype": "auto"}, ""),
        ({}, ""),
    ],
)
def test_default_dtypes(values: dict[str, Any], expected: str) -> None:
    assert default_dtype(Config("config.json", values)) == expected
