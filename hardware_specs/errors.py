"""The one exception tree for input that people give us.

InputError            anything wrong with a flag, file, name or number (exit status 2)
├── UnknownName       a name that no catalogue holds; carries the nearest matches
└── UnitError         text that does not parse as a quantity of the wanted dimension
DoesNotFit            a valid question whose answer is "no feasible design" (exit status 3)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LONGEST = 100
"""Longest name that a message repeats whole [characters]."""


class InputError(ValueError):
    """Input that cannot be used: says the place, the value, and what is allowed.

    Args:
        code: one word for what kind of input it is about ("dtype", "plan" ...), where a table of many needs one.
    """

    def __init__(self, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def about(code: str) -> Iterator[None]:
    """Give errors about input that are raised inside a ``code``, unless they have one."""
    try:
        yield
    except InputError as error:
        error.code = error.code or code
        raise


class UnitError(InputError):
    """Text that is no quantity, or a quantity of another dimension."""


class UnknownName(InputError):
    """A name that the catalogue does not hold.

    Args:
        what: the kind of thing, e.g. ``"device"``.
        name: what was asked for.
        known: all names that exist.
        hint: the command that lists them, e.g. ``"silicost devices list"``.
        place: where the name stands, e.g. ``"lab.toml: pool gpu"``.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "", place: str = "") -> None:
        self.what, self.name = what, name
        self.nearest = nearest(name, known)
        message = f"{place}: " if place else ""
        message += f"unknown {what} {clipped(name)!r}"
        if self.nearest:
            message += "; did you mean " + " or ".join(repr(n) for n in self.nearest) + "?"
        if hint:
            message += f" ({hint})"
        super().__init__(message)


class DoesNotFit(Exception):
    """A valid question with no feasible answer (memory, budget): exit status 3."""


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names closest to ``name``, at most ``most``: those that begin with it, then those spelt alike."""
    wanted, names = name.lower()[:_LONGEST], sorted(known)
    begun = [n for n in names if len(wanted) > 1 and n.lower().startswith(wanted)]
    alike = difflib.get_close_matches(wanted, names, n=most, cutoff=0.6)
    return list(dict.fromkeys([*begun, *alike]))[:most]


def clipped(text: str) -> str:
    """``text`` short enough for a message."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
