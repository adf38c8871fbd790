"""Checked access to the keys of a configuration, which remembers what was used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from hardware_specs.errors import InputError, clipped, nearest
from workloads.models.checks import LARGEST
from workloads.training_configs.record import LeftOut

T = TypeVar("T")
UNSET: Final = "\0"
"""Stands around the name of a variable whose value is not known; no file that is read may hold it."""
_ALIKE: Final = 0.9
_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")


class Given(NamedTuple):
    """What a file gives for a key: the value (True: a switch), where it stands, and how the key is spelt there."""

    value: Any
    place: str
    key: str


@dataclass(frozen=True)
class Settings:
    """The keys of one file.

    Args:
        file: its name, for errors.
        given: what it says, by key. A key whose value is None counts as absent.
        spelt: how a key would be spelt in this file, for errors about absent ones.
    """

    file: str
    given: Mapping[str, Given]
    spelt: Callable[[str], str] = str
    used: set[str] = field(default_factory=set)
    assumed: list[str] = field(default_factory=list)
    remarks: list[LeftOut] = field(default_factory=list)

    def find(self, *keys: str) -> Given | None:
        """What the file gives for the first of ``keys`` that it has, all of which count as used.

        Raises:
            InputError: the value holds a variable that is not set.
        """
        self.used.update(keys)
        found = next((self.given[k] for k in keys if k in self.given and self.given[k].value is not None), None)
        if found is not None and (names := unset_names(found.value)):
            raise InputError(
                f"{found.place}: {found.key}: {names[0]} is not set in this file; set it there, or give its value"
            )
        return found

    def has(self, *keys: str) -> bool:
        """Whether the file has one of ``keys``."""
        return any(k in self.given and self.given[k].value is not None for k in keys)

    def whole(self, *keys: str, least: int = 1, most: int = LARGEST, default: int | None = None) -> int:
        """A whole number; without ``default`` one of the keys must be there.

        Raises:
            InputError: it is missing, no whole number, or out of bounds.
        """
        found = self.find(*keys)
        if found is None:
            if default is None:
                raise self.missing(*keys)
            return default
        value = _number(found.value)
        if value is None or value != int(value) or not least <= value <= most:
            raise wrong(found, f"a whole number from {least} to {most}")
        return int(value)

    def maybe_whole(self, *keys: str, least: int = 1, most: int = LARGEST) -> int | None:
        """As ``whole``; None where it is absent."""
        return self.whole(*keys, least=least, most=most) if self.has(*keys) else None

    def number(self, *keys: str, least: float, most: float, default: float | None = None) -> float | None:
        """A number; ``default`` where it is absent.

        Raises:
            InputError: no number, or out of bounds.
        """
        found = self.find(*keys)
        if found is None:
            return default
        value = _number(found.value)
        if value is None or not least <= value <= most:
            raise wrong(found, f"a number from {least:g} to {most:g}")
        return value

    def flag(self, *keys: str, default: bool = False) -> bool:
        """A switch: present, or true.

        Raises:
            InputError: a value that is neither true nor false.
        """
        found = self.find(*keys)
        if found is None:
            return default
        if isinstance(found.value, bool):
            return found.value
        text = str(found.value).lower()
        if text not in _TRUE + _FALSE:
            raise wrong(found, "true or false")
        return text in _TRUE

    def any_flag(self, *keys: str) -> bool:
        """Whether any of several switches is on; all of them count as used."""
        found = [self.flag(key) for key in keys]
        return any(found)

    def text(self, *keys: str, default: str = "") -> str:
        """Text; "" where it is absent."""
        found = self.find(*keys)
        return default if found is None else str(found.value)

    def known_text(self, key: str) -> str:
        """As ``text``; "" where it holds a variable that is not set."""
        self.used.add(key)
        return "" if key not in self.given or unset_names(self.given[key].value) else self.text(key)

    def word(self, allowed: Mapping[str, T], *keys: str, default: str) -> T:
        """What a word means, without regard to case.

        Raises:
            InputError: a word that is not in ``allowed``.
        """
        found = self.find(*keys)
        text = default if found is None else str(found.value)
        if text.lower() not in allowed:
            raise wrong(Given(text, found.place if found else self.file, found.key if found else keys[0]), allowed)
        return allowed[text.lower()]

    def words(self, *keys: str) -> tuple[str, ...]:
        """Words apart by spaces or commas, or a list of them."""
        found = self.find(*keys)
        if found is None or isinstance(found.value, bool):
            return ()
        if isinstance(found.value, (list, tuple)):
            return tuple(str(word) for word in found.value)
        return tuple(re.findall(r"[^\s,\[\]'\"]+", str(found.value)))

    def missing(self, *keys: str) -> InputError:
        """The error for a key that must be there."""
        spelt = " or ".join(self.spelt(key) for key in keys)
        close = nearest(self.spelt(keys[0]), [g.key for g in self.given.values()], 1)
        hint = f"; the nearest there is {close[0]!r}" if close else ""
        return InputError(f"{self.file}: {spelt} is missing; a training run needs it{hint}")

    def remark(self, why: str, *keys: str) -> None:
        """Leave out what the file gives for ``keys``, and say what follows from that."""
        for key in keys:
            if self.has(key):
                self.used.add(key)
            if self.has(key) and self.given[key].value is not False:
                self.remarks.append(_left(self.given[key], why))

    def rest(self, known: Iterable[str] = ()) -> tuple[LeftOut, ...]:
        """The remarks, then everything that was not used; keys spelt almost like a used one are told apart."""
        names = sorted({*self.used, *known})
        left = [_left(given, self._hint(key, names)) for key, given in self.given.items() if key not in self.used]
        return (*self.remarks, *left)

    def _hint(self, key: str, names: list[str]) -> str:
        close = difflib.get_close_matches(key, names, 1, _ALIKE)
        return f"spelt almost like {self.spelt(close[0])}" if close else ""


def wrong(given: Given, allowed: str | Iterable[str]) -> InputError:
    """The error for a value that is not allowed."""
    names = () if isinstance(allowed, str) else tuple(allowed)
    shown = clipped(shown_value(given.value))
    close = nearest(shown, names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    words = ", ".join(names) if names else allowed
    return InputError(f"{given.place}: {given.key} is {shown!r}; allowed: {words}{hint}")


def unset_names(value: Any) -> list[str]:
    """Names of the variables in ``value`` that are not known."""
    return value.split(UNSET)[1::2] if isinstance(value, str) else []


def shown_value(value: Any) -> str:
    """A value in one line; unknown variables as the file writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    text = re.sub(f"{UNSET}([^{UNSET}]*){UNSET}", r"${\1}", str(value))
    return " ".join(text.split())


def _left(given: Given, why: str) -> LeftOut:
    return LeftOut(given.place, given.key, clipped(shown_value(given.value)), why)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e18 else None
