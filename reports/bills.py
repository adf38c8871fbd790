"""What a result costs, in parts that sum to it: devices by step and operator family, electricity, time that is lost.

Every device is paid from the first second to the last, so that an operator costs its share of the time of its device,
and waiting is paid for as well. Nothing where no price is known, or where prices, time and electricity of the result do
not give its cost.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from hardware_specs.errors import UnitError
from hardware_specs.units import parse_quantity
from reports.numbers import cell_of, number, quantity, whole
from reports.palette import family_rank, in_words, role
from reports.parts import family_seconds
from simulator.result import OperatorCost, PhaseCost, PoolUse, Result

ROUNDING: Final = 1e-3
"""Share by which a price, written to a few digits, may miss the cost, and operators the time of their phase."""
WAIT: Final = "devices that wait"
ELECTRICITY: Final = "electricity"
LOST: Final = "lost time"
_PROMPT: Final = ("encode", "prefill")
_TRAINING: Final = ("forward", "backward", "update", "step")
_REST: Final = "the rest"
"""Step of a training bill: what no operator of a pass takes (pipeline bubbles, reductions, the host)."""
_HOST: Final = "host"
_LOST: Final = {
    "lost_stragglers_s": "stragglers", "lost_checkpoint_s": "checkpoints", "lost_rework_s": "work lost and redone",
    "lost_restart_s": "restarts", "lost_waiting_s": "waiting for repair",
}  # fmt: skip
_YEAR_S: Final = 365.25 * 86400.0


class Piece(NamedTuple):
    """A part of a cost [USD]: the step and the name that it has in the figure, and whose device it is of ("": all)."""

    step: str
    name: str
    colour: str
    usd: float
    device: str = ""


class Price(NamedTuple):
    """A price that a cost rests on, as the provenance has it."""

    what: str
    value: str
    mark: str


class Bill(NamedTuple):
    """The cost of a unit of work: what it is of, the metric that it is the value of ("" where no metric is), its parts,
    its prices with their marks, and what else follows in words."""

    of: str
    metric: str
    pieces: tuple[Piece, ...]
    prices: tuple[Price, ...]
    said: str = ""

    @property
    def usd(self) -> float:
        """All of it [USD]."""
        return math.fsum(piece.usd for piece in self.pieces)


class Paid(NamedTuple):
    """Dollars of a unit of work: what holding the devices takes, by device, and the electricity of owned ones."""

    held: Mapping[str, float]
    electricity: float
    prices: tuple[Price, ...]


def bills_of(result: Result) -> list[Bill]:
    """The costs of ``result`` whose parts are known: of output tokens, of a training step, of a run of steps."""
    found = [_tokens(result), step := _step(result), _run(result, step) if step else None]
    return [bill for bill in found if bill is not None]


def _tokens(result: Result) -> Bill | None:
    name = "usd_per_million_output_tokens"
    total, first, whole_s, rate = (
        cell_of(result, each).value for each in (name, "ttft_s", "e2e_s", "output_tokens_per_s")
    )
    if not total or first is None or not whole_s or not rate or first > whole_s:
        return None
    phases = [phase for phase in result.phases if phase.name not in _TRAINING]
    paid = _paid(result, phases, total, whole_s, 1e6 / (rate * whole_s))
    if paid is None:
        return None
    if len(result.pools) == 1:
        usd_per_s = next(iter(paid.held.values())) / whole_s
        pieces: list[Piece] = []
        for step, length_s in (("prefill", first), ("decode", whole_s - first)):
            own = [phase for phase in phases if (phase.name in _PROMPT) == (step == "prefill")]
            seconds = _within(family_seconds(o for phase in own for o in phase.operators), length_s)
            pieces += _pieces(step, seconds, usd_per_s)
    else:
        pieces = _shared(phases, paid, whole_s)
    return Bill("a million output tokens", name, (*pieces, *_electric(paid)), paid.prices)


def _step(result: Result) -> Bill | None:
    total, step_s = (cell_of(result, each).value for each in ("usd_per_step", "step_time_s"))
    phases = [phase for phase in result.phases if phase.name in _TRAINING]
    if not total or not step_s or not phases:
        return None
    paid = _paid(result, phases, total, step_s, 1.0)
    if paid is None:
        return None
    # Operators of a dataflow are those of all of its steps, those of a training step of one.
    base_s = cell_of(result, "makespan_s").value if any(phase.name == "step" for phase in phases) else step_s
    if not base_s:
        return None
    pieces = _alone(result, phases, paid, base_s) if len(result.pools) == 1 else _shared(phases, paid, base_s)
    said = ""
    if tokens := _tokens_of_step(result):
        said = f"A trillion trained tokens cost {quantity(total / tokens * 1e12, 'usd')} at this rate."
    return Bill("a step", "usd_per_step", (*pieces, *_electric(paid)), paid.prices, said)


def _tokens_of_step(result: Result) -> int:
    """Trained tokens of a step; 0 where the result does not say."""
    asked = (result.configuration.get("global_batch"), result.configuration.get("seq_len"))
    return asked[0] * asked[1] if isinstance(asked[0], int) and isinstance(asked[1], int) else 0


def _run(result: Result, step: Bill) -> Bill | None:
    """A run of steps, whose devices are paid for lost time as for steps."""
    run, step_s = result.run, cell_of(result, "step_time_s").value
    steps, wall_s = run.get("steps"), run.get("wall_s")
    if not steps or not wall_s or not step_s:
        return None
    pieces = [piece._replace(step="steps", usd=piece.usd * steps) for piece in step.pieces]
    lost = [
        Piece(title, LOST, "bad", run[name] / step_s * step.usd)
        for name, title in _LOST.items()
        if run.get(name, 0.0) > 0.0
    ]
    useful = f"{100.0 * steps * step_s / wall_s:.3g}\u00a0%"
    said = f"{whole(steps)} steps take {quantity(wall_s, 's')}; for {useful} of it they advance at full speed."
    if tokens := _tokens_of_step(result):
        usd = step.usd / step_s * wall_s
        said += f" A trillion trained tokens of such a run cost {quantity(usd / (steps * tokens) * 1e12, 'usd')}."
    return Bill(f"a run of {number(steps)} steps", "", (*pieces, *lost), step.prices, said)


def _paid(
    result: Result, phases: Sequence[PhaseCost], total: float, duration_s: float, units: float
) -> Paid | None:  # fmt: skip
    """How ``total`` divides between devices and electricity; None where prices do not give it.

    Args:
        duration_s: how long devices are held.
        units: units of work of that time, one over.
    """
    running = {operator.device for phase in phases for operator in phase.operators}
    candidates = [list(result.pools), [pool for pool in result.pools if pool.device in running]]
    for pools in candidates if len(candidates[1]) not in (0, len(result.pools)) else candidates[:1]:
        found = _of_pools(result, pools, total, duration_s, units)
        if found is not None:
            return found
    return None


def _of_pools(
    result: Result, pools: Sequence[PoolUse], total: float, duration_s: float, units: float
) -> Paid | None:  # fmt: skip
    held: dict[str, float] = {}
    prices: dict[str, Price] = {}
    for pool in pools:
        price = _said(result, f"price of {pool.device} ", "usd_per_s")
        if price is None:
            return None
        usd_per_s, prices[pool.device] = price
        held[pool.device] = held.get(pool.device, 0.0) + usd_per_s * pool.count * duration_s * units
    rent = math.fsum(held.values())
    rest = total - rent
    known = tuple(prices.values())
    if abs(rest) <= ROUNDING * total:
        return Paid({device: usd * total / rent for device, usd in held.items()}, 0.0, known) if rent > 0.0 else None
    power = _said(result, f"{result.configuration.get('site', '')} electricity", "usd_per_j")
    if power is None:
        return None
    span_s = cell_of(result, "makespan_s").value or duration_s
    most = power[0] * result.energy.facility * duration_s / span_s * units
    several = len(result.pools) > 1 and any("(purchase)" in price.what for price in known)
    fits = 0.0 < rest <= most * (1.0 + ROUNDING) if several else abs(rest - most) <= ROUNDING * total
    if not fits:
        return None
    electricity = rest if several else most
    return Paid(
        {device: usd * (total - electricity) / rent for device, usd in held.items()}, electricity, (*known, power[1])
    )  # fmt: skip


def _said(result: Result, start: str, dimension: str) -> tuple[float, Price] | None:
    """The one number of the provenance whose name starts so, in SI units; None where none or several do.

    A purchase spread over years ("30000 USD / 3 years") is a price per time as well.
    """
    found = [row for row in result.provenance if row.what.startswith(start)]
    if len(found) != 1:
        return None
    row = found[0]
    price = Price(row.what.removeprefix("price of "), row.value, row.mark)
    bought, _, life = row.value.partition(" / ")
    with contextlib.suppress(UnitError, ZeroDivisionError):
        if life.endswith(" years"):
            years = parse_quantity(life.removesuffix(" years"), "number")
            return parse_quantity(bought, "usd") / (years * _YEAR_S), price
        return parse_quantity(row.value, dimension), price
    return None


def _within(seconds: Mapping[str, float], length_s: float) -> Mapping[str, float]:
    """``length_s`` by family, and waiting: pipeline bubbles and transfers that no operator takes.

    Steps of a decode count like its middle one, so that they sum to a little more or less: then each counts less or
    more.
    """
    spent = math.fsum(seconds.values())
    if spent > (1.0 - ROUNDING) * length_s:
        return {family: value * length_s / spent for family, value in seconds.items()}
    return {**seconds, WAIT: length_s - spent}


def _pieces(step: str, seconds: Mapping[str, float], usd_per_s: float, device: str = "") -> list[Piece]:
    """Pieces of a step, families in their order, waiting last."""
    return [
        Piece(step, *_look(name), usd_per_s * seconds[name], device)
        for name in (*sorted(seconds.keys() - {WAIT}, key=family_rank), WAIT)
        if seconds.get(name, 0.0) > 0.0
    ]


def _alone(result: Result, phases: Sequence[PhaseCost], paid: Paid, base_s: float) -> list[Piece]:
    """A training step of one pool: its passes, then what the breakdown has besides, then waiting."""
    passes = _by_step(phase.name for phase in phases)
    for phase in phases:
        _add(passes[phase.name], phase.operators)
    spent = math.fsum(value for seconds in passes.values() for value in seconds.values())
    scale = min(1.0, base_s / spent) if spent else 1.0
    rest: dict[str, float] = {}
    if abs(math.fsum(result.breakdown.values()) - base_s) <= ROUNDING * base_s:
        for family, value in result.breakdown.items():
            left = value - scale * math.fsum(seconds.get(family, 0.0) for seconds in passes.values())
            if left > ROUNDING * base_s:
                rest[family] = left
    over = base_s - scale * spent
    usd_per_s = next(iter(paid.held.values())) / base_s
    pieces = [
        piece
        for step, seconds in passes.items()
        for piece in _pieces(step, seconds, scale * usd_per_s)
    ]  # fmt: skip
    return pieces + (_pieces(_REST, _within(rest, over), usd_per_s) if over > ROUNDING * base_s else [])


def _shared(phases: Sequence[PhaseCost], paid: Paid, base_s: float) -> list[Piece]:
    """What several pools work on together: each device by phase, and its waiting for the others."""
    pieces: list[Piece] = []
    for device, usd in paid.held.items():
        passes = _by_step(phase.name for phase in phases)
        for phase in phases:
            own = {operator.device for operator in phase.operators} - {_HOST}
            mine = {device, _HOST} if own == {device} else {device}
            _add(passes[phase.name], (operator for operator in phase.operators if operator.device in mine))
        spent = math.fsum(value for seconds in passes.values() for value in seconds.values())
        scale = min(1.0, base_s / spent) if spent else 1.0
        for step, seconds in passes.items():
            pieces += _pieces(step, seconds, scale * usd / base_s, device)
        if base_s - scale * spent > ROUNDING * base_s:
            pieces += _pieces("waits", {WAIT: base_s - scale * spent}, usd / base_s, device)
    return _normal(pieces, math.fsum(paid.held.values()))


def _normal(pieces: Sequence[Piece], total: float) -> list[Piece]:
    """``pieces`` whose sum is ``total``: what rounding left out is shared by all."""
    summed = math.fsum(piece.usd for piece in pieces)
    return [piece._replace(usd=piece.usd * total / summed) for piece in pieces] if summed > 0.0 else []


def _by_step(names: Iterable[str]) -> dict[str, dict[str, float]]:
    return {name: {} for name in names}


def _add(seconds: dict[str, float], operators: Iterable[OperatorCost]) -> None:
    for family, value in family_seconds(operators).items():
        seconds[family] = seconds.get(family, 0.0) + value


def _electric(paid: Paid) -> list[Piece]:
    if paid.electricity <= 0.0:
        return []
    return [Piece(ELECTRICITY, ELECTRICITY, role("family", "bubble"), paid.electricity)]


def _look(name: str) -> tuple[str, str]:
    return (name, role("family", "other")) if name == WAIT else (in_words("family", name), role("family", name))
