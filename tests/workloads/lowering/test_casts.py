"""What training runs before products in 8 bits and of packed weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workloads.graph import Graph
from workloads.lowering.casts import loss_scaling, weight_casts
from workloads.lowering.plan import Lowering, Precision, Sharding
from workloads.lowering.training import RECOMPUTED, Gradients, gradient_tensors, lower_micro_batch
from workloads.models.architecture import Architecture
from workloads.operators import Operator, OpKind
from workloads.recipes import Scaling, recipe_of

Models = dict[str, Architecture]
FUSIONS = frozenset({"qkv", "gate_up", "flash", "rope", "activation", "experts", "loss", "accumulate"})
WIDE = Lowering(fusions=FUSIONS)
ROWS, HIDDEN, INNER = 256.0, 4096.0, 11008.0


def eight(name: str, fusions: frozenset[str] = FUSIONS, sharding: Sharding | None = None, **facts: object) -> Lowering:
    scaling = Scaling(recipe_of(name), **facts)  # type: ignore[arg-type]
    return Lowering(Precision("fp8", scaling=scaling), sharding or Sharding(), fusions)


def lowered(models: Models, how: Lowering, model: str = "llama-2-7b", recompute: str = "none", rank: int = 0) -> Graph:
    return lower_micro_batch(models[model], 1, ROWS, how, recompute, rank)


def named(graph: Graph, name: str) -> Operator:
    return next(o for o in graph.operators if o.name == name)


def names(graph: Graph, part: str = ".quantize") -> list[str]:
    return [o.name for o in graph.operators if part in o.name]


def test_products_of_layers_alone_run_in_8_bits(models: Models) -> None:
    graph = lowered(models, eight("fp8-tensorwise"))
    narrow = {o.name for o in graph.operators if o.dtype == "fp8"}
    products = {"attention.qkv", "attention.out", "mlp.gate_up", "mlp.down"}
    assert narrow == {name + end for name in products for end in ("", ".dgrad", ".wgrad")}


@pytest.mark.parametrize("recompute", sorted(RECOMPUTED))
@pytest.mark.parametrize("name", ["fp8-tensorwise", "fp8-rowwise-gw-hp", "fp8-blockwise"])
def test_casts_change_no_product(models: Models, name: str, recompute: str) -> None:
    """As many FLOPs and gradients as without them, and nothing but casts is added."""
    plain, cast = (lowered(models, how, recompute=recompute) for how in (WIDE, eight(name)))
    assert cast.flops == plain.flops
    assert gradient_tensors(cast, False) == gradient_tensors(plain, False)
    assert [o.name for o in cast.operators if ".quantize" not in o.name] == [o.name for o in plain.operators]


def test_casts_stand_before_their_products(models: Models) -> None:
    order = [o.name for o in lowered(models, eight("fp8-tensorwise")).operators]
    for cast, product in (
        ("mlp.down.quantize.amax", "mlp.down.quantize"), ("mlp.down.quantize", "mlp.down"),
        ("mlp.down.quantize.backward", "mlp.down.dgrad"), ("mlp.down.dgrad", "mlp.down.wgrad"),
    ):  # fmt: skip
        assert order.index(cast) < order.index(product)


def test_bytes_of_a_cast_and_of_its_product(models: Models) -> None:
    graph, plain = lowered(models, eight("fp8-tensorwise")), lowered(models, WIDE)
    cast, amax = named(graph, "mlp.down.quantize"), named(graph, "mlp.down.quantize.amax")
    assert (cast.read_bytes, cast.write_bytes) == (2 * ROWS * INNER, 2 * ROWS * INNER)
    assert (amax.read_bytes, amax.write_bytes) == (2 * ROWS * INNER, 0.0)
    gradient = named(graph, "mlp.down.quantize.backward")
    assert gradient.read_bytes == 2 * ROWS * HIDDEN
    product, wide = named(graph, "mlp.down"), named(plain, "mlp.down")
    assert product.read_bytes == wide.read_bytes / 2
    assert product.weight_bytes == wide.weight_bytes / 2
    assert product.write_bytes == wide.write_bytes
    weights, wide = named(graph, "mlp.down.wgrad"), named(plain, "mlp.down.wgrad")
    assert (weights.read_bytes, weights.write_bytes) == (wide.read_bytes / 2, wide.write_bytes)


def test_sums_of_gradients_stay_wide(models: Models) -> None:
    """Only the operands that a gradient is made of are narrow, not the sum that it is added to."""
    added = Gradients(4.0, True, True)
    graph = lower_micro_batch(models["llama-2-7b"], 1, ROWS, eight("fp8-tensorwise"), gradients=added)
    operands, whole = ROWS * (HIDDEN + INNER), 4 * HIDDEN * INNER
    assert named(graph, "mlp.down.wgrad").read_bytes == operands + whole


def test_gradients_promote_their_sums(models: Models) -> None:
    graph = lowered(models, eight("fp8-tensorwise", promotion=1.25))
    assert named(graph, "mlp.down").k == INNER
    assert named(graph, "mlp.down.dgrad").k == 1.25 * HIDDEN
    assert named(graph, "mlp.down.wgrad").k == 1.25 * ROWS
    wide = lowered(models, eight("fp8-rowwise-gw-hp", promotion=1.25))
    assert (named(wide, "mlp.down.wgrad").k, named(wide, "mlp.down.wgrad").dtype) == (ROWS, "bf16")


def test_shared_inputs_are_cast_once(models: Models) -> None:
    apart = eight("fp8-delayed", frozenset({"flash"}))
    graph = lowered(models, apart)
    forward = [name for name in names(graph) if not name.endswith(".backward")]
    assert forward == ["attention.q.quantize", "attention.out.quantize", "mlp.gate.quantize", "mlp.down.quantize"]
    backward = [name for name in names(graph) if name.endswith(".backward")]
    assert len(backward) == 7


def test_norms_take_over_what_they_can(models: Models) -> None:
    fused = FUSIONS | {"residual_norm"}
    delayed, current = (lowered(models, eight(name, fused)) for name in ("fp8-delayed", "fp8-tensorwise"))
    assert "attention.qkv.quantize" not in names(delayed)
    assert "attention.qkv.quantize.transpose" in names(delayed)
    assert "attention.qkv.quantize.amax" not in names(current)
    assert "attention.qkv.quantize" in names(current)
    assert "attention.out.quantize.amax" in names(current)


def test_frozen_weights_need_no_second_copies(models: Models) -> None:
    graph = lowered(models, eight("fp8-delayed"), rank=8)
    cast = named(graph, "mlp.down.quantize")
    assert cast.write_bytes == ROWS * INNER
    assert named(graph, "mlp.down.quantize.backward").write_bytes == ROWS * HIDDEN
    assert not any(".lora_" in name for name in names(graph))


def test_recomputed_layers_cast_again(models: Models) -> None:
    how = eight("fp8-tensorwise")
    full, none = lowered(models, how, recompute="full"), lowered(models, how)
    forward = [name for name in names(none) if not name.endswith(".backward")]
    again = [name.removesuffix(".recompute") for name in names(full) if name.endswith(".recompute")]
    assert again == forward
    # What no one keeps is written along the rows alone.
    assert named(full, "mlp.down.quantize").write_bytes == ROWS * INNER
    assert named(full, "mlp.down.quantize.recompute").write_bytes == 2 * ROWS * INNER


def test_kept_products_cast_their_inputs_again_by_the_same_scales(models: Models) -> None:
    again = [
        name for name in names(lowered(models, eight("fp8-tensorwise"), recompute="vector")) if "recompute" in name
    ]
    products = ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
    assert again == [f"{product}.quantize.recompute" for product in products]


def test_shards_cast_weights_each_time(models: Models) -> None:
    graph = lowered(models, eight("fp8-tensorwise", each_time=True))
    weight, numbers = named(graph, "mlp.down.weight.quantize"), HIDDEN * INNER
    assert (weight.read_bytes, weight.write_bytes) == (2 * numbers, numbers)
    assert "mlp.down.weight.quantize.backward" in names(graph)
    assert not [name for name in names(lowered(models, eight("fp8-tensorwise"))) if ".weight." in name]


def test_weights_are_cast_once_for_a_step_otherwise() -> None:
    casts = weight_casts(1e9, eight("fp8-delayed"), 4.0)
    assert sum(o.read_bytes + o.write_bytes for o in casts) == 1e9 * ((2 + 1) + (1 + 1))
    assert weight_casts(1e9, eight("fp8-delayed", each_time=True)) == []
    assert weight_casts(1e9, WIDE) == []


def test_tokens_are_gathered_in_8_bits_and_sums_scattered_in_16(models: Models) -> None:
    cut = Sharding(tp=4, sequence=True)
    plain = lowered(models, replace(WIDE, sharding=cut))
    graph = lowered(models, eight("fp8-tensorwise", sharding=cut))
    wide = lowered(models, eight("fp8-rowwise", sharding=cut))
    for operator in plain.operators:
        if operator.kind in (OpKind.ALL_GATHER, OpKind.REDUCE_SCATTER):
            share = 0.5 if operator.kind == OpKind.ALL_GATHER else 1.0
            assert named(graph, operator.name).message_bytes == share * operator.message_bytes
            assert named(wide, operator.name).message_bytes == operator.message_bytes
    # Each rank casts its tokens; what arrived is transposed.
    assert named(graph, "attention.qkv.quantize").read_bytes == 2 * ROWS * HIDDEN / 4
    assert named(graph, "attention.qkv.quantize.transpose").read_bytes == ROWS * HIDDEN
    assert named(graph, "attention.out.quantize").read_bytes == 2 * ROWS * HIDDEN / 4


def test_experts_cast_rows_before_each_projection(models: Models) -> None:
    graph = lowered(models, eight("fp8-delayed"), "mixtral-8x7b")
    experts = named(graph, "moe.experts")
    assert named(graph, "moe.experts.quantize").read_bytes == 2 * experts.m * experts.k
    assert named(graph, "moe.experts.inner.quantize").read_bytes == 2 * experts.m * experts.n
    assert named(graph, "moe.experts.inner.quantize.backward").read_bytes == 2 * experts.m * 2 * experts.n
    assert named(graph, "moe.router").dtype == "bf16"


def test_ends_of_the_stack_may_stay_wide(models: Models) -> None:
    graph = lowered(models, eight("fp8-tensorwise:ends=2"))
    forward = [b for b in graph.blocks if b.label.endswith(".forward") and b.label.startswith("layers")]
    assert [b.repeat for b in forward] == [2, 28, 2]
    dtypes = [{o.dtype for o in graph.operators[b.start : b.stop] if o.family == "gemm"} for b in forward]
    assert dtypes == [{"bf16"}, {"fp8"}, {"bf16"}]
    assert graph.flops == lowered(models, WIDE).flops


def test_packed_weights_are_unpacked_by_a_kernel_of_their_own(models: Models) -> None:
    """QLoRA: written in 16 bits and read by the product, forward and backward; adapters are not packed."""
    how = replace(WIDE, precision=Precision(weight_bits=4.126953125, dequantize=True, scale_group=64.0))
    graph = lowered(models, how, recompute="full", rank=8)
    numbers = HIDDEN * INNER
    for end in ("", ".recompute", ".backward"):
        unpack, scales = named(graph, f"mlp.down.unpack{end}"), named(graph, f"mlp.down.unpack.scales{end}")
        assert unpack.read_bytes == pytest.approx(numbers * (0.5 + 4 / 64), rel=1e-3)
        assert unpack.write_bytes == 2 * numbers
        assert (scales.read_bytes, scales.write_bytes) == (numbers / 64, 4 * numbers / 64)
    for name in ("mlp.down", "mlp.down.recompute", "mlp.down.dgrad"):
        product = named(graph, name)
        assert (product.weight_bytes, product.vector_flops, product.dequantize) == (2 * numbers, 0.0, False)
    assert not [o for o in graph.operators if o.name.endswith(".wgrad") and ".lora_" not in o.name]
    assert graph.flops == lowered(models, WIDE, recompute="full", rank=8).flops


def test_the_loss_scale_reads_every_gradient() -> None:
    (check,) = loss_scaling(1e9, 2.0)
    assert (check.read_bytes, check.write_bytes, check.family) == (2e9, 4e9, "vector")
