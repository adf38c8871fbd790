"""A training step of one device: forward, backward and optimizer as one graph per micro-batch and one per step.

The backward of a product y = x w is two products of the same FLOPs: dx = dy w^T and dw = x^T dy. With low-rank
adapters the frozen weights need no dw. Full recomputation runs the forward of a layer again before its backward
(Chen et al., arXiv:1604.06174); selective recomputation runs only unfused attention again (Korthikanti et al.,
arXiv:2205.05198), or what compilers and wrappers of single operators take it for (see ``RECOMPUTED``). Left out: inputs
that sequence parallelism keeps cut are gathered again for their weights' gradients, beside the other product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from workloads import operators as op
from workloads.graph import Graph, GraphBuilder
from workloads.lowering.casts import backward_with_casts, with_casts, written_layers
from workloads.lowering.inference import write_embedding
from workloads.lowering.layers import LayerWriter
from workloads.lowering.plan import Lowering, part
from workloads.lowering.recompute import pieces_of, policy_of, running_again
from workloads.lowering.writer import Tokens
from workloads.models.architecture import Architecture, LayerGroup
from workloads.operators import Operator, OpKind

CONTEXT: Final = "attention.context"
"""Name of the exchange of keys and values between context parallel ranks."""


RECOMPUTED: Final = {
    "none": "nothing",
    "selective": "scores of attention that lie in memory",
    "vector": "everything but products, attention and collectives: MaxText's remat_policy minimal keeps what dots give",
    "half": "as vector, and every second product: selective_ac_option op of torchtitan",
    "full": "the whole layer",
}
"""What each policy of whole models runs a second time before the backward of a layer; others: ``recompute``."""


class Gradients(NamedTuple):
    """How gradients of weights are kept: bytes of each number, whether they are added to those of earlier
    micro-batches, and whether the product that makes them does so (else an addition of its own)."""

    bytes_each: float = 4.0
    added: bool = False
    fused: bool = True


FIRST: Final = Gradients()
"""Gradients in fp32 that are there for the first time."""


def lower_micro_batch(
    arch: Architecture, micro_batch: float, seq_len: float, how: Lowering, recompute: str = "none",
    lora_rank: int = 0, gradients: Gradients | None = None, balanced: bool = True, stages: tuple[int, ...] = (),
) -> Graph:  # fmt: skip
    """Forward and backward of one micro-batch through all layers; block labels end in ".forward"/".backward".

    A group of layers is cut in blocks that recompute the same. ``gradients`` None: those of weights are written in
    fp32, for the first time; ``balanced`` see ``tokens_of_rank``; ``stages`` are the layers of each pipeline stage, for
    policies that count in them (none: one stage).

    Raises:
        InputError: a policy that does not exist.
    """
    grads = gradients or Gradients(fused=how.fused("accumulate"))
    b = GraphBuilder()
    tokens = tokens_of_rank(arch, micro_batch, seq_len, how.sharding.cp, balanced)
    with b.block("embedding.forward"):
        write_embedding(b, arch, tokens, how)
    pieces = pieces_of(policy_of(recompute), [group.count for group in arch.groups], stages)

    def write(group: int, own: Lowering) -> list[Operator]:
        return layer_operators(arch, arch.groups[group], tokens, own, lora_rank)

    stack = written_layers(pieces, how, write)
    for index, (piece, own, forward) in enumerate(stack):
        with b.block(f"layers{index}.forward", piece.layers):
            for operator in with_casts(forward, own, lora_rank > 0, piece.policy != "full"):
                b.add(operator)
    with b.block("head.forward"):
        for operator in _head(arch, tokens, how):
            b.add(operator)
    with b.block("head.backward"):
        for operator in reversed(_head(arch, tokens, how)):
            for part in backward_of(operator, lora_rank > 0, grads):
                b.add(part)
            if operator.name == "head.logits" and how.sharding.tp > 1:
                # Each rank has the input's gradient from its part of the vocabulary alone.
                size = operator.m * operator.k * how.precision.activation_bytes
                b.add(op.collective("head.all_reduce.backward", OpKind.ALL_REDUCE, size, how.sharding.tp, "tp"))
    for index, (piece, own, forward) in reversed(list(enumerate(stack))):
        kept = forward if piece.policy in ("vector", "half") else ()
        with b.block(f"layers{index}.backward", piece.layers):
            for operator in with_casts(_recomputed(forward, piece.policy), own, lora_rank > 0, True, kept):
                b.add(operator)
            for operator in reversed(forward):
                frozen = lora_rank > 0 and ".lora_" not in operator.name
                for part in backward_with_casts(operator, backward_of(operator, frozen, grads), own, frozen):
                    b.add(part)
    if not lora_rank:
        with b.block("embedding.backward"):
            for part in _embedding_backward(arch, tokens, how, grads):
                b.add(part)
    return b.build()


def tokens_of_rank(arch: Architecture, micro_batch: float, seq_len: float, cp: int, balanced: bool = True) -> Tokens:
    """What a context parallel rank has of each sequence: its part of the queries.

    With a causal mask each ``balanced`` rank has an early and a late piece, so that all see as many keys: on average
    half of the sequence, and half of their own piece (Brandon et al., "Striped Attention", arXiv:2311.09431). Of
    others the last one sees all keys before its own piece.
    """
    if cp == 1:
        return Tokens(micro_batch, seq_len, seq_len)
    own = seq_len / cp
    causal = any(group.attention is not None and group.attention.causal for group in arch.groups)
    return Tokens(micro_batch, own, (seq_len + own) / 2.0 if causal and balanced else seq_len)


def layer_operators(
    arch: Architecture, group: LayerGroup, tokens: Tokens, how: Lowering, lora_rank: int = 0
) -> list[Operator]:
    """Forward operators of one layer; adapters of rank ``lora_rank`` beside every weight product."""
    scratch = GraphBuilder()
    with scratch.block("layer"):
        LayerWriter(scratch, arch, tokens, how).layer(group)
    operators: list[Operator] = []
    for operator in scratch.build().operators:
        if how.sharding.cp > 1 and operator.name in ("attention.scores", "attention.qk"):
            operators.append(_before_attention(group, tokens, how))
        operators.append(operator)
        last = operator.name in ("attention.scores", "attention.pv")
        if last and how.sharding.cp > 1 and how.sharding.cp_comm == "a2a":
            operators.append(_behind_attention(group, tokens, how))
        if operator.name == "attention.softmax":
            operators.append(_dropout(operator))
        # Grouped experts, routers and products of two activations have no adapters.
        if lora_rank and operator.kind == OpKind.GEMM and operator.weight_bytes and operator.name != "moe.router":
            operators += _adapters(operator, lora_rank, how.precision.attention)
    return operators


def _dropout(scores: Operator) -> Operator:
    """Dropout on scores that lie in memory, with a mask of a byte each: software that writes scores is of the years in
    which models were trained with it (Narayanan et al., SC 2021)."""
    kept = op.elementwise("attention.dropout", scores.m, scores.n, scores.dtype, inputs=1)
    return replace(kept, write_bytes=kept.write_bytes + scores.m * scores.n)


def _before_attention(group: LayerGroup, tokens: Tokens, how: Lowering) -> Operator:
    """What context parallel ranks exchange before attention: keys and values of a sequence, round a ring (Liu et al.,
    arXiv:2310.01889) or gathered; or queries, keys and values of their tokens for those of their heads (Jacobs et al.,
    arXiv:2309.14509)."""
    a, sharding, p = group.attention, how.sharding, how.precision
    assert a is not None
    if sharding.cp_comm == "a2a":
        ways = sharding.heads_ways
        keys = part(a.heads if a.kind == "mla" else a.kv_heads, ways)
        width = (part(a.heads, ways) * a.head_dim + keys * (a.head_dim + a.value_dim)) * sharding.cp
        size = tokens.rows * width * p.activation_bytes
        return op.collective("attention.to_heads", OpKind.ALL_TO_ALL, size, sharding.cp, "cp")
    # Latents are unfolded before they go round.
    heads = part(a.heads if a.kind == "mla" else a.kv_heads, sharding.tp)
    width = heads * (a.head_dim + a.value_dim)
    size = tokens.rows * sharding.cp * width * p.activation_bytes
    return op.collective(CONTEXT, OpKind.ALL_GATHER, size, sharding.cp, "cp")


def _behind_attention(group: LayerGroup, tokens: Tokens, how: Lowering) -> Operator:
    """Results of a rank's heads for all tokens, on their way to the ranks that have these."""
    a, sharding = group.attention, how.sharding
    assert a is not None
    width = part(a.heads, sharding.heads_ways) * a.value_dim * sharding.cp
    size = tokens.rows * width * how.precision.activation_bytes
    return op.collective("attention.to_tokens", OpKind.ALL_TO_ALL, size, sharding.cp, "cp")


