"""Placement of a static batch on the pools of a system: found in the additive model, judged by the engine.

Candidates are the best placements of several shapes in the additive model (phases together or apart, layers whole or in
parts, on all pools or on some, transfers of the cache counted or hidden behind the prefill). The best few run on the
engine, where links are shared and transfers overlap; then layers at the borders of the best one move as long as the
engine says that it helps. Beside the answer stand a bound, and what equal devices do alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import msgspec
import numpy as np

from hardware_specs.errors import DoesNotFit, InputError
from simulator.assemble import paid_usd
from simulator.placement.inference import placed_inference
from simulator.placement.pools import common_structure
from simulator.placement.privacy import check_privacy
from simulator.planning.additive import Aim, Placement, Problem, totals_of
from simulator.planning.blocks import aim_of, chunkings, flying_of, problem_of
from simulator.planning.chain import chain
from simulator.planning.homogeneous import Alone, alone, ways_of
from simulator.planning.pipelined import period_s
from simulator.planning.profiles import Shapes
from simulator.planning.rules_of import placed, rule_words
from simulator.planning.solve import Solution, free_of_transfers, solve
from simulator.prepared import prepare_pool
from simulator.result import Result
from simulator.scenario import Rule, Scenario, StaticBatch
from simulator.steps.inference_result import inference_result
from simulator.timeline import Timeline

SIMULATED: Final = (6, 16)
"""Candidates that run on the engine; of pipelines, whose queues no sum foresees, more."""
MOVED_LAYERS: Final = 500
"""Changes of the best one run on the engine: as many as together have so many layers, within ``MOVES``."""
MOVES: Final = (12, 96)
FEWER: Final = (1.5, 2.0)
"""Requests on their way, for which a pipeline is also planned: fewer, so that each is through sooner."""
SECONDS: Final = 3.0
"""Time of the solver for one shape [s]."""
PINNED: Final = 1.0
"""The same for shapes that are pinned [s]."""
WITHIN: Final = 1e-3
"""Share above its bound at which a candidate is good enough."""
SLACK: Final = 0.005
"""Share by which a bound may differ from what one pool does that does all of it."""
MANY: Final = 5
"""Pools above which the phases of a layer stay together."""


Key = tuple[tuple[str, ...], tuple[Rule, ...]]
"""What tells placements apart: pools and rules."""


def key_of(scenario: Scenario) -> Key:
    """The pools and the rules of a scenario."""
    return tuple(pool.name for pool in scenario.pools), scenario.rules


@dataclass(frozen=True)
class Candidate:
    """A placement: ``estimate`` in the additive model; ``value`` and ``result`` of the engine."""

    problem: Problem
    placement: Placement
    scenario: Scenario
    estimate: float
    value: float = float("inf")
    result: Result | None = None


@dataclass(frozen=True)
class Found:
    """What a search found: the ``best`` placement on several pools (None where none fits) and on equal ones.

    Values are seconds, joules or dollars of one batch. ``bound`` is one of the additive model for the pools as they are
    planned, where nothing costs on its way. ``left_out`` says why pools took no part, ``planned`` the plan of each pool
    in words.
    """

    objective: str
    best: Candidate | None
    simulated: tuple[Candidate, ...]
    homogeneous: tuple[Alone, ...]
    bound: float
    left_out: dict[str, str]
    planned: dict[str, str]

    @property
    def alone(self) -> Alone | None:
        """The best of what equal devices do alone."""
        able = [each for each in self.homogeneous if each.result is not None]
        return min(able, key=lambda each: each.value) if able else None

    @property
    def best_value(self) -> float | None:
        """Value of the best placement on several pools."""
        return self.best.value if self.best else None

    @property
    def value(self) -> float:
        """Value of the answer."""
        return min(one.value for one in (self.best, self.alone) if one is not None)

    @property
    def tried(self) -> list[dict[str, Any]]:
        """What ran on the engine: estimates and values."""
        return [
            {"placement": rule_words(each.scenario), "estimate": each.estimate, "value": each.value}
            for each in self.simulated
        ]  # fmt: skip

    @property
    def why_not(self) -> str:
        """What is in the way of the mixture where it does not pay."""
        assert self.alone is not None and self.best is not None
        pool = self.alone.pool
        if self.alone.ways != self.planned.get(pool, self.alone.ways):
            return f"{pool} is better by another plan ({self.alone.ways or 'one device'}) than in a mixture"
        if self.bound >= self.alone.value * (1.0 - SLACK):
            return f"no other pool does any part of the work better than {pool}, its waiting counted"
        return f"without transfers it could be {self.bound:.4g}, but data on its way costs more than that gains"

    @property
    def mixed(self) -> bool:
        """Whether several pools together are better than each alone."""
        return self.best is not None and (self.alone is None or self.best.value < self.alone.value)

    @property
    def scenario(self) -> Scenario:
        """The scenario of the answer, with its rules."""
        one = self.best if self.mixed else self.alone
        assert one is not None and one.scenario is not None
        return one.scenario

    @property
    def result(self) -> Result:
        """The simulated answer."""
        one = self.best if self.mixed else self.alone
        assert one is not None and one.result is not None
        return one.result


def place(scenario: Scenario, work: StaticBatch, objective: str) -> Found:
    """The placement of ``work`` that is best for "latency", "throughput", "energy" or "usd"; rules are replaced.

    Raises:
        InputError: another objective; a pool whose price is not known; plans that the engine does not run.
        DoesNotFit: nothing fits, or nothing is allowed.
    """
    bare = msgspec.structs.replace(scenario, rules=(), layers="")
    able, left_out = _able(bare)
    if not able:
        raise DoesNotFit("no pool can run this: " + "; ".join(f"{n}: {why}" for n, why in left_out.items()))
    bare = msgspec.structs.replace(bare, pools=tuple(pool for pool in bare.pools if pool.name in able))
    aim_of(objective, [prepare_pool(bare, pool) for pool in bare.pools])
    homogeneous = tuple(alone(bare, work, lambda s, r: value_of(objective, s, work, r)))
    found = _mixtures(bare, work, objective) if bare.mixed else (None, (), _alone_value(homogeneous))
    best, simulated, bound = found
    planned = {pool.name: ways_of(pool.plan) for pool in bare.pools}
    whole = Found(objective, best, simulated, homogeneous, bound, left_out, planned)
    if best is None and whole.alone is None:
        reasons = "; ".join(f"{each.pool}: {each.why}" for each in homogeneous)
        raise DoesNotFit(f"no placement fits, on one pool or on several ({reasons})")
    return whole


def _alone_value(homogeneous: Sequence[Alone]) -> float:
    return min(each.value for each in homogeneous)


def _able(scenario: Scenario) -> tuple[list[str], dict[str, str]]:
    """Pools that can run the work at all, and why others cannot."""
    able, why = [], {}
    for pool in scenario.pools:
        try:
            prepare_pool(scenario, pool)
            able.append(pool.name)
        except InputError as error:
            if error.code not in ("dtype", "runtime", "compatibility"):
                raise
            why[pool.name] = str(error)
    return able, why


def value_of(objective: str, scenario: Scenario, work: StaticBatch, result: Result) -> float:
    """Seconds, seconds between batches of a full pipeline, joules of devices, or dollars, of one batch."""
    e2e_s = result.metrics["e2e_s"]
    assert e2e_s is not None
    if objective == "latency":
        return e2e_s
    if objective == "energy":
        return result.energy.device
    if objective == "throughput":
        return period_s(scenario, work) if scenario.mixed or _two_fit(scenario, result) else e2e_s
    prepared = [prepare_pool(scenario, pool) for pool in scenario.pools]
    paid, why = paid_usd(prepared, {pool.name: pool.energy_j for pool in result.pools}, e2e_s)
    if paid is None:
        raise InputError(f"--place usd: {why}")
    return paid


def _two_fit(scenario: Scenario, result: Result) -> bool:
    """Whether the only pool runs one batch after the other with two on their way, both in its memory."""
    plan, memory = scenario.pools[0].plan, result.memory
    return plan.pp == plan.dp == 1 and memory.total + memory.kv <= result.memory_capacity_bytes


def _mixtures(
    scenario: Scenario, work: StaticBatch, objective: str
) -> tuple[Candidate | None, tuple[Candidate, ...], float]:
    """The best placement on pools as they are planned, all that ran on the engine, and the bound."""
    prepared = common_structure(scenario)
    aim = aim_of(objective, prepared)
    problems = [
        problem_of(work, prepared, scenario.privacy, apart, chunks, flying_of(objective, len(prepared)))
        for chunks in chunkings(work, prepared)
        for apart in ((False, True) if len(prepared) <= MANY else (False,))
    ]
    bound = min(solve(free_of_transfers(problem), aim, seconds=SECONDS, within=WITHIN).bound for problem in problems)
    by_rules: dict[Key, Candidate] = {}
    for problem in problems:
        for solution in _solutions(problem, aim):
            if solution.placement is not None:
                own = placed(scenario, problem, solution.placement)
                candidate = Candidate(problem, solution.placement, own, solution.value)
                if own.mixed:
                    by_rules.setdefault(key_of(own), candidate)
    ranked = sorted(by_rules.values(), key=lambda each: each.estimate)
    first_whole = [c for c in ranked if c.problem is problems[0]][:2]
    tried = list({id(c): c for c in (*ranked[: SIMULATED[aim.slowest]], *first_whole)}.values())
    ran = [simulated(candidate, work, objective) for candidate in tried]
    fitting = [candidate for candidate in ran if candidate.result is not None and candidate.result.fits]
    if not fitting:
        return None, tuple(ran), bound
    more = _moved(fitting, scenario, work, objective, aim, {key_of(each.scenario) for each in ran})
    fitting += [candidate for candidate in more if candidate.result is not None and candidate.result.fits]
    ran += more
    return min(fitting, key=lambda each: each.value), tuple(ran), bound


def _solutions(problem: Problem, aim: Aim) -> Iterator[Solution]:
    """The best placements of several shapes."""
    yield chain(problem, aim)
    pools = len(problem.pools)

    def solved(of: Problem, shapes: Shapes) -> Solution:
        found = solve(of, aim, shapes, PINNED if shapes.phase or shapes.part else SECONDS, within=WITHIN)
        if found.placement is None:
            return found
        return replace(found, value=aim.value(totals_of(problem, found.placement)))

    yield solved(problem, Shapes(together=True, mixed=True))
    if pools > MANY:
        return
    yield solved(problem, Shapes(mixed=True))
    for shapes in _pinned(problem) if aim.slowest else ():
        yield solved(problem, shapes)
    for flying in FEWER if aim.slowest else ():
        found = solve(problem, replace(aim, flying=flying), Shapes(mixed=True), SECONDS, within=WITHIN)
        yield found if found.placement is None else replace(found, value=aim.value(totals_of(problem, found.placement)))
    if len(problem.phases) > 1:
        yield solved(hidden(problem), Shapes(mixed=True))
    for size in range(2, pools):
        for some in combinations(range(pools), size):
            yield solved(problem, Shapes(pools=some, mixed=True))


def _pinned(problem: Problem) -> Iterator[Shapes]:
    """A phase, or all attention, on one pool: usual ways to part a pipeline."""
    for pool in range(len(problem.pools)):
        for phase in range(len(problem.phases)) if len(problem.phases) > 1 else ():
            yield Shapes(mixed=True, phase=(phase, pool))
        if any(len(group.parts) > 1 for group in problem.groups):
            yield Shapes(mixed=True, part=(0, pool))


def hidden(problem: Problem) -> Problem:
    """The same where the cache moves for nothing, hidden behind the prefill of later layers."""
    groups = tuple(
        replace(group, inner=tuple(edge for edge in group.inner if edge.source[0] == edge.target[0]))
        for group in problem.groups
    )
    return replace(problem, groups=groups)


def simulated(candidate: Candidate, work: StaticBatch, objective: str) -> Candidate:
    """``candidate`` with the engine's word."""
    own = candidate.scenario
    check_privacy(own)
    if own.mixed:
        result = placed_inference(own, work)
    else:
        result = inference_result(prepare_pool(own, own.pools[0]), work, Timeline(()))
    return replace(candidate, value=value_of(objective, own, work, result), result=result)


