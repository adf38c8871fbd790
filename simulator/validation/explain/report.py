"""Explanations as plain data: the documented JSON form (docs: explain)."""

from __future__ import annotations

import math
from typing import Any, Final

from hardware_specs.units import format_quantity
from simulator.validation.explain.closing import DOUBTFUL, Closing
from simulator.validation.explain.explain import Explained, Explanation
from simulator.validation.explain.joint import Joint
from simulator.validation.explain.parts import by_family, by_part
from simulator.validation.explain.setup import Candidate

SCHEMA: Final = 1
"""Version of the JSON form: it grows by one when a key goes away or changes its meaning."""


def report_of(explained: Explained) -> dict[str, Any]:
    """All rows, and what best explains them together."""
    return {
        "schema": SCHEMA,
        "rows": [row_of(row) for row in explained.rows],
        "joint": [_joint(joint) for joint in explained.joint],
    }


def row_of(row: Explanation) -> dict[str, Any]:
    """One row; without an explanation its lists are empty and ``reason`` says why."""
    shown = {
        name: getattr(row, name)
        for name in (
            "row", "file", "kind", "source", "device", "runtime", "what", "dimension", "reason", "measured",
            "predicted", "low_80", "high_80", "inside_80", "regime",
        )
    }  # fmt: skip
    known = math.isfinite(row.predicted_s)
    return {
        **shown,
        "circumstances": list(row.circumstances),
        "verdict": verdict_of(row),
        "log_ratio": row.gap if known else None,
        "predicted_s": row.predicted_s if known else None,
        "measured_s": row.measured_s if known else None,
        "parts": [
            {"part": part, "seconds": seconds, "share": seconds / row.predicted_s, "needed_s": _needed(row, seconds)}
            for part, seconds in by_part(row.parts).items()
        ],
        "families": [
            {"family": family, "seconds": sum(own.values()), "share": sum(own.values()) / row.predicted_s, "parts": own}
            for family, own in by_family(row.parts).items()
        ],
        "changes": [_change(closing) for closing in row.closings],
        "alternatives": [
            {"what": each.words, "log_ratio": each.left, "predicted_s": row.measured_s * math.exp(each.left)}
            for each in row.alternatives
        ],
    }


def verdict_of(row: Explanation) -> str:
    """What the explanation of a row comes to, in a line; "" where there is none."""
    if row.reason:
        return ""
    inside = "nothing to explain: inside the 80% interval"
    if not row.closings:
        return inside if row.inside_80 else "nothing to explain: the prediction is what was measured"
    best = row.closings[0]
    candidate = best.candidate
    if best.needed is None or not best.in_range:
        said = "no change of one number closes the gap"
    elif best.size > DOUBTFUL:
        said = (
            f"no change of one number within {DOUBTFUL:g} sd of what is known closes the gap: look at the row first "
            "(batch, lengths, unit, software)"
        )
    else:
        needed, now = (format_quantity(value, candidate.dimension, 3) for value in (best.needed, candidate.now))
        said = f"smallest change that closes the gap: {candidate.what}, {needed} instead of {now} ({best.size:.2g} sd)"
    return f"{inside}; {said}" if row.inside_80 else said


def _needed(row: Explanation, seconds: float) -> float | None:
    """What a part would have to take for the prediction to be right, all others being so; None below zero."""
    needed = seconds + row.measured_s - row.predicted_s
    return needed if needed >= 0.0 else None


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "path": candidate.path, "owner": candidate.owner, "meaning": candidate.what, "dimension": candidate.dimension,
        "now": candidate.now, "low": candidate.low,
        "high": candidate.high if math.isfinite(candidate.high) else None, "sd": candidate.sd,
    }  # fmt: skip


def _change(closing: Closing) -> dict[str, Any]:
    now, needed = closing.candidate.now, closing.needed
    value = closing.nearest if needed is None else needed
    return {
        **_candidate(closing.candidate),
        "needed": needed,
        "ratio": needed / now if needed is not None and now > 0.0 else None,
        "in_range": closing.in_range,
        "nearest": closing.nearest,
        "left": closing.left,
        "size": closing.size,
        "set": setting(closing.candidate, value),
    }


def _joint(joint: Joint) -> dict[str, Any]:
    now = joint.candidate.now
    return {
        **_candidate(joint.candidate), "value": joint.value, "ratio": joint.value / now if now > 0.0 else None,
        "size": joint.size, "rows": joint.rows, "before": joint.before, "after": joint.after,
        "set": setting(joint.candidate, joint.value),
    }  # fmt: skip


def setting(candidate: Candidate, value: float) -> str:
    """How ``--set`` takes the value."""
    return f"{candidate.path}={format_quantity(value, candidate.dimension, 6)}"
