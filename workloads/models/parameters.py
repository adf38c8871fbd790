"""How many parameters an architecture has, part by part, exactly."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace


class LayerCount(msgspec.Struct, frozen=True):
    """Parameters of one layer, and how many equal layers there are.

    ``mlp`` holds every feed-forward weight that each token passes (dense MLP, shared experts, router);
    ``experts`` the routed experts, of which a token uses ``active_experts`` parameters. ``norms`` holds all
    normalisation weights, those of queries, keys and latents included. Of low-rank factors ``whole_attention``,
    ``whole_products`` (of mlp and ssm) and ``whole_experts`` lie beside the uncut side of a matrix: every rank that
    cuts the other side holds them whole.
    """

    layers: int
    attention: int = 0
    mlp: int = 0
    experts: int = 0
    active_experts: int = 0
    ssm: int = 0
    norms: int = 0
    whole_attention: int = 0
    whole_products: int = 0
    whole_experts: int = 0

    @property
    def total(self) -> int:
        """Parameters of one layer."""
        return self.attention + self.mlp + self.experts + self.ssm + self.norms

    @property
    def active(self) -> int:
        """Parameters of one layer that one token uses."""
        return self.total - self.experts + self.active_experts


class ParameterCount(msgspec.Struct, frozen=True):
    """Parameters of a model by part; the per-layer counts are in ``groups``, bottom to top.

    ``embedding`` holds all look-up tables (tokens, positions, token types); ``head`` is 0 where it is tied.
    ``norms`` includes the embedding's and the final normalisation. ``active`` counts what one token uses, the
    embedding included, as makers of mixtures of experts usually do.
    """

    groups: tuple[LayerCount, ...]
    embedding: int
    attention: int
    mlp: int
    experts: int
    ssm: int
    norms: int
    head: int
    extra: int
    total: int
    active: int


@lru_cache(maxsize=512)
def count_parameters(arch: Architecture) -> ParameterCount:
    """Parameters of ``arch``, from its shapes alone (``published_params`` is not looked at)."""
    groups = tuple(_layer(arch, group) for group in arch.groups)
    embedding = _embedding(arch)
    head = _head(arch)
    ends = int(arch.embedding_norm) + int(arch.final_norm)
    norms = sum(g.layers * g.norms for g in groups) + ends * _norm(arch, arch.hidden)
    extra = round(arch.extra_params)
    total = embedding + head + extra + norms + sum(g.layers * (g.total - g.norms) for g in groups)
    return ParameterCount(
        groups=groups,
        embedding=embedding,
        attention=sum(g.layers * g.attention for g in groups),
        mlp=sum(g.layers * g.mlp for g in groups),
        experts=sum(g.layers * g.experts for g in groups),
        ssm=sum(g.layers * g.ssm for g in groups),
        norms=norms,
        head=head,
        extra=extra,
        total=total,
        active=total - sum(g.layers * (g.experts - g.active_experts) for g in groups),
    )


def rank_of(rows: int, cols: int, low_rank: float) -> int:
    """Rank of the two factors in place of a matrix; 0 where it stays whole, as two would not be smaller.

    A rank r takes r (rows + cols) numbers in place of rows x cols.

    Args:
        low_rank: as ``Architecture.low_rank``.
    """
    rank = round(low_rank) if low_rank >= 1.0 else round(low_rank * min(rows, cols))
    return rank if 0 < rank * (rows + cols) < rows * cols else 0


class _Matrices:
    """Adds up the matrices of one layer, each whole or as two factors.

    ``whole`` counts factors beside the uncut side: of a matrix whose rows (outputs) are cut its r x cols factor, of
    one whose columns (inputs) are cut its rows x r one.
    """

    def __init__(self, low_rank: float) -> None:
        self.low_rank, self.whole = low_rank, 0

    def __call__(self, rows: int, cols: int, cut_rows: bool = True, times: int = 1) -> int:
        """Parameters of ``times`` matrices of rows x cols."""
        rank = rank_of(rows, cols, self.low_rank)
        if not rank:
            return times * rows * cols
        self.whole += times * rank * (cols if cut_rows else rows)
        return times * rank * (rows + cols)


def _layer(arch: Architecture, group: LayerGroup) -> LayerCount:
    norms = group.norms * _norm(arch, arch.hidden)
    attention = mlp = experts = active = ssm = 0
    mixers, products, routed = (_Matrices(arch.low_rank) for _ in range(3))
    if group.attention is not None:
        a = group.attention
        attention = (_mla if a.kind == "mla" else _attention)(arch.hidden, a, mixers)
        norms += _inner_norms(a)
    if isinstance(group.mlp, FeedForward):
        mlp = _mlp(arch.hidden, group.mlp.width, group.mlp.gated, group.mlp.bias, products)
    elif isinstance(group.mlp, Experts):
        mlp = _beside_experts(arch.hidden, group.mlp, products)
        each = _mlp(arch.hidden, group.mlp.width, group.mlp.gated, group.mlp.bias, routed)
        experts, active = group.mlp.count * each, group.mlp.top_k * each
        routed.whole *= group.mlp.count
    if group.ssm is not None:
        ssm = _ssm(arch.hidden, group.ssm, products)
        norms += _ssm_norm(group.ssm)
    whole = (mixers.whole, products.whole, routed.whole)
    return LayerCount(group.count, attention, mlp, experts, active, ssm, norms, *whole)


def _norm(arch: Architecture, width: int) -> int:
    if not arch.norm_weight:
        return 0
    return width * (2 if arch.norm == "layernorm" and arch.norm_bias else 1)


def _attention(hidden: int, a: Attention, matrix: _Matrices) -> int:
    out = a.heads * a.value_dim
    queries = a.heads * a.head_dim + a.out_gate * out
    keys, values = a.kv_heads * a.head_dim, a.kv_heads * a.value_dim
    weights = sum(matrix(rows, hidden) for rows in (queries, keys, values)) + matrix(hidden, out, cut_rows=False)
    return weights + a.qkv_bias * (queries + keys + values) + a.out_bias * hidden + a.sinks * a.heads


def _mla(hidden: int, a: Attention, matrix: _Matrices) -> int:
    """Latent attention: queries through ``q_lora`` or at full rank, keys and values through ``kv_lora``.

    A bias, where there is one, is on the down-projections and the output only (DeepSeek V2, arXiv:2405.04434).
    Matrices that go through a latent are factors already.
    """
    queries = a.heads * a.head_dim
    q = a.q_lora * (hidden + queries) if a.q_lora else matrix(queries, hidden)
    kv_a = hidden * (a.kv_lora + a.rope_dim)
    kv_b = a.kv_lora * a.heads * (a.head_dim - a.rope_dim + a.value_dim)
    biases = a.qkv_bias * (a.q_lora + a.kv_lora + a.rope_dim) + a.out_bias * hidden
    return q + kv_a + kv_b + matrix(hidden, a.heads * a.value_dim, cut_rows=False) + biases


def _inner_norms(a: Attention) -> int:
    if a.kind == "mla":
        return a.q_lora + a.kv_lora
    if a.qk_norm:
        each = {"none": 0, "weight": 1, "both": 2}[a.qk_norm_affine]
        return each * a.head_dim * (a.heads + a.kv_heads if a.qk_norm_full else 2)
    return 0


def _mlp(hidden: int, width: int, gated: bool, bias: bool, matrix: _Matrices) -> int:
    ins = 2 if gated else 1
    weights = matrix(width, hidden, times=ins) + matrix(hidden, width, cut_rows=False)
    return weights + bias * (ins * width + hidden)


def _beside_experts(hidden: int, e: Experts, matrix: _Matrices) -> int:
    """Router, shared experts and dense MLP of a mixture-of-experts layer: what every token uses."""
    router = hidden * e.count + e.router_bias * e.count
    # What runs beside the experts is lowered as one MLP of both widths, and factored as one.
    beside = _mlp(hidden, e.shared_width + e.dense_width, e.gated, False, matrix)
    biases = e.bias * ((2 if e.gated else 1) * e.dense_width + hidden) if e.dense_width else 0
    return router + beside + e.shared_gate * hidden + biases


def _ssm(hidden: int, s: StateSpace, matrix: _Matrices) -> int:
    """Mamba 1 (arXiv:2312.00752) where ``dt_rank`` is set, else Mamba 2 (arXiv:2405.21060) or the gated delta rule
    (arXiv:2412.06464), which has a second gate per head and no skip weight; without states LFM2's short convolution
    (arXiv:2511.23404): two gates and a value."""
    if not s.scans:
        mixed, wide, own = s.inner, 3 * s.inner, 0
    elif s.dt_rank:
        mixed, wide = s.inner, 2 * s.inner
        step = s.inner * (s.dt_rank + 2 * s.state) + s.dt_rank * s.inner + s.inner
        own = step + s.inner * s.state + s.inner
    else:
        mixed = s.inner + 2 * s.groups * s.state
        wide = s.inner + mixed + s.heads * (2 if s.delta else 1)
        own = s.heads * (2 if s.delta else 3)
    convolution = mixed * (s.conv + s.conv_bias)
    weights = matrix(wide, hidden) + matrix(hidden, s.inner, cut_rows=False)
    return weights + s.bias * (wide + hidden) + convolution + own


def _ssm_norm(s: StateSpace) -> int:
    """The gated normalisation before the output: all channels in Mamba 2, one head in the delta rule."""
    if s.dt_rank or not s.scans:
        return 0
    return s.inner // s.heads if s.delta else s.inner


def _embedding(arch: Architecture) -> int:
    tokens = arch.vocab * (arch.embedding_dim or arch.hidden)
    narrow = arch.embedding_dim not in (0, arch.hidden)
    projections = 2 * arch.embedding_dim * arch.hidden if narrow else 0
    return tokens + projections + (arch.learned_positions + arch.extra_embeddings) * arch.hidden


def _head(arch: Architecture) -> int:
    bias = arch.head_bias * arch.vocab
    if arch.head == "pool":
        return arch.hidden * arch.hidden + arch.hidden
    if arch.head == "none" or arch.tied:
        return bias
    return arch.vocab * (arch.embedding_dim or arch.hidden) + bias
