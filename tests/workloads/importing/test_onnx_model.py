"""ONNX graphs made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_specs.errors import InputError
from workloads.importing.program import Binding
from workloads.importing.read import Imported, import_model
from workloads.lowering.dataflow import lower_dataflow

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs that are read")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def weight(name: str, *shape: int) -> Any:
    return onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=shape).astype(np.float32), name)


def written(path: Path, nodes: list[Any], held: list[Any], shape: tuple[Any, ...], opset: int = 23) -> Path:
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)], held,
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    )
    path.write_bytes(model.SerializeToString())
    return path


def calls(found: Imported) -> list[tuple[str, dict[str, float]]]:
    return [(o.kind, o.sizes) for o in found.flow.operators]


def test_mlp_whose_weights_lie_elsewhere(tmp_path: Path) -> None:
    held = [weight("a", 24, 40), weight("a.bias", 40), weight("b", 10, 40)]
    for tensor in held:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../not-there.bin"
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"), helper.make_node("Add", ["h", "a.bias"], ["i"], "bias"),
        helper.make_node("Relu", ["i"], ["j"], "relu"),
        helper.make_node("Gemm", ["j", "b"], ["y"], "second", transB=1),
    ]  # fmt: skip
    found = import_model(written(tmp_path / "mlp.onnx", nodes, held, ("N", 24)), Binding(4))
    assert calls(found) == [
        ("gemm", {"m": 1.0, "n": 40.0, "k": 24.0, "bias": 1.0}), ("elementwise", {"rows": 1.0, "cols": 40.0}),
        ("gemm", {"m": 1.0, "n": 10.0, "k": 40.0}),
    ]  # fmt: skip
    assert found.report.totals["parameters_by_sizes"] == found.report.totals["parameters"] == 24 * 40 + 40 + 400
    assert lower_dataflow(found.flow.operators, found.flow.inputs, 4).flops == 2.0 * 4 * (24 * 40 + 400)


def test_fused_attention_with_grouped_heads(tmp_path: Path) -> None:
    held = [weight("q", 64, 64), weight("k", 64, 16), weight("v", 64, 16)]
    nodes = [helper.make_node("MatMul", ["x", n], [f"x{n}"], n) for n in "qkv"]
    nodes.append(helper.make_node(
        "Attention", ["xq", "xk", "xv"], ["y"], "attend", is_causal=1, q_num_heads=8, kv_num_heads=2
    ))  # fmt: skip
    found = import_model(written(tmp_path / "a.onnx", nodes, held, ("N", 12, 64)), Binding(1))
    kind, sizes = calls(found)[-1]
    assert kind == "attention"
    assert sizes == {"q_len": 12, "kv_len": 12, "heads": 8, "kv_heads": 2, "head_dim": 8, "value_dim": 8, "causal": 1}
    assert found.report.totals["node_flops"] == found.report.totals["operator_flops"]


def test_norms_of_newer_and_older_files(tmp_path: Path) -> None:
    held = [weight("w", 32), weight("b", 32), weight("eps", 1)]
    nodes = [
        helper.make_node("LayerNormalization", ["x", "w", "b"], ["n"], "new"),
        helper.make_node("ReduceMean", ["n", "axes"], ["m"], "mean"), helper.make_node("Sub", ["n", "m"], ["d"], "sub"),
        helper.make_node("Mul", ["d", "d"], ["s"], "square"),
        helper.make_node("ReduceMean", ["s", "axes"], ["v"], "var"),
        helper.make_node("Add", ["v", "eps"], ["e"], "eps"), helper.make_node("Sqrt", ["e"], ["r"], "root"),
        helper.make_node("Div", ["d", "r"], ["z"], "div"), helper.make_node("Mul", ["z", "w"], ["u"], "scale"),
        helper.make_node("Add", ["u", "b"], ["y"], "shift"),
    ]  # fmt: skip
    axes = onnx.numpy_helper.from_array(np.array([-1], np.int64), "axes")
    found = import_model(written(tmp_path / "n.onnx", nodes, [*held, axes], ("N", 6, 32)), Binding(1))
    assert calls(found) == [("norm", {"rows": 6.0, "cols": 32.0, "bias": 1.0})] * 2


def test_stored_in_8_bits_and_unpacked(tmp_path: Path) -> None:
    packed = onnx.numpy_helper.from_array(np.ones((64, 32), np.int8), "w")
    scale = onnx.numpy_helper.from_array(np.ones((), np.float32), "scale")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["f"], "unpack"),
        helper.make_node("MatMul", ["x", "f"], ["y"], "product"),
    ]
    found = import_model(written(tmp_path / "q.onnx", nodes, [packed, scale], ("N", 64)), Binding(1))
    assert calls(found) == [("gemm", {"m": 1.0, "n": 32.0, "k": 64.0, "weight_bits": 8.0})]
    (product,) = lower_dataflow(found.flow.operators, found.flow.inputs, 3).operators
    assert (product.weight_bytes, product.dequantize) == (64 * 32, True)


def test_gelu_in_arithmetic(tmp_path: Path) -> None:
    numbers = {"r": 1.41, "o": 1.0, "h": 0.5}
    one = [onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()]
    nodes = [
        helper.make_node("Div", ["x", "r"], ["a"]), helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Add", ["b", "o"], ["c"]), helper.make_node("Mul", ["x", "c"], ["d"]),
        helper.make_node("Mul", ["d", "h"], ["y"]),
    ]  # fmt: skip
    found = import_model(written(tmp_path / "g.onnx", nodes, one, ("N", 48)), Binding(1))
    assert calls(found) == [("activation", {"rows": 1.0, "cols": 48.0})]


def test_other_domains_are_not_mapped(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "product"),
        helper.make_node("FusedThing", ["h"], ["y"], "thing", domain="com.example"),
    ]
    report = import_model(written(tmp_path / "o.onnx", nodes, [weight("w", 8, 8)], ("N", 8)), Binding(1)).report
    assert [row["outcome"] for row in report.nodes] == ["mapped", "not mapped"]
    assert report.nodes[1]["why"] == "operator com.example.FusedThing is not known"


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("Relu", ["h"], ["y"]), ("Relu", ["y"], ["h"])], "have no cycle"),
        ([("MatMul", ["x", "w"], ["y"])], r"could be mapped to an operator: .* \(MatMul\)"),
        ([("Foo", ["x"], ["y"])], r"could be mapped to an operator: operator Foo is not known \(Foo\)"),
        ([("MatMul", ["x"], ["y"])], "."),
        ([], "holds no operators"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, nodes: list[tuple[str, list[str], list[str]]], words: str) -> None:
    path = written(tmp_path / "r.onnx", [helper.make_node(*each) for each in nodes], [weight("w", 9, 9)], ("N", 8))
    with pytest.raises(InputError, match=words):
        import_model(path, Binding(1))


def test_shapes_of_any_size_are_not_computed_with(tmp_path: Path) -> None:
    """A range of 10^12 numbers is a shape that stays unknown, and takes no memory."""
    size = onnx.numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "size")
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["big"]), helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Relu", ["big"], ["z"]),
    ]  # fmt: skip
    found = import_model(written(tmp_path / "b.onnx", nodes, [size], ("N", 8)), Binding(1))
    assert calls(found) == [("elementwise", {"rows": 1.0, "cols": 8.0})]


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"not a model"])
def test_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"n\.onnx"):
        import_model(path, Binding(1))
