"""A recommendation in words: its question, its verdict, the plan of a candidate, why others lose."""

from __future__ import annotations

from typing import Final

from reports.numbers import quantity
from silicost.recommend.answer import Recommendation
from silicost.recommend.candidates import Candidate
from simulator.metrics import BY_NAME

REASONS: Final = {
    "dtype": "cannot compute in the format", "runtime": "no runtime", "memory": "does not fit", "slo": "breaks the SLO",
    "budget": "beyond the budget", "price": "no price", "bound": "too slow at its peak rate",
    "screened": "not among the finalists", "plan": "no plan", "compatibility": "does not run there",
}  # fmt: skip
"""Codes of losers in words."""
_DIMENSIONS: Final = {"device_j": "j"}


def verdict(found: Recommendation) -> str:
    """The answer in one sentence."""
    asked = found.asked
    name = f"{asked.name}: " if asked.name else ""
    if not found.ranked:
        nearest = found.losers[0] if found.losers else None
        said = f"; nearest is {nearest.device}: {nearest.why}" if nearest is not None else ""
        return f"{name}no device does it{said}"
    first = found.ranked[0]
    many = first.more.get("replicas", 0)
    serve = f", {many} replica{'s' * (many != 1)} for {asked.rate:g} requests/s" if many else ""
    text = f"{name}{_devices(first)} ({first.device.device_class}{serve}): {_value(found, first)}"
    if found.chance is not None:
        text += f"; beats {found.ranked[1].device.id} with a chance of {_chance(found.chance)}"
    return text


def _chance(chance: float) -> str:
    """A chance that is never sure: "over 99%"."""
    return "over 99%" if chance > 0.99 else "under 1%" if chance < 0.01 else f"{chance:.0%}"


def _devices(each: Candidate) -> str:
    return f"{each.count} x {each.device.id}" if each.count > 1 else each.device.id


def dimension_of(metric: str) -> str:
    """The dimension of a metric that ranks."""
    return BY_NAME[metric].dimension if metric in BY_NAME else _DIMENSIONS.get(metric, "")


def _value(found: Recommendation, each: Candidate) -> str:
    metric = found.asked.metric
    value = each.metrics[metric]
    assert value is not None
    text = f"{metric} {quantity(value, dimension_of(metric))}"
    if each.interval is None:
        return text
    low, high = (quantity(end, dimension_of(metric)) for end in each.interval)
    return f"{text} (80% from {low} to {high})"


def asked_in_words(found: Recommendation) -> str:
    """The question in a line."""
    asked = found.asked
    work = {
        "inference": f"{asked.isl} tokens in, {asked.osl} out",
        "traffic": f"{asked.rate:g} requests/s of {asked.isl} tokens in, {asked.osl} out",
        "training": f"steps of {asked.global_batch} x {asked.seq_len} tokens",
    }[asked.kind]
    return f"{asked.model}, {work}{f', {asked.slo}' if asked.slo else ''}: by {asked.metric}"


def plan_in_words(each: Candidate) -> str:
    """How the work is cut: "tp 2, batch 16"."""
    plan = each.plan
    words = [f"{key} {plan[key]}" for key in ("tp", "pp", "dp", "cp", "ep") if plan.get(key, 1) != 1]
    words += [f"zero {plan['zero']}"] if "zero" in plan else []
    words += [f"micro {plan['micro_batch']}"] if "micro_batch" in plan else []
    words += [f"recompute {plan['recompute']}"] if plan.get("recompute", "none") != "none" else []
    if "replicas" in each.more:
        words.insert(0, f"{each.more['replicas']} replica{'s' * (each.more['replicas'] != 1)}")
    elif "batch" in plan:
        words.append(f"batch {plan['batch']}")
    return ", ".join(words) or "-"
