"""What must lie in the memory of one device: weights, KV cache, activations, gradients, optimizer states."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from workloads.lowering.plan import Precision, Sharding, part, shares_sequences, stage_layers
from workloads.lowering.recompute import policy_of, whole_layers
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.models.parameters import LayerCount, count_parameters

LOGIT_BYTES: Final = 6.0
"""A logit in 16 bit and its fp32 copy in the loss [B]."""


HALF: Final = 2.0
"""An activation in 16 bits [B]."""


class Held(NamedTuple):
    """Parameters on the fullest device: of products in the stack, of experts, norms, embedding and head, and others."""

    stack: float
    experts: float
    norms: float
    ends: float
    extra: float


def held_parameters(arch: Architecture, sharding: Sharding) -> Held:
    """What a device of the fullest pipeline stage holds: experts are cut over ep (or tp) ways, norms not at all,
    everything else over tp; layers as ``stage_layers`` spreads them. Heads are padded and key-value heads repeated as
    in lowering."""
    return max(held_by_stage(arch, sharding), key=sum)


@lru_cache(maxsize=1024)
def held_by_stage(arch: Architecture, sharding: Sharding) -> tuple[Held, ...]:
    """What a device of each pipeline stage holds: the embedding is on the first stage, the head on the last one."""
    rows = stage_layers(tuple(group.count for group in arch.groups), sharding.pp, sharding.stages)
    last = len(rows) - 1
    return tuple(held_of(arch, sharding, row, stage == 0, stage == last) for stage, row in enumerate(rows))


@lru_cache(maxsize=4096)
def held_of(arch: Architecture, sharding: Sharding, layers: tuple[int, ...], first: bool, last: bool) -> Held:
    """What one device holds of some layers, with the embedding and the head or without them.

    A head that is tied to an embedding on other devices is a copy of it.

    Args:
        layers: layers of each group.
        first, last: whether the embedding, or the head, is there.
    """
    count = count_parameters(arch)
    attention = sum(
        number
        * (
            (each.attention - each.whole_attention) * _attention_share(group.attention, sharding.tp)
            + each.whole_attention
        )
        for number, each, group in zip(layers, count.groups, arch.groups, strict=True)
        if group.attention is not None
    )
    products, experts, whole, whole_experts = (
        sum(number * size(each) for number, each in zip(layers, count.groups, strict=True)) for size in _SIZES
    )
    norms = sum(number * each.norms for number, each in zip(layers, count.groups, strict=True))
    outside = count.norms - sum(each.layers * each.norms for each in count.groups)
    copied = tied_parameters(arch) if last and not first else 0
    return Held(
        stack=attention + products / sharding.tp + whole,
        experts=(experts / sharding.expert_tp + whole_experts) / sharding.ep,
        norms=float(norms + (outside if last else 0)),
        ends=((count.embedding if first else 0) + (count.head + copied if last else 0)) / sharding.tp,
        extra=float(count.extra if first else 0),
    )


_SIZES: Final[tuple[Callable[[LayerCount], int], ...]] = (
    lambda each: each.mlp + each.ssm - each.whole_products,
    lambda each: each.experts - each.whole_experts,
    lambda each: each.whole_products,
    lambda each: each.whole_experts,
)
"""Of a layer: products and experts that ranks cut, and those that they do not."""


def tied_parameters(arch: Architecture) -> int:
    """Parameters of the embedding that are those of the head too; 0 where the head has its own."""
    return arch.vocab * (arch.embedding_dim or arch.hidden) if arch.tied and arch.head == "lm" else 0


def _attention_share(a: Attention, tp: int) -> float:
    """Share of the attention weights of a layer on one of ``tp`` ranks."""
    if a.kind == "mla":
        return part(a.heads, tp) / a.heads
    width = a.head_dim + a.value_dim
    queries = width + (a.value_dim if a.out_gate else 0)
    return (part(a.heads, tp) * queries + part(a.kv_heads, tp) * width) / (a.heads * queries + a.kv_heads * width)


def weight_bytes(arch: Architecture, precision: Precision, sharding: Sharding) -> float:
    """Weights on the fullest device [B]: embedding and head in ``head_bits``, products of the stack in
    ``stack_bits``, experts in ``weight_bits``, norms in the format of activations."""
    return max(held_bytes(held, precision) for held in held_by_stage(arch, sharding))


def held_bytes(held: Held, precision: Precision) -> float:
    """Some parameters in their formats [B]."""
    packed = precision.stack_bits * held.stack + precision.weight_bits * (held.experts + held.extra)
    packed += precision.head_bits * held.ends
    return packed / 8.0 + precision.activation_bytes * held.norms


def stage_share(arch: Architecture, pp: int) -> float:
    """Share of the layers on the fullest pipeline stage."""
    return -(-arch.layers // pp) / arch.layers


Tokens = TypeVar("Tokens", float, npt.NDArray[np.float64])
"""A length, or many at once."""


def kv_bytes_per_sequence(arch: Architecture, tokens: Tokens, precision: Precision, sharding: Sharding) -> Tokens:
    """Cache of one sequence of ``tokens`` on one device [B]."""
    total = 0.0 * tokens
    for group in arch.groups:
        total = total + group.count * layer_kv_bytes(group, tokens, precision, sharding.tp)
    return total * stage_share(arch, sharding.pp)


def layer_kv_bytes(group: LayerGroup, tokens: Tokens, precision: Precision, tp: int = 1) -> Tokens:
    """Cache of one sequence of ``tokens`` in one layer on one device [B]: keys and values, and states."""
    return attention_cache_bytes(group.attention, tokens, precision, tp) + state_cache_bytes(group.ssm, tp)


def attention_cache_bytes(a: Attention | None, tokens: Tokens, precision: Precision, tp: int = 1) -> Tokens:
    """Keys and values of the visible window of one layer and sequence, or its MLA latents, on one device [B].

    Nothing is kept of attention that looks both ways: an encoder answers in one pass.
    """
    if a is None or not a.causal:
        return 0.0 * tokens
    # Of whole numbers both ways are exact.
    seen = 0.5 * (tokens + a.window - abs(tokens - a.window)) if a.window else 1.0 * tokens
    each = a.kv_lora + a.rope_dim if a.kind == "mla" else part(a.kv_heads, tp) * (a.head_dim + a.value_dim)
    if shares_sequences(a, tp):
        each = each / tp
    return seen * each * precision.kv_bits / 8.0


def state_cache_bytes(ssm: StateSpace | None, tp: int = 1) -> float:
    """State of one mixer that has one (the last tokens of its convolution in 16 bits, its scan's in 32) and sequence on
    one device [B], however long the sequence is."""
    return 0.0 if ssm is None else ssm.inner * (ssm.state * 4.0 + ssm.conv * 2.0) / tp


def inference_activation_bytes(
    arch: Architecture, rows: float, logit_rows: float, precision: Precision, tp: int
) -> float:
    """Peak of live activations of one step [B]: residual, its normed copy, the widest inner tensors; fp32 logits."""
    widest = max((_inner_width(group, tp) for group in arch.groups), default=0.0)
    live = rows * (2.0 * arch.hidden + widest) * precision.activation_bytes
    logits = logit_rows * arch.vocab / tp * 4.0 if arch.head == "lm" else 0.0
    return live + logits


def _inner_width(group: LayerGroup, tp: int) -> float:
    """Widest set of values per token that one layer keeps alive at once."""
    widths = [0.0]
    if isinstance(group.mlp, FeedForward):
        widths.append(group.mlp.width * (3.0 if group.mlp.gated else 2.0) / tp)
    if isinstance(group.mlp, Experts):
        widths.append(group.mlp.top_k * group.mlp.width * 3.0 / tp)
    if group.attention is not None:
        a = group.attention
        widths.append((2.0 * a.heads * a.head_dim + 2.0 * a.kv_heads * a.head_dim) / tp)
    if group.ssm is not None:
        widths.append(4.0 * group.ssm.inner / tp)
    return max(widths)


def training_activation_bytes(
    arch: Architecture,
    micro_batch: int,
    seq_len: int,
    recompute: str,
    flash: bool,
    sharding: Sharding,
    in_flight: float,
    logit_bytes: float = LOGIT_BYTES,
    here: Sequence[float] | None = None,
    head: bool = True,
) -> float:
    """Activations kept for the backward pass on one device [B].

    Per layer of a dense transformer, ungated, without flash attention: s b h (34 + 5 a s / h) bytes at tp = 1, the
    second term gone with selective recompute, and 2 s b h with full recompute (Korthikanti et al., arXiv:2205.05198,
    table 2; without sequence parallelism). Here it is summed part by part, so that gated MLPs, grouped heads and
    experts come out too. The dropout masks (2 of the 34, 3 of the 5) are counted where attention is not flash: such
    software is of the years in which models were trained with dropout. ``in_flight`` is the number of micro-batches
    that a stage holds (1F1B: up to pp). With sequence parallelism everything is cut over tp (table 2 there: s b h
    (34 + 5 a s / h) / t), with context parallelism over cp as well. The loss is through before a layer is computed
    again and goes backward: what is larger shows. ``logit_bytes`` is what the loss holds of each logit [B]. ``here`` is
    how many layers of each group the device has (none: the part of the longest stage), ``head`` whether the loss is
    there.
    """
    share = stage_share(arch, sharding.pp)
    counts = [group.count * share for group in arch.groups] if here is None else here
    stage = stage_training_bytes(arch, counts, micro_batch, seq_len, recompute, flash, sharding)
    logits = training_logit_bytes(arch, micro_batch, seq_len, sharding, logit_bytes) if head else 0.0
    return stage.kept * in_flight + max(stage.again, logits)


def training_logit_bytes(
    arch: Architecture, micro_batch: int, seq_len: int, sharding: Sharding, logit_bytes: float = LOGIT_BYTES
) -> float:
    """Logits as the loss holds them [B]."""
    ways = sharding.tp * sharding.cp
    return micro_batch * seq_len * arch.vocab / ways * logit_bytes if arch.head == "lm" else 0.0


class LayerTraining(NamedTuple):
    """What layers keep of a micro-batch until their backward, and hold besides while one of them goes backward: what is
    computed again, and gradients [B]."""

    kept: float
    again: float


def stage_training_bytes(
    arch: Architecture, counts: Sequence[float], micro_batch: int, seq_len: int, recompute: str, flash: bool,
    sharding: Sharding, width: float = HALF,
) -> LayerTraining:  # fmt: skip
    """Activations of the layers of one device, by a policy that may not treat all of them alike.

    Layers that are computed again N at a time keep the input of the first one, and all N are there at once.

    Args:
        counts: layers of each group, in the order in which they stand.
        recompute: see ``workloads.lowering.recompute``.
        width: bytes of an activation [B].
    """
    policy = policy_of(recompute)
    kept = again = 0.0
    for group, count, whole in zip(arch.groups, counts, whole_layers(policy, counts), strict=True):
        for number, text in ((count - whole, policy.in_layers), (whole, "full")):
            if number > 0:
                layer = layer_training_bytes(arch, group, micro_batch, seq_len, text, flash, sharding, width)
                kept += number * layer.kept
                again = max(again, layer.again)
    layers = sum(counts)
    if policy.kind == "uniform" and layers:
        kept *= math.ceil(layers / policy.number) / layers
        rows = float(micro_batch * seq_len) / sharding.cp
        beside = max(backward_bytes(arch, group, rows, sharding, width) for group in arch.groups)
        again = (again - beside) * min(float(policy.number), layers) + beside
    return LayerTraining(kept, again)


def layer_training_bytes(
    arch: Architecture, group: LayerGroup, micro_batch: int, seq_len: int, recompute: str, flash: bool,
    sharding: Sharding, width: float = HALF,
) -> LayerTraining:  # fmt: skip
    """Activations of one layer on one device (see ``training_activation_bytes``), by a policy of single layers."""
    rows = float(micro_batch * seq_len) / sharding.cp
    inside = rows * arch.hidden * width * sharding.whole_share
    whole = inside + _kept_bytes(arch, group, rows, float(seq_len), recompute, flash, sharding, width)
    beside = backward_bytes(arch, group, rows, sharding, width)
    if recompute in ("vector", "half") and isinstance(group.mlp, FeedForward) and group.attention is not None:
        kept = inside + _product_bytes(arch, group.attention, group.mlp, rows, recompute, sharding, width)
        return LayerTraining(kept, max(whole - kept, 0.0) + beside)
    if modules := policy_of(recompute).modules:
        parts = _module_bytes(arch, group, rows, float(seq_len), flash, sharding, width)
        dropped = {name: size for name, size in parts.items() if name in modules}
        if "moe" in dropped:
            dropped = {name: size for name, size in dropped.items() if name not in ("moe_act", "shared_experts")}
        return LayerTraining(whole - sum(dropped.values()), max(dropped.values(), default=0.0) + beside)
    return LayerTraining(inside, whole + beside) if recompute == "full" else LayerTraining(whole, beside)


def backward_bytes(
    arch: Architecture, group: LayerGroup, rows: float, sharding: Sharding, width: float = HALF
) -> float:
    """Gradients that are there at once in the middle of the backward of a layer [B].

    That of its result, that of its input, and of inner values the two that the widest product gives and takes (others
    go where what was kept is no longer needed). Ranks that share tokens have three more of the model's width whole:
    the gradient of the result and the input gathered, and the sum of which each keeps a part.
    """
    hidden = rows * arch.hidden * width
    gathered = 3.0 * hidden if sharding.sequence and sharding.tp > 1 else 0.0
    return 2.0 * hidden * sharding.whole_share + gathered + 2.0 * rows * width * _inner_gradient(group, sharding.tp)


def _inner_gradient(group: LayerGroup, tp: int) -> float:
    """Widest inner value of a layer for each token."""
    widths = [0.0]
    if isinstance(group.mlp, FeedForward):
        widths.append(group.mlp.width / tp)
    elif isinstance(group.mlp, Experts):
        widths.append((group.mlp.top_k * group.mlp.width + group.mlp.shared_width + group.mlp.dense_width) / tp)
    if group.attention is not None:
        widths.append(group.attention.heads * max(group.attention.head_dim, group.attention.value_dim) / tp)
    if group.ssm is not None:
        widths.append(group.ssm.inner / tp)
    return max(widths)


def _module_bytes(
    arch: Architecture,
    group: LayerGroup,
    rows: float,
    seq_len: float,
    flash: bool,
    sharding: Sharding,
    width: float,
) -> dict[str, float]:
    """What parts of a layer keep beyond their inputs, which stay [B]; see ``recompute.MODULES``."""
    tp, hidden = sharding.tp, rows * arch.hidden * width * sharding.whole_share
    found = {"layernorm": hidden * (2.0 if group.norms >= 2 else 1.0)}
    a, mlp = group.attention, group.mlp
    if a is not None and not flash:
        found["core_attn"] = (2.0 * width + 1.0) * rows * seq_len * a.heads / tp
    if a is not None and a.kind == "mla":
        widths = (a.heads * a.head_dim + a.kv_heads * (a.head_dim + a.value_dim)) / tp
        found["mla_up_proj"] = max(rows * width * (widths - a.q_lora - a.kv_lora - a.rope_dim), 0.0)
    if isinstance(mlp, FeedForward):
        found["mlp"] = rows * mlp.width * width * (3.0 if mlp.gated else 2.0) / tp
    elif isinstance(mlp, Experts):
        each = rows * width * (3.0 if mlp.gated else 2.0) / tp
        found["moe_act"] = rows * mlp.top_k * mlp.width * width / tp
        found["shared_experts"] = (mlp.shared_width + mlp.dense_width) * each
        found["moe"] = hidden * mlp.top_k + mlp.top_k * mlp.width * each + found["shared_experts"]
    return found


def _product_bytes(
    arch: Architecture,
    a: Attention,
    mlp: FeedForward,
    rows: float,
    recompute: str,
    sharding: Sharding,
    width: float,
) -> float:
    """Results of attention, and of all products of a layer ("vector") or of the first, third and so on ("half")."""
    tp, whole = sharding.tp, arch.hidden * sharding.whole_share
    widths = [a.heads * a.head_dim / tp, a.kv_heads * a.head_dim / tp, a.kv_heads * a.value_dim / tp, whole]
    widths += [mlp.width / tp] * (2 if mlp.gated else 1) + [whole]
    return rows * width * (a.heads * a.value_dim / tp + sum(widths[:: 2 if recompute == "half" else 1]))


def _kept_bytes(
    arch: Architecture,
    group: LayerGroup,
    rows: float,
    seq_len: float,
    recompute: str,
    flash: bool,
    sharding: Sharding,
    width: float,
) -> float:
    """Bytes of one layer's activations beyond its input: norms, projections, scores, MLP inner values, masks."""
    tp = sharding.tp
    hidden = rows * arch.hidden * width * sharding.whole_share
    mask = 0.0 if flash else rows * arch.hidden * sharding.whole_share
    kept = hidden * (2.0 if group.norms >= 2 else 1.0)
    if group.attention is not None:
        a = group.attention
        kept += mask + rows * (a.heads + a.kv_heads) * (a.head_dim + a.value_dim) * width / tp
        if not flash and (recompute == "none" or recompute.startswith("modules:")):
            kept += (2.0 * width + 1.0) * rows * seq_len * a.heads / tp
    if isinstance(group.mlp, FeedForward):
        kept += mask + hidden + rows * group.mlp.width * width * (3.0 if group.mlp.gated else 2.0) / tp
    elif isinstance(group.mlp, Experts):
        e = group.mlp
        # Ranks that have parts of an expert gather each other's tokens for it.
        kept += mask + hidden * (1.0 + e.top_k * max(sharding.etp, 1))
        kept += rows * (e.top_k * e.width + e.shared_width + e.dense_width) * width * (3.0 if e.gated else 2.0) / tp
    if group.ssm is not None:
        kept += rows * group.ssm.inner * width * 5.0 / tp
    return kept
