"""What a million output tokens cost: devices by phase and operator family, and the electricity of owned ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from hardware_specs.errors import UnitError
from hardware_specs.units import parse_quantity
from reports.figure import Figure
from reports.numbers import cell_of, quantity, share
from reports.palette import family_rank, in_words, role
from reports.parts import Key, Part, family_seconds
from reports.templating import render
from reports.text import labels_of
from simulator.result import Result

_PROMPT: Final = ("encode", "prefill")
_WAIT: Final = "devices that wait"
_ELECTRICITY: Final = "electricity"
_ROUNDING: Final = 1e-3
"""Share by which a price, written to a few digits, may miss the cost, and operators the time of their phase."""
_YEAR_S: Final = 365.25 * 86400.0


class Piece(NamedTuple):
    """A part of the cost [USD per million output tokens]."""

    step: str
    name: str
    colour: str
    usd: float


class Row(NamedTuple):
    """A step of the waterfall: it starts where the one before ends; ``start`` and ``length`` in percent."""

    name: str
    cost: str
    said: str
    start: float
    length: float
    parts: list[Part]


class Bar(NamedTuple):
    """The cost of one result, step by step."""

    label: str
    rows: list[Row]


def pieces_of(result: Result) -> list[Piece]:
    """The parts of ``usd_per_million_output_tokens``, which sum to it.

    Every device is paid from the first second to the last, so that a phase costs its share of the time, and an operator
    its share of the phase. Nothing where no price is known, where several pools share the work, or where price, time
    and electricity of the result do not give its cost.
    """
    total, first, whole, rate = (
        cell_of(result, name).value
        for name in ("usd_per_million_output_tokens", "ttft_s", "e2e_s", "output_tokens_per_s")
    )
    if not total or first is None or not whole or not rate or first > whole or len(result.pools) != 1:
        return []
    per_million = 1e6 / (rate * whole)
    electricity = _electricity(result, total, whole, per_million)
    if electricity is None:
        return []
    pieces: list[Piece] = []
    for step, length in (("prefill", first), ("decode", whole - first)):
        seconds = _seconds(result, step, length)
        pieces += [
            Piece(step, *_look(name), (total - electricity) * seconds[name] / whole)
            for name in (*sorted(seconds.keys() - {_WAIT}, key=family_rank), _WAIT)
            if seconds.get(name, 0.0) > 0.0
        ]
    if electricity > 0.0:
        pieces.append(Piece(_ELECTRICITY, _ELECTRICITY, role("family", "bubble"), electricity))
    return pieces


def _electricity(result: Result, total: float, duration_s: float, per_million: float) -> float | None:
    """What the electricity adds [USD per million tokens]: 0 where the rent includes it, None where neither fits."""
    pool = result.pools[0]
    price = _said(result, f"price of {pool.device} ", "usd_per_s")
    power = _said(result, f"{result.configuration.get('site', '')} electricity", "usd_per_j")
    if price is None:
        return None
    rest = total - price * pool.count * duration_s * per_million
    if abs(rest) <= _ROUNDING * total:
        return 0.0
    owned = math.nan if power is None else power * result.energy.facility * per_million
    return owned if abs(rest - owned) <= _ROUNDING * total else None


def _said(result: Result, start: str, dimension: str) -> float | None:
    """The one number of the provenance whose name starts so, in SI units; None where none or several do.

    A purchase spread over years ("30000 USD / 3 years") is a price per time as well.
    """
    found = [row.value for row in result.provenance if row.what.startswith(start)]
    if len(found) != 1:
        return None
    bought, _, life = found[0].partition(" / ")
    with contextlib.suppress(UnitError, ZeroDivisionError):
        if life.endswith(" years"):
            return parse_quantity(bought, "usd") / (parse_quantity(life.removesuffix(" years"), "number") * _YEAR_S)
        return parse_quantity(found[0], dimension)
    return None


def _seconds(result: Result, step: str, length_s: float) -> Mapping[str, float]:
    """``length_s`` by family, and waiting: pipeline bubbles and transfers that no operator takes.

    Steps of a decode count like its middle one, so that they sum to a little more or less: then each counts less or
    more.
    """
    seconds = family_seconds(
        operator
        for phase in result.phases if (phase.name in _PROMPT) == (step == "prefill")
        for operator in phase.operators
    )  # fmt: skip
    spent = math.fsum(seconds.values())
    if spent > (1.0 - _ROUNDING) * length_s:
        return {family: value * length_s / spent for family, value in seconds.items()}
    return {**seconds, _WAIT: length_s - spent}


def _look(name: str) -> tuple[str, str]:
    return (name, role("family", "other")) if name == _WAIT else (in_words("family", name), role("family", name))


def applies(results: Sequence[Result]) -> bool:
    """Whether some result says what its tokens cost and why."""
    return any(pieces_of(result) for result in results)


def draw(results: Sequence[Result]) -> Markup:
    """One waterfall per result, all to one scale."""
    found = [(label, pieces_of(result)) for label, result in zip(labels_of(results), results, strict=True)]
    most = max(math.fsum(piece.usd for piece in pieces) for _, pieces in found)
    every = {piece.name: Key(piece.name, piece.colour) for _, pieces in found for piece in pieces}
    bars = [Bar(label, _rows(pieces, most)) for label, pieces in found if pieces]
    return render("cost.html", bars=bars, legend_keys=list(every.values()))


def _rows(pieces: Sequence[Piece], most: float) -> list[Row]:
    total = math.fsum(piece.usd for piece in pieces)
    rows, start = [], 0.0
    for step in dict.fromkeys(piece.step for piece in pieces):
        own = [piece for piece in pieces if piece.step == step]
        usd = math.fsum(piece.usd for piece in own)
        ends = 100.0 * start / most, 100.0 * usd / most
        rows.append(Row(step, quantity(usd, "usd"), share(usd / total), *ends, _parts(own, total)))
        start += usd
    return [*rows, Row("in all", quantity(total, "usd"), "", 0.0, 100.0 * total / most, _parts(pieces, total))]


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
    "What a million output tokens cost",
    23,
    "Each bar starts where the one above ends and is cut by operator family; lengths are dollars per million output "
    "tokens, to one scale. Devices are paid for all of the time, so an operator costs its share of it; electricity is "
    "a part of its own where the devices are owned, and inside the rent elsewhere.",
    applies,
    draw,
)
