"""Where the time goes: one bar per result and phase, cut by operator family, over a strip of what bounds it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import cell_of, quantity
from reports.palette import BOUNDS
from reports.parts import Part, bound_seconds, by_family, family_seconds, legend_of, parts_of
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result

_BOUND_OF: Final = {"collective": "communication", "transfer": "communication"}
"""What bounds time that no operator takes, by family; the others are overhead."""


class Bar(NamedTuple):
    """One bar: the whole result or one of its phases."""

    name: str
    time: str
    bound: str
    families: list[Part]
    bounds: list[Part]


def bars_of(result: Result) -> list[Bar]:
    """The bar of the whole result, then one per phase; together these sum to the whole.

    What belongs to no operator (host time between steps, pipeline bubbles, waiting for transfers) is part of its phase
    where the result says how long the phase lasts, else a bar of its own.
    """
    bars = []
    total = math.fsum(value for value in result.breakdown.values() if math.isfinite(value))
    if total > 0.0:
        whole = parts_of(by_family(result.breakdown), "family", "s")
        bars.append(Bar("whole", quantity(total, "s"), "", whole, []))
    rest = _outside(result)
    lasting = _lengths(result)
    for name in dict.fromkeys(phase.name for phase in result.phases):
        phases = [phase for phase in result.phases if phase.name == name]
        operators = [operator for phase in phases for operator in phase.operators]
        seconds, bounds = family_seconds(operators), bound_seconds(operators)
        if not any(seconds.values()):
            continue
        spent = math.fsum(seconds.values())
        waiting = _part(rest, lasting.get(name, 0.0) - spent)
        for family, value in waiting.items():
            seconds[family] = seconds.get(family, 0.0) + value
            bounds[_BOUND_OF.get(family, "overhead")] += value
        strip = parts_of(bounds, "bound", "s")
        bound = result.bound.get(name) or max(strip, key=lambda part: part.width).name
        shown = quantity(spent + math.fsum(waiting.values()), "s")
        bars.append(Bar(name, shown, bound, parts_of(by_family(seconds), "family", "s"), strip))
    if bars and rest and result.kind == "training":
        shown = quantity(math.fsum(rest.values()), "s")
        bars.append(Bar("outside", shown, "", parts_of(by_family(rest), "family", "s"), []))
    return bars


def _outside(result: Result) -> dict[str, float]:
    """Seconds by family that the whole has and its phases have not; nothing to speak of is left out."""
    inside = family_seconds(operator for phase in result.phases for operator in phase.operators)
    found = {family: value - inside.get(family, 0.0) for family, value in result.breakdown.items()}
    least = 1e-9 * math.fsum(value for value in result.breakdown.values() if math.isfinite(value))
    return {family: value for family, value in found.items() if least < value < math.inf}


def _lengths(result: Result) -> dict[str, float]:
    """How long the phases of an inference last, waiting included [s]."""
    prompt, whole = (cell_of(result, name).value for name in ("ttft_s", "e2e_s"))
    if result.kind != "inference" or prompt is None or whole is None:
        return {}
    return {"encode": prompt, "prefill": prompt, "decode": whole - prompt}


def _part(rest: Mapping[str, float], length_s: float) -> dict[str, float]:
    """``length_s`` seconds of what ``rest`` consists of."""
    total = math.fsum(rest.values())
    return {family: value * length_s / total for family, value in rest.items()} if length_s > 1e-9 * total > 0.0 else {}


def applies(results: Sequence[Result]) -> bool:
    """Whether some result has time to break down."""
    return any(bars_of(result) for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """Bars of every result, with two legends."""
    families = [family for result in results for family in result.breakdown]
    operators = [operator for result in results for phase in result.phases for operator in phase.operators]
    families += [operator.family for operator in operators]
    bounds = {operator.bound for operator in operators}
    rows = [(label, bars_of(result)) for label, result in zip(labels_of(results), results, strict=True)]
    return render(
        "time_breakdown.html",
        rows=[row for row in rows if row[1]],
        families=legend_of(families, "family"),
        bounds=legend_of([b for b in (*BOUNDS, *sorted(bounds - set(BOUNDS))) if b in bounds], "bound"),
    )


FIGURE = Figure(
    "time",
    "Where the time goes",
    20,
    "Each bar is 100\u00a0% of the time at its right, cut by operator family; the thin strip below a phase says what "
    "bounds it. Host time and waiting count in the phase they belong to; outside of training phases they have a bar of "
    "their own. Where a runtime does not fuse attention, its products count as matrix products.",
    applies,
    draw,
)
