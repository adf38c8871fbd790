"""The machine, what of it could be used, the software and its settings, as they were when calls were measured."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.calibration import MachineCard
from reports.figure import Figure
from reports.templating import render


def applies(card: MachineCard) -> bool:
    """Whether anything is known of the environment."""
    return any(group.rows for group in card.environment)


def draw(card: MachineCard) -> Markup:
    """One table per group."""
    return render("environment.html", groups=[group for group in card.environment if group.rows])


FIGURE: Final = Figure(
    "environment",
    "Environment",
    100,
    "A calibration holds for this machine, under this software and these settings; silicost says where they differ.",
    applies,
    draw,
)
