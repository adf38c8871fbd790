"""Tokens of a sequence in one iteration of speculative decoding.

A draft proposes k tokens, the target accepts each of them with probability a given that it accepted those before, and
adds one token of its own. Of one sequence an iteration emits N tokens, a capped geometric number::

    P(N > i) = a^i  for i = 0 ... k,    E[N] = (1 - a^(k + 1)) / (1 - a)

Reference: Leviathan, Kalman, Matias, "Fast Inference from Transformers via Speculative Decoding", ICML 2023,
arXiv:2211.17192, equation 1. Acceptances are taken to be independent, as there.
"""

from __future__ import annotations

from simulator.kernels.jit import law_kernel


@law_kernel
def expected_tokens(depth: int, acceptance: float) -> float:
    """Mean number of tokens of one sequence in one iteration.

    Args:
        depth: drafted tokens k, at least 0.
        acceptance: probability a that a drafted token is accepted, from 0 to 1.
    """
    if acceptance == 1.0:
        return depth + 1.0
    return (1.0 - acceptance ** (depth + 1)) / (1.0 - acceptance)


@law_kernel
def emitted(depth: int, acceptance: float, draw: float) -> int:
    """Tokens of one sequence in one iteration, 1 to ``depth`` + 1, by inversion.

    Args:
        depth: drafted tokens k, at least 0.
        acceptance: probability a that a drafted token is accepted, from 0 to 1.
        draw: a uniform number, from 0 up to but not 1.
    """
    tokens, bar = 1, acceptance
    while tokens <= depth and draw < bar:
        tokens += 1
        bar *= acceptance
    return tokens
