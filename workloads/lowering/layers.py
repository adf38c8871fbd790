"""Operators of one layer for one device: attention, MLA, dense and expert MLPs, state space mixers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads import operators as op
from workloads.graph import GraphBuilder
from workloads.lowering.plan import Lowering
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.operators import Operator, OpKind


@dataclass(frozen=True, slots=True)
class Tokens:
    """What passes through a layer: ``batch`` sequences of ``q_len`` new tokens, each with ``kv_len`` visible.

    ``cached`` tells whether older keys come from a cache (inference) or all are new (training).
    """

    batch: float
    q_len: float
    kv_len: float

    @property
    def rows(self) -> float:
        """Rows of every matrix product: new tokens of the whole batch."""
        return self.batch * self.q_len


class LayerWriter:
    """Writes the operators of layers into a ``GraphBuilder``, one device's share of each."""

    def __init__(self, builder: GraphBuilder, arch: Architecture, tokens: Tokens, how: Lowering) -> None:
        self.builder, self.arch, self.tokens, self.how = builder, arch, tokens, how
        self.dtype = how.precision.attention

    def layer(self, group: LayerGroup) -> None:
        """One layer of ``group``: norm, mixer, reduction, norm, MLP, reduction."""
        if group.attention is not None:
            self._norm("attention.norm")
            (self._mla if group.attention.kind == "mla" else self._attention)(group.attention)
        if group.ssm is not None:
            self._norm("ssm.norm")
            self._ssm(group.ssm)
        both = group.parallel and group.mlp is not None
        if not both:
            self._all_reduce("attention.all_reduce" if group.attention else "ssm.all_reduce")
        if group.mlp is not None:
            if not both:
                self._norm("mlp.norm")
            if isinstance(group.mlp, Experts):
                self._experts(group.mlp)
            else:
                self._mlp(group.mlp)
                self._all_reduce("mlp.all_reduce")
        for extra in range(group.norms - 2):
            self._add(op.norm(f"extra.norm{extra}", self.tokens.rows, self.arch.hidden, self.dtype))

    def _add(self, operator: Operator) -> int:
        return self.builder.add(operator)

    def gemm(self, name: str, n: float, k: float, *, rows: float | None = None, batch: float = 1.0) -> None:
        """A product of activations with a weight matrix [n, k] in the run's weight format."""
        p = self.how.precision
        self._add(
            op.gemm(
                name, self.tokens.rows if rows is None else rows, n, k, p.compute, batch=batch,
                weight_bits=p.weight_bits, dequantize=p.dequantize, activation_dtype=p.attention,
            )
        )  # fmt: skip

    def _norm(self, name: str) -> None:
        rows, hidden = self.tokens.rows, self.arch.hidden
        fused = self.how.fused("residual_norm")
        if not fused:
            self._add(op.elementwise(name + ".residual", rows, hidden, self.dtype))
        self._add(op.norm(name, rows, hidden, self.dtype, residual=fused, bias=self.arch.norm == "layernorm"))

    def _all_reduce(self, name: str) -> None:
        tp = self.how.sharding.tp
        if tp > 1:
            size = self.tokens.rows * self.arch.hidden * self.how.precision.activation_bytes
            self._add(op.collective(name, OpKind.ALL_REDUCE, size, tp, "tp"))

    def _attention(self, a: Attention) -> None:
        tp, hidden = self.how.sharding.tp, self.arch.hidden
        heads, kv_heads = a.heads / tp, max(a.kv_heads / tp, 1.0)
        q, kv = heads * a.head_dim, kv_heads * a.head_dim
        v = kv_heads * a.value_dim
        if self.how.fused("qkv"):
            self.gemm("attention.qkv", q + kv + v, hidden)
        else:
            self.gemm("attention.q", q, hidden)
            self.gemm("attention.k", kv, hidden)
            self.gemm("attention.v", v, hidden)
        rows = self.tokens.rows
        if a.qk_norm:
            self._add(op.norm("attention.qk_norm", rows * (heads + kv_heads), a.head_dim, self.dtype))
        if a.rotary and not self.how.fused("rope"):
            self._add(op.rope("attention.rope", rows, q + kv, self.dtype))
        self._scores(a, heads, kv_heads)
        self.gemm("attention.out", hidden, heads * a.value_dim)

    def _scores(self, a: Attention, heads: float, kv_heads: float) -> None:
        t, p = self.tokens, self.how.precision
        fused = op.attention(
            "attention.scores", t.q_len, t.kv_len, heads, kv_heads, a.head_dim, batch=t.batch, value_dim=a.value_dim,
            dtype=p.attention, kv_bits=p.kv_bits, causal=a.causal, window=a.window,
        )  # fmt: skip
        if self.how.fused("flash"):
            self._add(fused)
            return
        # Unfused attention writes the score matrix, normalises it and reads it back, masked half included.
        pairs = t.batch * heads * t.q_len
        keys = fused.n
        each = t.batch * heads
        product = op.gemm(
            "attention.qk", t.q_len, keys, a.head_dim, p.attention, batch=each, weights=False, weight_bits=None
        )
        shared = replace(product, read_bytes=fused.read_bytes * a.head_dim / (a.head_dim + a.value_dim))
        self._add(shared)
        self._add(op.softmax("attention.softmax", pairs, keys, p.attention))
        weighted = op.gemm("attention.pv", t.q_len, a.value_dim, keys, p.attention, batch=each, weights=False)
        reads = fused.read_bytes * a.value_dim / (a.head_dim + a.value_dim) + pairs * keys * p.activation_bytes
        self._add(replace(weighted, read_bytes=reads))

    def _mla(self, a: Attention) -> None:
        tp, hidden, t, p = self.how.sharding.tp, self.arch.hidden, self.tokens, self.how.precision
        heads, nope = a.heads / tp, a.head_dim - a.rope_dim
        if a.q_lora:
            self.gemm("attention.q_a", a.q_lora, hidden)
            self._add(op.norm("attention.q_a_norm", t.rows, a.q_lora, self.dtype))
        self.gemm("attention.q_b", heads * a.head_dim, a.q_lora or hidden)
        self.gemm("attention.kv_a", a.kv_lora + a.rope_dim, hidden)
        self._add(op.norm("attention.kv_a_norm", t.rows, a.kv_lora, self.dtype))
        if not self.how.fused("rope"):
            self._add(op.rope("attention.rope", t.rows, (heads + 1) * a.rope_dim, self.dtype))
        if t.q_len == 1:
            self.gemm("attention.absorb_k", a.kv_lora, nope, rows=t.rows, batch=heads)
            self._add(
                op.mla_decode(
                    "attention.scores", t.kv_len, heads, a.kv_lora, a.rope_dim, batch=t.batch,
                    dtype=p.attention, kv_bits=p.kv_bits,
                )
            )  # fmt: skip
            self.gemm("attention.absorb_v", a.value_dim, a.kv_lora, rows=t.rows, batch=heads)
        else:
            self.gemm("attention.kv_b", heads * (nope + a.value_dim), a.kv_lora, rows=t.batch * t.kv_len)
            wide = op.attention(
                "attention.scores", t.q_len, t.kv_len, heads, heads, a.head_dim, batch=t.batch,
                value_dim=a.value_dim, dtype=p.attention, kv_bits=16.0,
            )  # fmt: skip
            self._add(replace(wide, kind=OpKind.MLA_PREFILL))
        self.gemm("attention.out", hidden, heads * a.value_dim)

    def _mlp(self, mlp: FeedForward, name: str = "mlp", width: float | None = None) -> None:
        hidden, rows = self.arch.hidden, self.tokens.rows
        inner = (width or mlp.width) / self.how.sharding.tp
        if mlp.gated and self.how.fused("gate_up"):
            self.gemm(f"{name}.gate_up", 2 * inner, hidden)
        else:
            if mlp.gated:
                self.gemm(f"{name}.gate", inner, hidden)
            self.gemm(f"{name}.up", inner, hidden)
        if not self.how.fused("activation"):
            self._add(op.activation(f"{name}.activation", rows, inner, self.dtype, gated=mlp.gated))
        self.gemm(f"{name}.down", hidden, inner)

    def _experts(self, e: Experts) -> None:
        p, s, hidden, rows = self.how.precision, self.how.sharding, self.arch.hidden, self.tokens.rows
        self._add(op.gemm("moe.router", rows, e.count, hidden, p.attention))
        self._add(op.softmax("moe.top_k", rows, e.count, "fp32"))
        size = rows * e.top_k * hidden * p.activation_bytes
        if s.ep > 1:
            self._add(op.collective("moe.dispatch", OpKind.ALL_TO_ALL, size, s.ep, "ep"))
        # Every rank brings its own tokens to the expert group, so the routed tokens grow with it.
        routed = rows * s.ep
        self._add(
            op.moe_gemm(
                "moe.experts", routed, e.width / s.expert_tp, hidden, e.count, e.top_k, p.compute,
                projections=3 if e.gated else 2, weight_bits=p.weight_bits, dequantize=p.dequantize,
                local_share=1.0 / s.ep,
            )
        )  # fmt: skip
        if s.ep > 1:
            self._add(op.collective("moe.combine", OpKind.ALL_TO_ALL, size, s.ep, "ep"))
        self._add(op.elementwise("moe.weighted_sum", rows * e.top_k, hidden, self.dtype, inputs=1))
        beside = e.shared_width + e.dense_width
        if beside:
            self._mlp(FeedForward(beside, e.gated), "moe.shared", beside)
        self._all_reduce("moe.all_reduce")

    def _ssm(self, s: StateSpace) -> None:
        tp, hidden, t = self.how.sharding.tp, self.arch.hidden, self.tokens
        inner = s.inner / tp
        mamba2 = s.dt_rank == 0
        self.gemm("ssm.in", 2 * inner + (2 * s.groups * s.state + s.heads / tp if mamba2 else 0.0), hidden)
        self._add(op.elementwise("ssm.conv", t.rows, inner * s.conv / 2.0, self.dtype, inputs=1))
        if not mamba2:
            self.gemm("ssm.x", s.dt_rank + 2 * s.state, inner)
            self.gemm("ssm.dt", inner, s.dt_rank)
        self._add(op.ssm_scan("ssm.scan", t.q_len, inner, s.state, self.dtype, batch=t.batch))
        self._add(op.activation("ssm.gate", t.rows, inner, self.dtype, gated=True))
        self.gemm("ssm.out", hidden, inner)
