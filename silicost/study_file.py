"""Study files: TOML with one [scenario] and the [axes] along which alternatives to it lie.

    metric = "tpot_s"

    [scenario]                  # the flags of ``silicost simulate``
    model = "qwen2.5-1.5b"
    isl = 512
    osl = 128

    [axes]                      # alternatives: the product of these lists
    device = ["xeon-8480-plus", "epyc-9654"]
    dtype = ["bf16", "fp32"]

Every combination is a question as ``silicost simulate`` would take it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from hardware_specs.errors import DoesNotFit, InputError, UnknownName, clipped, nearest
from hardware_specs.files import beside
from hardware_specs.reader import convert, read_toml
from hardware_specs.sites import DEFAULT_SITE
from silicost.answer import why_not
from silicost.scenarios import inference_scenario
from simulator.decisions.terms import check_metric
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.simulate import simulate

MOST: Final = 32
"""Alternatives that are weighed against each other."""
_TABLES: Final = ("metric", "title", "scenario", "axes")
_PATHS: Final = ("model", "device", "runtime", "system", "site")
"""Keys that may name a file, which lies beside the study."""


class Question(msgspec.Struct, frozen=True):
    """The keys of [scenario] and [axes]: the flags of ``silicost simulate``."""

    model: str
    device: str
    isl: int
    osl: int
    batch: int = 1
    count: int | None = None
    tp: int | None = None
    pp: int = 1
    dp: int = 1
    ep: int = 1
    runtime: str = ""
    dtype: str = "bf16"
    weight_dtype: str = ""
    kv_dtype: str = ""
    system: str = ""
    site: str = DEFAULT_SITE
    price: str = ""
    set: dict[str, str] = {}


class Candidate(NamedTuple):
    """One combination of the axes: its name and what is asked."""

    name: str
    question: Question


@dataclass(frozen=True)
class Study:
    """A metric, and the alternatives of which the one with the best value is sought."""

    metric: str
    title: str
    candidates: tuple[Candidate, ...]


class Feasible(NamedTuple):
    """A candidate that can be run, and what it would do."""

    name: str
    scenario: Scenario
    result: Result


def load_study(path: Path) -> Study:
    """The study in a TOML file.

    Raises:
        InputError: a broken file, unknown or missing keys, an unknown metric, fewer than two alternatives or too many.
    """
    table, place = read_toml(path), path.name
    for key in table:
        _check_known(key, _TABLES, place)
    texts = {key: table.get(key, "") for key in ("metric", "title")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise InputError(f"{place}: {key}: must be text, not {text!r}")
    if "metric" not in table:
        raise InputError(f"{place}: missing key 'metric', for example metric = \"tpot_s\"")
    check_metric(texts["metric"], f"{place}: metric")
    fixed, axes = _table(table, "scenario", place), _table(table, "axes", place)
    return Study(texts["metric"], texts["title"], _candidates(fixed, axes, place, path.parent))


def feasible(study: Study) -> tuple[list[Feasible], list[tuple[str, str]]]:
    """The candidates that can be run, and the names of the others with their reasons.

    Raises:
        UnknownName: a name that no catalogue holds.
        InputError: no candidate is a valid question.
        DoesNotFit: none can be run.
    """
    found: list[Feasible] = []
    left_out: list[tuple[str, str]] = []
    wrong: list[InputError] = []
    for name, question in study.candidates:
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
        elif not (value := result.metrics.get(study.metric)):
            why = f"{study.metric} is {'not known' if value is None else 0}"
            left_out.append((name, result.reasons.get(study.metric, why)))
        else:
            found.append(Feasible(name, scenario, result))
    if len(wrong) == len(study.candidates):
        raise wrong[0]
    if not found:
        raise DoesNotFit("no alternative can be run: " + "; ".join(f"{name}: {why}" for name, why in left_out))
    return found, left_out


def scenario_of(question: Question) -> Scenario:
    """The scenario that the keys of a study describe, as ``silicost simulate`` has it.

    Raises:
        InputError: an unknown name, or numbers that contradict each other.
    """
    given = msgspec.structs.asdict(question)
    changes = given.pop("set")
    return inference_scenario(given.pop("model"), given.pop("device"), changes=changes, **given)


def _candidates(fixed: Mapping[str, Any], axes: Mapping[str, Any], place: str, folder: Path) -> tuple[Candidate, ...]:
    """The product of the axes, in their order; each combination a whole question."""
    known = Question.__struct_fields__
    for key in fixed:
        _check_known(key, known, f"{place}: scenario")
    for key, values in axes.items():
        _check_known(key, known, f"{place}: axes")
        if key in fixed:
            raise InputError(f"{place}: {key!r} is a key of [scenario] and of [axes]; it must be in one of them")
        _check_axis(values, f"{place}: axes.{key}")
    count = math.prod(len(values) for values in axes.values())
    if not 2 <= count <= MOST:
        why = "there is nothing to decide" if count < 2 else "weigh fewer"
        raise InputError(f"{place}: axes: {count} alternative{'s' * (count != 1)}: {why} (allowed: 2 to {MOST})")
    found = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        question = convert({**fixed, **chosen}, Question, f"{place}: scenario", {})
        moved = {key: beside(getattr(question, key), folder) for key in _PATHS}
        name = ", ".join(_words(key, value) for key, value in chosen.items() if len(axes[key]) > 1)
        found.append(Candidate(name, msgspec.structs.replace(question, **moved)))
    return tuple(found)


def _check_axis(values: Any, place: str) -> None:
    """Refuse what is no list of different alternatives."""
    if not isinstance(values, list) or not values:
        raise InputError(f"{place}: must be a list of one alternative or more, not {values!r}")
    for number, value in enumerate(values):
        if value in values[:number]:
            raise InputError(f"{place}: {value!r} is there twice")


def _words(key: str, value: Any) -> str:
    """An alternative on one axis: names speak for themselves, numbers do not."""
    if isinstance(value, dict):
        return " ".join(f"{path}={text}" for path, text in value.items()) or "unchanged"
    return value if isinstance(value, str) and value else f"{key} {value or 'default'}"


def _table(table: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise InputError(f"{place}: {key}: must be a table, not {found!r}")
    return found


def _check_known(key: str, known: Iterable[str], place: str) -> None:
    """Refuse a key that is not ``known``."""
    names = tuple(known)
    if key not in names:
        close = nearest(key, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: {clipped(key)!r}: unknown key{hint} (allowed: {', '.join(names)})")
