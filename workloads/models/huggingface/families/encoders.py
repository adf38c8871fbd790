"""Encoders: BERT (and BGE), RoBERTa (and BGE M3, E5), DistilBERT."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.families.gpt import plain_mlp
from workloads.models.huggingface.parts import layer_count, self_attention
from workloads.models.huggingface.registry import reader


@reader("bert")
def read_bert(c: Config) -> Architecture:
    """BERT with its pooler, as sentence encoders use it: norms after the parts, none at the end."""
    return _encoder(c, pad_rows=0, default_types=2)


@reader("roberta", "xlm-roberta", "camembert")
def read_roberta(c: Config) -> Architecture:
    """RoBERTa: BERT whose position table begins with two rows for padding."""
    return _encoder(c, pad_rows=2, default_types=1)


def _encoder(c: Config, pad_rows: int, default_types: int) -> Architecture:
    hidden = c.whole("hidden_size")
    attention = self_attention(c, hidden, kv_heads=())
    attention = msgspec.structs.replace(attention, causal=False, rotary=False, qkv_bias=True, out_bias=True)
    mlp = plain_mlp(c, c.whole("intermediate_size"), "hidden_act", default="gelu")
    positions = c.whole("max_position_embeddings", least=1 + pad_rows)
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c), attention, mlp),),
        tied=True,
        norm="layernorm",
        learned_positions=positions,
        extra_embeddings=c.whole("type_vocab_size", default=default_types, least=0),
        embedding_norm=True,
        final_norm=False,
        head="pool",
        max_positions=positions - pad_rows,
    )


@reader("distilbert")
def read_distilbert(c: Config) -> Architecture:
    """DistilBERT: BERT without token types and pooler."""
    hidden = c.whole("dim")
    attention = self_attention(c, hidden, heads=("n_heads",), kv_heads=())
    attention = msgspec.structs.replace(attention, causal=False, rotary=False, qkv_bias=True, out_bias=True)
    mlp = plain_mlp(c, c.whole("hidden_dim"), "activation", default="gelu")
    positions = c.whole("max_position_embeddings")
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=(LayerGroup(layer_count(c, "n_layers"), attention, mlp),),
        tied=True,
        norm="layernorm",
        learned_positions=positions,
        embedding_norm=True,
        final_norm=False,
        head="none",
        max_positions=positions,
    )
