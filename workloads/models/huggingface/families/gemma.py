"""Gemma 1 to 3: wide heads, gated GELU, tied embeddings; from 2 on four norms and alternating windows."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from workloads.models.architecture import Architecture, FeedForward, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import (
    activation,
    decoder,
    layer_count,
    layer_windows,
    self_attention,
    sliding_layers,
    window_size,
)
from workloads.models.huggingface.registry import reader
from workloads.models.huggingface.vision import siglip_vision

GEMMA3_DEFAULTS: Final[dict[str, Any]] = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 131_072,
}
"""What Gemma 3 configs leave out (``Gemma3TextConfig`` of transformers 4.57)."""


def _mlp(c: Config) -> FeedForward:
    act = activation(c, "hidden_activation", "hidden_act", default="gelu_pytorch_tanh")
    return FeedForward(c.whole("intermediate_size"), activation=act)


@reader("gemma")
def read_gemma(c: Config) -> Architecture:
    """Gemma 1."""
    hidden = c.whole("hidden_size")
    attention = self_attention(c.filled({"head_dim": 256}), hidden)
    return decoder(c, hidden, (LayerGroup(layer_count(c), attention, _mlp(c)),), tied=True)


@reader("gemma2")
def read_gemma2(c: Config) -> Architecture:
    """Gemma 2: every second layer slides, the first one too; norms before and after attention and MLP."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    attention = self_attention(c.filled({"head_dim": 256}), hidden)
    windows = layer_windows(c, layers, window_size(c, default=4096), lambda layer: layer % 2 == 0)
    return decoder(c, hidden, sliding_layers(attention, _mlp(c), windows, norms=4), tied=True)


@reader("gemma3", "gemma3_text")
def read_gemma3(c: Config) -> Architecture:
    """Gemma 3: five sliding layers to one global, queries and keys normalised; from 4B on a vision tower."""
    whole = c
    c = (c.section("text_config") if c.has("text_config") else c).filled(GEMMA3_DEFAULTS)
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    attention = msgspec.structs.replace(self_attention(c, hidden), qk_norm=True)
    every = c.whole("sliding_window_pattern", "_sliding_window_pattern", default=6)
    windows = layer_windows(c, layers, window_size(c), lambda layer: (layer + 1) % every != 0)
    arch = decoder(c, hidden, sliding_layers(attention, _mlp(c), windows, norms=4), tied=True)
    return msgspec.structs.replace(arch, extra_params=float(siglip_vision(whole, hidden)))
