"""A training step of one device: forward, backward and optimizer as one graph per micro-batch and one per step.

The backward of a product y = x w is two products of the same FLOPs: dx = dy w^T and dw = x^T dy. With low-rank
adapters the frozen weights need no dw. Full recomputation runs the forward of a layer again before its backward
(Chen et al., arXiv:1604.06174); selective recomputation runs only unfused attention again (Korthikanti et al.,
arXiv:2205.05198).
"""

from __future__ import annotations

from dataclasses import replace

from workloads import operators as op
from workloads.graph import Graph, GraphBuilder
from workloads.lowering.inference import write_embedding
from workloads.lowering.layers import LayerWriter, Tokens
from workloads.lowering.plan import Lowering
from workloads.models.architecture import Architecture, LayerGroup
from workloads.operators import Operator, OpKind


def lower_micro_batch(
    arch: Architecture, micro_batch: float, seq_len: float, how: Lowering, recompute: str = "none", lora_rank: int = 0
) -> Graph:
    """Forward and backward of one micro-batch through all layers; block labels end in ".forward"/".backward"."""
    b = GraphBuilder()
    tokens = Tokens(micro_batch, seq_len, seq_len)
    with b.block("embedding.forward"):
        write_embedding(b, arch, tokens, how)
    for index, group in enumerate(arch.groups):
        with b.block(f"layers{index}.forward", group.count):
            for operator in layer_operators(arch, group, tokens, how, lora_rank):
                b.add(operator)
    with b.block("head.forward"):
        for operator in _head(arch, tokens, how):
            b.add(operator)
    with b.block("head.backward"):
        for operator in reversed(_head(arch, tokens, how)):
            for part in backward_of(operator, frozen=False):
                b.add(part)
    for index, group in reversed(list(enumerate(arch.groups))):
        forward = layer_operators(arch, group, tokens, how, lora_rank)
        with b.block(f"layers{index}.backward", group.count):
            for operator in _recomputed(forward, recompute):
                b.add(operator)
            for operator in reversed(forward):
                for part in backward_of(operator, frozen=lora_rank > 0 and ".lora_" not in operator.name):
                    b.add(part)
    with b.block("embedding.backward"):
        b.add(
            op.embedding("embedding.backward", tokens.rows, arch.embedding_dim or arch.hidden, how.precision.attention)
        )
    return b.build()


def layer_operators(
    arch: Architecture, group: LayerGroup, tokens: Tokens, how: Lowering, lora_rank: int = 0
) -> list[Operator]:
    """Forward operators of one layer; adapters of rank ``lora_rank`` beside every weight product."""
    scratch = GraphBuilder()
    with scratch.block("layer"):
        LayerWriter(scratch, arch, tokens, how).layer(group)
    operators: list[Operator] = []
    for operator in scratch.build().operators:
        operators.append(operator)
        if lora_rank and operator.kind == OpKind.GEMM and operator.name != "moe.router":
            dtype = how.precision.attention
            operators.append(op.gemm(f"{operator.name}.lora_a", operator.m, lora_rank, operator.k, dtype))
            operators.append(op.gemm(f"{operator.name}.lora_b", operator.m, operator.n, lora_rank, dtype))
    return operators


def _head(arch: Architecture, tokens: Tokens, how: Lowering) -> list[Operator]:
    """Final norm, logits of every token, and the cross-entropy over the (split) vocabulary."""
    tp, dtype = how.sharding.tp, how.precision.attention
    operators = [op.norm("head.norm", tokens.rows, arch.hidden, dtype)]
    if arch.head == "lm":
        operators.append(op.gemm("head.logits", tokens.rows, arch.vocab / tp, arch.hidden, dtype))
        operators.append(op.softmax("head.loss", tokens.rows, arch.vocab / tp, "fp32"))
    return operators


def _recomputed(forward: list[Operator], recompute: str) -> list[Operator]:
    """What runs a second time before a layer's backward."""
    if recompute == "full":
        return [replace(operator, name=operator.name + ".recompute") for operator in forward]
    if recompute == "selective":
        names = ("attention.qk", "attention.softmax", "attention.pv")
        return [replace(o, name=o.name + ".recompute") for o in forward if o.name in names]
    return []


def backward_of(operator: Operator, frozen: bool) -> list[Operator]:
    """The operators that compute the gradients of ``operator``; ``frozen`` weights get no gradient."""
    name = operator.name
    if operator.kind == OpKind.ATTENTION_PREFILL or operator.kind == OpKind.MLA_PREFILL:
        return [op.attention_backward(operator)]
    if operator.kind in (OpKind.GEMM, OpKind.BATCHED_GEMM, OpKind.MOE_GEMM, OpKind.CONVOLUTION):
        swap_in = replace(
            operator, name=name + ".dgrad", n=operator.k, k=operator.n,
            read_bytes=operator.write_bytes, write_bytes=operator.read_bytes, vector_flops=0.0,
        )  # fmt: skip
        if frozen:
            return [swap_in]
        # dw[n, k] = dy^T x: the reduction runs over the rows, and the gradient is written in fp32.
        elements = operator.weight_bytes * 8.0 / operator.weight_bits if operator.weight_bits else 0.0
        rows = operator.m if operator.kind != OpKind.MOE_GEMM else operator.m / operator.batch
        weight_gradient = replace(
            operator, name=name + ".wgrad", m=operator.n * (operator.batch if operator.kind == OpKind.MOE_GEMM else 1.0),
            n=operator.k, k=rows, weight_bytes=0.0, vector_flops=0.0,
            read_bytes=operator.read_bytes + operator.write_bytes, write_bytes=4.0 * elements,
        )  # fmt: skip
        return [swap_in, weight_gradient]
    if operator.family == "collective":
        return [replace(operator, name=name + ".backward")]
    return [
        replace(
            operator, name=name + ".backward", vector_flops=2.0 * operator.vector_flops,
            read_bytes=operator.read_bytes + operator.write_bytes, write_bytes=operator.read_bytes,
        )
    ]  # fmt: skip


def lower_update(
    trained: float, gradient_bytes_each: float, state_bytes_each: float, weight_bytes_each: float
) -> Graph:
    """The optimizer update of ``trained`` parameters held by one device."""
    b = GraphBuilder()
    with b.block("optimizer"):
        b.add(
            op.optimizer_update(
                "optimizer.update", trained, state_bytes=state_bytes_each, gradient_bytes=gradient_bytes_each,
                weight_bytes=weight_bytes_each,
            )
        )  # fmt: skip
    return b.build()