def _moved(
    starts: Sequence[Candidate], scenario: Scenario, work: StaticBatch, objective: str, aim: Aim, tried: set[Key]
) -> list[Candidate]:  # fmt: skip
    """Neighbours of the best placements that the engine has seen, best first; what is in ``tried`` ran already.

    A neighbour that is better than all before is the next whose neighbours run; else the best of the others is.
    """
    most = min(max(MOVED_LAYERS // starts[0].problem.layers, MOVES[0]), MOVES[1])
    ran: list[Candidate] = []
    waiting = sorted(starts, key=lambda each: each.value)
    best = waiting[0].value
    while waiting and len(ran) < most:
        for candidate in _near(waiting.pop(0), scenario, aim, tried)[: most - len(ran)]:
            tried.add(key_of(candidate.scenario))
            ran.append(simulated(candidate, work, objective))
            result = ran[-1].result
            if result is not None and result.fits:
                waiting.append(ran[-1])
            if waiting and waiting[-1].value < best * (1.0 - 1e-9):
                best = waiting[-1].value
                break
        waiting.sort(key=lambda each: each.value)
    return ran


def _near(start: Candidate, scenario: Scenario, aim: Aim, tried: set[Key]) -> list[Candidate]:
    """Neighbours that did not run yet, by their estimates."""
    near: dict[Key, Candidate] = {}
    for placement in neighbours(start.problem, start.placement):
        estimate = aim.value(totals_of(start.problem, placement))
        own = placed(scenario, start.problem, placement)
        if key_of(own) not in tried and own.mixed and np.isfinite(estimate):
            near.setdefault(key_of(own), Candidate(start.problem, placement, own, estimate))
    return sorted(near.values(), key=lambda each: each.estimate)


def neighbours(problem: Problem, placement: Placement) -> Iterator[Placement]:
    """Placements with one layer at a border as its neighbour, or on another pool, in one phase or in all."""
    phases = range(len(problem.phases))
    for layer, index in enumerate(problem.group_of_layer):
        own = placement[layer]
        others = [np.full_like(own, pool) for pool in range(len(problem.pools))]
        inner = 0 < layer < problem.layers - 1
        if inner and all(np.array_equal(placement[beside], own) for beside in (layer - 1, layer + 1)):
            continue
        for beside in (layer - 1, layer + 1):
            if 0 <= beside < problem.layers and problem.group_of_layer[beside] == index:
                others.append(placement[beside])
        for other in others:
            for chosen in (*((phase,) for phase in phases), tuple(phases)):
                changed = own.copy()
                changed[list(chosen)] = other[list(chosen)]
                if not np.array_equal(changed, own):
                    yield (*placement[:layer], changed, *placement[layer + 1 :])
