"""What is read from files is what is written here for the same architecture, by another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workloads.graph import Graph
from workloads.importing.program import Binding
from workloads.importing.read import import_model
from workloads.lowering.dataflow import lower_dataflow
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import Lowering, Precision, Sharding
from workloads.models.architecture import Architecture, Attention, FeedForward, LayerGroup
from workloads.models.parameters import count_parameters
from workloads.operators import Operator, OpKind

FP32 = Precision("fp32", "fp32", 32.0, False, 32.0, 32.0)
LLAMA = Architecture(
    "llama", 64, 200,
    (LayerGroup(2, Attention("gqa", 8, 2, 8), FeedForward(160)),),
)  # fmt: skip
BERT = Architecture(
    "bert", 48, 300,
    (
        LayerGroup(
            1, Attention("mha", 4, 4, 12, causal=False, rotary=False, qkv_bias=True, out_bias=True),
            FeedForward(96, gated=False, bias=True, activation="gelu"),
        ),
    ),
    norm="layernorm", learned_positions=64, embedding_norm=True, final_norm=False, head="none",
)  # fmt: skip
CASES = [("llama", LLAMA), ("llama-unfused", LLAMA), ("bert", BERT), ("bert-unfused", BERT)]
WRITTEN = [(name, arch, ".pt2") for name, arch in CASES] + [
    (name, arch, ".onnx") for name, arch in CASES if "unfused" in name
]


def own_graph(arch: Architecture, batch: int, tokens: int) -> Graph:
    phase: Any = "encode" if arch.is_encoder else "prefill"
    return lower_step(arch, phase, batch, tokens, tokens, Lowering(FP32, Sharding(), frozenset({"flash"})))


def imported_graph(path: Path, batch: int, seq: int | None = None) -> Graph:
    found = import_model(path, Binding(2, seq), "graph")
    return lower_dataflow(found.flow.operators, found.flow.inputs, batch)


def sizes(operator: Operator) -> tuple[Any, ...]:
    """What both must agree on; biases are bytes and vector FLOPs that lowering here leaves out of products."""
    o = operator
    product = (o.kind, o.dtype, o.m, o.n, o.k, o.batch, o.heads, o.kv_heads, o.value_dim, o.flops)
    # The norm of an embedding has its bias in a program, and none in lowering here.
    if o.kind in (OpKind.GEMM, OpKind.NORM):
        return (*product, o.read_bytes, o.write_bytes)
    # Positions are a constant in a program: what is added reads one tensor of activations there.
    return product if o.kind == OpKind.ELEMENTWISE else (*product, o.weight_bytes, o.read_bytes, o.write_bytes)


def counted(graph: Graph, without: tuple[str, ...]) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for operator, times in zip(graph.operators, graph.repeat.tolist(), strict=True):
        if operator.name not in without:
            found[sizes(operator)] += int(times)
    return found


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize(("name", "arch", "ending"), WRITTEN)
def test_operators_are_those_of_lowering(
    exported: Callable[..., Path], name: str, arch: Architecture, ending: str, batch: int
) -> None:
    # A program gives logits of every token, and draws none; an encoder here ends in a copy of its results.
    ends = ("head.logits", "head.sampling", "head.pool", "head")
    mine = counted(imported_graph(exported(name, ending), batch), ends)
    theirs = counted(own_graph(arch, batch, 16), ends)
    assert mine == theirs


def test_logits_are_of_every_token(exported: Callable[..., Path]) -> None:
    graph = imported_graph(exported("llama"), 3)
    (head,) = [o for o in graph.operators if o.name == "head"]
    assert (head.m, head.n, head.k) == (3 * 16, 200, 64)


@pytest.mark.parametrize(("name", "arch", "ending"), WRITTEN)
def test_architecture_is_recognised(exported: Callable[..., Path], name: str, arch: Architecture, ending: str) -> None:
    import msgspec

    found = import_model(exported(name, ending), Binding(1)).architecture
    assert found is not None
    plain = {"id": "", "source": "", "default_dtype": "", "norm_bias": True}
    assert msgspec.structs.replace(found, **plain) == msgspec.structs.replace(arch, **plain)
    assert count_parameters(found).total == count_parameters(arch).total


def test_symbolic_sequence_is_bound(exported: Callable[..., Path]) -> None:
    path = exported("llama-unfused", seq=True)
    short, long = (imported_graph(path, 1, seq) for seq in (8, 32))
    assert counted(short, ("head",)) == counted(own_graph(LLAMA, 1, 8), ("head.logits", "head.sampling"))
    assert counted(long, ("head",)) == counted(own_graph(LLAMA, 1, 32), ("head.logits", "head.sampling"))


@pytest.mark.parametrize("name", ["mlp", "conv", "bert", "bert-unfused", "llama", "llama-unfused"])
def test_flops_are_those_that_torch_counts(exported: Callable[..., Path], models: Any, name: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model, x = models.make(name)
    # It knows no fused attention of CPUs, but the products that attention consists of.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(x)
    report = import_model(exported(name), Binding(len(x))).report
    assert report.totals["node_flops"] == counter.get_total_flops()
    assert report.totals["operator_flops"] == counter.get_total_flops()


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
@pytest.mark.parametrize("name", ["mlp", "bert-unfused", "llama-unfused"])
def test_parameters_are_those_of_the_model(exported: Callable[..., Path], models: Any, name: str, ending: str) -> None:
    held = sum(parameter.numel() for parameter in models.make(name)[0].parameters())
    totals = import_model(exported(name, ending), Binding(1)).report.totals
    # Initialisers of an ONNX file hold a few constants beside the weights.
    assert held <= totals["parameters"] <= held * (1.0 if ending == ".pt2" else 1.001)
    assert totals["parameters_by_sizes"] == held


def test_causal_attention_computes_half_of_what_is_counted_in_full(exported: Callable[..., Path]) -> None:
    totals = import_model(exported("llama"), Binding(1)).report.totals
    whole = 2.0 * 8 * 16 * 16 * 16 * 2
    assert totals["operator_flops"] - totals["flops"] == pytest.approx(whole * (1.0 - 17.0 / 32.0))


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_convolutions(exported: Callable[..., Path], ending: str) -> None:
    graph = imported_graph(exported("conv", ending), 5)
    first, second = [o for o in graph.operators if o.kind == OpKind.CONVOLUTION]
    assert (first.m, first.n, first.k) == (5 * 64, 8, 27)
    assert (second.m, second.n, second.k) == (5 * 64, 8, 4 * 9)
    assert second.read_bytes == 5 * 64 * 8 * 4.0
    assert second.weight_bytes == (8 * 4 * 9 + 8) * 4.0


def test_every_node_is_in_the_report(exported: Callable[..., Path]) -> None:
    found = import_model(exported("llama"), Binding(1))
    assert len(found.report.nodes) == len(found.program.nodes)
    names = {o.name for o in found.flow.operators}
    for row in found.report.nodes:
        assert row["outcome"] in ("mapped", "fused", "free", "not mapped")
        assert (row["into"] in names) == (row["outcome"] in ("mapped", "fused"))
        assert bool(row["why"]) == (row["outcome"] in ("free", "not mapped"))
    assert found.report.totals["flops_covered"] == found.report.totals["bytes_covered"] == 1.0


def test_fixed_batch_is_one_call(exported: Callable[..., Path]) -> None:
    found = import_model(exported("mlp", symbolic=False), Binding(7))
    assert found.batch == 1
    assert [o.sizes["m"] for o in found.flow.operators if o.kind == "gemm"] == [2.0, 2.0]
    assert any("fixes the batch" in note for note in found.flow.notes)
