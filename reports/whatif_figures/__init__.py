"""Figures of the page of a what-if, in the order of the page: a new one is a file here and its place in this list."""

from __future__ import annotations

from typing import Final

from reports.figure import Figure
from reports.whatif import WhatIf
from reports.whatif_figures import border, curves, elasticities, probability, purchases, tornado, waterfall

WHATIF_FIGURES: Final[tuple[Figure[WhatIf], ...]] = tuple(
    sorted(
        (each.FIGURE for each in (border, curves, elasticities, probability, purchases, tornado, waterfall)),
        key=lambda figure: (figure.order, figure.name),
    )
)
