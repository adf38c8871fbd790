"""What if the hardware were faster or the price another: sliders, answered in the page from what operators take.

The law is that of ``reports.scaled``; ``live_what_if.js`` says the same in the page, and a test compares both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from reports.bills import ELECTRICITY, Bill, bills_of
from reports.figure import Figure
from reports.live import Live, escaped, units
from reports.numbers import cell_of, metric_of, quantity
from reports.palette import family_rank, in_words, role
from reports.parts import by_family, family_seconds, legend_of, parts_of
from reports.scaled import AS_IS, Part, Scales, parts_of_phases, seconds
from reports.templating import render
from simulator.result import Result

_PROMPT: Final = ("encode", "prefill")
_LEAST: Final = 1e-9


class Rest(NamedTuple):
    """Time of a stretch that no operator takes: pipeline bubbles go with the operators, the remainder stays [s]."""

    bubble_s: float
    fixed_s: float


class Stretch(NamedTuple):
    """A duration of the result: its phases, its length as it stands, and what no operator takes of it [s]."""

    phases: tuple[str, ...]
    length_s: float
    rest: Rest


class Shown(NamedTuple):
    """A metric: how it follows from stretches ("time", "rate", "usd"), its value as it stands, how it is written.

    ``held`` is the share of a cost that holding the devices takes, the rest being electricity of owned ones; None where
    that is not known.
    """

    name: str
    title: str
    stretches: tuple[int, ...]
    how: str
    value: float
    dimension: str
    better: str
    held: float | None = None


class Run(NamedTuple):
    """A batch of the slider: its size, the laws of its operators, its durations, its metrics as simulated."""

    batch: int
    parts: list[Part]
    stretches: list[Stretch]
    shown: list[Shown]


class Knob(NamedTuple):
    """A slider: the field of ``Scales``, or "price", and the value that it scales, where there is one."""

    name: str
    title: str
    now: float | None = None
    dimension: str = ""


def stretches_of(result: Result, parts: Sequence[Part]) -> list[Stretch]:
    """The durations that metrics are about: to the first token and after it, or the step."""
    names = tuple(dict.fromkeys(part.phase for part in parts))
    value = {name: cell_of(result, name).value for name in ("ttft_s", "e2e_s", "step_time_s", "makespan_s")}
    first, whole = value["ttft_s"], value["e2e_s"]
    if first is not None and whole is not None:
        prompt = tuple(name for name in names if name in _PROMPT)
        return [
            _stretch(prompt, first, parts, {}),
            _stretch(tuple(name for name in names if name not in _PROMPT), whole - first, parts, {}),
        ]
    length = value["step_time_s"] or value["makespan_s"]
    return [] if length is None else [_stretch(names, length, parts, result.breakdown)]


def _stretch(
    phases: tuple[str, ...], length_s: float, parts: Sequence[Part], breakdown: Mapping[str, float]
) -> Stretch:
    own = seconds(part for part in parts if part.phase in phases)
    rest = max(length_s - own, 0.0)
    bubble = min(max(breakdown.get("bubble", 0.0), 0.0), rest)
    return Stretch(phases, length_s, Rest(bubble, rest - bubble))


def length_at(stretch: Stretch, parts: Sequence[Part], scales: Scales) -> float:
    """How long a stretch takes after a change [s]: its length times (operators, bubble and rest then) / (now)."""
    own = [part for part in parts if part.phase in stretch.phases]
    now, then = seconds(own), seconds(own, scales)
    if now <= 0.0:
        return stretch.length_s
    whole = now + stretch.rest.bubble_s + stretch.rest.fixed_s
    return stretch.length_s * (then * (1.0 + stretch.rest.bubble_s / now) + stretch.rest.fixed_s) / whole


def metrics_of(result: Result, stretches: Sequence[Stretch]) -> list[Shown]:
    """The metrics that follow from time and price alone."""
    every = tuple(range(len(stretches)))
    known = {
        "ttft_s": ((0,), "time"), "tpot_s": ((1,), "time"), "e2e_s": (every, "time"), "step_time_s": (every, "time"),
        "makespan_s": (every, "time"), "output_tokens_per_s": (every, "rate"),
        "tokens_per_s_per_device": (every, "rate"),
        "usd_per_million_output_tokens": (every, "usd"), "usd_per_step": (every, "usd"),
    }  # fmt: skip
    held = {bill.metric: _held(bill) for bill in bills_of(result)}
    shown = []
    for name, (own, how) in known.items():
        value, metric = cell_of(result, name).value, metric_of(name)
        if value is not None and max(own) < len(stretches):
            shown.append(Shown(name, metric.title, own, how, value, metric.dimension, metric.better, held.get(name)))
    if any(each.name == "output_tokens_per_s" for each in shown):
        shown = [each for each in shown if each.name != "tokens_per_s_per_device"]
    return shown


def _held(bill: Bill) -> float:
    return 1.0 - math.fsum(piece.usd for piece in bill.pieces if piece.name == ELECTRICITY) / bill.usd


def value_at(
    shown: Shown, stretches: Sequence[Stretch], parts: Sequence[Part], scales: Scales, price: float = 1.0
) -> float:
    """A metric after a change; ``price`` is a factor of the price of a device-hour, which electricity is no part of."""
    now = math.fsum(stretches[place].length_s for place in shown.stretches)
    then = math.fsum(length_at(stretches[place], parts, scales) for place in shown.stretches)
    if shown.how == "rate":
        return shown.value * now / then
    return shown.value * then / now * (1.0 + (shown.held or 0.0) * (price - 1.0))


def knobs_of(result: Result, parts: Sequence[Part], metrics: Sequence[Shown]) -> list[Knob]:
    """The sliders that change something."""
    roofs = {kind: [r for r in result.roofs if r.kind == kind] for kind in ("memory", "peak")}
    dtype = str(result.configuration.get("dtype", ""))
    peak = next((r.value for r in roofs["peak"] if r.label == f"{dtype} peak"), None)
    memory = roofs["memory"][0].value if roofs["memory"] else None
    found = []
    if any(part.memory_s > 0.0 for part in parts):
        found.append(Knob("memory", "Memory bandwidth", memory, "bytes_per_s"))
    if any(part.compute_s > 0.0 for part in parts):
        found.append(Knob("compute", "Compute", peak, "flops"))
    if any(part.communication_s > _LEAST for part in parts):
        found.append(Knob("link", "Links"))
    if any(each.held for each in metrics):
        found.append(Knob("price", "Price of a device-hour"))
    return found


def applies(results: Sequence[Result]) -> bool:
    """Whether it is one result, of one pool, whose time is that of its operators."""
    if len(results) != 1 or len(results[0].pools) > 1:
        return False
    parts = parts_of_phases(results[0].phases)
    return bool(parts) and bool(metrics_of(results[0], stretches_of(results[0], parts)))


def run_of(result: Result) -> Run:
    """What the sliders know of a result; its batch is 0 where it has none."""
    parts = parts_of_phases(result.phases)
    stretches = stretches_of(result, parts)
    batch = result.configuration.get("batch", 0)
    return Run(batch if isinstance(batch, int) else 0, parts, stretches, metrics_of(result, stretches))


def runs_of(result: Result) -> list[Run]:
    """The run and those of nearby batches that have the same metrics, smallest batch first."""
    own = run_of(result)
    like = [each.name for each in own.shown]
    others = [run for run in map(run_of, result.nearby) if [each.name for each in run.shown] == like]
    return sorted([own, *others], key=lambda run: run.batch)


def draw(results: Sequence[Result]) -> Markup:
    """Sliders, the metrics as they stand and after the change, and where the time goes in both."""
    result = results[0]
    own, runs = run_of(result), runs_of(result)
    families = by_family(family_seconds(operator for phase in result.phases for operator in phase.operators))
    every = dict.fromkeys(part.family for run in runs for part in run.parts)
    return render(
        "what_if.html", live=Live("what-if", "", escaped(_data(result.kind, runs, runs.index(own))), ()),
        knobs=[(knob, _now(knob)) for knob in knobs_of(result, own.parts, own.shown)],
        batches=[run.batch for run in runs], at=runs.index(own),
        shown=[(each, quantity(each.value, each.dimension)) for each in own.shown],
        bar=parts_of(families, "family", "s"), legend_keys=legend_of(every, "family"),
    )  # fmt: skip


def draw_static(results: Sequence[Result]) -> Markup:
    """The same question without a script: every resource at twice the speed, one at a time, and the nearby batches."""
    result = results[0]
    _, parts, stretches, shown = own = run_of(result)
    changes = [
        (f"{knob.title} × 2", AS_IS, 2.0) if knob.name == "price"
        else (f"{knob.title} × 2", Scales(**{knob.name: 2.0}), 1.0)
        for knob in knobs_of(result, parts, shown)
    ]  # fmt: skip
    rows = [
        (title, [quantity(value_at(each, stretches, parts, scales, price), each.dimension) for each in shown])
        for title, scales, price in changes
    ]
    rows += [(f"Batch {run.batch}", _written(run)) for run in runs_of(result) if run != own]
    now = ("as it stands", _written(own))
    return render("what_if_still.html", titles=[each.title for each in shown], rows=[now, *rows])


def _written(run: Run) -> list[str]:
    return [quantity(each.value, each.dimension) for each in run.shown]


def _now(knob: Knob) -> str:
    return quantity(knob.now, knob.dimension) if knob.now else ""


def _data(kind: str, runs: Sequence[Run], now: int) -> dict[str, Any]:
    """Everything that the script computes with; 0 stands for an infinite order."""
    families = sorted({part.family for run in runs for part in run.parts}, key=family_rank)
    return {"settings": {
        "command": "silicost train" if kind == "training" else "silicost simulate",
        "now": now,
        "runs": [
            [run.batch, _rows(run, families), [[each.length_s, each.rest.bubble_s, each.rest.fixed_s]
             for each in run.stretches], [each.value for each in run.shown], [each.held or 0 for each in run.shown]]
            for run in runs
        ],
        "families": [[in_words("family", family), role("family", family)] for family in families],
        "metrics": [
            [each.name, list(each.stretches), each.how, units(each.dimension), each.better]
            for each in runs[now].shown
        ],
    }}  # fmt: skip


def _rows(run: Run, families: Sequence[str]) -> list[list[float]]:
    places = {phase: k for k, stretch in enumerate(run.stretches) for phase in stretch.phases}
    return [
        [
            places[part.phase], families.index(part.family), part.compute_s, part.memory_s, part.communication_s,
            part.fixed_s, part.order if math.isfinite(part.order) else 0, part.factor,
        ]
        for part in run.parts if part.phase in places
    ]  # fmt: skip


FIGURE: Final = Figure(
    "what-if",
    "What if",
    25,
    "Move a slider to make a resource of the hardware faster or slower. Each operator takes what its resources take, "
    "overlapped as they overlap in this result, plus its overhead; scaling a resource divides its part. Batches are "
    "simulated, those that fit the memory, and resources scale what each of them takes. The law of the device may also "
    "change tiles, cache hits and clocks, so take it for a direction and simulate what you settle on.",
    applies,
    draw,
    draw_static,
)
