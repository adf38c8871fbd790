"""A fleet along the rate of requests, and everything that a search for its capacity tried, for its page.

Latencies are quantiles of the requests that count, at each rate the same ones as the search has judged. Costs are those
of whole runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from reports.capacity import RATE, Goal, Load, LoadPanel, Trials, Tried
from reports.numbers import number, quantity
from silicost.serving.answer import Answer, Fleet, serve
from silicost.serving.capacity import Capacity, Needed, devices_of, usd_per_hour
from silicost.serving.capacity_runs import at_rate, broken_by, judged_at, with_replicas
from simulator.serving import capacity as search
from simulator.serving.capacity import Rows
from simulator.serving.slo import Bound

if TYPE_CHECKING:
    from simulator.serving.capacity import Trial

SHARES: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.93, 1.0, 1.05, 1.12)
"""Rates that are drawn, over the highest that the fleet of the answer holds."""
FARTHEST: Final = 1.25
"""Rates that were tried and are higher stand in the table alone."""
_AROUND: Final = (-2, -1, 0, 1, 2)
"""Numbers of replicas beside the one chosen that are tried as well, in steps of a tenth of it or of one."""
_REJECTED: Final = "requests are turned away"


class Seen(NamedTuple):
    """A fleet at a rate: what it breaks there, and the requests that count."""

    fleet: Fleet
    rate_per_s: float
    broken: tuple[str, ...]
    rows: Rows


def seen_at(fleet: Fleet, rate_per_s: float) -> Seen:
    """``fleet`` at a rate."""
    rows = judged_at(fleet, rate_per_s, (1.0,) * len(fleet.pools))
    return Seen(fleet, rate_per_s, broken_by(fleet, rows), rows)


def bounds_of(fleet: Fleet) -> list[tuple[int, str, Bound]]:
    """Every bound with the number and the name of its tenant, in the order of the goals of a page."""
    return [
        (place, tenant, bound)
        for place, (tenant, slo) in enumerate(fleet.slos.items())
        for bound in (slo.bounds if slo else ())
    ]


def quantile_of(seen: Seen, place: int, kind: str, share: float) -> float:
    """A quantile of a latency of the requests of a tenant [s]; infinite where too many have no answer, NaN where none
    has such a latency."""
    rows = rows_of_tenant(seen, place)
    values = np.where(rows["completed"], rows[f"{kind}_s"], math.inf)
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        return math.nan
    at = share * (len(values) - 1)
    low, high = float(values[math.floor(at)]), float(values[math.ceil(at)])
    return high if not math.isfinite(high) else low + (at - math.floor(at)) * (high - low)


def rows_of_tenant(seen: Seen, place: int) -> Rows:
    """The requests of a tenant; all where there are no tenants."""
    if len(seen.fleet.slos) < 2 or "tenant" not in seen.rows:
        return seen.rows
    mine = seen.rows["tenant"] == place
    return {name: values[mine] for name, values in seen.rows.items()}


def latencies_of(seen: Seen) -> tuple[float, ...]:
    """The quantile of each bound [s]."""
    return tuple(quantile_of(seen, place, bound.kind, bound.share) for place, _, bound in bounds_of(seen.fleet))


def broken_in_words(seen: Seen, goals: Sequence[Goal]) -> str:
    """What a run breaks: by how much, or where the whole keeps what a half of it does not."""
    said, latencies = [], latencies_of(seen)
    for goal, (place, tenant, bound), value in zip(goals, bounds_of(seen.fleet), latencies, strict=True):
        name = f"{tenant}: {search.name_of(bound)}" if tenant else search.name_of(bound)
        if name not in seen.broken:
            continue
        if value > goal.bound_s:
            known = quantity(value, "s") if math.isfinite(value) else "not known, too few are answered"
            said.append(f"{goal.name} is {known}, above {quantity(goal.bound_s, 's')}")
        elif search.kept_share(rows_of_tenant(seen, place), bound) < bound.share:
            within = f"{100.0 * bound.share:g}\u00a0% of the requests are within {quantity(goal.bound_s, 's')}"
            said.append(f"{goal.name}: fewer than {within}")
        else:
            said.append(f"{goal.name} is above {quantity(goal.bound_s, 's')} in one half of the run")
    if search.OVERLOAD in seen.broken:
        said.append("overload: requests wait longer and longer")
    if any(search.REJECTED in name for name in seen.broken):
        share = 1.0 - float(np.mean(seen.rows["completed"]))
        said.append(f"{100.0 * share:.3g}% of the {_REJECTED}")
    return "; ".join(said) or ", ".join(seen.broken)


def tried_of(seen: Seen, name: str, goals: Sequence[Goal], run: Answer | None, chosen: bool) -> Tried:
    """A row of a table; without a run it has no costs."""
    fleet = seen.fleet
    single = len(fleet.pools) == 1
    row = Tried(
        name, not seen.broken, broken_in_words(seen, goals),
        replicas=float(fleet.pools[0].table.replicas) if single else math.nan, devices=float(devices_of(fleet)),
        rate_per_s=seen.rate_per_s, latencies=latencies_of(seen), chosen=chosen,
    )  # fmt: skip
    return row if run is None else with_costs(row, run)


def with_costs(row: Tried, run: Answer) -> Tried:
    """``row`` with what its run costs; of tokens where answers have several, else of requests."""
    from silicost.serving.page import answers_are_text

    values, text = run.found.outcome.values, answers_are_text(run)
    usd = values["usd_per_million_output_tokens" if text else "usd_per_thousand_requests"]
    joules = values["j_per_output_token" if text else "j_per_request"]
    return row._replace(
        usd_per_hour=_known(usd_per_hour(run)), usd_per_work=_known(usd), j_per_work=_known(joules),
        utilisation=_known(values["utilisation"]),
    )  # fmt: skip


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def tried_rates(capacity: Capacity, goals: Sequence[Goal], chosen: bool) -> Trials:
    """Every rate that the search for the highest one has tried, in order."""
    fleet = capacity.subject.fleet
    trials: dict[float, Trial] = {trial.rate_per_s: trial for trial in capacity.highest.trials}
    rows = []
    for rate in sorted(trials):
        seen = seen_at(fleet, rate)
        rows.append(
            tried_of(seen, f"{number(rate, 4)} requests/s", goals, None, chosen and rate == capacity.rate_per_s)
        )
    return Trials(_of_rates(fleet), RATE, tuple(rows), tuple(goal.name for goal in goals))


def _of_rates(fleet: Fleet) -> str:
    if len(fleet.pools) > 1:
        return "Rates that were tried"
    many = fleet.pools[0].table.replicas
    return f"Rates that were tried on {many} replica{'s' * (many > 1)}"


def tried_counts(fleet: Fleet, needed: Needed, rate_per_s: float, goals: Sequence[Goal]) -> Trials:
    """Every number of replicas that the search has tried, and some beside the one that was found."""
    rows = []
    for count in counts_of(needed):
        sized = with_replicas(fleet, {fleet.pools[0].name: count})
        run = needed.answer if count == needed.replicas else serve(at_rate(sized, rate_per_s), intervals=False)
        name = f"{count:,} replica{'s' * (count > 1)}"
        rows.append(tried_of(seen_at(sized, rate_per_s), name, goals, run, count == needed.replicas))
    return Trials("Numbers of replicas", "Replicas", tuple(rows), tuple(goal.name for goal in goals))


def counts_of(needed: Needed) -> list[int]:
    """Numbers of replicas that are shown, in order."""
    step = max(1, needed.replicas // 10)
    around = {needed.replicas + step * k for k in _AROUND} | {needed.replicas - 1, needed.replicas + 1}
    return sorted({*needed.tried, *(count for count in around if count >= 1)})


def panels_of(
    fleet: Fleet, rate_per_s: float, goals: Sequence[Goal], count: int | None, capacity: Capacity | None
) -> list[LoadPanel]:
    """Latencies and costs along the rate.

    Args:
        fleet: that of the answer at ``rate_per_s``.
        count: its replicas, beside which one fewer and one more are drawn; None: the fleet alone.
        capacity: of the fleet itself, whose tried rates are drawn too (``count`` None), or of the one that it
            consists of.
    """
    top = rate_per_s
    tried: list[float] = []
    if capacity is not None and count is not None:
        top = max(top, capacity.rate_per_s / capacity.subject.fleet.pools[0].table.replicas * count)
    elif capacity is not None:
        tried = [trial.rate_per_s for trial in capacity.highest.trials]
    grid = [share * top for share in SHARES]
    rates = sorted({*grid, rate_per_s, *(rate for rate in tried if rate <= FARTHEST * top)})
    fleets = {"": fleet}
    if count is not None:
        name = fleet.pools[0].name
        fleets = {_replicas(count): fleet}
        fleets |= {_replicas(n): with_replicas(fleet, {name: n}) for n in (count - 1, count + 1) if n >= 1}
    seen = {name: [seen_at(each, rate) for rate in rates] for name, each in fleets.items()}
    latencies = [
        _panel(goal, place, bound, seen) for goal, (place, _, bound) in zip(goals, bounds_of(fleet), strict=True)
    ]
    return latencies + _cost_panels(fleet, grid, count)


def _replicas(count: int) -> str:
    return f"{count:,} replica{'s' * (count > 1)}"


def _panel(goal: Goal, place: int, bound: Bound, seen: Mapping[str, Iterable[Seen]]) -> LoadPanel:
    """A latency along the rate: the quantile of the bound of each fleet, and the middle of the first."""
    curves = []
    percentile = f"p{100.0 * bound.share:g}"
    for name, each in seen.items():
        curves.append(_curve(f"{name}, {percentile}" if name else percentile, each, place, bound.kind, bound.share))
    first, each = next(iter(seen.items()))
    shares = [share for share in ((0.5,) if first else (0.5, 0.9, 0.99)) if share != bound.share]
    for share in shares:
        quantile = f"p{100.0 * share:g}"
        curves.append(_curve(f"{first}, {quantile}" if first else quantile, each, place, bound.kind, share))
    return LoadPanel(goal.name, "s", tuple(curves), goal.bound_s)


def _curve(name: str, seen: Iterable[Seen], place: int, kind: str, share: float) -> Load:
    pairs = [(one.rate_per_s, quantile_of(one, place, kind, share)) for one in seen]
    return Load(name, tuple(at for at, _ in pairs), tuple(v if math.isfinite(v) else math.nan for _, v in pairs))


def _cost_panels(fleet: Fleet, rates: Sequence[float], count: int | None) -> list[LoadPanel]:
    """Dollars and joules along the rate, of the fleet of the answer."""
    from reports.capacity import REQUESTS, TOKENS
    from silicost.serving.page import answers_are_text

    runs = [serve(at_rate(fleet, rate), intervals=False) for rate in rates]
    rows = [with_costs(Tried("", True), run) for run in runs]
    work = TOKENS if answers_are_text(runs[-1]) else REQUESTS
    name = _replicas(count) if count is not None else "all devices"
    usd = Load(name, tuple(rates), tuple(row.usd_per_work for row in rows))
    joules = Load(name, tuple(rates), tuple(row.j_per_work for row in rows))
    titles = (f"Dollars {work.usd_title.lower()}", f"Energy {work.j_title.lower()}")
    panels = (LoadPanel(titles[0], "usd", (usd,)), LoadPanel(titles[1], "j", (joules,)))
    return [each for each in panels if any(math.isfinite(value) for value in each.curves[0].values)]
