"""What the operators of ONNX are: names to the words of ``workloads.importing.program``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from workloads.importing.program import Node, Tensor

_WORDS: Final[dict[str, str]] = {
    "product": "MatMul Gemm MatMulInteger",
    "convolution": "Conv ConvInteger",
    "attention": "Attention",
    "softmax": "Softmax LogSoftmax",
    "layer_norm": "LayerNormalization",
    "rms_norm": "RMSNormalization SimplifiedLayerNormalization",
    "batch_norm": "BatchNormalization",
    "group_norm": "GroupNormalization InstanceNormalization",
    "gather": "Gather GatherElements GatherND",
    "rope": "RotaryEmbedding",
    "relu": "Relu LeakyRelu PRelu Clip",
    "gelu": "Gelu",
    "silu": "Swish HardSwish Mish",
    "sigmoid": "Sigmoid HardSigmoid",
    "tanh": "Tanh",
    "erf": "Erf",
    "exp": "Exp",
    "neg": "Neg",
    "add": "Add Sum",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "pow": "Pow",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "mean": "ReduceMean",
    "pointwise": "Where Cos Sin Log Abs Max Min Equal Less LessOrEqual Greater GreaterOrEqual And Or Not Xor Floor "
    "Ceil Round Elu Selu Softplus Sign Trilu Mod IsNaN IsInf QuantizeLinear DynamicQuantizeLinear CumSum Celu Tan Atan "
    "Acos Asin BitwiseAnd BitwiseOr BitwiseNot Softsign ThresholdedRelu",
    "reduce": "ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp ArgMax "
    "ArgMin MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpNormalization",
    "concat": "Concat",
    "copy": "Pad ScatterND ScatterElements Resize Upsample Tile DepthToSpace SpaceToDepth ReverseSequence Compress",
    "topk": "TopK",
    "view": "Reshape Transpose Unsqueeze Squeeze Flatten Identity Dropout Slice Split",
    "repeat": "Expand",
    "cast": "Cast CastLike",
    "dequantize": "DequantizeLinear",
    "constant": "Constant ConstantOfShape Range EyeLike OneHot",
    "shape": "Shape Size NonZero",
}
_OPS: Final = {name: op for op, names in _WORDS.items() for name in names.split()}


def node_of(node: Any, tensors: Mapping[str, Tensor]) -> Node:
    """One node of an ONNX graph."""
    op = _OPS.get(node.op_type, "unknown") if node.domain in ("", "ai.onnx") else "unknown"
    inputs, found = tuple(node.input), _attributes(node)
    attributes: dict[str, Any] = {}
    if op == "product":
        shape = tensors[inputs[0]].shape if inputs and inputs[0] in tensors else None
        attributes["k"] = 0 if not shape else shape[0] if found.get("transA") else shape[-1]
        if node.op_type == "MatMulInteger":
            inputs = inputs[:2]
        op = op if shape else "unknown"
    elif op == "convolution":
        attributes["groups"] = int(found.get("group", 1))
        inputs = inputs if node.op_type == "Conv" else inputs[:2]
    elif op == "attention":
        attributes = {
            "causal": bool(found.get("is_causal", 0)), "heads": found.get("q_num_heads"),
            "kv_heads": found.get("kv_num_heads"),
        }  # fmt: skip
        inputs = inputs[:4]
    elif op == "batch_norm":
        inputs = inputs[:5]
    elif op == "reduce" and node.op_type == "ReduceL2":
        op = "reduce"
    elif op == "softmax":
        attributes["axis"] = int(found.get("axis", -1))
    name = node.name or (node.output[0] if node.output else node.op_type)
    source = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return Node(name, op, source, inputs, tuple(node.output), attributes, _place(name))


def _place(name: str) -> str:
    """The module in a node's name, as exporters write it: "/layers.0/attn/MatMul" -> "layers.0.attn"."""
    return name.rpartition("/")[0].strip("/").replace("/", ".")


def _attributes(node: Any) -> dict[str, float]:
    """Attributes that are one whole number or float."""
    found: dict[str, float] = {}
    for attribute in node.attribute:
        if attribute.type == 2:
            found[attribute.name] = int(attribute.i)
        elif attribute.type == 1:
            found[attribute.name] = float(attribute.f)
    return found
