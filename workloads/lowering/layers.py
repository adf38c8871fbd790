"""Operators of one layer for one device: attention, MLA, dense and expert MLPs, state space mixers."""

from __future__ import annotations

from dataclasses import replace

from hardware_specs.dtypes import BITS
from workloads import operators as op
from workloads.lowering.plan import part, shares_sequences
from workloads.lowering.short_convolution import short_convolution
from workloads.lowering.writer import ProductWriter, Tokens
from workloads.models.architecture import Attention, Experts, FeedForward, LayerGroup, StateSpace
from workloads.models.parameters import rank_of
from workloads.operators import Operator, OpKind


def absorbs(a: Attention, q_len: float, kv_len: float) -> bool:
    """Whether latent attention works on the latents themselves: always in decode, else where that takes fewer FLOPs.

    Absorbing passes each query through two kv_lora matrices and attends at width 2 kv_lora + rope_dim; the other way
    unfolds keys and values of the whole context from the latents (DeepSeek-V2, arXiv:2405.04434, section 2.1).
    """
    unfold = a.kv_lora * (a.head_dim - a.rope_dim + a.value_dim)
    pairs = op.visible_pairs(q_len, kv_len)
    absorbed = q_len * unfold + pairs * (2.0 * a.kv_lora + a.rope_dim)
    return q_len == 1.0 or absorbed < kv_len * unfold + pairs * (a.head_dim + a.value_dim)


