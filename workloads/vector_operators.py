"""Operators of the vector engine: norms, activations, look-ups, state space scans, optimizer updates.

All take rows x columns of activations; bytes count each tensor once. Re-exported by ``workloads.operators``.
"""

from __future__ import annotations

from dataclasses import replace

from workloads.operator_record import Operator, OpKind, element_bytes

_CHUNK = 256.0
"""Tokens that the chunked scan of Mamba 2 turns into matrix products at a time (mamba_ssm's default)."""


def _vector(
    name: str, kind: OpKind, rows: float, cols: float, dtype: str, flops_per_element: float,
    reads: float, writes: float, weight_elements: float = 0.0,
) -> Operator:  # fmt: skip
    e = element_bytes(dtype)
    return Operator(
        name, kind, dtype, rows, cols, 1.0,
        vector_flops=flops_per_element * rows * cols,
        weight_bytes=weight_elements * e, read_bytes=reads * rows * cols * e, write_bytes=writes * rows * cols * e,
    )  # fmt: skip


def norm(
    name: str, rows: float, cols: float, dtype: str = "bf16", *, residual: bool = False, bias: bool = False
) -> Operator:
    """RMS or layer norm over ``cols``; with ``residual`` the residual addition is fused into it."""
    extra = 1.0 if residual else 0.0
    weights = cols * (2.0 if bias else 1.0)
    return _vector(name, OpKind.NORM, rows, cols, dtype, 5.0 + extra, 1.0 + extra, 1.0 + extra, weights)


def rope(name: str, rows: float, cols: float, dtype: str = "bf16") -> Operator:
    """Rotary position embedding of ``cols`` = (heads + kv_heads) x head_dim values per row."""
    return _vector(name, OpKind.ROPE, rows, cols, dtype, 3.0, 1.0, 1.0)


def activation(name: str, rows: float, cols: float, dtype: str = "bf16", *, gated: bool = False) -> Operator:
    """GELU/SiLU of ``cols`` values per row; ``gated`` reads two inputs (silu(gate) x up)."""
    return _vector(name, OpKind.ACTIVATION, rows, cols, dtype, 8.0, 2.0 if gated else 1.0, 1.0)


def elementwise(name: str, rows: float, cols: float, dtype: str = "bf16", *, inputs: int = 2) -> Operator:
    """Add or multiply ``inputs`` tensors of rows x cols into one (one input: scale it)."""
    return _vector(name, OpKind.ELEMENTWISE, rows, cols, dtype, float(max(inputs - 1, 1)), float(inputs), 1.0)


def quantisation(
    name: str, rows: float, cols: float, dtype: str = "bf16", *, bits: float = 8.0, dynamic: bool = True
) -> Operator:
    """Activations of ``cols`` values per row in ``bits``; ``dynamic`` finds the largest value of each row first, on the
    way, and writes the row's fp32 scale (Yao et al., ZeroQuant, arXiv:2206.01861, section 4.1)."""
    whole = _vector(name, OpKind.ELEMENTWISE, rows, cols, dtype, 4.0 if dynamic else 2.0, 1.0, 0.0)
    return replace(whole, write_bytes=rows * (cols * bits / 8.0 + (4.0 if dynamic else 0.0)))


def softmax(name: str, rows: float, cols: float, dtype: str = "bf16") -> Operator:
    """Softmax over ``cols``: maximum, exponentials, sum, division."""
    return _vector(name, OpKind.SOFTMAX, rows, cols, dtype, 5.0, 1.0, 1.0)


def embedding(name: str, rows: float, cols: float, dtype: str = "bf16") -> Operator:
    """Look-up of ``rows`` rows of width ``cols``."""
    return _vector(name, OpKind.EMBEDDING, rows, cols, dtype, 0.0, 1.0, 1.0)


