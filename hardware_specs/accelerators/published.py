"""Real accelerators with published die area and power: what coefficients are set from, and what they are checked on."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import msgspec

from hardware_specs.accelerators.coefficients import DATA
from hardware_specs.accelerators.files import read_design
from hardware_specs.accelerators.records import Area, Design
from hardware_specs.facts import Number, Watts
from hardware_specs.reader import convert, read_origins, read_toml


class Published(msgspec.Struct, frozen=True):
    """What is published of a chip.

    ``used`` names the estimates whose coefficients it set ("area", "tdp"); ``arrays_share`` and ``sram_share`` are
    published shares of the die, the second that of the part ``sram_of`` of its SRAM. ``design_source`` says where the
    inputs of its design were read, ``design_assumed`` which of them are not published, and why they are as they are.
    """

    name: str
    year: int
    area: Area
    design_source: str
    tdp: Watts
    design_assumed: str = ""
    used: tuple[str, ...] = ()
    arrays_share: Number | None = None
    sram_share: Number | None = None
    sram_of: Number | None = None


class Chip(NamedTuple):
    """A real chip: what is published of it, and the design that describes it."""

    id: str
    facts: Published
    design: Design

    @property
    def area_mm2(self) -> float:
        """Published die area [mm2]."""
        return round(self.facts.area.value * 1e6, 6)

    @property
    def tdp_w(self) -> float:
        """Published power [W]."""
        return self.facts.tdp.value


@cache
def published_chips() -> tuple[Chip, ...]:
    """Every chip of the file, in its order.

    Raises:
        InputError: a broken file.
    """
    path = DATA / "published_chips.toml"
    table = read_toml(path)
    origins = read_origins(table.pop("sources"), {}, path.name)
    found = []
    for id, chip in table["chips"].items():
        place = f"{path.name}: chips.{id}"
        design = read_design({"id": id, **chip.pop("design")}, f"{place}.design: ")
        found.append(Chip(id, convert(chip, Published, place, origins), design))
    return tuple(found)
