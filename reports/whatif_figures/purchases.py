"""What can be bought: each option alone, and the sets that nothing of the same cost beats."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.axis import axis_of, round_text
from reports.definitions import in_titles
from reports.figure import Figure
from reports.numbers import quantity
from reports.palette import role
from reports.parts import Key
from reports.svg import colour, drawing, inline
from reports.templating import render
from reports.text import short
from reports.whatif import Bought, Budget, WhatIf
from reports.whatif_axis import fine_values

_SIZE_IN: Final = (6.2, 3.6)
_BOTTOM, _HEIGHT, _RIGHT = 0.14, 0.83, 0.96
_LETTER_PT, _LABEL_PT = 5.6, 28.0
"""Room of a letter of a tick, and of the name of the axis [pt]."""


def applies(shown: WhatIf) -> bool:
    """Whether anything can be bought that has a value."""
    return shown.budget is not None and bool(shown.budget.frontier)


def draw(shown: WhatIf) -> Markup:
    """Cost across, metric up; the frontier as a staircase."""
    budget = shown.budget
    assert budget is not None
    keys = [Key("one option alone", role("series", "1")), Key("sets that nothing beats", role("series", "2"))]
    rows = [(each, quantity(each.cost_usd, "usd"), quantity(each.value, budget.dimension)) for each in budget.frontier]
    return render(
        "whatif_purchases.html", svg=_picture(budget), keys=keys, rows=rows, best=budget.best, metric=budget.metric
    )


def _picture(budget: Budget) -> Markup:
    every = [*budget.singles, *budget.frontier]
    costs, up = [each.cost_usd for each in every], axis_of([each.value for each in every])
    most = max(*costs, 1.0) * 1.05
    values = fine_values(up)
    names = [round_text(value, budget.dimension) for value in values]
    left = (max(map(len, names), default=0) * _LETTER_PT + _LABEL_PT) / (72.0 * _SIZE_IN[0])
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes((left, _BOTTOM, _RIGHT - left, _HEIGHT))
        axes.set(
            xlim=(-0.03 * most, most), yscale="log", ylim=(10.0**up.low, 10.0**up.high),
            ylabel=short(in_titles(budget.metric)), xlabel="cost [USD]",
        )  # fmt: skip
        axes.xaxis.set_major_formatter(lambda usd, _: f"{usd:,.0f}" if most > 10.0 else f"{usd:g}")
        axes.set_yticks(values, names)
        axes.minorticks_off()
        ends = [each.cost_usd for each in budget.frontier], [each.value for each in budget.frontier]
        axes.step([*ends[0], most], [*ends[1], ends[1][-1]], where="post", color=colour(role("series", "2")),
                  linewidth=1.4, zorder=2)  # fmt: skip
        hints = {}
        for shade, own, gid in (("1", budget.singles, "singles"), ("2", budget.frontier, "frontier")):
            x, y = [each.cost_usd for each in own], [each.value for each in own]
            axes.scatter(x, y, s=26.0, c=colour(role("series", shade)), linewidths=0.5, edgecolors=colour("paper"),
                         zorder=4, gid=gid)  # fmt: skip
            hints[gid] = [_hint(each, budget.dimension) for each in own]
        axes.grid(color=colour("line"), linewidth=0.6, alpha=0.6)
        axes.set_axisbelow(True)
        label = f"{budget.metric} over cost: {len(budget.singles)} options, {len(budget.frontier)} sets"
        return inline(figure, "whatif-purchases", label, hints)


def _hint(each: Bought, dimension: str) -> str:
    return f"{each.what}: {quantity(each.cost_usd, 'usd')}, {quantity(each.value, dimension)}"


FIGURE: Final = Figure(
    "purchases",
    "What money buys",
    12,
    "A dot is something that can be bought: its cost, and the metric with it. The staircase joins the sets that no "
    "other set of the same or a lower cost beats.",
    applies,
    draw,
)