def _adapters(operator: Operator, rank: int, dtype: str) -> list[Operator]:
    """The two products of a low-rank adapter; what a fused product joins (q, k, v) has one adapter each."""
    parts = {"qkv": 3, "gate_up": 2}.get(operator.name.rsplit(".", 1)[-1], 1)
    down = op.gemm(f"{operator.name}.lora_a", operator.m, parts * rank, operator.k, dtype)
    up = op.gemm(f"{operator.name}.lora_b", operator.m, operator.n, rank, dtype)
    return [down, replace(up, read_bytes=down.write_bytes)]


def _head(arch: Architecture, tokens: Tokens, how: Lowering) -> list[Operator]:
    """Final norm, logits of every token, and the cross-entropy over the (split) vocabulary."""
    tp, dtype, rows = how.sharding.tp, how.precision.attention, tokens.rows
    width = arch.embedding_dim or arch.hidden
    operators = [op.norm("head.norm", rows, arch.hidden, dtype)] if arch.final_norm else []
    if arch.head == "lm":
        if width != arch.hidden:
            operators.append(op.gemm("head.project", rows, width, arch.hidden, dtype))
        operators.append(op.gemm("head.logits", rows, part(arch.vocab, tp), width, dtype))
        operators += _cross_entropy(rows, part(arch.vocab, tp), dtype, how)
    elif arch.head == "pool":
        operators.append(op.gemm("head.pool", tokens.batch, arch.hidden, arch.hidden, dtype))
    return operators


