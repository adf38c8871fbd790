"""What any process needs to work on a study: rebuilt from its text, so that nothing but texts travels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

import hardware_specs
import workloads
from hardware_specs.calibrations import use_calibration
from hardware_specs.catalogue import user_directory
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.files import is_path
from hardware_specs.sites import load_site
from hardware_specs.systems import load_system
from silicost.scenarios import changed_device
from silicost.studies.cells import Value
from silicost.studies.evaluator import StudyEvaluator
from silicost.studies.mixed_evaluator import MixedEvaluator
from silicost.studies.study import Study, study_of
from simulator.explore.manifest import Definition
from simulator.explore.samplers import Grid
from simulator.explore.space import Axis, Range
from simulator.explore.work import Recipe, Work
from simulator.identity import content_hash, laws_hash
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime

BUILDER: Final = "silicost.studies.work:work_from_text"
PART_POINTS: Final = 200_000
"""Points of a part that is answered in closed form: about half a second of one core."""
PART_RUNS: Final = 25
"""Points of a part that is simulated one by one."""


class _Order(msgspec.Struct, frozen=True):
    """A study and the calibrations that it is answered with."""

    study: dict[str, object]
    calibrations: tuple[str, ...] = ()


class Prepared(NamedTuple):
    """A study ready to be run: the work, how others make it, and what the store says of it."""

    work: Work
    recipe: Recipe
    definition: Definition


def prepare_study(study: Study, calibrations: tuple[str, ...] = (), part_points: int | None = None) -> Prepared:
    """Make a study ready.

    Args:
        calibrations: files of one's own, which are in use in this process already.
        part_points: points of a part; default by how they are answered.

    Raises:
        InputError: no points or too many.
    """
    if study.mixed is None:
        check_names(study)
    text = msgspec.json.encode(_Order(dict(study.table), calibrations)).decode()
    work = _work(study, calibrations)
    sample = study.sample
    points = part_points or (PART_RUNS if study.engine or study.trains else PART_POINTS)
    definition = Definition(
        title=study.title, text=study.text, axes=study.space.names,
        space=content_hash([_axis_content(axis) for axis in study.space.axes],
                           [condition.text for condition in study.space.conditions]),
        sampler=f"{sample.kind} {sample.n} {sample.seed}", evaluator=work.evaluator.fingerprint,
        points=work.sampler.count, part_points=points, seed=sample.seed,
        facts={"laws": laws_hash(), "calibrations": tuple(Path(path).name for path in calibrations)},
    )  # fmt: skip
    return Prepared(work, Recipe(BUILDER, text), definition)


def check_names(study: Study) -> None:
    """Refuse names that no catalogue holds, and paths that no device of the study has, before anything is computed.

    Raises:
        InputError: with the nearest name or field.
    """
    asked: dict[str, list[Value]] = {name: [value] for name, value in study.fixed.items()}
    for axis in study.space.axes:
        if isinstance(axis, Axis):
            for place, name in enumerate(axis.names):
                asked[name] = list(dict.fromkeys(choice[place] for choice in axis.values))
        else:
            asked[axis.name] = [axis.columns[axis.name].value(0)]
    for name, load in _CATALOGUES.items():
        for value in asked.get(name, ()):
            load(str(value))
    for path, values in asked.items():
        kind, _, rest = path.partition(".")
        if kind == "device" and rest:
            _check_path(rest, str(values[0]), [str(value) for value in asked.get("device", ())])


def _check_path(path: str, text: str, devices: Sequence[str]) -> None:
    """Refuse a path of device specs that none of ``devices`` has."""
    errors: list[InputError] = []
    for name in devices:
        try:
            changed_device(name, {path: text})
        except InputError as error:
            if error.code:
                return
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]


_CATALOGUES: Final[dict[str, Callable[[str], object]]] = {
    "model": load_model, "device": load_device, "runtime": load_runtime, "site": load_site, "system": load_system,
}  # fmt: skip
"""What loads the names of a key."""


def work_from_text(text: str) -> Work:
    """The work that ``Prepared.recipe`` says."""
    order = msgspec.json.decode(text, type=_Order)
    for path in order.calibrations:
        use_calibration(path)
    return _work(study_of(order.study, "study", Path()), order.calibrations)


def _work(study: Study, calibrations: Sequence[str]) -> Work:
    sought = [each.metric for each in study.objectives] + [each.metric for each in study.constraints]
    metrics = tuple(dict.fromkeys((*study.metrics, *sought)))
    fingerprint = fingerprint_of(study, calibrations)
    if study.mixed is not None:
        return Work(study.sampler(), MixedEvaluator(study.mixed, study.fixed, metrics, study.constraints, fingerprint))
    evaluator = StudyEvaluator(
        study.fixed,
        metrics,
        study.constraints,
        study.engine,
        study.intervals,
        fingerprint,
    )
    return Work(Grid(study.space) if study.search else study.sampler(), evaluator)


def fingerprint_of(study: Study, calibrations: Sequence[str]) -> str:
    """Hash of all that turns points of a study into numbers: laws, specs, calibrations, what is fixed and asked.

    Values of axes belong to the points; of files that they name the content counts.
    """
    named = [*study.fixed.values()]
    for axis in study.space.axes:
        if isinstance(axis, Axis):
            named += [value for choice in axis.values for value in choice]
    files = sorted({value for value in named if isinstance(value, str) and is_path(value)} | set(calibrations))
    own = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in files if Path(name).is_file()]
    constraints = [f"{each.metric}{each.op}{each.bound!r}" for each in study.constraints]
    asked = [dict(study.fixed), list(study.metrics), [each.metric for each in study.objectives], constraints]
    mixed = [[each.name, each.table] for each in study.mixed.alternatives] if study.mixed else []
    return content_hash(asked, study.engine, study.intervals, _catalogues(user_directory()), own, *mixed)


def _axis_content(axis: Axis | Range) -> list[object]:
    if isinstance(axis, Range):
        return [axis.name, repr(axis)]
    return [list(axis.names), [list(choice) for choice in axis.values]]


@cache
def _catalogues(own: Path) -> str:
    """Hash of every spec that comes with the package, and of the user's ``own``."""
    folders = [Path(str(package.__file__)).parent for package in (hardware_specs, workloads)]
    folders.append(own)
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.toml")):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
