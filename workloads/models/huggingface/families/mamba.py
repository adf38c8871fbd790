"""State space models: Mamba 1 and 2, Falcon Mamba, and the Nemotron-H hybrids."""

from __future__ import annotations

import math

import msgspec

from workloads.models.architecture import Architecture, FeedForward, LayerGroup, StateSpace
from workloads.models.checks import LARGEST
from workloads.models.huggingface.config import Config
from workloads.models.huggingface.parts import activation, decoder, layer_count, self_attention, stack
from workloads.models.huggingface.registry import reader


def _inner(c: Config, hidden: int) -> int:
    """Inner channels: as said, else ``expand`` times the model's width."""
    return c.whole("intermediate_size", default=c.whole("expand", default=2, most=64) * hidden)


def _mamba1(c: Config, hidden: int) -> StateSpace:
    default = math.ceil(hidden / 16)
    rank = default if c.values.get("time_step_rank") == "auto" else c.whole("time_step_rank", default=default)
    return StateSpace(
        inner=_inner(c, hidden),
        state=c.whole("state_size", default=16),
        conv=c.whole("conv_kernel", default=4),
        dt_rank=rank,
        conv_bias=c.flag("use_conv_bias", True),
        bias=c.flag("use_bias", False),
    )


@reader("mamba", "falcon_mamba")
def read_mamba(c: Config) -> Architecture:
    """Mamba 1 (arXiv:2312.00752): one norm and one mixer per layer. Falcon Mamba's extra norms have no weights."""
    hidden = c.whole("hidden_size")
    layer = LayerGroup(layer_count(c), ssm=_mamba1(c, hidden), norms=1)
    return decoder(c, hidden, (layer,), tied=True)


@reader("mamba2")
def read_mamba2(c: Config) -> Architecture:
    """Mamba 2 (arXiv:2405.21060): heads with scalar decay instead of a step-size rank."""
    hidden, heads = c.whole("hidden_size"), c.whole("num_heads")
    width = c.whole("head_dim", most=LARGEST // heads)
    ssm = StateSpace(
        inner=heads * width,
        state=c.whole("state_size", default=128),
        conv=c.whole("conv_kernel", default=4),
        heads=heads,
        groups=c.whole("n_groups", default=8),
        conv_bias=c.flag("use_conv_bias", True),
        bias=c.flag("use_bias", False),
    )
    return decoder(c, hidden, (LayerGroup(layer_count(c), ssm=ssm, norms=1),))


@reader("mamba_ssm")
def read_mamba_ssm(c: Config) -> Architecture:
    """The original checkpoints' files, which have no model type but ``ssm_cfg``; the vocabulary is padded."""
    hidden, inner = c.whole("d_model"), c.section("ssm_cfg")
    second = inner.text("layer", default="Mamba1") == "Mamba2"
    channels = inner.whole("expand", default=2, most=64) * hidden
    rank = math.ceil(hidden / 16)
    head_dim = inner.whole("headdim", default=64)
    if second and channels % head_dim:
        raise inner.wrong("headdim", f"a divisor of the inner channels ({channels})")
    ssm = StateSpace(
        inner=channels,
        state=inner.whole("d_state", default=128 if second else 16),
        conv=inner.whole("d_conv", default=4),
        dt_rank=0 if second else rank,
        heads=channels // head_dim if second else 0,
        groups=inner.whole("ngroups", default=1),
    )
    multiple = c.whole("pad_vocab_size_multiple", default=1)
    return Architecture(
        id="",
        hidden=hidden,
        vocab=-(-c.whole("vocab_size") // multiple) * multiple,
        groups=(LayerGroup(layer_count(c, "n_layer"), ssm=ssm, norms=1),),
        tied=c.flag("tie_embeddings", True),
    )


@reader("nemotron_h")
def read_nemotron_h(c: Config) -> Architecture:
    """Nemotron-H and Nano v2: layers of one part each, spelled M (Mamba 2), * (attention) or - (MLP)."""
    hidden, layers = c.whole("hidden_size"), layer_count(c)
    pattern = c.text("hybrid_override_pattern")
    if len(pattern) != layers or set(pattern) - set("M*-"):
        raise c.wrong("hybrid_override_pattern", f"{layers} letters out of M, * and -, one for each layer")
    heads = c.whole("mamba_num_heads")
    ssm = StateSpace(
        inner=heads * c.whole("mamba_head_dim", most=LARGEST // heads),
        state=c.whole("ssm_state_size"),
        conv=c.whole("conv_kernel", default=4),
        heads=heads,
        groups=c.whole("n_groups", default=8),
        conv_bias=c.flag("use_conv_bias", True),
        bias=c.flag("use_bias", False),
    )
    attention = self_attention(c, hidden, head_dim=("head_dim", "attention_head_dim"))
    attention = msgspec.structs.replace(attention, rotary=False)
    mlp = FeedForward(
        c.whole("intermediate_size"), gated=False, activation=activation(c, "mlp_hidden_act", default="relu2")
    )
    parts = {
        "M": LayerGroup(1, ssm=ssm, norms=1),
        "*": LayerGroup(1, attention, norms=1),
        "-": LayerGroup(1, mlp=mlp, norms=1),
    }
    return decoder(c, hidden, stack(parts[letter] for letter in pattern))
