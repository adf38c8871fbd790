"""The catalogue of collective libraries, one TOML file each in ``data/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Fact
from workloads.collectives.record import VALUES, CollectiveLibrary

_CATALOGUE = Catalogue("collective", CollectiveLibrary, Path(__file__).parent / "data")


def library_names() -> tuple[str, ...]:
    """All names of collective libraries, sorted."""
    return _CATALOGUE.names()


def load_library(name: str) -> CollectiveLibrary:
    """The library called ``name``, with what it takes from the library that it is like.

    Raises:
        UnknownName: no such library; carries the nearest names.
        InputError: a broken file, a value of a wrong name or dimension, one that nobody gives.
    """
    library = _whole(name, ())
    missing = [value for value in VALUES if value not in library.values]
    if missing:
        raise InputError(f"collective library {name}: missing value {', '.join(map(repr, missing))}")
    return library


def library_named_in(software: str) -> CollectiveLibrary | None:
    """The library that ``software`` names ("NCCL 2.27", "jax lax.ppermute"), None for none."""
    hits = [hit for hit in _aliases() if hit[1].search(software.lower())]
    return load_library(max(hits, key=lambda hit: (len(hit[0]), hit[0]))[2]) if hits else None


def _whole(name: str, before: tuple[str, ...]) -> CollectiveLibrary:
    if name not in library_names():
        raise UnknownName("collective library", name, library_names(), f"there are {', '.join(library_names())}")
    library = _CATALOGUE.load(name)
    for where, values in {"": library.values, **library.on}.items():
        _check(f"collective library {name}{f': on {where}' if where else ''}", values)
    if not library.like:
        return library
    if library.like in (*before, name):
        raise InputError(f"collective library {name}: like {library.like!r}: leads back to itself")
    other = _whole(library.like, (*before, name))
    on = {place: {**other.on.get(place, {}), **library.on.get(place, {})} for place in (*other.on, *library.on)}
    return msgspec.structs.replace(library, values={**other.values, **library.values}, on=on)


def _check(place: str, values: Mapping[str, Fact]) -> None:
    for name, fact in values.items():
        if name not in VALUES:
            raise UnknownName("value", name, VALUES, place=place)
        if fact.dimension != VALUES[name].dimension:
            raise InputError(f"{place}: {name}: {fact.text!r} must be of dimension {VALUES[name].dimension}")


@lru_cache(maxsize=1)
def _aliases() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Every alias with its pattern at word boundaries and its library."""
    return tuple(
        (alias.lower(), re.compile(rf"(?<![a-z0-9]){re.escape(alias.lower())}(?![a-z])"), name)
        for name in library_names()
        for alias in _CATALOGUE.load(name).aliases
    )
