"""The page of a what-if: sensitivities, waterfalls, crossovers, chances or purchases, in one HTML file."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.files import write_text
from reports.templating import render
from reports.whatif import WhatIf
from reports.whatif_figures import WHATIF_FIGURES


def write_whatif(path: Path, shown: WhatIf) -> None:
    """Write the page of ``shown`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    write_text(path, render_whatif(shown))


def render_whatif(shown: WhatIf) -> str:
    """The page of ``shown`` as one HTML document; the same what-if gives the same bytes."""
    figures = [(figure, figure.draw(shown)) for figure in WHATIF_FIGURES if figure.applies(shown)]
    return render("whatif.html", title=shown.title, lead=shown.lead, figures=figures, shown=shown)
