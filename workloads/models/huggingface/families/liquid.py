"""LFM2: gated short convolutions with a few layers of grouped-query attention (arXiv:2511.23404)."""

from __future__ import annotations

import msgspec

from workloads.models.architecture import Architecture, FeedForward, LayerGroup, StateSpace
from workloads.models.checks import LARGEST
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import decoder, layer_count, self_attention, stack
from workloads.models.huggingface.registry import reader

_TYPES = ("conv", "full_attention")


def _width(c: Config) -> int:
    """Inner units of the MLP: ``block_ff_dim`` (else ``intermediate_size``), of which ``block_auto_adjust_ff_dim``
    takes 2/3 times a factor, rounded up to a multiple, as ``Lfm2MLP`` of transformers does."""
    width = c.whole("block_ff_dim", "intermediate_size")
    if not c.flag("block_auto_adjust_ff_dim", True):
        return width
    factor = c.values.get("block_ffn_dim_multiplier", 1.0)
    if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not 0.0 < factor <= 100.0:
        raise c.wrong("block_ffn_dim_multiplier", "a number above 0, up to 100")
    multiple = c.whole("block_multiple_of", default=256, most=LARGEST)
    return -(-int(factor * int(2 * width / 3)) // multiple) * multiple


def _kinds(c: Config, layers: int) -> list[str]:
    """The mixer of each layer: by name, or by the numbers of the layers with attention (older files)."""
    types = c.words("layer_types", layers, _TYPES)
    if types is not None:
        return types
    listed = c.values.get("full_attn_idxs")
    if not isinstance(listed, list) or any(type(i) is not int or not 0 <= i < layers for i in listed):
        raise c.wrong("full_attn_idxs", f"a list of layer numbers below {layers}, where there are no layer_types")
    return [_TYPES[layer in listed] for layer in range(layers)]


@reader("lfm2")
def read_lfm2(c: Config) -> Architecture:
    """LFM2 and LFM2.5, dense; the embedding is the head."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    attention = msgspec.structs.replace(self_attention(c, hidden), qk_norm=True)
    bias = c.flag("conv_bias", False)
    convolution = StateSpace(hidden, 0, conv=c.whole("conv_L_cache", default=3), conv_bias=bias, bias=bias)
    mlp = FeedForward(_width(c))
    groups = stack(
        LayerGroup(1, attention, mlp) if kind == "full_attention" else LayerGroup(1, mlp=mlp, ssm=convolution)
        for kind in _kinds(c, layers)
    )
    return msgspec.structs.replace(decoder(c, hidden, groups, tied=True), tied=c.flag("tie_embedding", True))
