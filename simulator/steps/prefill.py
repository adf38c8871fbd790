"""How a runtime cuts the prefill of a batch into steps: the chunks of chunked prefill.

A step takes up to ``chunk`` prompt tokens (Agrawal et al., Sarathi-Serve, arXiv:2403.02310). A batch of n tokens is
ceil(n / chunk) steps: prompts longer than a chunk give whole chunks at growing context; what is left of them, or
shorter prompts, is packed into full steps, at whose edge a prompt may be cut.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.steps.pipeline import trapezoid

CHUNK_POINTS = 8
"""Contexts at which the chunks of one prompt are priced; step times are smooth along the context."""


class PrefillStep(NamedTuple):
    """``repeats`` equal steps: ``batch`` sequences (a mean, where prompts are cut at the edge of a step) of ``q_len``
    new tokens with ``kv_len`` visible."""

    batch: float
    q_len: int
    kv_len: int
    repeats: float

    @property
    def tokens(self) -> float:
        """New tokens of all repeats."""
        return self.batch * self.q_len * self.repeats


def prefill_steps(batch: int, isl: int, chunk: int) -> list[PrefillStep]:
    """Steps of ``batch`` prompts of ``isl`` tokens, at most ``CHUNK_POINTS`` + 2 different ones, in order."""
    whole, rest = divmod(isl, chunk)
    if chunk >= isl:
        whole, rest = 0, isl
    indices, weights = trapezoid(whole, CHUNK_POINTS)
    steps = [
        PrefillStep(1.0, chunk, (index + 1) * chunk, weight * batch)
        for index, weight in zip(indices, weights, strict=True)
    ]
    full, left = divmod(batch * rest, chunk)
    if full:
        steps.append(PrefillStep(chunk / rest, rest, isl, float(full)))
    if left:
        steps.append(PrefillStep(left / rest, rest, isl, 1.0))
    return steps


def chunk_tokens(batch: int, isl: int, prefill_chunk: int, stages: int, encoder: bool) -> int:
    """Most tokens of one prefill step of a replica's ``batch``.

    With pipeline stages at most what gives every stage a micro-batch. Attention that looks both ways needs whole
    sequences.
    """
    micro = -(-batch // min(stages, batch)) * isl
    most = min(micro, prefill_chunk or micro)
    return max(most - most % isl, isl) if encoder else most
