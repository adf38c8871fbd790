"""The formats that can be read, and how a file's format is found: by what stands in it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

from hardware_specs.errors import InputError, UnknownName
from simulator.calibration.foreign import formats
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.text import Text, read_text


class Format(NamedTuple):
    """One kind of file.

    ``made_by`` says how a user gets such a file. ``recognises`` looks at the content; ``read`` may raise InputError.
    """

    name: str
    made_by: str
    recognises: Callable[[Text], bool]
    read: Callable[[Text], Foreign]


_FORMATS: Final[dict[str, Format]] = {}


def register(entry: Format) -> Format:
    """Add a format.

    Raises:
        ValueError: there is one of that name already.
    """
    if entry.name in _FORMATS:
        raise ValueError(f"two formats are called {entry.name!r}")
    _FORMATS[entry.name] = entry
    return entry


@cache
def known_formats() -> Mapping[str, Format]:
    """All formats by name, sorted."""
    for module in pkgutil.iter_modules(formats.__path__):
        import_module(f"{formats.__name__}.{module.name}")
    return dict(sorted(_FORMATS.items()))


def read_foreign(path: Path, kind: str = "") -> Foreign:
    """What a file of another benchmark says.

    Args:
        kind: name of its format; "": found by its content.

    Raises:
        UnknownName: no such format.
        InputError: no such file, a file of no known format or of several, or one with broken lines.
    """
    known = known_formats()
    listed = "; ".join(f"{each.name} ({each.made_by})" for each in known.values())
    if kind and kind not in known:
        raise UnknownName("format", kind, known, f"known: {', '.join(known)}")
    text = read_text(path)
    found = [known[kind]] if kind else [each for each in known.values() if each.recognises(text)]
    if not found:
        first = next((line.strip() for line in text.lines if line.strip()), "")
        raise InputError(f"{text.place}: not a known format; it begins with {first[:60]!r}. Known: {listed}")
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise InputError(f"{text.place}: holds several formats: {names}; split it, or say which one to read")
    foreign = found[0].read(text)
    if not foreign.measurements and not foreign.model_rows and not foreign.about.get("latencies"):
        why = f" ({foreign.skipped[0]})" if foreign.skipped else ""
        raise InputError(f"{text.place}: {found[0].name}: there is no row in it that can be used{why}")
    return foreign
