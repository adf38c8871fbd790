"""GPT-2 and what came of it: GPT-J, GPT-Neo, GPT-NeoX, StarCoder, OPT, XGLM, Phi 1 and 2, Persimmon. Layer norm,
two-matrix MLPs and biases."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, FeedForward, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import (
    activation,
    decoder,
    layer_count,
    longest_context,
    self_attention,
    stack,
    window_size,
    with_window,
)
from workloads.models.huggingface.registry import reader


def plain_mlp(c: Config, width: int, *keys: str, bias: bool = True, default: str = "gelu_new") -> FeedForward:
    """Two matrices."""
    return FeedForward(width, gated=False, bias=bias, activation=activation(c, *keys, default=default))


@reader("gpt2", "gpt_bigcode")
def read_gpt2(c: Config) -> Architecture:
    """GPT-2, and StarCoder 1 with one key/value head (``multi_query``): learned positions, biases everywhere, tied."""
    hidden = c.whole("n_embd", "hidden_size")
    if c.flag("multi_query", False):
        c = c.filled({"num_key_value_heads": 1})
    attention = self_attention(c, hidden, heads=("n_head", "num_attention_heads"))
    attention = msgspec.structs.replace(attention, rotary=False, qkv_bias=True, out_bias=True)
    mlp = plain_mlp(c, c.whole("n_inner", default=4 * hidden), "activation_function")
    positions = c.whole("n_positions", "max_position_embeddings")
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c, "n_layer", "num_hidden_layers"), attention, mlp),),
        tied=c.flag("tie_word_embeddings", True),
        norm="layernorm",
        learned_positions=positions,
        max_positions=positions,
    )


@reader("gptj")
def read_gptj(c: Config) -> Architecture:
    """GPT-J: rotary, parallel blocks behind one norm, biases in MLP and head only."""
    hidden = c.whole("n_embd")
    attention = self_attention(c, hidden, heads=("n_head",), kv_heads=())
    mlp = plain_mlp(c, c.whole("n_inner", default=4 * hidden), "activation_function")
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c, "n_layer"), attention, mlp, norms=1, parallel=True),),
        tied=c.flag("tie_word_embeddings", False),
        norm="layernorm",
        head_bias=True,
        max_positions=longest_context(c, "n_positions"),
    )


@reader("gpt_neo")
def read_gpt_neo(c: Config) -> Architecture:
    """GPT-Neo: GPT-2 with alternating local attention and no biases on queries, keys and values."""
    hidden, layers = c.whole("hidden_size"), layer_count(c, "num_layers")
    attention = self_attention(c, hidden, heads=("num_heads",), kv_heads=())
    attention = msgspec.structs.replace(attention, rotary=False, out_bias=True)
    mlp = plain_mlp(c, c.whole("intermediate_size", default=4 * hidden), "activation_function")
    positions = c.whole("max_position_embeddings")
    kinds = c.words("attention_layers", layers, ("global", "local")) or ["global", "local"] * layers
    window = c.whole("window_size", default=256)
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=stack(
            LayerGroup(1, with_window(attention, window if kind == "local" else 0), mlp) for kind in kinds[:layers]
        ),
        tied=c.flag("tie_word_embeddings", True),
        norm="layernorm",
        learned_positions=positions,
        max_positions=positions,
    )


@reader("gpt_neox")
def read_gpt_neox(c: Config) -> Architecture:
    """GPT-NeoX, Pythia, Dolly: rotary, biases, attention and MLP in parallel behind a norm of their own."""
    hidden = c.whole("hidden_size")
    bias = c.flag("attention_bias", True)
    attention = msgspec.structs.replace(self_attention(c, hidden, kv_heads=()), qkv_bias=bias, out_bias=bias)
    mlp = plain_mlp(c, c.whole("intermediate_size"), "hidden_act", default="gelu")
    layer = LayerGroup(layer_count(c), attention, mlp, parallel=c.flag("use_parallel_residual", True))
    return msgspec.structs.replace(decoder(c, hidden, (layer,)), norm="layernorm")


@reader("opt")
def read_opt(c: Config) -> Architecture:
    """OPT: GPT-2 with ReLU; two more position rows than tokens; 350M has a narrow embedding, projected in and out,
    and no final norm."""
    hidden, bias = c.whole("hidden_size"), c.flag("enable_bias", True)
    attention = self_attention(c, hidden, kv_heads=())
    attention = msgspec.structs.replace(attention, rotary=False, qkv_bias=bias, out_bias=bias)
    mlp = plain_mlp(c, c.whole("ffn_dim"), "activation_function", bias=bias, default="relu")
    positions = c.whole("max_position_embeddings")
    narrow = c.whole("word_embed_proj_dim", default=hidden)
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c), attention, mlp),),
        tied=c.flag("tie_word_embeddings", True),
        norm="layernorm",
        learned_positions=positions + 2,
        embedding_dim=0 if narrow == hidden else narrow,
        final_norm=c.flag("do_layer_norm_before", True) and not c.flag("_remove_final_layer_norm", False),
        max_positions=positions,
    )


@reader("xglm")
def read_xglm(c: Config) -> Architecture:
    """XGLM: OPT's layer with sinusoidal positions."""
    hidden = c.whole("d_model")
    attention = self_attention(c, hidden, heads=("attention_heads",), kv_heads=())
    attention = msgspec.structs.replace(attention, rotary=False, qkv_bias=True, out_bias=True)
    mlp = plain_mlp(c, c.whole("ffn_dim"), "activation_function", default="gelu")
    layer = LayerGroup(layer_count(c, "num_layers"), attention, mlp)
    return msgspec.structs.replace(decoder(c, hidden, (layer,), tied=True), norm="layernorm")


