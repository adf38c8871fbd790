"""What the work of a result costs: devices by step and operator family, electricity of owned ones, lost time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.bills import Bill, Piece, Price, bills_of
from reports.figure import Figure
from reports.numbers import number, quantity, share
from reports.parts import Key, Part
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result


class Row(NamedTuple):
    """A step of the waterfall: it starts where the one before ends; ``start`` and ``length`` in percent; ``head`` names
    the device that begins with it."""

    name: str
    cost: str
    said: str
    start: float
    length: float
    parts: list[Part]
    head: str = ""


class Bar(NamedTuple):
    """The cost of one result, step by step, its prices, and what else follows."""

    label: str
    rows: list[Row]
    prices: tuple[Price, ...]
    said: str


class Group(NamedTuple):
    """Bars of one unit of work, to one scale."""

    of: str
    bars: list[Bar]


def applies(results: Sequence[Result]) -> bool:
    """Whether some result says what its work costs and why."""
    return any(bills_of(result) for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """One waterfall per result and unit of work."""
    bills = [(label, bill) for label, result in zip(labels_of(results), results, strict=True) for bill in
             bills_of(result)]  # fmt: skip
    groups = []
    for of in dict.fromkeys(bill.of for _, bill in bills):
        own = [(label, bill) for label, bill in bills if bill.of == of]
        most = max(bill.usd for _, bill in own)
        groups.append(Group(of, [_bar(label, bill, most) for label, bill in own]))
    every = {piece.name: Key(piece.name, piece.colour) for _, bill in bills for piece in bill.pieces}
    return render("cost.html", groups=groups, legend_keys=list(every.values()))


def _bar(label: str, bill: Bill, most: float) -> Bar:
    return Bar(label, rows_of(bill, most), bill.prices, bill.said)


def rows_of(bill: Bill, most: float) -> list[Row]:
    """The steps of a bill, device by device, and all of it."""
    total = bill.usd
    rows, start, device = [], 0.0, ""
    for whose, step in dict.fromkeys((piece.device, piece.step) for piece in bill.pieces):
        own = [piece for piece in bill.pieces if (piece.device, piece.step) == (whose, step)]
        usd = math.fsum(piece.usd for piece in own)
        ends = 100.0 * start / most, 100.0 * usd / most
        head = whose if whose != device else ""
        rows.append(Row(step, number(usd), share(usd / total), *ends, _parts(own, total), head))
        start, device = start + usd, whose
    return [*rows, Row("in all", number(total), "", 0.0, 100.0 * total / most, _parts(bill.pieces, total))]


def _parts(pieces: Sequence[Piece], total: float) -> list[Part]:
    """Segments by name, whatever the step; shares are of the cost of the result."""
    usd: dict[tuple[str, str], float] = {}
    for piece in pieces:
        usd[piece.name, piece.colour] = usd.get((piece.name, piece.colour), 0.0) + piece.usd
    whole = math.fsum(usd.values())
    return [
        Part(name, colour, 100.0 * value / whole, f"{name}: {quantity(value, 'usd')}, {share(value / total)}")
        for (name, colour), value in usd.items()
    ]


FIGURE: Final = Figure(
    "cost",
    "What it costs",
    23,
    "Each bar starts where the one above ends and is cut by operator family; lengths are dollars, to one scale for a "
    "unit of work. Devices are paid for all of the time, so an operator costs its share of the time of its device; "
    "electricity is a part of its own where devices are owned, and inside the rent elsewhere.",
    applies,
    draw,
)