def _cross_entropy(rows: float, vocab: float, dtype: str, how: Lowering) -> list[Operator]:
    """The loss on fp32 logits: one kernel, or a cast, the maximum and its subtraction, exponentials, sum and division
    one after the other, as Megatron-LM's ``vocab_parallel_cross_entropy``."""
    loss = op.softmax("head.loss", rows, vocab, "fp32")
    if how.fused("loss"):
        return [loss]
    cast = op.elementwise("head.loss.cast", rows, vocab, "fp32", inputs=1)
    parts = [op.elementwise(f"head.loss.{name}", rows, vocab, "fp32", inputs=1) for name in ("shift", "exp", "divide")]
    narrow = rows * vocab * op.activation_bytes(dtype)
    return [replace(cast, read_bytes=narrow), loss, *parts]


def _embedding_backward(
    arch: Architecture, tokens: Tokens, how: Lowering, gradients: Gradients
) -> list[Operator]:  # fmt: skip
    """Gradients of the tables: zeros for all rows, then each row of the gradient is added to the one looked up."""
    dtype, rows, width = how.precision.attention, tokens.rows, arch.embedding_dim or arch.hidden
    operators = []
    if width != arch.hidden:
        project = op.gemm("embedding.project", rows, arch.hidden, width, dtype)
        operators += backward_of(project, False, gradients)
    zeros = op.elementwise("embedding.zeros.backward", part(arch.vocab, how.sharding.tp), width, dtype, inputs=1)
    operators.append(replace(zeros, vector_flops=0.0, read_bytes=0.0))
    operators.append(op.embedding("embedding.backward", rows, width, dtype))
    return operators


