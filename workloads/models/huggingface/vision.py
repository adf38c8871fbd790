"""Parameters of vision towers, counted from ``vision_config``: they cost memory; their time is not modelled.

Each function takes the whole config and the text model's width, and gives 0 where there is no tower. The shapes are
those of the modelling code of transformers 4.57.
"""

from __future__ import annotations

from workloads.models.huggingface.config import Config

_MOST = 100_000
"""Upper bound of every width here: more is a mistake, and keeps counts below the bound of ``extra_params``."""


def _size(c: Config, *keys: str, default: int | None = None) -> int:
    return c.whole(*keys, default=default, most=_MOST)


def _layer(hidden: int, inner: int, *, attention_bias: bool = True, norm: int = 2) -> int:
    """One encoder layer: attention, two-matrix MLP with biases, two norms of ``norm`` x width."""
    attention = 4 * hidden * hidden + attention_bias * 4 * hidden
    return attention + 2 * hidden * inner + inner + hidden + 2 * norm * hidden


def _layers(v: Config) -> int:
    return v.whole("num_hidden_layers", "depth", most=1000)


def clip_vision(c: Config, text: int) -> int:
    """CLIP with LLaVA's projector: two biased matrices."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    hidden, inner, patch = _size(v, "hidden_size"), _size(v, "intermediate_size"), _size(v, "patch_size")
    positions = (_size(v, "image_size") // patch) ** 2 + 1
    ends = hidden + 3 * patch * patch * hidden + positions * hidden + 4 * hidden
    return ends + _layers(v) * _layer(hidden, inner) + hidden * text + text + text * text + text


def siglip_vision(c: Config, text: int) -> int:
    """SigLIP with Gemma 3's projector: a norm and one matrix."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    hidden, inner, patch = _size(v, "hidden_size"), _size(v, "intermediate_size"), _size(v, "patch_size")
    positions = (_size(v, "image_size") // patch) ** 2
    ends = 3 * patch * patch * hidden + hidden + positions * hidden + 2 * hidden
    return ends + _layers(v) * _layer(hidden, inner) + hidden + hidden * text


def pixtral_vision(c: Config, text: int) -> int:
    """Pixtral with Mistral 3's projector: gated MLPs, RMS norms, no biases; patches merged in squares."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    hidden, inner, patch = _size(v, "hidden_size"), _size(v, "intermediate_size"), _size(v, "patch_size")
    merged = c.whole("spatial_merge_size", default=2, most=16) ** 2
    layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    projector = hidden + merged * hidden * hidden + hidden * text + text * text
    return 3 * patch * patch * hidden + hidden + _layers(v) * layer + projector


def qwen2_vision(c: Config, text: int) -> int:
    """Qwen 2 VL (layer norm, two-matrix MLPs) and Qwen 2.5 VL (RMS norm, gated MLPs with biases)."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    first = v.has("embed_dim")
    hidden = _size(v, "embed_dim") if first else _size(v, "hidden_size")
    merged = hidden * v.whole("spatial_merge_size", default=2, most=16) ** 2
    patch = 3 * v.whole("temporal_patch_size", default=2, most=16) * _size(v, "patch_size", default=14) ** 2 * hidden
    if first:
        layer = _layer(hidden, hidden * v.whole("mlp_ratio", default=4, most=16))
        norm, out = 2 * hidden, text
    else:
        inner = _size(v, "intermediate_size")
        layer = 4 * hidden * hidden + 4 * hidden + 3 * hidden * inner + 2 * inner + hidden + 2 * hidden
        norm, out = hidden, _size(v, "out_hidden_size", default=text)
    return patch + _layers(v) * layer + norm + merged * merged + merged + merged * out + out


def qwen3_vision(c: Config) -> int:
    """Qwen 3 VL and 3.5: layer norm, learned positions; one merger, and one for each deep-stacked layer."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    hidden, inner, out = _size(v, "hidden_size"), _size(v, "intermediate_size"), _size(v, "out_hidden_size")
    merged = hidden * v.whole("spatial_merge_size", default=2, most=16) ** 2
    patch = 3 * v.whole("temporal_patch_size", default=2, most=16) * _size(v, "patch_size", default=16) ** 2 * hidden
    deep = v.values.get("deepstack_visual_indexes") or []
    if not isinstance(deep, list) or len(deep) > 100:
        raise v.wrong("deepstack_visual_indexes", "a list of layer numbers")
    merger = merged * merged + merged + merged * out + out
    mergers = merger + 2 * hidden + len(deep) * (merger + 2 * merged)
    positions = _size(v, "num_position_embeddings", default=2304) * hidden
    return patch + hidden + positions + _layers(v) * _layer(hidden, inner) + mergers


def llama4_vision(c: Config, text: int) -> int:
    """Llama 4: biased layers, pixel shuffle into two matrices without bias, and one into the text model."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    hidden, inner, patch = _size(v, "hidden_size"), _size(v, "intermediate_size"), _size(v, "patch_size")
    positions = (_size(v, "image_size") // patch) ** 2 + 1
    wide, out = _size(v, "projector_input_dim"), _size(v, "projector_output_dim")
    ends = 3 * patch * patch * hidden + hidden + positions * hidden + 4 * hidden
    return ends + _layers(v) * _layer(hidden, inner) + inner * wide + wide * out + _size(v, "vision_output_dim") * text


def mllama_vision(c: Config, text: int) -> int:
    """Llama 3.2 Vision: local and gated global layers without attention biases, position tables of whole tiles."""
    if not c.has("vision_config"):
        return 0
    v = c.section("vision_config")
    hidden, inner, patch = _size(v, "hidden_size"), _size(v, "intermediate_size"), _size(v, "patch_size")
    tiles, ratios = v.whole("max_num_tiles", default=4, most=64), 9
    positions = (_size(v, "image_size") // patch) ** 2 + 1
    gated = v.whole("num_global_layers", default=8, most=1000)
    layers = (_layers(v) + gated) * _layer(hidden, inner, attention_bias=False) + 2 * gated
    tables = positions * hidden + 1 + ratios * tiles * positions * hidden + 2 * (ratios * tiles * hidden + 1)
    ends = 3 * patch * patch * hidden + hidden + 4 * hidden
    return ends + tables + layers + _size(v, "vision_output_dim") * text + text
