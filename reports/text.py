"""Text that came from people or files, made harmless and short enough to show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from simulator.result import Result

_BIDI_CONTROLS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_UNIT: Final = re.compile(
    r"(?<=\d) (?=(?:%|×|GPUs?\b|[numµkMGTP]?(?:s|B|J|W|Wh|Hz|FLOP|USD)(?:/s|/h)?\b|tokens?\b|requests?\b|sequences\b))"
)
_TIGHT: Final = re.compile(r"(?<=\d)(?=[%×])")
_COUNTED: Final = re.compile(r"\b(\d+) x (?=\w)")
_WORD: Final = re.compile(r"[a-z]{2,}(?= )")


def plain(text: str) -> str:
    """``text`` without what could break a file or turn the page around.

    Control characters, lone surrogates and directional overrides become U+FFFD; line ends and tabs become spaces.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if c in "\n\r\t" else "\ufffd" if _is_harmful(c) else c for c in text)


def _is_harmful(character: str) -> bool:
    return (
        character in _BIDI_CONTROLS
        or unicodedata.category(character) in ("Cc", "Cs")
        or character in "\ufffe\uffff\u2028\u2029"
    )


def short(text: str, most: int = 60) -> str:
    """``text`` of at most ``most`` characters; what is too long loses its middle."""
    if len(text) <= most:
        return plain(text)
    tail = (most - 1) // 3
    return f"{plain(text[: most - 1 - tail])}…{plain(text[-tail:])}"


def glued(text: str) -> str:
    """``text`` as pages write it: "12.3\u00a0ms", "80\u00a0%", and no line breaks between a number and its unit."""
    return _TIGHT.sub("\u00a0", _UNIT.sub("\u00a0", text))


def lowered(text: str) -> str:
    """``text`` inside a sentence: words begin small, abbreviations stay.

    >>> lowered("Time to first token"), lowered("MBU of the decode")
    ('time to first token', 'MBU of the decode')
    """
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def heading(text: str) -> str:
    """``text`` as a title: it begins with a capital, unless with a name of hardware or a model, and counts with ×.

    >>> heading("training step on 8 x h100-sxm-80gb")
    'Training step on 8 × h100-sxm-80gb'
    """
    counted = _COUNTED.sub("\\1 × ", text)
    return counted[:1].upper() + counted[1:] if _WORD.match(counted) else counted


def labels_of(results: Sequence[Result]) -> list[str]:
    """A short name for each result, all different: its own, else the device where that tells apart, else the title."""
    if results and all(result.name for result in results):
        names = [short(result.name, 48) for result in results]
    else:
        names = [_device_label(result) for result in results]
        if len(set(names)) < len(names) or not all(names):
            names = [short(result.title, 48) for result in results]
    seen: dict[str, int] = {}
    labels = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return labels


def _device_label(result: Result) -> str:
    pools = (pool.device if pool.count == 1 else f"{pool.count} × {pool.device}" for pool in result.pools)
    return short(" + ".join(pools), 36)
