"""Alternatives of a study: few points, weighed against each other by one metric, each with what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hardware_specs.errors import DoesNotFit, InputError, UnknownName
from silicost.answer import why_not
from silicost.studies.cells import WORDS, Value, scenario_of
from silicost.studies.study import Study, read_study
from simulator.decisions.terms import check_metric
from simulator.explore.space import Axis
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.simulate import simulate

MOST: Final = 32
"""Alternatives that are weighed against each other."""


class Candidate(NamedTuple):
    """One point: its name and what is asked."""

    name: str
    question: Mapping[str, Value]


@dataclass(frozen=True)
class Alternatives:
    """A metric, and the candidates of which the one with the best value is sought."""

    metric: str
    title: str
    candidates: tuple[Candidate, ...]


class Feasible(NamedTuple):
    """A candidate that can be run, and what it would do."""

    name: str
    scenario: Scenario
    result: Result


def load_alternatives(path: Path) -> Alternatives:
    """The alternatives in a study file; its first metric counts.

    Raises:
        InputError: a broken file, no metric, one that is not uncertain, fewer than two alternatives or too many.
    """
    study, place = read_study(path), path.name
    if "metrics" not in study.table:
        raise InputError(f"{place}: missing key 'metrics', for example metrics = \"tpot_s\"")
    check_metric(study.metrics[0], f"{place}: metrics")
    sampler = study.sampler()
    if not 2 <= sampler.count <= MOST:
        why = "there is nothing to decide" if sampler.count < 2 else "weigh fewer"
        many = "s" * (sampler.count != 1)
        raise InputError(f"{place}: axes: {sampler.count} alternative{many}: {why} (allowed: 2 to {MOST})")
    points = sampler.points(0, sampler.count)
    rows = [points.row(number) for number in range(len(points))]
    varying = _varying(study)
    candidates = [Candidate(_name({key: row[key] for key in varying}), {**study.fixed, **row}) for row in rows]
    return Alternatives(study.metrics[0], study.title, tuple(candidates))


def feasible(asked: Alternatives) -> tuple[list[Feasible], list[tuple[str, str]]]:
    """The candidates that can be run, and the names of the others with their reasons.

    Raises:
        UnknownName: a name that no catalogue holds.
        InputError: no candidate is a valid question.
        DoesNotFit: none can be run.
    """
    found: list[Feasible] = []
    left_out: list[tuple[str, str]] = []
    wrong: list[InputError] = []
    for name, question in asked.candidates:
        try:
            scenario = scenario_of(question)
            result = simulate(scenario)
        except UnknownName:
            raise
        except InputError as error:
            wrong.append(error)
            left_out.append((name, str(error)))
            continue
        if not result.fits:
            left_out.append((name, why_not(result)))
        elif not (value := result.metrics.get(asked.metric)):
            why = f"{asked.metric} is {'not known' if value is None else 0}"
            left_out.append((name, result.reasons.get(asked.metric, why)))
        else:
            found.append(Feasible(name, scenario, result))
    if len(wrong) == len(asked.candidates):
        raise wrong[0]
    if not found:
        raise DoesNotFit("no alternative can be run: " + "; ".join(f"{name}: {why}" for name, why in left_out))
    return found, left_out


def _varying(study: Study) -> list[str]:
    """Names that have several values."""
    axes = [axis for axis in study.space.axes if not isinstance(axis, Axis) or len(axis.values) > 1]
    return [name for axis in axes for name in axis.names]


def _name(values: Mapping[str, Value]) -> str:
    """A candidate in words: names speak for themselves, numbers do not."""
    return ", ".join(_words(key, value) for key, value in values.items())


def _words(key: str, value: Value) -> str:
    if "." in key:
        return f"{key}={value}"
    return str(value) if key in WORDS and value else f"{key} {value or 'default'}"
