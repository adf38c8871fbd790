"""Pieces that many families share: attention, MLPs, sliding windows, stacks of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from workloads.models.architecture import Architecture, Attention, AttentionKind, FeedForward, LayerGroup
from workloads.models.huggingface.config import MOST_LAYERS, Config

Activation = Literal["silu", "gelu", "relu"]

_ACTIVATIONS: Final[dict[str, Activation]] = {
    "silu": "silu", "swish": "silu", "swiglu": "silu", "gelu": "gelu", "gelu_new": "gelu", "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu", "gelu_python": "gelu", "gelu_10": "gelu", "quick_gelu": "gelu", "gegelu": "gelu",
    "relu": "relu", "relu2": "relu",
}  # fmt: skip
LAYER_TYPES: Final = ("full_attention", "sliding_attention", "chunked_attention")


def attention_kind(heads: int, kv_heads: int) -> AttentionKind:
    """The name for this many query and key/value heads."""
    if kv_heads == heads:
        return "mha"
    return "mqa" if kv_heads == 1 else "gqa"


def self_attention(
    c: Config,
    hidden: int,
    heads: tuple[str, ...] = ("num_attention_heads",),
    kv_heads: tuple[str, ...] = ("num_key_value_heads",),
    head_dim: tuple[str, ...] = ("head_dim",),
) -> Attention:
    """Attention by the spellings of its keys; without key/value heads there are as many as query heads, and
    without a head width it is ``hidden / heads``."""
    count = c.whole(*heads)
    kv_count = c.whole(*kv_heads, default=count)
    if count % kv_count:
        raise c.wrong(kv_heads[0], f"a divisor of {heads[0]} ({count})")
    return Attention(attention_kind(count, kv_count), count, kv_count, head_width(c, hidden, count, heads[0], head_dim))


def head_width(c: Config, hidden: int, heads: int, heads_key: str, keys: tuple[str, ...] = ()) -> int:
    """Width of one head: what a key says, else ``hidden / heads``, which must be whole."""
    if not any(c.has(key) for key in keys) and hidden % heads:
        raise c.wrong(heads_key, f"a divisor of the hidden size ({hidden})")
    return c.whole(*keys, default=hidden // heads)


def activation(c: Config, *keys: str, default: str = "silu") -> Activation:
    """The activation, as far as cost tells them apart."""
    word = c.text(*keys, default=default)
    if word not in _ACTIVATIONS:
        raise c.wrong(next(key for key in keys if c.has(key)), ", ".join(_ACTIVATIONS))
    return _ACTIVATIONS[word]


def gated_mlp(c: Config, width: str = "intermediate_size", bias: bool = False) -> FeedForward:
    """Three matrices, as in Llama."""
    return FeedForward(c.whole(width), activation=activation(c, "hidden_act", "hidden_activation"), bias=bias)


def layer_count(c: Config, *keys: str) -> int:
    """Number of layers."""
    return c.whole(*(keys or ("num_hidden_layers",)), most=MOST_LAYERS)


def window_size(c: Config, default: int = 0) -> int:
    """The sliding window in tokens; 0 where there is none or it is as long as the longest context."""
    window = c.whole("sliding_window", default=default, least=0)
    longest = c.whole("max_position_embeddings", default=0, least=0, most=10**9)
    return 0 if longest and window >= longest else window


def layer_windows(c: Config, layers: int, window: int, slides: Callable[[int], bool]) -> list[int]:
    """The window of every layer (0: full attention): by ``layer_types`` where they are given, else by ``slides``."""
    types = c.words("layer_types", layers, LAYER_TYPES)
    if types is None:
        return [window if slides(layer) else 0 for layer in range(layers)]
    return [0 if kind == "full_attention" else window for kind in types]


def with_window(attention: Attention, window: int) -> Attention:
    """The same attention with another sliding window."""
    return msgspec.structs.replace(attention, window=window)


def stack(layers: Iterable[LayerGroup]) -> tuple[LayerGroup, ...]:
    """Layer groups of a list of single layers: equal ones counted once, in the order in which they first appear."""
    counts: dict[LayerGroup, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + layer.count
    return tuple(msgspec.structs.replace(layer, count=count) for layer, count in counts.items())


def sliding_layers(
    attention: Attention, mlp: FeedForward, windows: list[int], norms: int = 2
) -> tuple[LayerGroup, ...]:
    """Layers that differ in their window only."""
    return stack(LayerGroup(1, with_window(attention, window), mlp, norms=norms) for window in windows)


def decoder(c: Config, hidden: int, groups: tuple[LayerGroup, ...], tied: bool = False) -> Architecture:
    """A decoder whose ends have their usual keys; ``tied`` is the family's default."""
    return Architecture(
        id="",
        hidden=hidden,
        vocab=c.whole("vocab_size"),
        groups=groups,
        tied=c.flag("tie_word_embeddings", tied),
        max_positions=longest_context(c),
    )


def longest_context(c: Config, *keys: str) -> int:
    """The longest context in tokens, 0 where it is not said."""
    return c.whole(*(keys or ("max_position_embeddings",)), default=0, least=0, most=10**9)


def same_for_all(c: Config, key: str, default: int) -> int:
    """A whole number that some configs repeat in a list with one entry per layer.

    Raises:
        InputError: a list whose entries differ; layers of unequal width are not modelled for this key.
    """
    value = c.values.get(key)
    if not isinstance(value, list):
        return c.whole(key, default=default, least=0)
    if not value or any(entry != value[0] for entry in value):
        raise c.wrong(key, "a whole number, or a list with the same one for each layer")
    first = Config(c.file, {key: value[0]}, c.inside)
    return first.whole(key, default=default, least=0)
