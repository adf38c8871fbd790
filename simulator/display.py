"""How records are shown in notebooks: said by rooms above, so that no record knows a page.

A record's ``_repr_html_`` asks ``html_of``; whoever can draw its kind registers that once, by the name of the class, so
that neither is imported for it. ``import silicost`` registers ``reports.notebook``; without it a notebook shows text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_RENDERERS: Final[dict[str, Callable[[Any], str]]] = {}


def show_with(renderers: Mapping[str, Callable[[Any], str]]) -> None:
    """Show records of these classes ("simulator.result.Result") by these functions, which give HTML."""
    _RENDERERS.update(renderers)


def html_of(record: object) -> str | None:
    """``record`` as HTML; None where nobody has said how to show its kind."""
    kind = type(record)
    render = _RENDERERS.get(f"{kind.__module__}.{kind.__qualname__}")
    return render(record) if render else None
