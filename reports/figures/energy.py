"""Where the energy goes: operators by family, devices that wait, their hosts, cooling and losses of the facility."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from reports.figure import Figure
from reports.numbers import quantity, share
from reports.palette import family_rank, in_words, role
from reports.parts import Key, Part
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result


class Piece(NamedTuple):
    """A part of the energy of the facility [J]."""

    name: str
    colour: str
    energy_j: float


class Bar(NamedTuple):
    """The energy of one result."""

    label: str
    total: str
    parts: list[Part]


def pieces_of(result: Result) -> list[Piece]:
    """The parts of the facility's energy, which sum to it; operators are of all devices of the one pool.

    Nothing where several pools share the work, or where operators say more than the devices take.
    """
    energy = result.energy
    if len(result.pools) != 1 or not all(map(math.isfinite, (energy.device, energy.node, energy.facility))):
        return []
    families: dict[str, float] = {}
    for phase in result.phases:
        for operator in phase.operators:
            own = operator.energy_j * result.pools[0].count
            families[operator.family] = families.get(operator.family, 0.0) + own
    waiting = energy.device - math.fsum(families.values())
    if not families or waiting < -1e-6 * energy.device:
        return []
    pieces = [
        Piece(in_words("family", name), role("family", name), families[name])
        for name in sorted(families, key=family_rank)
    ]
    pieces += [
        Piece("devices that wait", role("family", "other"), max(waiting, 0.0)),
        Piece("hosts", role("family", "host"), energy.node - energy.device),
        Piece("cooling and losses", role("family", "bubble"), energy.facility - energy.node),
    ]
    return [piece for piece in pieces if piece.energy_j > 0.0]


def applies(results: Sequence[Result]) -> bool:
    """Whether some result says where its energy goes."""
    return any(pieces_of(result) for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """One bar per result."""
    bars: list[Bar] = []
    keys: dict[str, Key] = {}
    for label, result in zip(labels_of(results), results, strict=True):
        pieces = pieces_of(result)
        total = math.fsum(piece.energy_j for piece in pieces)
        parts = [
            Part(
                piece.name, piece.colour, 100.0 * piece.energy_j / total,
                f"{piece.name}: {quantity(piece.energy_j, 'j')}, {share(piece.energy_j / total)}",
            )
            for piece in pieces
        ]  # fmt: skip
        keys |= {piece.name: Key(piece.name, piece.colour) for piece in pieces}
        if parts:
            bars.append(Bar(label, quantity(total, "j"), parts))
    return render("energy.html", bars=bars, legend_keys=list(keys.values()))


FIGURE = Figure(
    "energy",
    "Where the energy goes",
    22,
    "Each bar is 100\u00a0% of the energy of the facility at its right: operators of all devices by family, what "
    "devices take while they wait, their hosts, and cooling and losses. Dollars for time are shared out as time is.",
    applies,
    draw,
)
