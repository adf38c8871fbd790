"""Mixtures of experts with ordinary attention: Mixtral, Phi MoE, Granite MoE, OLMoE, gpt-oss, Llama 4, Hunyuan."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, Experts, FeedForward, LayerGroup
from workloads.models.checks import LARGEST
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import (
    activation,
    decoder,
    layer_count,
    layer_windows,
    same_for_all,
    self_attention,
    stack,
    window_size,
    with_window,
)
from workloads.models.huggingface.registry import reader
from workloads.models.huggingface.vision import llama4_vision


def routed(c: Config, count: str, width: str) -> Experts:
    """The routed experts: how many, how wide, how many per token."""
    number = c.whole(count)
    return Experts(number, c.whole("num_experts_per_tok", "experts_per_token", most=number), c.whole(width))


@reader("mixtral", "granitemoe")
def read_mixtral(c: Config) -> Architecture:
    """Mixtral: Mistral with experts in every layer."""
    hidden = c.whole("hidden_size")
    attention = with_window(self_attention(c, hidden), window_size(c))
    experts = routed(c, "num_local_experts", "intermediate_size")
    return decoder(c, hidden, (LayerGroup(layer_count(c), attention, experts),))


@reader("olmoe")
def read_olmoe(c: Config) -> Architecture:
    """OLMoE: many small experts; queries and keys normalised over all heads."""
    hidden = c.whole("hidden_size")
    attention = msgspec.structs.replace(self_attention(c, hidden), qk_norm=True, qk_norm_full=True)
    experts = routed(c, "num_experts", "intermediate_size")
    return decoder(c, hidden, (LayerGroup(layer_count(c), attention, experts),))


@reader("phimoe")
def read_phimoe(c: Config) -> Architecture:
    """Phi 3.5 MoE: Mixtral with layer norm and biases on attention and head."""
    hidden = c.whole("hidden_size")
    bias = c.flag("attention_bias", False)
    attention = with_window(self_attention(c, hidden), window_size(c))
    attention = msgspec.structs.replace(attention, qkv_bias=bias, out_bias=bias)
    experts = routed(c, "num_local_experts", "intermediate_size")
    arch = decoder(c, hidden, (LayerGroup(layer_count(c), attention, experts),))
    return msgspec.structs.replace(arch, norm="layernorm", head_bias=c.flag("lm_head_bias", False))


@reader("gpt_oss")
def read_gpt_oss(c: Config) -> Architecture:
    """gpt-oss: experts and router with biases, attention sinks, every second layer sliding (the first one too)."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    bias = c.flag("attention_bias", True)
    attention = msgspec.structs.replace(self_attention(c, hidden), qkv_bias=bias, out_bias=bias, sinks=True)
    experts = msgspec.structs.replace(routed(c, "num_local_experts", "intermediate_size"), bias=True, router_bias=True)
    windows = layer_windows(c, layers, window_size(c), lambda layer: layer % 2 == 0)
    return decoder(c, hidden, stack(LayerGroup(1, with_window(attention, w), experts) for w in windows))


@reader("llama4", "llama4_text")
def read_llama4(c: Config) -> Architecture:
    """Llama 4: experts (one shared) in every or every second layer; 3 of 4 layers are rotary and attend within
    chunks, counted as a sliding window of a chunk; the fourth is neither. Norms of queries and keys have no weights
    and are in rotary layers only."""
    whole = c
    c = c.section("text_config") if c.has("text_config") else c
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    base = self_attention(c, hidden)
    chunk = c.whole("attention_chunk_size", default=0, least=0)
    interval = c.whole("no_rope_layer_interval", default=4)
    rotary = c.wholes("no_rope_layers", layers) if c.values.get("no_rope_layers") else None
    rotary = rotary or [int((layer + 1) % interval != 0) for layer in range(layers)]
    width = c.whole("intermediate_size")
    experts = msgspec.structs.replace(routed(c, "num_local_experts", "intermediate_size"), shared_width=width)
    dense = FeedForward(c.whole("intermediate_size_mlp", default=width), activation=activation(c, "hidden_act"))
    sparse = _sparse_layers(c, layers)

    turned = msgspec.structs.replace(base, window=chunk)
    if c.flag("use_qk_norm", True):
        turned = msgspec.structs.replace(turned, qk_norm=True, qk_norm_affine="none")
    still = msgspec.structs.replace(base, rotary=False)

    def layer(index: int) -> LayerGroup:
        return LayerGroup(1, turned if rotary[index] else still, experts if index in sparse else dense)

    arch = decoder(c, hidden, stack(map(layer, range(layers))))
    return msgspec.structs.replace(arch, extra_params=float(llama4_vision(whole, hidden)))


def _sparse_layers(c: Config, layers: int) -> set[int]:
    """Layers with experts: a list, or every ``interleave_moe_layer_step``-th."""
    listed = c.values.get("moe_layers")
    if listed:
        found = c.wholes("moe_layers", len(listed)) if isinstance(listed, list) else None
        if found is None or max(found) >= layers:
            raise c.wrong("moe_layers", f"a list of layer numbers below {layers}")
        return set(found)
    step = c.whole("interleave_moe_layer_step", default=1)
    return set(range(step - 1, layers, step))


@reader("hunyuan_v1_moe", "hunyuan")
def read_hunyuan(c: Config) -> Architecture:
    """Hunyuan A13B: experts and shared experts of one width in every layer, normalised queries and keys."""
    hidden = c.whole("hidden_size")
    bias = c.flag("attention_bias", False)
    attention = msgspec.structs.replace(
        self_attention(c, hidden), qk_norm=c.flag("use_qk_norm", True), qkv_bias=bias, out_bias=bias
    )
    width = same_for_all(c, "moe_intermediate_size", c.whole("intermediate_size"))
    count = same_for_all(c, "num_experts", 1)
    top_k = same_for_all(c, "moe_topk", 1)
    shared = width * same_for_all(c, "num_shared_expert", 1)
    if shared > LARGEST or not 1 <= top_k <= count:
        raise c.wrong("moe_topk", f"a whole number from 1 to num_experts ({count})")
    experts = Experts(count, top_k, width, shared_width=shared)
    return decoder(c, hidden, (LayerGroup(layer_count(c), attention, experts),))
