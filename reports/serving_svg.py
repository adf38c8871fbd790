"""Drawings of the page of a served run: there are many, so that each says only what is seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from reports.svg import inline

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_GAP: Final = re.compile(r"  L ")
_FAMILY: Final = re.compile(r"; font-family: [^;\"]*")
_UNTURNED: Final = re.compile(r' transform="rotate\(-0 [^"]*"')
_BACKGROUND: Final = re.compile(r'<g><path d="[^"]*" style="fill: none"></path></g>')


def small(figure: Drawing, key: str, label: str, hints: Mapping[str, Sequence[str]]) -> Markup:
    """As ``svg.inline``; text has the font of the page, and what is not seen is not there."""
    text = str(inline(figure, key, label, hints))
    for pattern in (_FAMILY, _UNTURNED, _BACKGROUND):
        text = pattern.sub("", text)
    return Markup(_GAP.sub("L", text))
