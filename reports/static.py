"""Pages without scripts: for mail, wikis and viewers that run none. They are small: what shapes of a drawing
repeat is said once; where a page is too large, its tooltips go, then its details, then drawings from the end."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

LARGEST: Final = 400_000
"""Bytes that a page without scripts should not exceed: what mail and wikis take."""
LEFT_OUT: Final = "left out to keep this page small; the page with scripts has it."
"""What stands for details of a page that is too large with them."""
_SCRIPT: Final = re.compile(r"[ \t]*<script\b[^>]*>.*?</script>\n?", re.DOTALL)
_BUTTON: Final = re.compile(r'<button type="button">(.*?)</button>', re.DOTALL)
_ALLOWED: Final = re.compile(r" script-src [^;\"]*;")
_DRAWING: Final = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_STYLE: Final = re.compile(r' style="([^"]*)"')
_TOOLTIP: Final = re.compile(r"<title>[^<]*</title>")
_HINT: Final = re.compile(r"(?<=[\"a-z]) title=\"[^\"]*\"")
_COMMAND: Final = re.compile(r"\s*([MLHVCQSTZz])\s*")
_PATH: Final = re.compile(r' d="([^"]*)"')
_NEIGHBOURS: Final = re.compile(r'(<path d="[^"]*)"( class="d\d+")></path>\s*<path d="([^"]*)"\2></path>')
_DETAILS: Final = re.compile(
    r"<details><summary>((?:(?!</summary>).)*)</summary>(?:(?!<details).)*?</details>", re.DOTALL
)
_LARGE: Final = 2_000
"""Characters of a drawing that it is worth to leave out."""
_OFTEN: Final = 4
"""A style that stands so often is worth a class."""


def without_scripts(page: str) -> str:
    """``page`` without its scripts, without leave to run any, and without buttons, which would do nothing.

    Text of others is escaped in a page, so that what looks like a tag here is one of ours.

        >>> without_scripts('<th><button type="button">Device</button></th><script>sort()</script>')
        '<th>Device</th>'
    """
    for pattern, kept in ((_SCRIPT, ""), (_BUTTON, r"\1")):
        page = pattern.sub(kept, page)
    page = _with_classes(_ALLOWED.sub("", page, count=1))
    smaller = (
        lambda page: _DRAWING.sub(_without_tooltips, page),
        lambda page: _DETAILS.sub(rf'<p class="note">\1: {LEFT_OUT}</p>', page),
        lambda page: _HINT.sub("", page),
        _without_last_drawings,
    )
    for step in smaller:
        page = step(page) if len(page.encode()) > LARGEST else page
    return page


def _without_last_drawings(page: str) -> str:
    """Leave out large drawings, the last first, until the page is small enough."""
    over = len(page.encode()) - LARGEST
    for drawing in reversed(list(_DRAWING.finditer(page))):
        if over > 0 and len(drawing[0]) > _LARGE:
            note = f'<p class="note">A drawing is {LEFT_OUT}</p>'
            page = page[: drawing.start()] + note + page[drawing.end() :]
            over -= len(drawing[0].encode()) - len(note)
    return page


def _without_tooltips(drawing: re.Match[str]) -> str:
    """A drawing without tooltips, in which neighbours of one style are one path."""
    text, joined = _TOOLTIP.sub("", drawing[0]), 1
    while joined:
        text, joined = _NEIGHBOURS.subn(r'\1\3"\2></path>', text)
    return text


def _alone(command: re.Match[str]) -> str:
    return command[1]


def _with_classes(page: str) -> str:
    """``page`` with a class for each style that many shapes of its drawings share, and shorter paths."""
    counts = Counter(style for drawing in _DRAWING.findall(page) for style in _STYLE.findall(drawing))
    often = [style for style, count in counts.items() if count >= _OFTEN]
    names = {style: f"d{place}" for place, style in enumerate(often)}

    def short(drawing: re.Match[str]) -> str:
        text = _STYLE.sub(lambda found: f' class="{names[found[1]]}"' if found[1] in names else found[0], drawing[0])
        return _PATH.sub(lambda path: f' d="{_COMMAND.sub(_alone, path[1])}"', text)

    rules = "".join(f".{name}{{{style}}}\n" for style, name in names.items())
    shortened = _DRAWING.sub(short, page)
    return shortened.replace("</head>", f"<style>\n{rules}</style>\n</head>", 1) if rules else shortened
