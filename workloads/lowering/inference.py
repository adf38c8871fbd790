"""Inference steps: prefill, decode and encoder pass as graphs of one device."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from workloads import operators as op
from workloads.graph import Graph, GraphBuilder
from workloads.lowering.layers import LayerWriter
from workloads.lowering.plan import Lowering, part
from workloads.lowering.writer import Tokens
from workloads.models.architecture import Architecture
from workloads.operators import OpKind

Phase = Literal["prefill", "decode", "encode"]


@lru_cache(maxsize=512)
def lower_step(arch: Architecture, phase: Phase, batch: float, q_len: float, kv_len: float, how: Lowering) -> Graph:
    """The graph of one forward step on one device, all pipeline stages in a row; no hardware has a say in it.

    Args:
        phase: "prefill" (logits of the last token only), "decode" (q_len 1) or "encode" (no logits).
        batch: sequences in the step.
        q_len: new tokens per sequence.
        kv_len: tokens visible to the last new token, itself included.
    """
    b = GraphBuilder()
    tokens = Tokens(batch, q_len, kv_len)
    writer = LayerWriter(b, arch, tokens, how)
    with b.block("embedding"):
        write_embedding(b, arch, tokens, how)
    for index, group in enumerate(arch.groups):
        with b.block(f"layers{index}", group.count):
            writer.layer(group)
    if how.sharding.pp > 1:
        with b.block("pipeline", how.sharding.pp - 1):
            size = tokens.rows * arch.hidden * how.precision.activation_bytes / how.sharding.tp
            b.add(op.collective("pipeline.send", OpKind.SEND_RECV, size, 2, "pp"))
    with b.block("head"):
        if arch.final_norm:
            b.add(op.norm("head.norm", tokens.rows, arch.hidden, how.precision.attention))
        if phase != "encode" and arch.head == "lm":
            write_head(b, arch, batch, how)
        elif arch.head == "pool":
            b.add(op.gemm("head.pool", batch, arch.hidden, arch.hidden, how.precision.attention))
        else:
            b.add(op.elementwise("head.pool", tokens.rows, arch.hidden, how.precision.attention, inputs=1))
    return b.build()


@lru_cache(maxsize=512)
def lower_contexts(
    arch: Architecture, phase: Phase, batch: float, q_len: float, contexts: tuple[float, ...], how: Lowering
) -> tuple[Graph, ...]:
    """``lower_step`` at several ``kv_len``: equal graphs, which share all operators that do not see the context."""
    if not contexts:
        return ()
    base = lower_step(arch, phase, batch, q_len, contexts[0], how)
    if q_len > 1 and any(g.attention is not None and g.attention.kind == "mla" for g in arch.groups):
        # Long queries may absorb at one context and unfold the latents at another.
        return (base, *(lower_step(arch, phase, batch, q_len, context, how) for context in contexts[1:]))
    return (base, *(_at_context(base, arch, Tokens(batch, q_len, context), how) for context in contexts[1:]))


def _at_context(base: Graph, arch: Architecture, tokens: Tokens, how: Lowering) -> Graph:
    """``base`` with its attention at another context."""
    operators = list(base.operators)
    for block in base.blocks:
        if not block.label.startswith("layers"):
            continue
        attention = arch.groups[int(block.label.removeprefix("layers"))].attention
        if attention is None:
            continue
        scratch = GraphBuilder()
        with scratch.block("scores"):
            LayerWriter(scratch, arch, tokens, how).scores(attention)
        again = {operator.name: operator for operator in scratch.build().operators}
        for i in range(block.start, block.stop):
            operators[i] = again.get(operators[i].name, operators[i])
    return Graph(tuple(operators), base.depends_on, base.blocks)


def write_embedding(b: GraphBuilder, arch: Architecture, tokens: Tokens, how: Lowering) -> None:
    """Token look-up in a vocabulary split over tp (hence a reduction), widening, positions, token types, norm."""
    dtype, width, tp = how.precision.attention, arch.embedding_dim or arch.hidden, how.sharding.tp
    b.add(op.embedding("embedding", tokens.rows, width, dtype))
    if tp > 1:
        size = tokens.rows * width * how.precision.activation_bytes
        b.add(op.collective("embedding.all_reduce", OpKind.ALL_REDUCE, size, tp, "tp"))
    if width != arch.hidden:
        b.add(op.gemm("embedding.project", tokens.rows, arch.hidden, width, dtype))
    if arch.learned_positions:
        b.add(op.elementwise("embedding.positions", tokens.rows, arch.hidden, dtype))
    if arch.extra_embeddings:
        b.add(op.elementwise("embedding.types", tokens.rows, arch.hidden, dtype))
    if arch.embedding_norm:
        b.add(op.norm("embedding.norm", tokens.rows, arch.hidden, dtype))


def write_head(b: GraphBuilder, arch: Architecture, rows: float, how: Lowering) -> None:
    """Logits of ``rows`` tokens, gathered over tensor parallel ranks, and the draw of the next token."""
    tp, p, width = how.sharding.tp, how.precision, arch.embedding_dim or arch.hidden
    if width != arch.hidden:
        b.add(op.gemm("head.project", rows, width, arch.hidden, p.attention))
    b.add(
        op.gemm(
            "head.logits", rows, part(arch.vocab, tp), width, p.attention,
            weight_bits=p.head_bits, dequantize=p.head_bits < 16,
        )
    )  # fmt: skip
    if tp > 1:
        size = rows * part(arch.vocab, tp) * tp * p.activation_bytes
        b.add(op.collective("head.all_gather", OpKind.ALL_GATHER, size, tp, "tp"))
    if not how.fused("sampling"):
        b.add(op.sampling("head.sampling", rows, arch.vocab))
