"""Fitted numbers written into the TOML text of a runtime: other facts, prose and order stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from hardware_specs.facts import Fit

_FACT = re.compile(r'^(?P<name>\w+) = \{ value = (?P<value>"[^"]*"|[^,]*), .*\}$')
_MARK = re.compile(r'calibrated = "([^"]*)"')
_FIT = re.compile(r"^\[fits\.([^\]]+)\]$")


def with_fitted(text: str, values: Mapping[str, float], fit: Fit) -> str:
    """``text`` of a runtime file with ``values`` by name, marked as of ``fit``, and a table of this fit.

    Factors are numbers, all else seconds. Tables of fits that no fact names any more go.

    Raises:
        ValueError: the text has no fact of a name.
    """
    lines, found = [], set()
    for line in text.splitlines():
        match = _FACT.match(line)
        if match and (name := match["name"]) in values:
            found.add(name)
            line = f'{name} = {{ value = {_quantity(values[name], match["value"])}, calibrated = "{fit.id}" }}'
        lines.append(line)
    if missing := sorted(values.keys() - found):
        raise ValueError(f"no fact {', '.join(missing)} in this file")
    kept = _without_fits(lines, {fit.id})
    return "\n".join([*kept, "", *_table(fit)]) + "\n"


def _quantity(value: float, old: str) -> str:
    """The value with three digits; seconds in the unit that suits them."""
    if not old.startswith('"'):
        return f"{value:.3g}"
    scale, unit = (1e3, "ms") if value >= 1e-3 else (1e6, "us")
    return f'"{float(f"{value * scale:.3g}"):g} {unit}"'


def _without_fits(lines: list[str], gone: set[str]) -> list[str]:
    """``lines`` without the tables of fits that no fact names, and of those ``gone``; no blank lines at the end."""
    named = {mark for line in lines for mark in _MARK.findall(line)} - gone
    kept: list[str] = []
    dropping = False
    for line in lines:
        if line.startswith("["):
            match = _FIT.match(line)
            dropping = bool(match) and match[1].strip('"') not in named  # type: ignore[index]
        if not dropping:
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _table(fit: Fit) -> list[str]:
    fields = {
        name: value
        for name, value in msgspec.to_builtins(fit).items()
        if name != "id" and value not in (None, [], (), "")
    }
    return [f"[fits.{fit.id}]", *(f"{name} = {_toml(value)}" for name, value in fields.items())]


def _toml(value: object) -> str:
    """JSON text is TOML text; lists with blanks after commas."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return msgspec.json.encode(value).decode()
