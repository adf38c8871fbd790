"""How records are shown in notebooks: said by rooms above, so that no record knows a page.

A record's ``_repr_html_`` asks ``html_of`` and its ``to_pandas`` ``frame_of``; whoever can draw its kind registers that
once, by the name of the class, so that neither is imported for it. ``import silicost`` registers all; without it a
notebook shows text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

_RENDERERS: Final[dict[str, Callable[[Any], str]]] = {}
_FRAMES: Final[dict[str, Callable[[Any], pd.DataFrame]]] = {}


def show_with(
    renderers: Mapping[str, Callable[[Any], str]], frames: Mapping[str, Callable[[Any], pd.DataFrame]] | None = None
) -> None:
    """Show records of these classes ("simulator.result.Result") by these functions, which give HTML or a frame."""
    _RENDERERS.update(renderers)
    _FRAMES.update(frames or {})


def html_of(record: object) -> str | None:
    """``record`` as HTML; None where nobody has said how to show its kind."""
    render = _RENDERERS.get(_kind(record))
    return render(record) if render else None


def frame_of(record: object) -> pd.DataFrame:
    """The numbers of ``record`` as a frame.

    Raises:
        LookupError: nobody has said how to make one of its kind.
    """
    make = _FRAMES.get(_kind(record))
    if make is None:
        raise LookupError(f"no frame of {type(record).__name__} is registered: import silicost first")
    return make(record)


def _kind(record: object) -> str:
    kind = type(record)
    return f"{kind.__module__}.{kind.__qualname__}"
