"""The compute dtype and the storage format that a config names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from workloads.models.huggingface.config import Config

_DTYPES: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "auto": ""}


def default_dtype(c: Config) -> str:
    """Compute dtype of the checkpoint, "" where it is not said (``torch_dtype``, newer files: ``dtype``)."""
    text = c.text("dtype", "torch_dtype", default="auto").removeprefix("torch.")
    if text not in _DTYPES:
        raise c.wrong("dtype" if c.has("dtype") else "torch_dtype", ", ".join(_DTYPES))
    return _DTYPES[text]


def storage_format(c: Config) -> str:
    """The name of ``workloads.formats`` for ``quantization_config``, "" where the checkpoint is not quantised."""
    if not c.has("quantization_config"):
        return ""
    q = c.section("quantization_config")
    method = q.text("quant_method", default="modelopt" if q.has("quant_algo") else None)
    if method not in _METHODS:
        raise q.wrong("quant_method", ", ".join(_METHODS))
    return _METHODS[method](q)


def _integer(q: Config, bits: int, group: int) -> str:
    """Weight-only integer formats by bits and group."""
    if bits == 4:
        return {128: "int4", 64: "int4_g64", 32: "int4_g32", -1: "int4_channel"}.get(group, "int4")
    names = {8: "int8_wo", 3: "int3", 2: "int2"}
    if bits not in names:
        raise q.wrong("bits" if q.has("bits") else "num_bits", "2, 3, 4 or 8")
    return names[bits]


def _grouped(q: Config) -> str:
    bits = q.whole("bits", "w_bit", default=4, most=16)
    return _integer(q, bits, q.whole("group_size", "q_group_size", default=128, least=-1))


def _fp8(q: Config) -> str:
    return "fp8_block" if q.has("weight_block_size") else "fp8"


def _bitsandbytes(q: Config) -> str:
    if q.flag("load_in_4bit", False):
        return "nf4"
    if not q.flag("load_in_8bit", False):
        raise q.wrong("load_in_4bit", "true, or load_in_8bit true")
    return "int8_wo"


_ALGORITHMS: Final = {
    "FP8": "fp8", "FP8_PB_WO": "fp8_block", "FP8_PER_CHANNEL_PER_TOKEN": "fp8", "NVFP4": "nvfp4", "MXFP4": "mxfp4",
    "MXFP8": "mxfp8", "W4A16_AWQ": "int4", "W4A8_AWQ": "int4", "W8A16": "int8_wo", "W4A16": "int4", "INT8_SQ": "int8",
    "W8A8_SQ_PER_CHANNEL": "int8",
}  # fmt: skip


def _modelopt(q: Config) -> str:
    algorithm = q.text("quant_algo")
    if algorithm not in _ALGORITHMS:
        raise q.wrong("quant_algo", ", ".join(_ALGORITHMS))
    return _ALGORITHMS[algorithm]


def _compressed_tensors(q: Config) -> str:
    """The first group of layers decides; ``input_activations`` null means weight-only."""
    groups = q.section("config_groups")
    if not groups.values:
        raise q.wrong("config_groups", "an object with at least one group of layers")
    group = groups.section(next(iter(groups.values)))
    weights = group.section("weights")
    bits = weights.whole("num_bits", most=16)
    kind = weights.text("type", default="int")
    size = weights.whole("group_size", default=-1, least=-1)
    both = group.has("input_activations")
    if kind == "float" and bits == 8:
        return "fp8_block" if weights.text("strategy", default="") == "block" else "fp8"
    if kind == "float" and bits == 4:
        return "nvfp4" if size == 16 else "mxfp4"
    if kind != "int":
        raise weights.wrong("type", "int, or float with num_bits 4 or 8")
    if both and bits == 8:
        return "int8"
    return "w4a8" if both and bits == 4 else _integer(weights, bits, size)


_METHODS: Final[dict[str, Callable[[Config], str]]] = {
    "awq": _grouped,
    "gptq": _grouped,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "mxfp4": lambda q: "mxfp4",
    "bitnet": lambda q: "tq2_0",
    "eetq": lambda q: "int8_wo",
    "modelopt": _modelopt,
    "compressed-tensors": _compressed_tensors,
}