@reader("starcoder2")
def read_starcoder2(c: Config) -> Architecture:
    """StarCoder 2: rotary grouped attention with a window, GPT-2's MLP, biases everywhere."""
    hidden, bias = c.whole("hidden_size"), c.flag("use_bias", True)
    attention = with_window(self_attention(c, hidden), window_size(c))
    attention = msgspec.structs.replace(attention, qkv_bias=bias, out_bias=bias)
    mlp = plain_mlp(c, c.whole("intermediate_size"), "hidden_act", bias=bias, default="gelu_pytorch_tanh")
    layer = LayerGroup(layer_count(c), attention, mlp)
    return msgspec.structs.replace(decoder(c, hidden, (layer,), tied=True), norm="layernorm")


@reader("phi")
def read_phi(c: Config) -> Architecture:
    """Phi 1, 1.5 and 2: parallel blocks behind one norm, biases everywhere, the head included."""
    hidden = c.whole("hidden_size")
    normed = c.flag("qk_layernorm", False)
    attention = msgspec.structs.replace(self_attention(c, hidden), qkv_bias=True, out_bias=True)
    if normed:
        attention = msgspec.structs.replace(attention, qk_norm=True, qk_norm_affine="both")
    mlp = plain_mlp(c, c.whole("intermediate_size"), "hidden_act")
    layer = LayerGroup(layer_count(c), attention, mlp, norms=1, parallel=True)
    return msgspec.structs.replace(decoder(c, hidden, (layer,)), norm="layernorm", head_bias=True)


@reader("phi3small")
def read_phi3_small(c: Config) -> Architecture:
    """Phi 3 small: biases, gated GELU, tied. Its block-sparse layers are counted as full attention."""
    hidden = c.whole("hidden_size")
    attention = msgspec.structs.replace(self_attention(c, hidden), qkv_bias=True, out_bias=True)
    mlp = FeedForward(c.whole("ff_intermediate_size"), bias=True, activation=activation(c, "hidden_act"))
    layer = LayerGroup(layer_count(c), attention, mlp)
    return msgspec.structs.replace(decoder(c, hidden, (layer,), tied=True), norm="layernorm")


@reader("persimmon")
def read_persimmon(c: Config) -> Architecture:
    """Persimmon: biases everywhere, squared ReLU, queries and keys normalised head by head."""
    hidden = c.whole("hidden_size")
    attention = msgspec.structs.replace(
        self_attention(c, hidden, kv_heads=()), qkv_bias=True, out_bias=True, qk_norm=True, qk_norm_affine="both"
    )
    mlp = plain_mlp(c, c.whole("intermediate_size"), "hidden_act", default="relu2")
    layer = LayerGroup(layer_count(c), attention, mlp)
    return msgspec.structs.replace(decoder(c, hidden, (layer,)), norm="layernorm")