def _recomputed(forward: list[Operator], recompute: str) -> list[Operator]:
    """What runs a second time before the backward of a layer, by the policy of that layer."""
    if recompute == "full":
        return [replace(operator, name=operator.name + ".recompute") for operator in forward]
    if recompute in ("vector", "half"):
        second = _second_products(forward) if recompute == "half" else []
        return [replace(o, name=o.name + ".recompute") for o in forward if o.family == "vector" or o in second]
    if recompute == "selective":
        names = ("attention.qk", "attention.softmax", "attention.dropout", "attention.pv")
        return [replace(o, name=o.name + ".recompute") for o in forward if o.name in names]
    modules = policy_of(recompute).modules
    parts = running_again(modules, {operator.name for operator in forward})
    found = []
    for operator in forward:
        if operator.name in parts:
            found.append(replace(operator, name=operator.name + ".recompute"))
        elif "moe_act" in modules and operator.kind == OpKind.MOE_GEMM:
            found.append(_expert_activation(operator))
    return found


def _expert_activation(experts: Operator) -> Operator:
    """The activation between the products of grouped experts, as an operator of its own."""
    projections = experts.flops / (2.0 * experts.m * experts.n * experts.k)
    name = experts.name + ".activation.recompute"
    return op.activation(name, experts.m, experts.n, experts.dtype, gated=projections > 2.5)


def _second_products(forward: list[Operator]) -> list[Operator]:
    """Every second product of weights, in their order, queries, keys and values counted as three."""
    chosen, count = list[Operator](), 0
    for operator in forward:
        if operator.family == "gemm" and operator.weight_bytes:
            parts = 3 if operator.name == "attention.qkv" else 1
            again = (count + parts) // 2 - count // 2
            count += parts
            chosen += [operator] if 2 * again >= parts else []
    return chosen


def backward_of(operator: Operator, frozen: bool, gradients: Gradients = FIRST) -> list[Operator]:
    """The operators that compute the gradients of ``operator``; ``frozen`` weights get no gradient."""
    name = operator.name
    if operator.kind in (OpKind.ATTENTION_PREFILL, OpKind.MLA_PREFILL):
        return [op.attention_backward(operator)]
    if operator.family in ("gemm", "moe"):
        if not operator.weight_bytes:
            return _both_operands(operator)
        own = [] if frozen else _weight_gradient(operator, gradients)
        return [_input_gradient(operator), *own]
    if operator.name == CONTEXT:
        # Keys and values go round again, and their gradients with them.
        return [replace(operator, name=name + ".backward", message_bytes=2.0 * operator.message_bytes)]
    if operator.family == "collective":
        kind = _TRANSPOSED.get(operator.kind, operator.kind)
        return [replace(operator, name=name + ".backward", kind=kind)]
    if operator.kind in (OpKind.ROPE, OpKind.ELEMENTWISE):
        # Linear: reads the gradient of the result, writes that of the inputs, keeps nothing.
        return [
            replace(operator, name=name + ".backward", read_bytes=operator.write_bytes, write_bytes=operator.read_bytes)
        ]
    return [
        replace(
            operator, name=name + ".backward", flops=2.0 * operator.flops, vector_flops=2.0 * operator.vector_flops,
            read_bytes=operator.read_bytes + operator.write_bytes, write_bytes=operator.read_bytes,
        )
    ]  # fmt: skip


_TRANSPOSED = {OpKind.ALL_GATHER: OpKind.REDUCE_SCATTER, OpKind.REDUCE_SCATTER: OpKind.ALL_GATHER}
"""Collectives whose backward is another one; all-reduce, all-to-all and send/recv are their own."""


def _input_gradient(operator: Operator) -> Operator:
    """dx[m, k] = dy[m, n] w[n, k]: the weights are read (and unpacked) again."""
    return replace(
        operator, name=operator.name + ".dgrad", n=operator.k, k=operator.n,
        read_bytes=operator.write_bytes, write_bytes=operator.read_bytes,
    )  # fmt: skip


