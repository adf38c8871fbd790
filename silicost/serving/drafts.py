"""Speculative decoding of a pool: its draft, what that holds, and how often drafted tokens are accepted."""

from __future__ import annotations

from typing import Final

from hardware_specs.errors import InputError
from silicost.serving.tables import SpeculationTable
from simulator.kernels.speculation import expected_tokens
from simulator.prepared import Prepared
from simulator.serving.speculation import DraftBytes, draft_bytes, eagle_head
from workloads.models.architecture import Architecture

EAGLE: Final = "eagle"
"""The ``draft`` of a head on the target's own states."""


def accepted_share(depth: int, acceptance: float) -> float:
    """Accepted over drafted tokens where each is accepted with ``acceptance`` given those before: (E[N] - 1) / depth.

    Reference: Leviathan et al., arXiv:2211.17192, equation 1 for E[N].
    """
    return (float(expected_tokens(depth, acceptance)) - 1.0) / depth


def acceptance_of(table: SpeculationTable, place: str) -> float:
    """The probability with which each drafted token is accepted given those before it.

    Raises:
        InputError: neither ``acceptance`` nor ``accepted_share``, both, or no share.
    """
    given = {"acceptance": table.acceptance, "accepted_share": table.accepted_share}
    known = {key: value for key, value in given.items() if value is not None}
    if len(known) != 1:
        said = "both are given" if known else "neither is"
        raise InputError(f"{place}: give one of acceptance and accepted_share; {said}")
    ((key, value),) = known.items()
    if key == "acceptance":
        return value
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{place}: {key} {value:g}: must be from 0 to 1")
    if value in (0.0, 1.0) or table.depth < 1:
        return value
    from scipy.optimize import brentq

    found: float = brentq(lambda each: accepted_share(table.depth, each) - value, 0.0, 1.0, xtol=1e-12)
    return found


def eagle(target: Prepared, arch: Architecture) -> tuple[Architecture, DraftBytes]:
    """The head of a target, and what it holds beside it.

    Raises:
        InputError: a model without attention.
    """
    head = eagle_head(arch)
    return head, draft_bytes(target, head, shares_ends=True)
