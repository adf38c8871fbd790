"""Latent attention and fine-grained experts: DeepSeek V2 and V3, Kimi K2, Moonlight, MiniCPM 3; dots.llm1, GLM 4.5."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, Attention, Experts, LayerGroup
from workloads.models.checks import LARGEST
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import decoder, gated_mlp, layer_count, self_attention, stack
from workloads.models.huggingface.registry import reader


def latent_attention(c: Config) -> Attention:
    """Multi-head latent attention (DeepSeek V2, arXiv:2405.04434)."""
    heads, rope = c.whole("num_attention_heads"), c.whole("qk_rope_head_dim")
    bias = c.flag("attention_bias", False)
    return Attention(
        "mla",
        heads,
        heads,
        head_dim=c.whole("qk_nope_head_dim") + rope,
        v_head_dim=c.whole("v_head_dim"),
        q_lora=c.whole("q_lora_rank", default=0, least=0),
        kv_lora=c.whole("kv_lora_rank"),
        rope_dim=rope,
        qkv_bias=bias,
        out_bias=bias,
    )


def fine_experts(c: Config, balanced: bool) -> Experts:
    """Routed and shared experts of one width; ``balanced`` routers have the load-balance bias of DeepSeek V3."""
    width, count = c.whole("moe_intermediate_size"), c.whole("n_routed_experts")
    shared = c.whole("n_shared_experts", default=0, least=0, most=LARGEST // width)
    top_k = c.whole("num_experts_per_tok", most=count)
    return Experts(count, top_k, width, shared_width=shared * width, router_bias=balanced)


def mixed_layers(c: Config, attention: Attention, experts: Experts) -> tuple[LayerGroup, ...]:
    """Dense layers first, then experts in every ``moe_layer_freq``-th."""
    layers = layer_count(c)
    dense = c.whole("first_k_dense_replace", default=0, least=0)
    every = c.whole("moe_layer_freq", default=1)
    mlp = gated_mlp(c) if dense or every > 1 else None
    return stack(
        LayerGroup(1, attention, experts if layer >= dense and layer % every == 0 else mlp) for layer in range(layers)
    )


@reader("deepseek_v2", "deepseek_v3", "kimi_k2")
def read_deepseek(c: Config) -> Architecture:
    """DeepSeek V2 and V3: latent attention; the first layers dense, the others with routed and shared experts.
    The multi-token prediction layer, which serving may leave out, is not counted."""
    balanced = c.text("topk_method", default="noaux_tc" if "v2" not in c.text("model_type", default="") else "") == (
        "noaux_tc"
    )
    groups = mixed_layers(c, latent_attention(c), fine_experts(c, balanced))
    return decoder(c, c.whole("hidden_size"), groups)


@reader("minicpm3")
def read_minicpm3(c: Config) -> Architecture:
    """MiniCPM 3: latent attention with dense MLPs; the width of values defaults to that of the keys without rope."""
    attention = latent_attention(c.filled({"v_head_dim": c.values.get("qk_nope_head_dim")}))
    return decoder(c, c.whole("hidden_size"), (LayerGroup(layer_count(c), attention, gated_mlp(c)),), tied=True)


@reader("dots1", "glm4_moe")
def read_balanced(c: Config) -> Architecture:
    """dots.llm1 and GLM 4.5: DeepSeek V3's experts under grouped attention. dots normalises queries and keys, GLM
    where ``use_qk_norm``; GLM's bias is on queries, keys and values only."""
    hidden, dots = c.whole("hidden_size"), c.text("model_type", default="dots1") == "dots1"
    bias = c.flag("attention_bias", False)
    attention = msgspec.structs.replace(
        self_attention(c, hidden), qk_norm=c.flag("use_qk_norm", dots), qkv_bias=bias, out_bias=bias and dots
    )
    return decoder(c, hidden, mixed_layers(c, attention, fine_experts(c, balanced=True)))
