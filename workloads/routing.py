"""How a router spreads tokens over experts: which experts are active, and how many rows the hottest one gets.

Three ways, by name:

- ``"uniform"``: every token chooses top_k distinct experts at random, as a trained router with a balancing loss nearly
  does. Active experts: ``E (1 - (1 - k/E)^tokens)``.
- ``"balanced"``: tokens are dealt out, so that all active experts have equally many rows.
- ``"power_law_<alpha>"``: loads are drawn from a density x^-alpha between 1 and 0.8 tokens (0.01 and 2 while there are
  fewer rows than experts), scaled to the rows there are and rounded. A few experts are hot, and many have no row at all
  while tokens are few. Source: ``power_law_logits_v3`` of ai-dynamo/aiconfigurator 095f58a (collector/helper.py); here
  the draw is replaced by the quantiles of the density.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from hardware_specs.errors import InputError

_POWER_LAW = re.compile(r"power_law_(\d+\.?\d*)")


class ExpertLoad(NamedTuple):
    """Experts with at least one row, and rows of the hottest of them over the mean of the active ones (>= 1)."""

    active: float
    imbalance: float


def active_experts(tokens: float, experts: float, top_k: float) -> float:
    """Expected number of distinct experts that ``tokens`` independent uniform top-k choices touch.

    ``E (1 - (1 - k/E)^tokens)``: each expert is missed by one token with probability 1 - k/E.
    """
    if experts <= 0:
        return 0.0
    return float(experts * -math.expm1(tokens * math.log1p(-min(top_k / experts, 1.0 - 1e-12))))


def expert_load(tokens: float, experts: float, top_k: float, routing: str = "uniform") -> ExpertLoad:
    """The load that ``tokens`` tokens with ``top_k`` experts each put on ``experts`` experts.

    Raises:
        InputError: a routing other than "uniform", "balanced" and "power_law_<alpha>".
    """
    rows = tokens * top_k
    if routing == "uniform":
        active = active_experts(tokens, experts, top_k)
        if rows <= 0.0 or active <= 0.0:
            return ExpertLoad(active, 1.0)
        # The largest of E Poisson loads of mean r lies about sqrt(2 r ln E) above it; no expert has a token twice.
        hottest = rows / active + math.sqrt(2.0 * rows / active * math.log(max(experts, 1.0)))
        return ExpertLoad(active, max(1.0, min(hottest, tokens) * active / rows))
    if routing == "balanced":
        return ExpertLoad(min(experts, rows), 1.0)
    law = _POWER_LAW.fullmatch(routing)
    if law is None:
        raise InputError(f"routing {routing!r}: allowed are 'uniform', 'balanced' and 'power_law_<alpha>'")
    return _power_law(tokens, experts, top_k, float(law[1]))


def _power_law(tokens: float, experts: float, top_k: float, alpha: float) -> ExpertLoad:
    rows = tokens * top_k
    low, high = (1.0, max(0.8 * tokens, 1.0)) if rows > experts else (0.01, 2.0)
    places = (np.arange(max(1, round(experts))) + 0.5) / max(1, round(experts))
    # Quantiles of the density; at alpha = 1 its integral is a logarithm.
    power = 1.0 - alpha
    share = (
        low * (high / low) ** places
        if abs(power) < 1e-9
        else ((high**power - low**power) * places + low**power) ** (1.0 / power)
    )
    loads = share / share.sum() * rows
    whole = np.floor(loads + 0.5)
    # What rounding loses is given to the hottest experts, one row each.
    active = max(float(np.count_nonzero(whole)), rows - float(whole.sum()), top_k)
    active = min(active, experts, rows)
    hottest = min(float(loads.max()), tokens)
    return ExpertLoad(active, max(1.0, hottest * active / rows) if rows > 0.0 else 1.0)
