"""Price lists: TOML of changes that can be bought, for ``silicost upgrades``.

    [[options]]
    name = "HBM4"                          # default: the path and the value
    path = "device.memory.bandwidth"       # a knob
    factor = 1.5                           # or value = "5 TB/s"
    cost = "4000 USD"                      # in all, for every device of the scenario together

An option that turns several knobs has ``set = { path = "value", ... }`` in place of path and value.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from hardware_specs.errors import InputError
from hardware_specs.reader import convert, read_toml
from hardware_specs.units import parse_quantity
from simulator.decisions.knobs import Setting, knob_of, value_of
from simulator.decisions.purchases import Option
from simulator.scenario import Scenario


class _Option(msgspec.Struct, frozen=True):
    """An option as the file has it."""

    cost: str
    name: str = ""
    path: str = ""
    factor: float | None = None
    value: str | None = None
    set: dict[str, str] = {}


class _PriceList(msgspec.Struct, frozen=True):
    options: tuple[_Option, ...]


def load_options(path: Path, scenario: Scenario) -> tuple[Option, ...]:
    """The options of a price list, for the knobs of ``scenario``.

    Raises:
        InputError: a broken file, an unknown knob with the nearest, a value that the knob cannot have, a cost that is
            no amount of money, or two options of one name.
    """
    found: list[Option] = []
    for number, row in enumerate(convert(read_toml(path), _PriceList, path.name, {}).options, start=1):
        place = f"{path.name}: options[{number}]"
        settings = _settings(row, scenario, place)
        name = row.name or ", ".join(f"{knob.path} {knob.written(value)}" for knob, value in settings)
        cost = parse_quantity(row.cost, "usd", f"{place}: cost")
        if cost < 0.0:
            raise InputError(f"{place}: cost {row.cost!r}: must not be below 0")
        if any(option.name == name for option in found):
            raise InputError(f"{place}: {name!r} is there twice; give options different names")
        found.append(Option(name, settings, cost))
    if not found:
        raise InputError(f"{path.name}: options: there is nothing to buy")
    return tuple(found)


def _settings(row: _Option, scenario: Scenario, place: str) -> tuple[Setting, ...]:
    given = [name for name in ("factor", "value") if getattr(row, name) is not None]
    if row.set and not row.path and not given:
        return tuple(_setting(path, text, scenario, place) for path, text in row.set.items())
    if row.set or not row.path or len(given) != 1:
        raise InputError(f"{place}: needs 'path' with one of 'factor' and 'value', or 'set' alone")
    return (_setting(row.path, f"{row.factor:.17g}x" if row.value is None else row.value, scenario, place),)


def _setting(path: str, text: str, scenario: Scenario, place: str) -> Setting:
    knob = knob_of(scenario, path, place)
    return knob, value_of(knob, text, place)
