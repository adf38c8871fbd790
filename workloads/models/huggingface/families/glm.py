"""ChatGLM 2 and 3, and GLM 4."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, Attention, FeedForward, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import (
    attention_kind,
    decoder,
    gated_mlp,
    head_width,
    layer_count,
    longest_context,
    self_attention,
)
from workloads.models.huggingface.registry import reader


@reader("chatglm")
def read_chatglm(c: Config) -> Architecture:
    """ChatGLM 2 and 3, GLM 4 9B (first files): two key/value heads, biased queries, keys and values, gated MLP."""
    hidden, heads = c.whole("hidden_size"), c.whole("num_attention_heads")
    kv_heads = c.whole("multi_query_group_num") if c.flag("multi_query_attention", False) else heads
    if heads % kv_heads:
        raise c.wrong("multi_query_group_num", f"a divisor of num_attention_heads ({heads})")
    width = head_width(c, hidden, heads, "num_attention_heads", ("kv_channels",))
    every = c.flag("add_bias_linear", False)
    attention = Attention(
        attention_kind(heads, kv_heads),
        heads,
        kv_heads,
        width,
        qkv_bias=every or c.flag("add_qkv_bias", False),
        out_bias=every,
    )
    mlp = FeedForward(c.whole("ffn_hidden_size"), bias=every)
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("padded_vocab_size", "vocab_size"),
        groups=(LayerGroup(layer_count(c, "num_layers"), attention, mlp),),
        tied=c.flag("tie_word_embeddings", False),
        max_positions=longest_context(c, "seq_length"),
    )


@reader("glm", "glm4")
def read_glm(c: Config) -> Architecture:
    """GLM 4 in today's spelling; GLM 4 0414 (``glm4``) has norms before and after attention and MLP."""
    hidden = c.whole("hidden_size")
    attention = self_attention(c, hidden)
    attention = msgspec.structs.replace(attention, qkv_bias=c.flag("attention_bias", False))
    norms = 4 if c.text("model_type", default="glm") == "glm4" else 2
    return decoder(c, hidden, (LayerGroup(layer_count(c), attention, gated_mlp(c), norms=norms),))
