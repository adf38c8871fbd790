"""Checked access to the keys of a Hugging Face ``config.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from hardware_specs.errors import InputError, nearest
from workloads.models.checks import LARGEST

T = TypeVar("T")
MOST_LAYERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Config:
    """A JSON object of ``file``; ``inside`` is the dotted path of a nested one ("text_config").

    A key whose value is null counts as absent, as in the library that writes these files. Where a reading method
    takes several keys, they are spellings of the same thing and the first one present counts.
    """

    file: str
    values: dict[str, Any]
    inside: str = ""

    def whole(self, *keys: str, default: int | None = None, least: int = 1, most: int = LARGEST) -> int:
        """A whole number from ``least`` to ``most``; without ``default`` the key is required."""
        allowed = f"a whole number from {least} to {most}"
        key = self._present(keys)
        if key is None:
            return self._absent(keys, default, allowed)
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, allowed)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, *keys: str, default: str | None = None) -> str:
        """Text; without ``default`` the key is required."""
        key = self._present(keys)
        if key is None:
            return self._absent(keys, default, "text")
        value = self.values[key]
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def wholes(self, key: str, length: int, least: int = 0) -> list[int] | None:
        """A list of ``length`` whole numbers, one for each layer; None where the key is absent."""
        values = self.values.get(key)
        if values is None:
            return None
        good = isinstance(values, list) and len(values) == length
        if not good or any(isinstance(v, bool) or not isinstance(v, int) or not least <= v <= LARGEST for v in values):
            raise self.wrong(key, f"a list of {length} whole numbers of at least {least}, one for each layer")
        return list(values)

    def words(self, key: str, length: int, allowed: tuple[str, ...]) -> list[str] | None:
        """A list of ``length`` words out of ``allowed``, one for each layer; None where the key is absent."""
        values = self.values.get(key)
        if values is None:
            return None
        if not isinstance(values, list) or len(values) != length or any(v not in allowed for v in values):
            raise self.wrong(key, f"a list of {length} words, one for each layer, out of {', '.join(allowed)}")
        return list(values)

    def has(self, key: str) -> bool:
        """True where the key is present and not null."""
        return self.values.get(key) is not None

    def section(self, key: str) -> Config:
        """The nested object under ``key``; an absent one is empty."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return replace(self, values=value or {}, inside=f"{self.inside}.{key}" if self.inside else key)

    def filled(self, defaults: dict[str, Any]) -> Config:
        """The same with ``defaults`` for absent keys: nested configs leave out what their class has by default."""
        present = {key: value for key, value in self.values.items() if value is not None}
        return replace(self, values=defaults | present)

    def place(self, key: str) -> str:
        """File and dotted key, for errors."""
        return f"{self.file}: {self.inside}.{key}" if self.inside else f"{self.file}: {key}"

    def wrong(self, key: str, allowed: str) -> InputError:
        """The error for a value that is not what is allowed."""
        shown = json.dumps(self.values.get(key))
        return InputError(
            f"{self.place(key)} is {shown if len(shown) < 80 else shown[:77] + '...'}; allowed: {allowed}"
        )

    def _present(self, keys: tuple[str, ...]) -> str | None:
        return next((key for key in keys if self.values.get(key) is not None), None)

    def _absent(self, keys: tuple[str, ...], default: T | None, allowed: str) -> T:
        if default is not None:
            return default
        spelled = " (or " + ", ".join(keys[1:]) + ")" if len(keys) > 1 else ""
        close = nearest(keys[0], self.values)
        hint = f"; the nearest key there is {close[0]!r}" if close and close[0] not in keys else ""
        raise InputError(f"{self.place(keys[0])}{spelled} is missing; allowed: {allowed}{hint}")


def open_config(path: Path) -> Config:
    """The whole file as a ``Config``.

    Raises:
        InputError: the file cannot be read, is no JSON (NaN and Infinity are none either), or holds no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; a config.json is") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON that can be read: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply for a config.json") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds {type(values).__name__}; allowed: a JSON object with a model's config")
    return Config(path.name if path.name != "config.json" else f"{path.parent.name}/{path.name}", values)


def _no_constant(name: str) -> float:
    raise InputError(f"{name} is no JSON number; allowed: finite numbers")
