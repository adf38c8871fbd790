"""Qwen 1 to 3.5: biased or normalised queries and keys, mixtures of experts, hybrids with linear attention."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.models.huggingface.config import MOST_LAYERS, Config
from workloads.models.huggingface.families.experts import routed
from workloads.models.huggingface.parts import (
    attention_kind,
    decoder,
    gated_mlp,
    head_width,
    layer_count,
    layer_windows,
    longest_context,
    self_attention,
    sliding_layers,
    stack,
    window_size,
)
from workloads.models.huggingface.registry import reader
from workloads.models.huggingface.vision import qwen2_vision, qwen3_vision


@reader("qwen")
def read_qwen1(c: Config) -> Architecture:
    """Qwen 1: Llama with biased queries, keys and values; ``intermediate_size`` counts both gated halves."""
    hidden, heads = c.whole("hidden_size"), c.whole("num_attention_heads")
    width = head_width(c, hidden, heads, "num_attention_heads", ("kv_channels",))
    attention = Attention(attention_kind(heads, heads), heads, heads, width, qkv_bias=True)
    mlp = FeedForward(c.whole("intermediate_size", least=2) // 2)
    arch = decoder(c, hidden, (LayerGroup(layer_count(c), attention, mlp),))
    return msgspec.structs.replace(arch, max_positions=longest_context(c, "max_position_embeddings", "seq_length"))


def _biased(c: Config, hidden: int) -> Attention:
    return msgspec.structs.replace(self_attention(c, hidden), qkv_bias=True)


def _normed(c: Config, hidden: int) -> Attention:
    bias = c.flag("attention_bias", False)
    attention = self_attention(c.filled({"head_dim": 128}), hidden)
    return msgspec.structs.replace(attention, qk_norm=True, qkv_bias=bias, out_bias=bias)


def _windows(c: Config, layers: int) -> list[int]:
    """Windows are off unless ``use_sliding_window``; then layers from ``max_window_layers`` on have one."""
    if not c.flag("use_sliding_window", False):
        return [0] * layers
    first = c.whole("max_window_layers", default=layers, least=0)
    return layer_windows(c, layers, window_size(c), lambda layer: layer >= first)


@reader("qwen2", "qwen2_text")
def read_qwen2(c: Config) -> Architecture:
    """Qwen 1.5, 2 and 2.5: Llama with biased queries, keys and values."""
    hidden = c.whole("hidden_size")
    return decoder(c, hidden, sliding_layers(_biased(c, hidden), gated_mlp(c), _windows(c, layer_count(c))))


@reader("qwen3", "qwen3_vl_text")
def read_qwen3(c: Config) -> Architecture:
    """Qwen 3: no biases, queries and keys normalised head by head."""
    hidden = c.whole("hidden_size")
    return decoder(c, hidden, sliding_layers(_normed(c, hidden), gated_mlp(c), _windows(c, layer_count(c))))


@reader("qwen2_moe")
def read_qwen2_moe(c: Config) -> Architecture:
    """Qwen 1.5 and 2 MoE: routed experts and a gated shared one."""
    hidden = c.whole("hidden_size")
    experts = msgspec.structs.replace(
        routed(c, "num_experts", "moe_intermediate_size"),
        shared_width=c.whole("shared_expert_intermediate_size"),
        shared_gate=True,
    )
    return decoder(c, hidden, _mixed(c, _biased(c, hidden), experts))


@reader("qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_text")
def read_qwen3_moe(c: Config) -> Architecture:
    """Qwen 3 MoE: routed experts only."""
    hidden = c.whole("hidden_size")
    return decoder(c, hidden, _mixed(c, _normed(c, hidden), routed(c, "num_experts", "moe_intermediate_size")))


def _dense_layers(c: Config, layers: int) -> set[int]:
    """Layers with a dense MLP: those listed in ``mlp_only_layers`` and between the ``decoder_sparse_step``-th."""
    listed = c.values.get("mlp_only_layers") or []
    if not isinstance(listed, list) or any(not isinstance(i, int) or not 0 <= i < layers for i in listed):
        raise c.wrong("mlp_only_layers", f"a list of layer numbers below {layers}")
    step = c.whole("decoder_sparse_step", default=1, most=MOST_LAYERS)
    return {*listed, *(layer for layer in range(layers) if (layer + 1) % step)}


def _mixed(c: Config, attention: Attention, experts: Experts) -> tuple[LayerGroup, ...]:
    layers = layer_count(c)
    dense = _dense_layers(c, layers)
    mlp = gated_mlp(c) if dense else None
    return stack(LayerGroup(1, attention, mlp if layer in dense else experts) for layer in range(layers))


@reader("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
def read_qwen3_next(c: Config) -> Architecture:
    """Qwen 3 Next and 3.5: three gated delta rule layers to one of gated attention, dense or with experts."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    attention = msgspec.structs.replace(_normed(c.filled({"head_dim": 256}), hidden), out_gate=True)
    keys, values = c.whole("linear_num_key_heads"), c.whole("linear_num_value_heads")
    linear = StateSpace(
        inner=values * c.whole("linear_value_head_dim"),
        state=c.whole("linear_key_head_dim"),
        conv=c.whole("linear_conv_kernel_dim", default=4),
        heads=values,
        groups=keys,
        conv_bias=False,
        delta=True,
    )
    mlp: FeedForward | Experts
    if c.has("num_experts"):
        mlp = msgspec.structs.replace(
            routed(c, "num_experts", "moe_intermediate_size"),
            shared_width=c.whole("shared_expert_intermediate_size"),
            shared_gate=True,
        )
    else:
        mlp = gated_mlp(c)
    every = c.whole("full_attention_interval", default=4)
    types = c.words("layer_types", layers, ("linear_attention", "full_attention"))
    types = types or ["linear_attention" if (i + 1) % every else "full_attention" for i in range(layers)]
    return decoder(
        c,
        hidden,
        stack(
            LayerGroup(1, attention, mlp) if kind == "full_attention" else LayerGroup(1, None, mlp, linear)
            for kind in types
        ),
    )


