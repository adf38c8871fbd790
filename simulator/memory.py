"""What must lie in the memory of one device: weights, KV cache, activations, gradients, optimizer states."""

from __future__ import annotations

from hardware_specs.dtypes import BITS
from workloads.lowering.plan import Precision, Sharding
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup
from workloads.models.parameters import count_parameters


def weight_bytes(arch: Architecture, precision: Precision, sharding: Sharding) -> float:
    """Weights on the fullest device [B]: embedding and head in ``head_bits``, the stack in ``weight_bits``.

    Experts are cut over ep (or tp) ways, everything else over tp; layers over pp stages, rounded up.
    """
    count = count_parameters(arch)
    stage = _stage_share(arch, sharding.pp)
    ends = count.embedding + count.head
    if sharding.pp > 1:
        ends = max(count.embedding, count.head or count.embedding)
    stack = (count.attention + count.mlp + count.ssm) / sharding.tp + count.norms
    experts = count.experts / (sharding.ep * sharding.expert_tp)
    bits = precision.weight_bits * (stack + experts) * stage
    return (bits + precision.head_bits * ends / sharding.tp + precision.weight_bits * count.extra) / 8.0


def _stage_share(arch: Architecture, pp: int) -> float:
    """Share of the layers on the fullest pipeline stage."""
    return -(-arch.layers // pp) / arch.layers


def kv_bytes_per_sequence(arch: Architecture, tokens: float, precision: Precision, sharding: Sharding) -> float:
    """Cache of one sequence of ``tokens`` on one device [B]."""
    total = sum(group.count * layer_kv_bytes(group, tokens, precision, sharding.tp) for group in arch.groups)
    return total * _stage_share(arch, sharding.pp)


def layer_kv_bytes(group: LayerGroup, tokens: float, precision: Precision, tp: int = 1) -> float:
    """Cache of one sequence of ``tokens`` in one layer on one device [B]; state space layers hold a constant state."""
    held = _attention_cache(group.attention, tokens, tp) * precision.kv_bits / 8.0
    if group.ssm is not None:
        held += group.ssm.inner * (group.ssm.state * 4.0 + group.ssm.conv * 2.0) / tp
    return held


def _attention_cache(a: Attention | None, tokens: float, tp: int) -> float:
    """Cached values of one layer and sequence: keys and values of the visible window, or the MLA latent."""
    if a is None:
        return 0.0
    seen = min(tokens, a.window) if a.window else tokens
    if a.kind == "mla":
        return seen * (a.kv_lora + a.rope_dim)
    return seen * max(a.kv_heads / tp, 1.0) * (a.head_dim + a.value_dim)


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
    arch: Architecture, micro_batch: int, seq_len: int, recompute: str, flash: bool, sharding: Sharding, in_flight: int
) -> float:
    """Activations kept for the backward pass on the fullest stage [B].

    Per layer of a dense transformer, ungated, with dropout: s b h (34 + 5 a s / h) bytes at tp = 1, the second
    term gone with selective recompute or flash attention, and 2 s b h with full recompute (Korthikanti et al.,
    arXiv:2205.05198, table 2). Here it is summed part by part, so that gated MLPs, grouped heads and experts
    come out too; sequence parallelism is not assumed. ``in_flight`` is the number of micro-batches a stage
    holds (1F1B: up to pp).
    """
    rows, tp = float(micro_batch * seq_len), sharding.tp
    total, widest = 0.0, 0.0
    for group in arch.groups:
        each = rows * arch.hidden * 2.0
        whole = each + _kept_bytes(arch, group, rows, float(seq_len), recompute, flash, tp)
        widest = max(widest, whole)
        total += group.count * (each if recompute == "full" else whole)
    kept = total * _stage_share(arch, sharding.pp) * in_flight
    logits = rows * arch.vocab / tp * (4.0 + 2.0)
    return kept + (widest if recompute == "full" else 0.0) + logits


def _kept_bytes(
    arch: Architecture, group: LayerGroup, rows: float, seq_len: float, recompute: str, flash: bool, tp: int
) -> float:
    """Bytes of one layer's activations beyond its input: norms, projections, scores, MLP inner values."""
    hidden = rows * arch.hidden * 2.0
    kept = hidden * (2.0 if group.norms >= 2 else 1.0)
    if group.attention is not None:
        a = group.attention
        kept += rows * (a.heads * a.head_dim * 2.0 + a.kv_heads * (a.head_dim + a.value_dim)) * 2.0 / tp
        if recompute == "none" and not flash:
            kept += 5.0 * rows * seq_len * a.heads / tp
    if isinstance(group.mlp, FeedForward):
        kept += hidden + rows * group.mlp.width * 2.0 * (3.0 if group.mlp.gated else 2.0) / tp
    elif isinstance(group.mlp, Experts):
        e = group.mlp
        kept += hidden * (1.0 + e.top_k)
        kept += rows * (e.top_k * e.width + e.shared_width + e.dense_width) * 2.0 * (3.0 if e.gated else 2.0) / tp
    if group.ssm is not None:
        kept += rows * group.ssm.inner * 2.0 * 5.0 / tp
    return kept


def state_bytes_per_parameter(dtype: str) -> tuple[float, float, float]:
    """Weights, gradients and Adam states per trained parameter [B].

    Mixed precision keeps 16-bit weights, fp32 gradients and an fp32 master copy with two moments (Rajbhandari
    et al., ZeRO, arXiv:1910.02054, section 3.1, with fp32 gradients as Megatron accumulates them).
    """
    if BITS[dtype] >= 32:
        return 4.0, 4.0, 8.0
    return 2.0, 4.0, 12.0