def _weight_gradient(operator: Operator, gradients: Gradients) -> list[Operator]:
    """dw[n, k] = dy^T x: the reduction runs over the rows; and its addition to what earlier micro-batches left."""
    experts = operator.batch if operator.kind == OpKind.MOE_GEMM else 1.0
    whole = gradients.bytes_each * operator.weight_bytes * 8.0 / operator.weight_bits
    product = replace(
        operator, name=operator.name + ".wgrad", m=operator.n * experts, n=operator.k, k=operator.m / experts,
        weight_bytes=0.0, vector_flops=0.0, dequantize=0,
        read_bytes=operator.read_bytes + operator.write_bytes, write_bytes=whole,
    )  # fmt: skip
    if not gradients.added:
        return [product]
    if gradients.fused:
        return [replace(product, read_bytes=product.read_bytes + whole)]
    both = op.elementwise(operator.name + ".add.backward", product.m, product.n, "fp32", inputs=2)
    return [product, replace(both, read_bytes=2.0 * whole, write_bytes=whole)]


def _both_operands(operator: Operator) -> list[Operator]:
    """Gradients of both operands of a product of activations, a b: da = dy b^T and db = a^T dy."""
    left = operator.batch * operator.m * operator.k * op.activation_bytes(operator.dtype)
    right = operator.read_bytes - left
    return [
        replace(
            operator, name=operator.name + ".dgrad", n=operator.k, k=operator.n,
            read_bytes=operator.write_bytes + right, write_bytes=left,
        ),
        replace(
            operator, name=operator.name + ".right.dgrad", m=operator.k, k=operator.m,
            read_bytes=operator.write_bytes + left, write_bytes=right,
        ),
    ]  # fmt: skip


def gradient_tensors(micro_batch: Graph, tied: bool, bytes_each: float = 4.0) -> dict[float, float]:
    """How many gradients of weights of which size a micro-batch makes: numbers in each, and their count.

    Sizes are joined by powers of two. A ``tied`` table has one gradient, that of the head.
    """
    joined: dict[int, tuple[float, float]] = {}
    for operator, repeat in zip(micro_batch.operators, micro_batch.repeat, strict=True):
        if operator.name == "embedding.zeros.backward" and not tied:
            numbers = float(operator.m * operator.n)
        elif operator.name.endswith(".wgrad"):
            numbers = float(operator.write_bytes / bytes_each)
        else:
            continue
        if numbers > 0.0:
            power = math.frexp(numbers)[1]
            total, count = joined.get(power, (0.0, 0.0))
            joined[power] = total + numbers * float(repeat), count + float(repeat)
    return {total / count: count for total, count in joined.values()}


def lower_update(
    trained: float, gradient_bytes_each: float, state_bytes_each: float, weight_bytes_each: float,
    tensors: Mapping[float, float], flops_each: float = 12.0, products: Sequence[Operator] = (),
) -> Graph:  # fmt: skip
    """The optimizer update of ``trained`` parameters held by one device, shared out over ``tensors`` (size, count).

    Args:
        flops_each: of each parameter on vector units.
        products: matrix products that go before.
    """
    b = GraphBuilder()
    whole = sum(size * count for size, count in tensors.items())
    shares = {size: size * count / whole for size, count in tensors.items()} if whole else {max(trained, 1.0): 1.0}
    with b.block("optimizer"):
        for product in products:
            b.add(product)
        for number, (size, share) in enumerate(sorted(shares.items(), reverse=True)):
            b.add(
                op.optimizer_update(
                    f"optimizer.update{number or ''}", trained * share, tensors=max(trained * share / size, 1.0),
                    state_bytes=state_bytes_each, gradient_bytes=gradient_bytes_each, weight_bytes=weight_bytes_each,
                    flops_each=flops_each,
                )
            )  # fmt: skip
    return b.build()
