"""Which axis matters: shares of the variance of each metric's logarithm (main effects).

The share of a factor is Var(E[log y | factor]) / Var(log y), the first-order index of Sobol', "Sensitivity estimates
for nonlinear mathematical models", Math. Model. Comput. Exp. 1, 1993, as the points of the study have it.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import share, whole
from reports.study import Shares, StudyCard
from reports.templating import render


class Line(NamedTuple):
    """A factor: length of its bar in percent, and its share in words."""

    name: str
    width: float
    value: str
    muted: bool


class Panel(NamedTuple):
    """A metric."""

    title: str
    note: str
    lines: list[Line]


def panel_of(title: str, factors: tuple[str, ...], shares: Shares) -> Panel:
    """The factors of a metric, the weightiest first, and what none of them explains alone."""
    order = sorted(range(len(factors)), key=lambda k: (-shares.of[k], k))
    lines = [Line(factors[k], _width(shares.of[k]), share(shares.of[k]), False) for k in order]
    together = math.fsum(shares.of)
    if together <= 1.0:
        lines.append(Line("axes together", _width(1.0 - together), share(1.0 - together), True))
    note = f"{whole(shares.points)} feasible points"
    if together > 1.0:
        note += f"; the shares add up to {share(together)}: without the infeasible points axes go together"
    return Panel(title, note, lines)


def _width(part: float) -> float:
    return 100.0 * min(max(part, 0.0), 1.0)


def applies(card: StudyCard) -> bool:
    """Whether there is more than one axis, and a metric that varies."""
    return len(card.factors) > 1 and any(map(_varies, card.shares))


def _varies(shares: Shares) -> bool:
    return bool(shares.of) and math.isfinite(shares.of[0])


def draw(card: StudyCard) -> Markup:
    """A panel of bars for each metric that varies."""
    names = tuple(factor.name for factor in card.factors)
    panels = [
        panel_of(measure.title, names, shares)
        for measure, shares in zip(card.metrics, card.shares, strict=True)
        if _varies(shares)
    ]
    fixed = [m.title for m, shares in zip(card.metrics, card.shares, strict=True) if not _varies(shares)]
    return render("study_shares.html", panels=panels, fixed=fixed, sample=card.sample)


FIGURE: Final = Figure(
    "axes",
    "Which axis matters",
    30,
    "Share of the variance of a metric's logarithm that an axis explains by itself, over all values of the others in "
    "the study. What is left comes of axes together. A share is of this study: an axis with more distant values has "
    "more.",
    applies,
    draw,
)
