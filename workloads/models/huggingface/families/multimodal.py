"""Text models with a vision tower of another maker: LLaVA, Mistral Small 3.1, Llama 3.2 Vision."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from workloads.models.architecture import Architecture, LayerGroup
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.families.llama import read_llama, read_mistral
from workloads.models.huggingface.families.qwen import read_qwen2
from workloads.models.huggingface.parts import decoder, gated_mlp, layer_count, self_attention, stack
from workloads.models.huggingface.registry import reader
from workloads.models.huggingface.vision import clip_vision, mllama_vision, pixtral_vision

LLAMA_DEFAULTS: Final[dict[str, Any]] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
"""What LLaVA's nested Llama configs leave out (``LlamaConfig`` of transformers 4.57)."""


@reader("llava", "llava_next")
def read_llava(c: Config) -> Architecture:
    """LLaVA 1.5 and NeXT: a CLIP tower, a two-layer projector and a Llama, Mistral or Qwen 2."""
    text = c.section("text_config").filled({"tie_word_embeddings": c.flag("tie_word_embeddings", False)})
    kinds = {"llama": read_llama, "mistral": read_mistral, "qwen2": read_qwen2}
    kind = text.text("model_type", default="llama")
    if kind not in kinds:
        raise text.wrong("model_type", ", ".join(kinds))
    arch = kinds[kind](text.filled(LLAMA_DEFAULTS) if kind == "llama" else text)
    newline = arch.hidden if c.text("model_type", default="") == "llava_next" else 0
    return msgspec.structs.replace(arch, extra_params=float(clip_vision(c, arch.hidden) + newline))


@reader("mistral3")
def read_mistral3(c: Config) -> Architecture:
    """Mistral Small 3.1: a Pixtral tower and Mistral."""
    arch = read_mistral(c.section("text_config"))
    return msgspec.structs.replace(arch, extra_params=float(pixtral_vision(c, arch.hidden)))


@reader("mllama")
def read_mllama(c: Config) -> Architecture:
    """Llama 3.2 Vision: Llama with layers of cross-attention to the image. They are written as layers of
    self-attention of the same shapes, which is what their weights cost; a text without image skips them."""
    text = c.section("text_config")
    hidden, layers = text.whole("hidden_size"), layer_count(text)
    own = self_attention(text, hidden)
    across = msgspec.structs.replace(own, rotary=False, qk_norm=True)
    mlp = gated_mlp(text)
    listed = text.values.get("cross_attention_layers")
    good = isinstance(listed, list) and all(isinstance(i, int) and 0 <= i < layers for i in listed)
    if not good:
        raise text.wrong("cross_attention_layers", f"a list of layer numbers below {layers}")
    cross = set(listed or ())
    groups = stack(LayerGroup(1, across if layer in cross else own, mlp) for layer in range(layers))
    # Beside the tower: two gates per cross-attention layer and eight more embedding rows, for image tokens.
    extra = mllama_vision(c, hidden) + 2 * len(cross) + 8 * hidden
    return msgspec.structs.replace(decoder(text, hidden, groups), extra_params=float(extra))
