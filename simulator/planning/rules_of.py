"""A placement as the rules of a scenario, which the engine runs and a scenario file can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from simulator.planning.additive import Ints, Placement, Problem
from simulator.planning.blocks import EXPERT_OPERATOR, EXPERTS, FFN, MIXER, part_of
from simulator.scenario import Rule, Scenario, StaticBatch
from simulator.steps.static_batch import prompt_phase
from workloads.graph import Graph
from workloads.lowering.inference import lower_step
from workloads.lowering.plan import Lowering, Precision

ENDS = {"embedding": "embedding*", "head": "head.*"}
"""Patterns of the operators below and above the layers."""


def placed(scenario: Scenario, problem: Problem, placement: Placement) -> Scenario:
    """``scenario`` with the pools that do something, and the rules of ``placement``."""
    used = {problem.pools[i] for profile in placement for i in np.unique(profile).tolist()}
    pools = tuple(pool for pool in scenario.pools if pool.name in used)
    rules = rules_of(scenario, problem, placement) if len(pools) > 1 else ()
    return msgspec.structs.replace(scenario, pools=pools, rules=rules, layers="")


def rules_of(scenario: Scenario, problem: Problem, placement: Placement) -> tuple[Rule, ...]:
    """Rules that put every operator where ``placement`` has it; without phases where all lie alike."""
    alike = all((profile == profile[0]).all() for profile in placement)
    graph = _graph(scenario)
    found = []
    for phase, name in enumerate(("",) if alike else problem.phases):
        first = 0
        for label, profiles in _by_group(problem, placement, phase):
            if label in ENDS:
                found.append(Rule(problem.pools[int(profiles[0][0])], name, operator=ENDS[label]))
                continue
            for begin, end in _runs(profiles):
                layers = (first + begin, first + end - 1)
                found += _of_run(problem, label, profiles[begin], layers, name, graph)
            first += len(profiles)
    return tuple(found)


def _graph(scenario: Scenario) -> Graph:
    work = scenario.workload
    assert isinstance(work, StaticBatch)
    return lower_step(work.model, prompt_phase(work.model), 1, 1, 1.0, Lowering(Precision()))


def _by_group(problem: Problem, placement: Placement, phase: int) -> Iterator[tuple[str, list[Ints]]]:
    for start, group in zip(problem.starts, problem.groups, strict=True):
        yield group.label, [profile[phase] for profile in placement[start : start + group.count]]


def _runs(profiles: Sequence[Ints]) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in range(1, len(profiles) + 1):
        if end == len(profiles) or not np.array_equal(profiles[end], profiles[begin]):
            yield begin, end
            begin = end


def _of_run(
    problem: Problem, label: str, profile: Ints, layers: tuple[int, int], phase: str, graph: Graph
) -> Iterator[Rule]:  # fmt: skip
    pools = [problem.pools[i] for i in profile.tolist()]
    if len(set(pools)) == 1:
        yield Rule(pools[0], phase, layers)
        return
    parts = next(group.parts for group in problem.groups if group.label == label)
    where = dict(zip(parts, pools, strict=True))
    if EXPERTS in where and where[EXPERTS] != where.get(FFN):
        yield Rule(where[EXPERTS], phase, layers, EXPERT_OPERATOR)
    block = next(block for block in graph.blocks if block.label == label)
    inside = range(block.start, block.stop)
    for part in (MIXER, FFN):
        beginnings = dict.fromkeys(
            graph.operators[i].name.partition(".")[0] for i in inside if part_of(graph, block, i) == part
        )
        for word in beginnings:
            yield Rule(where[part], phase, layers, f"{word}.*")


def rule_words(scenario: Scenario) -> str:
    """Who does what, in words."""
    if not scenario.rules:
        return f"everything on {scenario.pools[0].name}"
    return "; ".join(f"{_what(rule)} on {rule.pool}" for rule in scenario.rules)


def _what(rule: Rule) -> str:
    words = [rule.phase] if rule.phase else []
    if rule.layers:
        first, last = rule.layers
        words.append(f"layer {first}" if first == last else f"layers {first}-{last}")
    return " ".join([*words, rule.operator] if rule.operator else words)