@reader("qwen3_5", "qwen3_5_moe")
def read_qwen3_5(c: Config) -> Architecture:
    """Qwen 3.5 with its vision tower."""
    arch = read_qwen3_next(_inner(c))
    return msgspec.structs.replace(arch, extra_params=float(qwen3_vision(c)))


@reader("qwen2_vl", "qwen2_5_vl")
def read_qwen2_vl(c: Config) -> Architecture:
    """Qwen 2 and 2.5 VL: the text model at the top level (older files) or in ``text_config``."""
    arch = read_qwen2(_inner(c) if c.has("text_config") else c)
    return msgspec.structs.replace(arch, extra_params=float(qwen2_vision(c, arch.hidden)))


@reader("qwen3_vl", "qwen3_vl_moe")
def read_qwen3_vl(c: Config) -> Architecture:
    """Qwen 3 VL."""
    text = _inner(c)
    arch = read_qwen3_moe(text) if text.has("num_experts") else read_qwen3(text)
    return msgspec.structs.replace(arch, extra_params=float(qwen3_vision(c)))


@reader("qwen3_omni_moe")
def read_qwen3_omni(c: Config) -> Architecture:
    """Qwen 3 Omni: the thinker's text model and vision tower; audio encoder and talker are not counted."""
    thinker = c.section("thinker_config")
    arch = read_qwen3_moe(_inner(thinker))
    return msgspec.structs.replace(arch, extra_params=float(qwen3_vision(thinker)))


def _inner(c: Config) -> Config:
    """The text model's config; tying may be said outside only."""
    text = c.section("text_config")
    return text.filled({"tie_word_embeddings": c.flag("tie_word_embeddings", False)})
