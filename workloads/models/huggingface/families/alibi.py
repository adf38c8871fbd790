"""BLOOM, Falcon and MPT: positions by ALiBi (Falcon: mostly rotary), tied embeddings, layer norm."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, Attention, FeedForward, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import (
    attention_kind,
    decoder,
    head_width,
    layer_count,
    longest_context,
    self_attention,
)
from workloads.models.huggingface.registry import reader

_HEADS = ("num_attention_heads", "n_head")
_LAYERS = ("num_hidden_layers", "n_layer")


@reader("bloom")
def read_bloom(c: Config) -> Architecture:
    """BLOOM: GPT-2's layer with ALiBi, and a norm after the embedding."""
    hidden = c.whole("hidden_size", "n_embed")
    attention = self_attention(c, hidden, heads=("n_head", "num_attention_heads"), kv_heads=())
    attention = msgspec.structs.replace(attention, rotary=False, qkv_bias=True, out_bias=True)
    mlp = FeedForward(4 * hidden, gated=False, bias=True, activation="gelu")
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c, "n_layer", "num_hidden_layers"), attention, mlp),),
        tied=c.flag("tie_word_embeddings", True),
        norm="layernorm",
        embedding_norm=True,
        max_positions=longest_context(c, "seq_length"),
    )


@reader("falcon", "RefinedWeb", "RefinedWebModel")
def read_falcon(c: Config) -> Architecture:
    """Falcon: parallel blocks; one key/value head and one norm (7B), or groups of heads and two norms (40B, 180B)."""
    hidden, heads = c.whole("hidden_size"), c.whole(*_HEADS)
    grouped = c.flag("new_decoder_architecture", c.text("model_type", default="") == "RefinedWeb")
    if grouped:
        kv_heads = c.whole("num_kv_heads", "n_head_kv", default=heads)
    else:
        kv_heads = 1 if c.flag("multi_query", True) else heads
    if heads % kv_heads:
        raise c.wrong("num_kv_heads", f"a divisor of the number of heads ({heads})")
    bias, parallel = c.flag("bias", False), c.flag("parallel_attn", True) or grouped
    attention = Attention(
        attention_kind(heads, kv_heads),
        heads,
        kv_heads,
        head_width(c, hidden, heads, "num_attention_heads"),
        rotary=not c.flag("alibi", False),
        qkv_bias=bias,
        out_bias=bias,
    )
    width = c.whole("ffn_hidden_size", default=4 * hidden)
    norms = c.whole("num_ln_in_parallel_attn", default=2 if grouped or not parallel else 1, most=2)
    layer = LayerGroup(
        layer_count(c, *_LAYERS), attention, FeedForward(width, False, bias, "gelu"), norms=norms, parallel=parallel
    )
    return msgspec.structs.replace(decoder(c, hidden, (layer,), tied=True), norm="layernorm")


@reader("mpt")
def read_mpt(c: Config) -> Architecture:
    """MPT: ALiBi or learned positions; with ``no_bias`` the norms have none either."""
    hidden, heads = c.whole("d_model"), c.whole("n_heads")
    inner = c.section("attn_config")
    bias, alibi = not c.flag("no_bias", True), inner.flag("alibi", False)
    single = inner.text("attn_type", default="") == "multiquery_attention"
    kv_heads = inner.whole("kv_n_heads", default=1 if single else heads)
    if heads % kv_heads:
        raise inner.wrong("kv_n_heads", f"a divisor of n_heads ({heads})")
    attention = Attention(
        attention_kind(heads, kv_heads),
        heads,
        kv_heads,
        head_width(c, hidden, heads, "n_heads"),
        rotary=inner.flag("rope", False),
        qkv_bias=bias,
        out_bias=bias,
    )
    mlp = FeedForward(c.whole("expansion_ratio", default=4) * hidden, gated=False, bias=bias, activation="gelu")
    positions = c.whole("max_seq_len", default=2048)
    learned = c.flag("learned_pos_emb", True) and not alibi
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c, "n_layers"), attention, mlp),),
        tied=c.flag("tie_word_embeddings", True),
        norm="layernorm",
        norm_bias=bias,
        learned_positions=positions if learned else 0,
        max_positions=positions,
    )
