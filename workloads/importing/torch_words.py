"""What the operators of PyTorch (ATen) are: names of targets to the words of ``workloads.importing.program``.

Source of the signatures: ``aten/src/ATen/native/native_functions.yaml`` of PyTorch 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from workloads.importing.program import Tensor

Arguments = Mapping[str, Any]
Named = Mapping[str, tuple[str, ...]]

_WORDS: Final[dict[str, str]] = {
    "product": "linear matmul mm bmm addmm baddbmm",
    "grouped_product": "_grouped_mm grouped_mm",
    "convolution": "conv1d conv2d conv3d convolution",
    "attention": "scaled_dot_product_attention _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_cudnn_attention",
    "softmax": "softmax _softmax _safe_softmax log_softmax _log_softmax",
    "layer_norm": "layer_norm native_layer_norm",
    "rms_norm": "rms_norm _fused_rms_norm",
    "batch_norm": "batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_batch_norm",
    "group_norm": "group_norm native_group_norm instance_norm",
    "embedding": "embedding",
    "relu": "relu relu_ relu6 leaky_relu hardtanh hardtanh_",
    "gelu": "gelu",
    "silu": "silu silu_ hardswish hardswish_ mish",
    "sigmoid": "sigmoid sigmoid_ hardsigmoid",
    "tanh": "tanh",
    "erf": "erf",
    "exp": "exp",
    "neg": "neg",
    "add": "add add_",
    "sub": "sub sub_ rsub",
    "mul": "mul mul_",
    "div": "div div_",
    "pow": "pow square",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "reciprocal": "reciprocal",
    "mean": "mean",
    "pointwise": "where masked_fill masked_fill_ clamp clamp_min clamp_max cos sin log abs maximum minimum eq ne lt le "
    "gt ge logical_and logical_or logical_not bitwise_and bitwise_or bitwise_not floor ceil round elu selu softplus "
    "tril triu addcmul addcdiv lerp floor_divide remainder fmod sign isnan isinf log1p expm1 atan2 tan acos asin atan "
    "cumsum nan_to_num threshold copysign log2 erfinv celu",
    "reduce": "sum amax amin max min prod any all argmax argmin var std var_mean norm linalg_vector_norm max_pool1d "
    "max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d logsumexp",
    "concat": "cat concat stack hstack vstack",
    "copy": "pad constant_pad_nd roll flip copy_ copy clone upsample_nearest2d upsample_bilinear2d repeat tile "
    "scatter scatter_add index_put index_add slice_scatter select_scatter index_copy pixel_shuffle unfold im2col",
    "gather": "index index_select gather take_along_dim masked_select",
    "topk": "topk sort argsort",
    "view": "view reshape _unsafe_view transpose permute t mT unsqueeze squeeze flatten unflatten contiguous alias "
    "detach detach_ dropout dropout_ slice select chunk split split_with_sizes unbind narrow movedim swapaxes "
    "view_as reshape_as lift_fresh_copy lift_fresh ravel numpy_T adjoint view_as_real view_as_complex feature_dropout "
    "unsafe_split unsafe_chunk tensor_split getitem diagonal as_strided",
    "repeat": "expand expand_as broadcast_to repeat_interleave",
    "cast": "to _to_copy type_as float half bfloat16",
    "constant": "arange full full_like zeros zeros_like ones ones_like empty empty_like scalar_tensor linspace eye "
    "new_zeros new_ones new_full new_empty tril_indices triu_indices one_hot",
    "shape": "sym_size sym_numel sym_stride sym_storage_offset",
    "none": "_assert_tensor_metadata _assert_scalar _assert_async sym_constrain_range sym_constrain_range_for_size "
    "_assert",
}
_OPS: Final = {name: op for op, names in _WORDS.items() for name in names.split()}
_FIRST: Final = ("self", "input", "mat1", "query", "x")
_SECOND: Final = ("weight", "mat2", "other", "batch2", "key")


def op_of(
    target: str, arguments: Arguments, named: Named, outputs: tuple[str, ...], tensors: Mapping[str, Tensor]
) -> str:
    """The word for a target such as "torch.ops.aten.linear.default"; sizes and other scalars are "shape"."""
    parts = target.split(".")
    if outputs and not any(name in tensors for name in outputs):
        return "shape"
    if parts[0] in ("_operator", "operator", "math", "builtins"):
        return "shape" if parts[-1] != "getitem" else "view"
    if len(parts) < 4 or parts[2] != "aten":
        return "unknown"
    op = _OPS.get(parts[3], "unknown")
    if op == "convolution" and (arguments.get("transposed") or {}).get("as_bool"):
        return "unknown"
    if op == "relu" and parts[3] == "leaky_relu":
        return "relu"
    if op == "unknown" and not outputs:
        return "none"
    return op


def attributes_of(
    op: str, target: str, arguments: Arguments, named: Named, tensors: Mapping[str, Tensor]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Inputs in the order that ``Node`` has them (what is multiplied first, then a bias), and attributes."""
    everything = tuple(name for names in named.values() for name in names)
    name = target.split(".")[3] if target.count(".") >= 3 else ""
    if op == "product":
        order = (
            ("mat1", "mat2", "self") if name == "addmm" else ("batch1", "batch2", "self") if name == "baddbmm" else ()
        )
        order = order or ("input", "weight", "bias") if name == "linear" else order or ("self", "other", "mat2")
        chosen = tuple(n for key in order for n in named.get(key, ()))
        first = tensors[chosen[0]].shape
        return chosen, {"k": first[-1] if first else 1}
    if op == "attention":
        flags = {key: bool((arguments.get(key) or {}).get("as_bool")) for key in ("is_causal", "enable_gqa")}
        mask = named.get("attn_mask") or named.get("attn_bias") or ()
        return (*named["query"], *named["key"], *named["value"], *mask), {"causal": flags["is_causal"]}
    if op == "convolution":
        groups = (arguments.get("groups") or {}).get("as_int", 1)
        return (*named["input"], *named["weight"], *named.get("bias", ())), {"groups": int(groups)}
    if op in ("layer_norm", "rms_norm", "batch_norm", "group_norm", "embedding"):
        data = named.get("input") or named.get("indices") or named.get("self") or ()
        if op == "embedding":
            return (*named["weight"], *named["indices"]), {}
        return (*data, *_or_none(named, "weight"), *_or_none(named, "bias")), {}
    found: dict[str, Any] = {}
    for key in ("other", "value", "exponent"):
        number = arguments.get(key) or {}
        if isinstance(number, dict) and ("as_int" in number or "as_float" in number):
            found["scalar"] = float(number.get("as_int", number.get("as_float")) or 0.0)
    if name == "square":
        found["scalar"] = 2.0
    if op == "topk" and "as_int" in (arguments.get("k") or {}):
        found["top_k"] = int(arguments["k"]["as_int"])
    if op == "softmax" and "as_int" in (arguments.get("dim") or {}):
        found["axis"] = int(arguments["dim"]["as_int"])
    return everything, found


def _or_none(named: Named, key: str) -> tuple[str, ...]:
    return named.get(key) or ("",)
