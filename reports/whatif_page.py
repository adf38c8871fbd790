"""The page of a what-if: sensitivities, waterfalls, crossovers, chances or purchases, in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reports.definitions import in_titles
from reports.figure import drawn
from reports.page_data import Page, write_page
from reports.templating import render_page
from reports.whatif import WhatIf
from reports.whatif_figures import WHATIF_FIGURES

RESTS: Final = (
    "A median of the laws at these inputs; inputs that are not named keep the values that silicost explain lists, with "
    "their marks and sources.",
)
"""What all numbers of the page rest on."""


def write_whatif(path: Path, shown: WhatIf, static: bool = False) -> None:
    """Write the page of ``shown`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_page(path, render_whatif(shown, static), Page("whatif", shown))


def render_whatif(shown: WhatIf, static: bool = False) -> str:
    """The page of ``shown`` as one HTML document; the same what-if gives the same bytes."""
    figures = drawn(WHATIF_FIGURES, shown, static)
    return render_page(
        "whatif.html", static, title=shown.title, lead="", figures=figures, shown=shown,
        answer=in_titles(shown.lead), leading=1, rests=RESTS,
    )  # fmt: skip
