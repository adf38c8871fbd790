"""What a number rests on, in the few lines that stand with it: measurements, assumptions, and how far they reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from reports.numbers import exact_share, metric_of, share
from reports.text import short
from simulator.result import Provenance, Reach, Result

GROUPS: Final = {"usd": "cost", "g": "carbon", "j": "energy"}
"""What a metric needs beyond times, by its dimension; other metrics need "time" alone."""
_NEEDED_FOR: Final = {
    "site.carbon": ("carbon",), "site.electricity": ("cost",), "site.pue": ("carbon", "energy", "cost"),
    "system.host_power": ("carbon", "energy", "cost"),
}  # fmt: skip
_PRICE: Final = "price of "
_FIT: Final = "fit "
_NAMED: Final = 4
"""Inputs that a line names; the rest is counted."""
_UNSEEN: Final = 1e-6
"""Share of a time that is rounding."""


class Rests(NamedTuple):
    """The lines about one group of metrics of a result; ``anchor`` is the id of the element that holds them."""

    anchor: str
    lines: tuple[str, ...]


def group_of(name: str) -> str:
    """Which inputs a metric needs: those of "time", "energy", "cost" or "carbon"."""
    return GROUPS.get(metric_of(name).dimension, "time")


def anchor_of(place: int, name: str) -> str:
    """The id of the element that says what a metric of the result at ``place`` of its page rests on."""
    return f"rests-{place + 1}-{group_of(name)}"


def rests_of(result: Result, place: int) -> list[Rests]:
    """What the metrics of a result rest on, group by group; ``place`` is that of the result on its page."""
    anchors = {group_of(name): anchor_of(place, name) for name in result.metrics}
    return [Rests(anchor, lines_of(result, group)) for group, anchor in anchors.items()]


def lines_of(result: Result, group: str) -> tuple[str, ...]:
    """Inputs by mark, fits, what was assumed, and whether devices were measured."""
    rows = [row for row in result.provenance if _needed(row, group) and _runs(row, result)]
    if not rows:
        return ()
    marks = Counter(row.mark for row in rows)
    counted = ", ".join(f"{count} {short(mark, 16)}" for mark, count in marks.most_common())
    lines = [f"Rests on {len(rows)} input{'s' if len(rows) > 1 else ''}: {counted}."]
    lines += reaches_of(result)
    assumed = [row for row in rows if row.mark == "assumed"]
    if assumed:
        # Priors of the class are many and alike; what somebody chose for this run says more.
        assumed.sort(key=lambda row: row.origin.startswith("class prior"))
        lines.append(f"Assumed: {named([f'{row.what} {row.value}' for row in assumed])}.")
    lines += [f"Mind: {short(warning, 200)}." for warning in result.warnings[:2]]
    return tuple(lines)


def reaches_of(result: Result) -> list[str]:
    """A line for each device: whether its calls were measured, and how much of the time lies between these."""
    rows = [row for row in result.provenance if _runs(row, result)]
    return [_reach(each, rows, result.reach_of(each)) for each in dict.fromkeys(pool.device for pool in result.pools)]


def named(texts: Sequence[str]) -> str:
    """The first few of ``texts``, and how many more there are."""
    shown = "; ".join(short(text, 80) for text in texts[:_NAMED])
    return shown if len(texts) <= _NAMED else f"{shown}; and {len(texts) - _NAMED} more"


def _needed(row: Provenance, group: str) -> bool:
    if row.what.startswith(_PRICE):
        return group == "cost"
    return group in _NEEDED_FOR.get(row.path, (group,))


def _runs(row: Provenance, result: Result) -> bool:
    """False for a fit to operators or number formats that the result does not run; fits say both in words:
    "h100-sxm-80gb gemm, batched_gemm in bf16, fp16"."""
    if not row.origin.startswith(_FIT):
        return True
    operators = [operator for phase in result.phases for operator in phase.operators]
    kinds, _, dtypes = row.what.partition(" ")[2].partition(" in ")
    named = set(kinds.split(", "))
    return not operators or any(
        operator.dtype in dtypes.split(", ") and (operator.kind in named or operator.family in named)
        for operator in operators
    )


def _reach(device: str, rows: Iterable[Provenance], reach: Reach) -> str:
    """Whether calls of a device were measured, and whether those of the run lie between these or beyond them."""
    fits = [row for row in rows if row.mark == "calibrated" and row.origin.startswith(_FIT)]
    fits = [row for row in fits if row.what.startswith(f"{device} ")]
    own = [row for row in fits if row.origin.startswith(f"{_FIT}{device}-")]
    name = short(device, 40)
    if not fits:
        return f"Extrapolated for {name}: no fit to its measured calls; laws with what was published and assumed."
    others = [row.what.removeprefix(f"{device} ") for row in fits if row not in own]
    count = f"{len(own)} fit{'' if len(own) == 1 else 's'}"
    elsewhere = f"extrapolated from other devices: {named(others)}"
    if not own:
        return f"Extrapolated for {name}: no fit to its measured calls; {elsewhere}."
    said = [f"Measured: {count} to calls of {name}", *([elsewhere] if others else [])]
    beyond = [f"{kind} ({share(each / reach.total_s)})" for kind, each in reach.extrapolated_s.items()]
    parts = [f"extrapolated: {named(beyond)}"] if beyond else []
    between = "in calls whose size lies between measured ones"
    unknown_s = reach.unrecorded_s if reach.unrecorded_s > _UNSEEN * reach.total_s else 0.0
    if reach.interpolated_s > 0.0:
        within = exact_share(reach.interpolated_s / reach.total_s)
        parts.insert(0, f"Interpolated: {within} of the time of {name} is {between}")
    elif beyond:
        known = " known to be" if unknown_s else ""
        parts.insert(0, f"Extrapolated: no time of {name} is{known} {between}")
    else:
        said.insert(1, "whether the shapes lie between theirs is not recorded")
        return f"{'; '.join(said)}."
    parts += [f"not recorded: {share(unknown_s / reach.total_s)}"] if unknown_s else []
    return f"{'; '.join(said)}. {'; '.join(parts)}."
