"""Operators of a gated short convolution for one device, the mixer of LFM2."""

from __future__ import annotations

from workloads import operators as op
from workloads.lowering.plan import part
from workloads.lowering.writer import ProductWriter
from workloads.models.architecture import StateSpace


def short_convolution(writer: ProductWriter, s: StateSpace) -> None:
    """[B, C, x] = W u, out = W' (C * conv(B * x)); channels are cut over tp.

    The gates are passes of their own unless the runtime fuses activations.
    Source: LFM2 Technical Report, arXiv:2511.23404, section 2.
    """
    how, hidden, tokens = writer.how, writer.arch.hidden, writer.tokens
    inner = part(s.inner, how.sharding.tp)
    writer.linear("ssm.in", {"": (3.0 * inner, 3 * s.inner)}, hidden, hidden)
    gates = not how.fused("activation")
    if gates:
        writer.add(op.elementwise("ssm.gate_in", tokens.rows, inner, writer.dtype))
    writer.add(
        op.causal_convolution("ssm.conv", tokens.q_len, inner, s.conv, writer.dtype, batch=tokens.batch)
    )  # fmt: skip
    if gates:
        writer.add(op.elementwise("ssm.gate_out", tokens.rows, inner, writer.dtype))
    writer.linear("ssm.out", {"": (float(hidden), hidden)}, inner, s.inner)
