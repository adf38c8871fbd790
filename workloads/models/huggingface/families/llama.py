"""Llama and the many models that keep its layer: RMS norm, rotary grouped attention, gated MLP, no biases."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import (
    decoder,
    gated_mlp,
    layer_count,
    layer_windows,
    longest_context,
    self_attention,
    sliding_layers,
    stack,
    window_size,
    with_window,
)
from workloads.models.huggingface.registry import reader


@reader("llama", "aquila", "yi", "xverse", "granite", "internlm", "internlm2", "smollm3")
def read_llama(c: Config) -> Architecture:
    """Llama 1 to 3, and its like. Biases (``attention_bias``; InternLM: ``bias``) are on all four projections."""
    hidden = c.whole("hidden_size")
    bias = c.flag("attention_bias", c.flag("bias", False))
    attention = msgspec.structs.replace(self_attention(c, hidden), qkv_bias=bias, out_bias=bias)
    mlp = gated_mlp(c, bias=c.flag("mlp_bias", False))
    return decoder(c, hidden, (LayerGroup(layer_count(c), attention, mlp),))


@reader("mistral", "ministral")
def read_mistral(c: Config) -> Architecture:
    """Mistral: Llama with a sliding window in every layer (7B v0.1) or none."""
    hidden = c.whole("hidden_size")
    layers = layer_count(c)
    windows = layer_windows(c, layers, window_size(c), lambda layer: True)
    return decoder(c, hidden, sliding_layers(self_attention(c, hidden), gated_mlp(c), windows))


@reader("bitnet")
def read_bitnet(c: Config) -> Architecture:
    """BitNet b1.58: Llama with a norm before the output projection (counted as a third full-width norm)."""
    arch = read_llama(c)
    return msgspec.structs.replace(arch, groups=tuple(msgspec.structs.replace(group, norms=3) for group in arch.groups))


@reader("deci")
def read_deci(c: Config) -> Architecture:
    """DeciLM 7B: Llama with its own number of key/value heads in each layer."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    per_layer = c.wholes("num_key_value_heads_per_layer", layers, least=1)
    if per_layer is None:
        return read_llama(c)
    mlp = gated_mlp(c)
    attentions = [
        self_attention(Config(c.file, c.values | {"num_key_value_heads": kv}, c.inside), hidden) for kv in per_layer
    ]
    return decoder(c, hidden, stack(LayerGroup(1, attention, mlp) for attention in attentions))


@reader("baichuan")
def read_baichuan(c: Config) -> Architecture:
    """Baichuan 1 and 2: Llama without grouped heads; 13B has ALiBi and gives ``model_max_length`` instead."""
    hidden = c.whole("hidden_size")
    rotary = c.has("max_position_embeddings")
    attention = msgspec.structs.replace(self_attention(c, hidden, kv_heads=()), rotary=rotary)
    arch = decoder(c, hidden, (LayerGroup(layer_count(c), attention, gated_mlp(c)),))
    return msgspec.structs.replace(
        arch, max_positions=longest_context(c, "max_position_embeddings", "model_max_length")
    )


@reader("olmo")
def read_olmo(c: Config) -> Architecture:
    """OLMo 1: Llama whose layer norms have no weights at all."""
    return msgspec.structs.replace(read_llama(c), norm="layernorm", norm_weight=False)


@reader("olmo2", "olmo3")
def read_olmo2(c: Config) -> Architecture:
    """OLMo 2 and 3: norms after attention and MLP, queries and keys normalised over all heads; 3 slides in 3 of 4."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    attention = msgspec.structs.replace(self_attention(c, hidden), qk_norm=True, qk_norm_full=True)
    windows = layer_windows(c, layers, window_size(c), lambda layer: (layer + 1) % 4 != 0)
    return decoder(c, hidden, sliding_layers(attention, gated_mlp(c), windows))


@reader("chameleon")
def read_chameleon(c: Config) -> Architecture:
    """Chameleon: Llama with layer norm (weight and bias) on queries and keys; the image tokenizer is not counted."""
    arch = read_llama(c)
    layer = arch.groups[0]
    assert layer.attention is not None
    attention = msgspec.structs.replace(layer.attention, qk_norm=True, qk_norm_full=True, qk_norm_affine="both")
    return msgspec.structs.replace(arch, groups=(msgspec.structs.replace(layer, attention=attention),))


@reader("stablelm")
def read_stablelm(c: Config) -> Architecture:
    """StableLM: Llama with layer norm, sometimes parallel blocks and norms of single heads."""
    hidden, parallel = c.whole("hidden_size"), c.flag("use_parallel_residual", False)
    normed = c.flag("qk_layernorm", False)
    attention = msgspec.structs.replace(
        self_attention(c, hidden), qkv_bias=c.flag("use_qkv_bias", False), qk_norm=normed, qk_norm_full=normed
    )
    layer = LayerGroup(layer_count(c), attention, gated_mlp(c), norms=1 if parallel else 2, parallel=parallel)
    return msgspec.structs.replace(decoder(c, hidden, (layer,)), norm="layernorm")


@reader("cohere", "cohere2")
def read_cohere(c: Config) -> Architecture:
    """Command R: parallel blocks, one layer norm without bias, tied; Command R7B and A slide in 3 of 4 layers."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    normed = c.flag("use_qk_norm", False)
    bias = c.flag("attention_bias", False)
    attention = msgspec.structs.replace(
        self_attention(c, hidden), qk_norm=normed, qk_norm_full=normed, qkv_bias=bias, out_bias=bias
    )
    every = c.whole("sliding_window_pattern", default=4)
    windows = layer_windows(c, layers, window_size(c), lambda layer: (layer + 1) % every != 0)
    mlp = gated_mlp(c)
    groups = stack(LayerGroup(1, with_window(attention, w), mlp, norms=1, parallel=True) for w in windows)
    return msgspec.structs.replace(decoder(c, hidden, groups, tied=True), norm="layernorm", norm_bias=False)


@reader("phi3")
def read_phi3(c: Config) -> Architecture:
    """Phi 3, 3.5 and 4: Llama with fused projections, which cost the same; mini slides over 2047 tokens."""
    return read_mistral(c)
