"""Laws as people write them: ``name``, or ``name:key=value,key=value``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from hardware_specs.errors import InputError, UnknownName, clipped, nearest
from hardware_specs.units import parse_quantity

Built = TypeVar("Built")
MOST: Final = 1e15
"""Largest number that a law may have, in SI units."""


class Words(NamedTuple):
    """One law in words: where it stands, its name, its values by key."""

    place: str
    name: str
    values: Mapping[str, str]

    def error(self, what: str) -> InputError:
        """An error at this place."""
        return InputError(f"{self.place}: {self.name}: {what}")

    def number(self, key: str, dimension: str = "number", *, least: float = 0.0, default: float | None = None) -> float:
        """The value of ``key`` in SI units; ``default`` where it is not there.

        Raises:
            InputError: no quantity of this dimension, less than ``least``, or more than ``MOST``.
        """
        if key not in self.values and default is not None:
            return default
        value = parse_quantity(self.values[key], dimension, f"{self.place}: {self.name}: {key}")
        if not least <= value <= MOST:
            raise self.error(f"{key} {self.values[key]!r} must be from {least:g} to {MOST:g}")
        return value

    def positive(self, key: str, dimension: str = "number", *, default: float | None = None) -> float:
        """As ``number``, but above 0, from 1 / ``MOST`` on."""
        return self.number(key, dimension, least=1.0 / MOST, default=default)

    def whole(self, key: str, least: int = 1, most: int = 1 << 31) -> int:
        """The value of ``key`` as a whole number from ``least`` to ``most``."""
        value = parse_quantity(self.values[key], "number", f"{self.place}: {self.name}: {key}")
        if not least <= value <= most or value != int(value):
            raise self.error(f"{key} {self.values[key]!r} must be a whole number from {least} to {most}")
        return int(value)


class Form(NamedTuple, Generic[Built]):
    """A law that can be written: keys that it needs, keys that it may have, and what it is."""

    needs: tuple[str, ...]
    may: tuple[str, ...]
    build: Callable[[Words], Built]


def built(text: str, forms: Mapping[str, Form[Built]], what: str, place: str, hint: str = "") -> Built:
    """The law that ``text`` says.

    Args:
        what: the kind of law, for errors ("law of lengths").
        place: where the text stands ("--isl").
        hint: what else is allowed.

    Raises:
        UnknownName: a name that is not in ``forms``.
        InputError: a key that is unknown, missing or there twice, a value that cannot be.
    """
    name, _, rest = (part.strip() for part in text.partition(":"))
    if name not in forms:
        raise UnknownName(what, name, forms, f"allowed: {', '.join(forms)}{hint}", place)
    form = forms[name]
    words = Words(place, name, _values(rest, name, (*form.needs, *form.may), place))
    missing = [key for key in form.needs if key not in words.values]
    if missing:
        needed = ",".join(f"{key}=..." for key in form.needs)
        raise words.error(f"missing key{'s' if len(missing) > 1 else ''} {', '.join(missing)} (write {name}:{needed})")
    return form.build(words)


def _values(text: str, name: str, allowed: tuple[str, ...], place: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in text.split(",") if text else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise InputError(f"{place}: {name}: {clipped(part.strip())!r} must be key=value")
        if key not in allowed:
            close = nearest(key, allowed)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            has = f"allowed: {', '.join(allowed)}" if allowed else f"{name} has no keys"
            raise InputError(f"{place}: {name}: unknown key {clipped(key)!r}{hint} ({has})")
        if key in values:
            raise InputError(f"{place}: {name}: {key} is there twice")
        values[key] = value
    return values