class LayerWriter(ProductWriter):
    """Writes the operators of layers into a ``GraphBuilder``, one device's share of each."""

    def layer(self, group: LayerGroup) -> None:
        """One layer of ``group``: norm, mixers, reduction, norm, MLP, reduction.

        The first norms of ``group.norms`` stand before mixers and MLP (only before the mixers if there is one), the
        next ones behind them (Gemma 2), any more at the end. A residual addition goes with each branch: into the
        norm before it where the runtime fuses that, which shifts it by one norm and leaves the sum right.
        """
        branches = int(group.attention is not None or group.ssm is not None) + int(group.mlp is not None)
        behind = group.norms - branches
        mixer = "attention" if group.attention is not None else "ssm"
        if group.attention is not None or group.ssm is not None:
            if group.norms:
                self._norm(f"{mixer}.norm")
            if group.attention is not None:
                (self._mla if group.attention.kind == "mla" else self._attention)(group.attention)
            if group.ssm is not None:
                self._ssm(group.ssm) if group.ssm.scans else short_convolution(self, group.ssm)
            if group.attention is not None and group.ssm is not None:
                self.add(op.elementwise("mixers.add", self.whole_rows, self.arch.hidden, self.dtype))
            if not group.parallel or group.mlp is None:
                self._all_reduce(f"{mixer}.all_reduce", gathers=not self._keeps_tokens(group))
            if behind > 0:
                self._plain_norm(f"{mixer}.post_norm")
                behind -= 1
        if group.mlp is not None:
            if group.norms >= branches:
                (self._plain_norm if group.parallel and branches == 2 else self._norm)("mlp.norm")
            if isinstance(group.mlp, Experts):
                self._experts(group.mlp)
            else:
                self._mlp(group.mlp)
            if group.parallel and branches == 2:
                self.add(op.elementwise("mlp.add", self.whole_rows, self.arch.hidden, self.dtype))
            if isinstance(group.mlp, Experts):
                self._join_experts(group.mlp, group.parallel and branches == 2)
            else:
                self._all_reduce("mlp.all_reduce")
            if behind > 0:
                self._plain_norm("mlp.post_norm")
                behind -= 1
        for extra in range(behind):
            self._plain_norm(f"extra.norm{extra}")

    def _norm(self, name: str) -> None:
        """A norm that a residual addition goes before, fused into it or an operator of its own."""
        if self.how.fused("residual_norm"):
            self._plain_norm(name, residual=True)
            return
        self.add(op.elementwise(name + ".residual", self.whole_rows, self.arch.hidden, self.dtype))
        self._plain_norm(name)

    def _plain_norm(self, name: str, residual: bool = False) -> None:
        bias = self.arch.norm == "layernorm" and self.arch.norm_bias
        self.add(op.norm(name, self.whole_rows, self.arch.hidden, self.dtype, residual=residual, bias=bias))

    def _keeps_tokens(self, group: LayerGroup) -> bool:
        """Whether the rows that a sequence parallel rank has go to the experts as they are, not gathered before."""
        s, e = self.how.sharding, group.mlp
        alone = isinstance(e, Experts) and not (e.shared_width or e.dense_width)
        return s.sequence and s.sends_tokens and alone

    def _all_reduce(self, name: str, cols: float = 0.0, gathers: bool = True) -> None:
        """Sum of a row-parallel product of ``cols`` columns (0: the model width) over the tp ranks; with sequence
        parallelism scattered along the tokens, and gathered where what follows needs all."""
        tp = self.how.sharding.tp
        if tp == 1:
            return
        size = self.tokens.rows * (cols or self.arch.hidden) * self.how.precision.activation_bytes
        if self.how.sharding.sequence and not cols:
            self.add(op.collective(name.replace("all_reduce", "reduce_scatter"), OpKind.REDUCE_SCATTER, size, tp, "tp"))
            if gathers:
                self.add(op.collective(name.replace("all_reduce", "all_gather"), OpKind.ALL_GATHER, size, tp, "tp"))
            return
        self.add(op.collective(name, OpKind.ALL_REDUCE, size, tp, "tp"))

    def _join_experts(self, e: Experts, with_attention: bool) -> None:
        """Give every tp rank all rows of an expert layer.

        After expert parallelism each rank holds the finished results of its own rows, which are gathered. Partial sums
        (of shared experts, of an attention beside them, of experts cut over tp) must be added up too: scattered sums
        and the gathering are together as much as an all-reduce.
        """
        s = self.how.sharding
        if not s.sends_tokens or e.shared_width or e.dense_width or with_attention:
            self._all_reduce("moe.all_reduce")
        elif s.tp > 1:
            size = self.tokens.rows * self.arch.hidden * self.how.precision.activation_bytes
            self.add(op.collective("moe.all_gather", OpKind.ALL_GATHER, size, s.tp, "tp"))

    def _attention(self, a: Attention) -> None:
        tp, hidden = self.how.sharding.tp, self.arch.hidden
        heads, kv_heads = part(a.heads, tp), part(a.kv_heads, tp)
        q, kv = heads * a.head_dim, kv_heads * a.head_dim
        v = kv_heads * a.value_dim
        gate = heads * a.value_dim if a.out_gate else 0.0
        parts = {
            "q": (q + gate, a.heads * (a.head_dim + (a.value_dim if a.out_gate else 0))),
            "k": (kv, a.kv_heads * a.head_dim), "v": (v, a.kv_heads * a.value_dim),
        }  # fmt: skip
        if self.how.fused("qkv"):
            self.linear("attention.qkv", parts, hidden, hidden)
        else:
            for key, own in parts.items():
                self.linear(f"attention.{key}", {key: own}, hidden, hidden, again=key != "q")
        rows = self.tokens.rows
        if a.qk_norm:
            self.add(op.norm("attention.qk_norm", rows * (heads + kv_heads), a.head_dim, self.dtype))
        if a.rotary and not self.how.fused("rope"):
            self.add(op.rope("attention.rope", rows, q + kv, self.dtype))
        self.scores(a)
        if a.out_gate:
            self.add(op.activation("attention.gate", rows, gate, self.dtype, gated=True))
        self._attention_out(a, heads)

    def _attention_out(self, a: Attention, heads: float) -> None:
        hidden = self.arch.hidden
        self.linear(
            "attention.out", {"": (float(hidden), hidden)}, heads * a.value_dim, a.heads * a.value_dim,
            whole_rows=False,
        )  # fmt: skip

    def _context(self) -> Tokens:
        """The tokens that attention sees on this rank: all of a sequence where ranks have exchanged them for heads."""
        s, t = self.how.sharding, self.tokens
        return Tokens(t.batch, t.q_len * s.cp, t.q_len * s.cp) if s.cp_comm == "a2a" and s.cp > 1 else t

    def scores(self, a: Attention) -> None:
        """Attention itself: what the length of the context changes, and nothing else (of MLA where it absorbs)."""
        t, p, tp = self._context(), self.how.precision, self.how.sharding.heads_ways
        heads, kv_heads, batch = part(a.heads, tp), part(a.kv_heads, tp), float(t.batch)
        by_sequence = t.q_len == 1 and shares_sequences(a, tp)
        if by_sequence:
            heads, batch = float(a.heads), max(batch / tp, 1.0)
            size = t.rows * a.heads * a.head_dim * p.activation_bytes / tp
            self.add(op.collective("attention.to_sequences", OpKind.ALL_TO_ALL, size, tp, "tp"))
        if a.kind == "mla":
            self.add(
                op.mla_decode(
                    "attention.scores", t.kv_len, heads, a.kv_lora, a.rope_dim, batch=t.batch, q_len=t.q_len,
                    dtype=p.attention, kv_bits=p.kv_bits,
                )
            )  # fmt: skip
            return
        fused = op.attention(
            "attention.scores", t.q_len, t.kv_len, heads, kv_heads, a.head_dim, batch=batch, value_dim=a.value_dim,
            dtype=p.attention, kv_bits=p.kv_bits, causal=a.causal, window=a.window,
        )  # fmt: skip
        if self.how.fused("flash"):
            self.add(fused)
        else:
            self._unfused(a, fused, batch, heads, kv_heads)
        if by_sequence:
            size = t.rows * a.heads * a.value_dim * p.activation_bytes / tp
            self.add(op.collective("attention.to_heads", OpKind.ALL_TO_ALL, size, tp, "tp"))

    def _unfused(self, a: Attention, fused: Operator, batch: float, heads: float, kv_heads: float) -> None:
        """Attention that writes the score matrix, normalises it and reads it back, masked half included."""
        t, p = self._context(), self.how.precision
        each, keys = batch * heads, fused.n
        queries = each * t.q_len * a.head_dim * p.activation_bytes
        cached = batch * keys * kv_heads * p.kv_bits / 8.0
        scores = each * t.q_len * keys * p.activation_bytes
        product = op.gemm("attention.qk", t.q_len, keys, a.head_dim, p.attention, batch=each, weights=False)
        self.add(replace(product, kind=OpKind.BATCHED_GEMM, read_bytes=queries + cached * a.head_dim))
        self.add(op.softmax("attention.softmax", each * t.q_len, keys, p.attention))
        product = op.gemm("attention.pv", t.q_len, a.value_dim, keys, p.attention, batch=each, weights=False)
        self.add(replace(product, kind=OpKind.BATCHED_GEMM, read_bytes=scores + cached * a.value_dim))

    def _mla(self, a: Attention) -> None:
        tp, hidden, t, p = self.how.sharding.tp, self.arch.hidden, self.tokens, self.how.precision
        heads, nope = part(a.heads, tp), a.head_dim - a.rope_dim
        if a.q_lora:
            self.gemm("attention.q_a", a.q_lora, hidden)
            self.add(op.norm("attention.q_a_norm", t.rows, a.q_lora, self.dtype))
            self.gemm("attention.q_b", heads * a.head_dim, a.q_lora)
        else:
            self.linear("attention.q_b", {"": (heads * a.head_dim, a.heads * a.head_dim)}, hidden, hidden)
        self.gemm("attention.kv_a", a.kv_lora + a.rope_dim, hidden, again=True)
        self.add(op.norm("attention.kv_a_norm", t.rows, a.kv_lora, self.dtype))
        if not self.how.fused("rope"):
            self.add(op.rope("attention.rope", t.rows, (heads + 1) * a.rope_dim, self.dtype))
        if absorbs(a, t.q_len, t.kv_len):
            self.gemm("attention.absorb_k", a.kv_lora, nope, rows=t.rows, batch=heads)
            self.scores(a)
            self.gemm("attention.absorb_v", a.value_dim, a.kv_lora, rows=t.rows, batch=heads)
        else:
            # Ranks that share the tokens of a sequence unfold their own.
            unfolded = t.rows if self.how.sharding.cp > 1 else t.batch * t.kv_len
            self.gemm("attention.kv_b", heads * (nope + a.value_dim), a.kv_lora, rows=unfolded)
            seen, own = self._context(), part(a.heads, self.how.sharding.heads_ways)
            wide = op.attention(
                "attention.scores", seen.q_len, seen.kv_len, own, own, a.head_dim, batch=t.batch,
                value_dim=a.value_dim, dtype=p.attention, kv_bits=8.0 * p.activation_bytes, causal=a.causal,
            )  # fmt: skip
            self.add(replace(wide, kind=OpKind.MLA_PREFILL))
        self._attention_out(a, heads)

    def _mlp(self, mlp: FeedForward, name: str = "mlp") -> None:
        hidden, rows = self.arch.hidden, self.tokens.rows
        inner = part(mlp.width, self.how.sharding.tp)
        part_of = {"gate": (inner, mlp.width), "up": (inner, mlp.width)} if mlp.gated else {"up": (inner, mlp.width)}
        if mlp.gated and self.how.fused("gate_up"):
            self.linear(f"{name}.gate_up", part_of, hidden, hidden)
        else:
            for key, own in part_of.items():
                self.linear(f"{name}.{key}", {key: own}, hidden, hidden, again=mlp.gated and key == "up")
        if not self.how.fused("activation"):
            self.add(op.activation(f"{name}.activation", rows, inner, self.dtype, gated=mlp.gated))
        made = not self.how.fused("activation")
        self.linear(f"{name}.down", {"": (float(hidden), hidden)}, inner, mlp.width, whole_rows=made)

    def _experts(self, e: Experts) -> None:
        """Router, dispatch, experts, combination, and what runs beside the experts; not yet reduced over tp.

        With expert parallelism each device sends its 1/tp of the rows to the ep devices of its expert group, so
        the group's experts see rows x ep / tp tokens; without it every device has all rows and a slice of each expert.
        Where experts are cut too (etp), the ranks that hold the parts of one gather each other's tokens, and scatter
        the sums of their results.
        """
        p, s, hidden, rows = self.how.precision, self.how.sharding, self.arch.hidden, self.tokens.rows
        self.add(op.gemm("moe.router", rows, e.count, hidden, p.attention))
        self.add(op.softmax("moe.top_k", rows, e.count, "fp32"))
        own = rows / s.tp if s.sends_tokens else rows
        joined = s.etp if s.etp > 1 else 1
        size = own * e.top_k * hidden * p.activation_bytes
        if s.ep > 1:
            self.add(op.collective("moe.dispatch", OpKind.ALL_TO_ALL, size, s.ep, "ep"))
        if joined > 1:
            self.add(op.collective("moe.all_gather.experts", OpKind.ALL_GATHER, size * joined, joined, "etp"))
        self._routed(e, own * s.ep * joined)
        if joined > 1:
            self.add(op.collective("moe.reduce_scatter.experts", OpKind.REDUCE_SCATTER, size * joined, joined, "etp"))
        if s.ep > 1:
            self.add(op.collective("moe.combine", OpKind.ALL_TO_ALL, size, s.ep, "ep"))
        self.add(op.elementwise("moe.weighted_sum", own, hidden, self.dtype, inputs=int(self._passed(e))))
        beside = e.shared_width + e.dense_width
        if beside:
            self._mlp(FeedForward(beside, e.gated), "moe.shared")
            if e.shared_gate:
                self.add(op.gemm("moe.shared.scale", rows, 1.0, hidden, p.attention))
            self.add(op.elementwise("moe.shared.add", rows, hidden, self.dtype))

    def _passed(self, e: Experts) -> float:
        """Experts that each token passes."""
        every = self.how.experts == "all" or (self.how.experts == "prompts" and self.tokens.q_len > 1)
        return e.count if every else e.top_k

    def _routed(self, e: Experts, routed: float) -> None:
        """The experts of one device for ``routed`` tokens of its group: one grouped call, or of low rank several."""
        p, s, hidden = self.how.precision, self.how.sharding, self.arch.hidden
        projections, width = 3 if e.gated else 2, part(e.width, s.expert_tp)
        passed = self._passed(e)
        loops = op.active_experts(routed, e.count, passed) / s.ep

        def call(name: str, width: float, hidden: float, projections: int, kernels: int, copies: float) -> Operator:
            product = op.moe_gemm(
                name, routed, width, hidden, e.count, passed, p.compute, projections=projections,
                weight_bits=p.weight_bits, dequantize=p.dequantize, local_share=1.0 / s.ep,
                calls=1.0 if self.how.fused("experts") else kernels * loops,
            )  # fmt: skip
            return replace(product, copies=copies)

        fused = e.gated and self.how.fused("gate_up")
        into, back = rank_of(e.width, hidden, self.arch.low_rank), rank_of(hidden, e.width, self.arch.low_rank)
        rows = routed * passed / s.ep
        if p.quantize:
            self._quantise("moe.experts", routed, hidden, True)
            self._quantise("moe.experts.inner", rows, width, not self.how.fused("experts"))
        if not into and not back:
            whole = call("moe.experts", width, hidden, projections, projections - int(fused), passed)
            narrow = (1.0 - BITS[p.compute] / BITS[p.attention]) if p.quantize else 0.0
            self.add(replace(whole, read_bytes=whole.read_bytes - narrow * rows * hidden * p.activation_bytes))
            return
        ins = projections - 1
        self.add(call("moe.experts.in.first", ins * float(into), hidden, 1, 1, passed))
        for number in range(ins):
            self.add(call(f"moe.experts.in.second{number}", width, into, 1, 1, 1.0))
        self.add(op.activation("moe.experts.activation", rows, width, self.dtype, gated=e.gated))
        self.add(call("moe.experts.out.first", back, width, 1, 1, 1.0))
        self.add(call("moe.experts.out.second", hidden, back, 1, 1, 1.0))

    def _ssm(self, s: StateSpace) -> None:
        """Mamba 1 where ``dt_rank`` is set, else Mamba 2 or the gated delta rule, which has a gate per head more.

        Channels and heads are cut over tp, groups down to one.
        """
        tp, hidden, t = self.how.sharding.tp, self.arch.hidden, self.tokens
        inner = part(s.inner, tp)
        mamba2 = s.dt_rank == 0
        heads, groups = part(s.heads, tp) if mamba2 else 0.0, part(s.groups, tp)
        mixed = inner + (2.0 * groups * s.state if mamba2 else 0.0)
        own = inner + (mixed + heads * (2.0 if s.delta else 1.0) if mamba2 else inner)
        self.linear("ssm.in", {"": (own, _ssm_rows(s))}, hidden, hidden)
        self.add(op.causal_convolution("ssm.conv", t.q_len, mixed, s.conv, self.dtype, batch=t.batch))
        if not mamba2:
            narrow = s.dt_rank + 2.0 * s.state
            self.gemm("ssm.x", narrow, inner)
            self._all_reduce("ssm.x.all_reduce", narrow)
            self.gemm("ssm.dt", inner, s.dt_rank)
        self.add(
            op.ssm_scan(
                "ssm.scan", t.q_len, inner, s.state, self.dtype, batch=t.batch, heads=heads,
                groups=groups if mamba2 else 1.0,
            )
        )  # fmt: skip
        if not self.how.fused("activation"):
            self.add(op.activation("ssm.gate", t.rows, inner, self.dtype, gated=True))
        if mamba2:
            self.add(op.norm("ssm.gate_norm", t.rows, inner, self.dtype))
        self.linear("ssm.out", {"": (float(hidden), hidden)}, inner, s.inner)


def _ssm_rows(s: StateSpace) -> int:
    """Rows of the first matrix of a state space mixer in the model."""
    if s.dt_rank:
        return 2 * s.inner
    return 2 * (s.inner + s.groups * s.state) + s.heads * (2 if s.delta else 1)
