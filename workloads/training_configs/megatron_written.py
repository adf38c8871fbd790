"""A training configuration as a script for Megatron-LM."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

import msgspec

from hardware_specs.errors import InputError
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward
from workloads.training_configs.megatron import read_megatron
from workloads.training_configs.record import TrainingConfig

_UNSAID: Final = ("form", "runtime", "assumed", "left_out", "model")
"""Fields that arguments do not say."""
_UNSHAPED: Final = {
    "id": "", "source": "", "hf_id": "", "family": "", "notes": "", "published_params": None, "published_active": None,
    "default_dtype": "", "quantization": "",
}  # fmt: skip
_STRATEGIES: Final = {2: "optim_grads", 3: "optim_grads_params"}
_EXCHANGES: Final = {"all-to-all": "a2a", "all-gather": "all_gather", "hierarchical": "a2a+p2p"}


def megatron_script(config: TrainingConfig) -> str:
    """The script that starts this run.

    Raises:
        InputError: it has something that the arguments of Megatron-LM cannot say.
    """
    words = list(megatron_arguments(config))
    launcher = ["torchrun"]
    if config.nodes is not None and config.devices is not None and config.devices % config.nodes == 0:
        launcher += ["--nnodes", str(config.nodes), "--nproc_per_node", str(config.devices // config.nodes)]
    lines: list[str] = []
    for word in words:
        if word.startswith("--"):
            lines.append(word)
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n    ".join(["#!/bin/bash\n" + " ".join([*launcher, "pretrain_gpt.py"]), *lines]) + "\n"


def megatron_arguments(config: TrainingConfig) -> tuple[str, ...]:
    """The words of a Megatron-LM command line; nodes and devices belong to its launcher.

    Raises:
        InputError: the configuration has something that the arguments cannot say, with its fields.
    """
    arch = config.architecture
    words: list[str] = []
    for option, value in (*_model(arch), *_batch(config), *_ways(config), *_memory(config), *_numbers(config)):
        if value is True:
            words.append(f"--{option}")
        elif value not in (False, None):
            words += [f"--{option}", str(value)]
    back = read_megatron(" ".join(map(shlex.quote, words)), arch.id, arch.id, "", {})
    lost = [
        name
        for name in TrainingConfig.__struct_fields__
        if name not in (*_UNSAID, "nodes", "devices") and getattr(back, name) != getattr(config, name)
    ]
    if _shaped(back.architecture) != _shaped(arch):
        lost.append("model")
    if lost:
        raise InputError(f"{arch.id}: the arguments of Megatron-LM cannot say its {', '.join(lost)}")
    return tuple(words)


_Said = Iterator[tuple[str, object]]


def _model(arch: Architecture) -> _Said:
    dense = next((g.mlp for g in arch.groups if isinstance(g.mlp, FeedForward)), None)
    experts = next((g.mlp for g in arch.groups if isinstance(g.mlp, Experts)), None)
    attention = next((g.attention for g in arch.groups if g.attention is not None), None)
    yield "num-layers", arch.layers
    yield "hidden-size", arch.hidden
    yield "padded-vocab-size", arch.vocab
    yield "embed-layernorm", arch.embedding_norm
    yield "max-position-embeddings", arch.max_positions or None
    yield "untie-embeddings-and-output-weights", not arch.tied
    yield "normalization", "RMSNorm" if arch.norm == "rmsnorm" else "LayerNorm"
    if attention is not None:
        yield from _attention(attention, bool(arch.learned_positions))
    width = dense.width if dense is not None else experts.width if experts is not None else None
    gated = (dense or experts or FeedForward(1)).gated
    activation = dense.activation if dense is not None else "silu"
    yield "ffn-hidden-size", width
    yield "swiglu", gated and activation == "silu"
    yield "geglu", gated and activation == "gelu"
    yield "squared-relu", activation == "relu"
    if experts is not None:
        yield from _experts(experts)
        yield "moe-layer-freq", "+".join(f"[{int(isinstance(g.mlp, Experts))}]*{g.count}" for g in arch.groups)


def _attention(a: Attention, learned: bool) -> _Said:
    yield "num-attention-heads", a.heads
    yield "position-embedding-type", "rope" if a.rotary else "learned_absolute" if learned else "none"
    yield "disable-bias-linear", not a.out_bias
    yield "add-qkv-bias", a.qkv_bias and not a.out_bias
    yield "qk-layernorm", a.qk_norm
    if a.kind == "mla":
        yield "multi-latent-attention", True
        yield "qk-head-dim", a.head_dim - a.rope_dim
        yield "qk-pos-emb-head-dim", a.rope_dim
        yield "v-head-dim", a.value_dim
        yield "q-lora-rank", a.q_lora or None
        yield "kv-lora-rank", a.kv_lora
    else:
        yield "kv-channels", a.head_dim
        yield "group-query-attention", a.kv_heads != a.heads
        yield "num-query-groups", a.kv_heads if a.kv_heads != a.heads else None


def _experts(e: Experts) -> _Said:
    yield "num-experts", e.count
    yield "moe-router-topk", e.top_k
    yield "moe-ffn-hidden-size", e.width
    yield "moe-shared-expert-intermediate-size", e.shared_width or None
    yield "moe-shared-expert-gate", e.shared_gate
    yield "moe-router-enable-expert-bias", e.router_bias


def _batch(c: TrainingConfig) -> _Said:
    yield "seq-length", c.seq_len
    yield "micro-batch-size", c.micro_batch
    yield "global-batch-size", c.global_batch
    yield "train-iters", c.steps
    yield "save-interval", c.checkpoint_interval
    yield "async-save", c.checkpoint_async
    yield "lora-r", c.lora_rank or None
    yield "lora-target-modules", " ".join(c.lora_modules) or None
    yield "qlora", c.qlora
    yield "moe-expert-capacity-factor", c.expert_capacity


def _ways(c: TrainingConfig) -> _Said:
    sparse = any(isinstance(group.mlp, Experts) for group in c.architecture.groups)
    yield "tensor-model-parallel-size", c.tp
    yield "pipeline-model-parallel-size", c.pp
    yield "context-parallel-size", c.cp
    yield "expert-model-parallel-size", c.ep
    yield "expert-tensor-parallel-size", c.etp if sparse else None
    yield "num-virtual-stages-per-pipeline-rank", c.vpp if c.vpp > 1 else None
    yield "decoder-first-pipeline-num-layers", c.first_stage or None
    yield "decoder-last-pipeline-num-layers", c.last_stage or None
    yield "sequence-parallel", c.sequence_parallel
    yield "cp-comm-type", _EXCHANGES.get(c.cp_exchange)
    yield "enable-zero-bubble", c.schedule == "zb-h1"
    yield "zero-bubble-v-schedule", c.schedule == "zb-v"
    yield "use-distributed-optimizer", c.zero >= 1
    yield "use-megatron-fsdp", c.zero >= 2
    yield "data-parallel-sharding-strategy", _STRATEGIES.get(c.zero)
    yield "num-distributed-optimizer-instances", c.copies if c.copies > 1 else None
    yield "overlap-grad-reduce", c.overlap.gradients
    yield "overlap-param-gather", c.overlap.parameters
    yield "tp-comm-overlap", c.overlap.tensor
    yield "no-overlap-p2p-communication", c.vpp > 1 and not c.overlap.pipeline
    yield "overlap-moe-expert-parallel-comm", c.overlap.experts


def _memory(c: TrainingConfig) -> _Said:
    policy, offload = c.recompute, c.offload
    full = policy.policy == "full"
    yield "recompute-granularity", None if policy.policy == "none" else policy.policy
    yield "recompute-modules", " ".join(policy.modules) or None
    yield "recompute-method", ("block" if policy.first else "uniform") if full else None
    yield "recompute-num-layers", (policy.first or policy.span) if full else None
    yield "optimizer-cpu-offload", offload.optimizer > 0.0
    yield "optimizer-offload-fraction", offload.optimizer if offload.optimizer > 0.0 else None
    yield "cpu-offloading-num-layers", offload.layers or None
    yield "fine-grained-activation-offloading", offload.activations and not offload.layers
    yield "offload-modules", " ".join(offload.modules) or None


def _numbers(c: TrainingConfig) -> _Said:
    eight = c.optimizer == "adam-8bit"
    yield "bf16", c.precision in ("bf16", "fp8")
    yield "fp16", c.precision == "fp16"
    yield "fp8-format", "hybrid" if c.precision == "fp8" else None
    yield "fp8-recipe", c.fp8_recipe or None
    yield "accumulate-allreduce-grads-in-fp32", c.precision == "fp16" and c.gradients == "fp32"
    yield "grad-reduce-in-bf16", c.gradients == "bf16"
    yield "optimizer", "adam" if eight else c.optimizer
    yield "exp-avg-dtype", "fp8" if eight else None
    yield "exp-avg-sq-dtype", "fp8" if eight else None
    yield "attention-backend", {True: "flash", False: "unfused", None: None}[c.flash_attention]


def _shaped(arch: Architecture) -> Architecture:
    """The architecture without its names and its sources."""
    return msgspec.structs.replace(arch, **_UNSHAPED)
