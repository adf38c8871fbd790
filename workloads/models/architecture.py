"""The architecture of a transformer-like model, as far as cost depends on it.

A model is a stack of *layer groups*: equal layers counted once. Llama is one group; DeepSeek V3 is two
(3 dense layers, 58 expert layers); Gemma 3 is two (sliding-window and global layers, which alternate: groups keep
the order of their first layers).
"""

from __future__ import annotations

from typing import Literal

import msgspec

AttentionKind = Literal["mha", "gqa", "mqa", "mla"]


class Attention(msgspec.Struct, frozen=True):
    """Self-attention of one layer.

    ``head_dim`` is the width of a query/key head and ``v_head_dim`` of a value head (0: the same).
    For multi-head latent attention (MLA): ``q_lora`` (0: full-rank queries) and ``kv_lora`` are the latent
    ranks, ``rope_dim`` the shared rotary key width, ``head_dim = nope + rope_dim``. ``window`` is the sliding
    window in tokens (0: full attention). ``rotary`` false means learned, ALiBi or no positions. ``qk_norm``
    normalises queries and keys; its weights are one head wide, or all heads wide with ``qk_norm_full`` (OLMo 2),
    and ``qk_norm_affine`` says whether there are a weight, weight and bias ("both", Persimmon) or none (Llama 4).
    ``out_gate`` multiplies the heads' output by a sigmoid gate of the same width, projected as a second set of
    queries (Qwen 3.5).
    """

    kind: AttentionKind
    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int = 0
    q_lora: int = 0
    kv_lora: int = 0
    rope_dim: int = 0
    window: int = 0
    causal: bool = True
    rotary: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    sinks: bool = False
    qk_norm_full: bool = False
    qk_norm_affine: Literal["weight", "both", "none"] = "weight"
    out_gate: bool = False

    @property
    def value_dim(self) -> int:
        """Width of one value head."""
        return self.v_head_dim or self.head_dim


class FeedForward(msgspec.Struct, frozen=True):
    """Dense MLP: ``width`` inner units; ``gated`` has three matrices (SwiGLU, GeGLU), else two."""

    width: int
    gated: bool = True
    bias: bool = False
    activation: Literal["silu", "gelu", "relu"] = "silu"


class Experts(msgspec.Struct, frozen=True):
    """Mixture of experts: ``count`` routed experts of ``width``, ``top_k`` of them per token.

    ``shared_width`` is the summed width of the always-active shared experts (0: none).
    ``dense_width`` is a dense MLP that runs beside the experts in the same layer (0: none).
    ``router_bias`` is a bias of ``count`` (gpt-oss, DeepSeek V3's load-balance term); ``shared_gate`` scales the
    shared experts by a learned scalar per token (Qwen 2 MoE).
    """

    count: int
    top_k: int
    width: int
    gated: bool = True
    shared_width: int = 0
    dense_width: int = 0
    bias: bool = False
    router_bias: bool = False
    shared_gate: bool = False


class StateSpace(msgspec.Struct, frozen=True):
    """Mixer that keeps a state in place of a cache: a selective state space (Mamba) or a short convolution (LFM2).

    ``inner`` = expand x hidden channels have ``state`` values each, behind a convolution over ``conv`` tokens.

    ``dt_rank`` is the rank of the step-size projection (Mamba 1); 0 means Mamba 2 with ``heads`` scalar
    decays and ``groups`` groups of B and C. ``bias`` is that of the two large projections. ``delta`` is the gated
    delta rule (Qwen 3.5): the same shapes with keys and queries for B and C, and one more scalar gate per head.
    ``state`` 0 is the gated short convolution of LFM2 (arXiv:2511.23404): no scan, the convolution between two gates,
    all three made by the first projection, and the last ``conv`` tokens for a state.
    """

    inner: int
    state: int
    conv: int = 4
    dt_rank: int = 0
    heads: int = 0
    groups: int = 1
    conv_bias: bool = True
    bias: bool = False
    delta: bool = False

    @property
    def scans(self) -> bool:
        """Whether a recurrence runs along the tokens; a short convolution has none."""
        return self.state > 0


class LayerGroup(msgspec.Struct, frozen=True):
    """``count`` equal layers. Parts that a layer does not have are None.

    ``norms`` counts full-width normalisations per layer (2 in Llama, 4 in Gemma 2, 1 in parallel blocks).
    ``parallel`` means attention and MLP read the same input (GPT-J, Falcon).
    """

    count: int
    attention: Attention | None = None
    mlp: FeedForward | Experts | None = None
    ssm: StateSpace | None = None
    norms: int = 2
    parallel: bool = False


class Architecture(msgspec.Struct, frozen=True):
    """One model.

    Args:
        id: catalogue name ("llama-3.1-8b").
        hidden: model width.
        vocab: vocabulary size (rows of the embedding).
        groups: the layer stack, bottom to top.
        tied: the output head shares the embedding matrix.
        norm: kind of the normalisations; layer norm has a bias unless ``norm_bias`` is false.
        learned_positions: rows of a learned position table (0: none).
        extra_embeddings: rows of other learned tables of width ``hidden`` (token types of BERT).
        embedding_norm: a normalisation right after the embedding (BLOOM, BERT).
        final_norm: a normalisation before the head.
        head: "lm" (next-token logits), "pool" (encoder with pooler) or "none".
        head_bias: the head has a bias of ``vocab``.
        embedding_dim: width of the embedding if it differs from ``hidden`` (0: the same).
        max_positions: longest context.
        published_params, published_active: counts the makers give (None: none known).
        source: where the architecture was read.
        extra_params: parameters outside the stack (vision towers, adapters) that cost memory only.
        norm_weight: false where the normalisations have no weights at all (OLMo 1).
        default_dtype: compute dtype the checkpoint is stored in ("": not said).
        quantization: storage format of a quantised checkpoint, a name of ``workloads.formats`` ("": none).
        low_rank: rank of the two factors in place of each matrix of the layers: a number of at least 1, or below that
            a share of the smaller side (0: whole matrices). See ``workloads.models.parameters.rank_of``.
        derived: what was done to the model that it was made from, in words (``workloads.compression``).
    """

    id: str
    hidden: int
    vocab: int
    groups: tuple[LayerGroup, ...]
    tied: bool = False
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_bias: bool = True
    learned_positions: int = 0
    extra_embeddings: int = 0
    embedding_norm: bool = False
    final_norm: bool = True
    head: Literal["lm", "pool", "none"] = "lm"
    head_bias: bool = False
    embedding_dim: int = 0
    max_positions: int = 0
    published_params: float | None = None
    published_active: float | None = None
    source: str = ""
    hf_id: str = ""
    family: str = ""
    extra_params: float = 0.0
    notes: str = ""
    norm_weight: bool = True
    default_dtype: str = ""
    quantization: str = ""
    low_rank: float = 0.0
    derived: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        """Number of layers."""
        return sum(group.count for group in self.groups)

    @property
    def is_encoder(self) -> bool:
        """True where attention looks both ways and nothing is generated (BERT, BGE)."""
        return any(g.attention is not None and not g.attention.causal for g in self.groups)
