"""From a recommendation to the page that shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from reports.calibration import Group
from reports.numbers import metric_of, number, quantity, share
from reports.recommendation import Answered, Called, Line, Lost, Option
from reports.recommendation import Recommendation as Card
from reports.study import Bound, Measure, measure_of
from silicost import __version__
from silicost.recommend.answer import Recommendation
from silicost.recommend.candidates import Candidate, Designs, against_first, headroom
from silicost.recommend.question import Limit, Question
from silicost.recommend.words import REASONS, asked_in_words, plan_in_words, verdict
from simulator.identity import laws_hash

_ACROSS: Final = {"inference": ("tpot_s", "ttft_s"), "traffic": ("tpot_s", "ttft_s"), "training": ("step_time_s",)}
"""What the metric that ranks is drawn over where nothing is bounded, by kind of workload; the first that differs."""
_MOST_AXES: Final = 3
_OF_REQUESTS: Final = {
    "ttft_s": "From the arrival of a request to the first token of its answer, its wait in the queue included.",
    "tpot_s": "Mean gap between the tokens of an answer.",
    "e2e_s": "From the arrival of a request to the last token of its answer.",
    "queue_s": "From the arrival of a request to the moment at which it is begun.",
}
"""Latencies of requests that come one by one."""


def card_of(found: Sequence[Recommendation], title: str) -> Card:
    """Everything that the page of one recommendation or several shows."""
    return Card(title, tuple(_answered(each) for each in found), laws_hash(), __version__)


def _answered(found: Recommendation) -> Answered:
    asked = found.asked
    called = called_of(asked)
    axes = _axes(asked, called)
    return Answered(
        asked.name or asked.model, _verdict(found), asked_in_words(found), axes[0],
        bounds=tuple(_bound(limit, asked.kind == "traffic") for limit in asked.limits), axes=axes,
        called=called, notes=_notes(found),
        options=tuple(_option(found, place) for place in range(len(found.ranked))),
        lost=tuple(
            Lost(each.device, each.device_class, each.code, REASONS.get(each.code, each.code), each.why)
            for each in found.losers
        ),
        lines=_lines(found, axes), designs=found.questions,
        rests_on=found.chances.how if found.chances is not None else "", facts=_facts(found),
    )  # fmt: skip


def _verdict(found: Recommendation) -> str:
    """The answer in a sentence, the metric by its title."""
    title = _measure(found.asked.metric).title
    return verdict(found).replace(f": {found.asked.metric} ", f": {title[:1].lower()}{title[1:]} ", 1)


def _measure(name: str) -> Measure:
    return measure_of(name, metric_of(name).better or "lower")


def called_of(asked: Question) -> tuple[Called, ...]:
    """Latencies of traffic: quantiles of all requests, the one of the bound or the 99th, and the mean end to end."""
    if asked.kind != "traffic":
        return ()
    shares = {limit.constraint.metric: limit.share for limit in asked.limits}
    found = [Called("e2e_s", "End-to-end latency, mean", f"{_OF_REQUESTS['e2e_s']} Mean of the requests that count.")]
    for name in ("ttft_s", "tpot_s", "queue_s"):
        share = f"p{100.0 * shares.get(name, 0.99):g}"
        title = metric_of(name).title if name != "queue_s" else "Time in the queue"
        found.append(Called(name, f"{title}, {share}", f"{_OF_REQUESTS[name]} {share} of the requests that count."))
    return tuple(found)


def _notes(found: Recommendation) -> tuple[str, ...]:
    """What prices of two kinds do to a ranking."""
    kinds = {each.price_origin.startswith("bought") for each in found.ranked if each.price_origin}
    if len(kinds) < 2 or found.asked.objective != "usd":
        return ()
    return (
        "Prices are of two kinds: some devices are rented, others bought, which is cheaper where they are busy; "
        "--prices own or --prices rent ranks by one of them.",
    )


def _axes(asked: Question, called: Sequence[Called]) -> tuple[Measure, ...]:
    """The metric that ranks, then bounded ones, or what the kind of workload is usually seen over."""
    bounded = [limit.constraint.metric for limit in asked.limits]
    usual = [name for name in _ACROSS[asked.kind] if name != asked.metric][:1] or ["usd_per_step"]
    names = dict.fromkeys([asked.metric, *(bounded or usual)])
    titles = {each.name: each.title for each in called}
    measures = (_measure(name) for name in names)
    return tuple(each._replace(title=titles.get(each.name, each.title)) for each in measures)[: _MOST_AXES + 1]


def _bound(limit: Limit, differ: bool) -> Bound:
    """A bound; where requests ``differ``, with the share of them that keep it."""
    each = limit.constraint
    return Bound(_measure(each.metric), each.op == "<=", each.bound, limit.share if differ else 1.0)


def _option(found: Recommendation, place: int) -> Option:
    asked, each, chances = found.asked, found.ranked[place], found.chances
    compared = chances is not None and place < len(chances.best)
    low, high = each.interval or (math.nan, math.nan)
    left = headroom(asked.limits, each)
    return Option(
        each.device.id, each.device.device_class, each.count, plan_in_words(each), _known(each.metrics[asked.metric]),
        low, high,
        chance_best=chances.best[place] if chances is not None and compared else math.nan,
        first_beats=chances.first_beats[place] if chances is not None and compared and place else math.nan,
        usd_per_hour=_known(each.usd_per_hour), price=each.price_origin, rated_w=each.rated_w,
        needed_bytes=each.memory_bytes, usable_bytes=each.usable_bytes,
        left=tuple(left.get(limit.constraint.metric, math.nan) for limit in asked.limits), bound=each.bound,
        why=against_first(asked, found.ranked[0], each),
        metrics=tuple((name, _known(value)) for name, value in each.metrics.items()), more=_more(asked, each),
    )  # fmt: skip


def _more(asked: Question, each: Candidate) -> tuple[tuple[str, str], ...]:
    """What a card says of traffic and of training beside its metric."""
    if asked.kind == "traffic" and "rate_per_s_per_replica" in each.more:
        ends = each.more.get("rate_interval")
        band = f" [{number(ends[0])}, {number(ends[1])}]" if ends else ""
        return (("a replica holds", f"{number(each.more['rate_per_s_per_replica'])} requests/s{band}"),)
    if asked.kind != "training":
        return ()
    step_s, usd, mfu = (_known(each.metrics.get(name)) for name in ("step_time_s", "usd_per_step", "mfu"))
    lines = []
    if asked.metric != "step_time_s" and math.isfinite(step_s):
        lines.append((metric_of("step_time_s").title, quantity(step_s, "s")))
    if math.isfinite(usd):
        trillion = usd / (asked.global_batch * asked.seq_len) * 1e12
        lines.append(("a trillion tokens", quantity(trillion, "usd")))
    if math.isfinite(mfu):
        lines.append((metric_of("mfu").title, share(mfu)))
    return tuple(lines)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _lines(found: Recommendation, axes: Sequence[Measure]) -> tuple[Line, ...]:
    """Designs of the ranked devices, then of those that only the bounds keep out, the nearest miss first."""
    lines = [_line_of(each, axes) for each in found.ranked]
    for lost in found.losers:
        if lost.designs is not None:
            lines.append(_designs(lost.device, lost.device_class, lost.designs, axes))
    return tuple(lines)


def _line_of(each: Candidate, axes: Sequence[Measure]) -> Line:
    name = f"{each.count} × {each.device.id}" if each.count > 1 else each.device.id
    if each.designs is None:
        values = tuple((_known(each.metrics.get(axis.name)),) for axis in axes)
        return Line(name, each.device.device_class, (plan_in_words(each),), values, (True,), 0)
    line = _designs(name, each.device.device_class, each.designs, axes)
    chosen = each.designs.batch.tolist().index(each.question["batch"])
    return line._replace(chosen=chosen)


def _designs(name: str, device_class: str, designs: Designs, axes: Sequence[Measure]) -> Line:
    none = (math.nan,) * len(designs.batch)
    values = tuple(
        tuple(designs.metrics[axis.name].tolist()) if axis.name in designs.metrics else none for axis in axes
    )
    labels = tuple(f"batch {batch}" for batch in designs.batch)
    return Line(name, device_class, labels, values, tuple(designs.holds.tolist()))


def _facts(found: Recommendation) -> tuple[Group, ...]:
    """The question as it was put, and how its answer was found."""
    asked = found.asked
    said = msgspec.structs.asdict(asked)
    rows = [
        (name.replace("_", " "), str(value)) for name, value in said.items() if name != "name" and value not in ("", 0)
    ]
    name = f"{asked.name}: question" if asked.name else "Question"
    how = [
        ("designs that were priced", f"{found.questions:,}"),
        ("devices that do it", f"{len(found.ranked)} of {len(found.ranked) + len(found.losers)}"),
    ]
    if found.chances is not None:
        how.append(("chances rest on", found.chances.how))
    return Group(name, tuple(rows)), Group(f"{asked.name}: answer" if asked.name else "Answer", tuple(how))