def sampling(name: str, rows: float, vocab: float, dtype: str = "fp32") -> Operator:
    """Temperature, softmax and draw over the vocabulary: the logits are read about twice."""
    return _vector(name, OpKind.SAMPLING, rows, vocab, dtype, 8.0, 2.0, 0.0)


def stream_copy(name: str, moved_bytes: float) -> Operator:
    """A plain copy; ``moved_bytes`` counts what is read and what is written [B]."""
    half = moved_bytes / 2.0
    return Operator(name, OpKind.STREAM_COPY, "fp32", moved_bytes / 8.0, read_bytes=half, write_bytes=half)


def causal_convolution(
    name: str, tokens: float, channels: float, taps: float, dtype: str = "bf16", *, batch: float = 1.0
) -> Operator:
    """Depthwise convolution along the tokens of ``batch`` sequences, as before a state space scan.

    Each channel sees its last ``taps`` tokens; the taps - 1 older ones are a state that is read and written once
    per call and sequence.
    """
    e = element_bytes(dtype)
    state = batch * (taps - 1.0) * channels * e
    values = batch * tokens * channels
    return Operator(
        name, OpKind.ELEMENTWISE, dtype, batch * tokens, channels, 1.0, vector_flops=2.0 * taps * values,
        weight_bytes=taps * channels * e, read_bytes=values * e + state, write_bytes=values * e + state,
    )  # fmt: skip


def ssm_scan(
    name: str, tokens: float, inner: float, state: float, dtype: str = "bf16", *, batch: float = 1.0,
    heads: float = 0.0, groups: float = 1.0,
) -> Operator:  # fmt: skip
    """Selective scan: per token and channel a state of ``state`` values is decayed, fed and read (9 FLOPs).

    The state [batch, inner, state] in fp32 is read and written once per call. Mamba 1 (``heads`` 0) has a step size
    per channel and one B and C. Mamba 2 has one per head, B and C per group, and scans several tokens as matrix
    products over chunks of Q: per token 2 Q state groups (scores), 2 Q inner (their product with x) and
    4 state inner (states in and out). Sources: Gu and Dao, arXiv:2312.00752; Dao and Gu, arXiv:2405.21060, sec. 6.
    """
    e = element_bytes(dtype)
    rows = batch * tokens
    states = 4.0 * batch * inner * state
    steps = heads or inner
    flops, vector = 0.0, 9.0 * rows * inner * state
    if heads and tokens > 1.0:
        chunk = min(_CHUNK, tokens)
        flops = rows * (2.0 * chunk * (state * groups + inner) + 4.0 * state * inner)
        vector = 3.0 * rows * chunk * heads
    return Operator(
        name, OpKind.SSM_SCAN, dtype, rows, inner, state, batch=batch, flops=flops, vector_flops=vector,
        weight_bytes=4.0 * (2.0 * heads if heads else inner * (state + 1.0)),
        read_bytes=rows * (inner + steps + 2.0 * groups * state) * e + states,
        write_bytes=rows * inner * e + states,
    )  # fmt: skip


def optimizer_update(
    name: str,
    parameters: float,
    *,
    tensors: float = 1.0,
    state_bytes: float = 12.0,
    gradient_bytes: float = 4.0,
    weight_bytes: float = 2.0,
    flops_each: float = 12.0,
) -> Operator:
    """Update of ``parameters`` weights: reads states and gradients, writes states and weights (Adam: 12 FLOPs each).

    ``state_bytes`` per parameter are the moments, and the fp32 master copy where weights are narrower than 4 bytes;
    weights of 4 bytes are their own master and are read too. They lie in ``tensors`` of equal size, the batch of the
    operator.
    """
    master = weight_bytes if weight_bytes >= 4.0 else 0.0
    return Operator(
        name, OpKind.OPTIMIZER, "fp32", parameters, batch=tensors, vector_flops=flops_each * parameters,
        read_bytes=parameters * (state_bytes + gradient_bytes + master),
        write_bytes=parameters * (state_bytes + weight_bytes),
    )  # fmt: skip
