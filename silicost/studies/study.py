"""Study files: TOML with the questions of a sweep.

    title = "H100 or TPU"
    metrics = ["tpot_s", "usd_per_million_output_tokens"]
    conditions = ["if device == tpu-v5p then dtype == bf16"]
    constraints = ["tpot_s <= 30 ms"]

    [scenario]                       # what all points share: flags of ``silicost simulate`` or ``train``, paths
    model = "llama-3.1-8b"
    isl = 1024
    osl = 128

    [axes]                           # what they differ by: lists, ranges, "1x,2x,4x"
    device = ["h100-sxm-80gb", "tpu-v5p"]
    batch = "1:512:*2"
    dtype = "bf16,fp8"
    "device.memory.bandwidth" = { low = "1x", high = "4x", log = true }    # continuous, for samples

    [[linked]]                       # axes that vary together
    tp = [1, 2, 4]
    count = [1, 2, 4]

    [sample]                         # default: the grid
    kind = "sobol"
    n = 10000
    seed = 1

Flags of ``silicost sweep`` say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from hardware_specs.errors import InputError, UnknownName, clipped, nearest
from hardware_specs.files import beside
from hardware_specs.reader import read_toml
from hardware_specs.units import parse_quantity
from silicost.studies.cells import NUMBERS, TRAINING, WORDS, Value, check_key, trains
from silicost.studies.mixed import ALTERNATIVE, Mixed, anchored_base, mixed_of
from simulator.bulk.metrics import METRICS
from simulator.explore.conditions import parse_condition
from simulator.explore.objectives import Constraint, Objective, parse_constraint
from simulator.explore.points import Points
from simulator.explore.ranges import range_of, values_of
from simulator.explore.samplers import sampler_of
from simulator.explore.space import Axis, Range, Sampler, Space
from simulator.metrics import BY_NAME

METHODS: Final = ("gp", "nsga2", "tpe", "random")
"""Methods of search (``explore.search``)."""
TABLES: Final = (
    "title", "question", "metrics", "intervals", "engine", "conditions", "constraints", "scenario", "axes",
    "linked", "sample", "objectives", "search", "base", "alternatives",
)  # fmt: skip
INFERENCE: Final = (
    "ttft_s", "tpot_s", "output_tokens_per_s", "j_per_output_token", "usd_per_million_output_tokens", "memory_bytes",
)  # fmt: skip
"""Metrics of a study of inference that names none."""
STEP: Final = ("step_time_s", "tokens_per_s_per_device", "mfu", "usd_per_step", "memory_bytes")
"""Metrics of a study of training that names none."""
BESIDE: Final = {"memory_bytes": "lower", "device_j": "lower", "facility_j": "lower"}
"""Columns that are no metrics of ``simulator.metrics``, and which way is good."""
MIXED: Final = {
    **BESIDE, "usd": "lower", "facility_j_per_output_token": "lower", "waiting_share": "lower",
    "transfer_share": "lower",
}  # fmt: skip
"""The same of studies of mixtures."""
COMPARED: Final = ("e2e_s", "usd_per_million_output_tokens", "facility_j_per_output_token")
"""Metrics of a study of mixtures that names none."""
_DIMENSIONS: Final = {
    "memory_bytes": "bytes", "usd": "usd", "waiting_share": "fraction", "transfer_share": "fraction",
}  # fmt: skip
_PATHS: Final = ("model", "device", "runtime", "system", "site")
"""Keys that may name a file, which lies beside the study."""
_SIZED: Final = ("s", "j", "usd", "bytes")
"""Dimensions of metrics whose bounds need a unit."""
_SAMPLE: Final = ("kind", "n", "seed")
_MOST_EVALUATIONS: Final = 1_000_000


class Searching(msgspec.Struct, frozen=True):
    """How the space is searched: at most so many evaluations, fewer where the hypervolume of the front grew by less
    than ``growth`` (a share) over the last ``over``."""

    evaluations: int
    method: str = "gp"
    seed: int = 0
    growth: float = 0.0
    over: int = 100


class Sample(msgspec.Struct, frozen=True):
    """How points are taken from the space."""

    kind: str = "grid"
    n: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Study:
    """A whole study: what is fixed, what varies, what is asked of each point."""

    title: str
    question: str
    fixed: Mapping[str, Value]
    space: Space
    metrics: tuple[str, ...]
    sample: Sample = field(default_factory=lambda: Sample())
    constraints: tuple[Constraint, ...] = ()
    objectives: tuple[Objective, ...] = ()
    engine: bool = False
    intervals: bool = False
    search: Searching | None = None
    mixed: Mixed | None = None
    table: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def trains(self) -> bool:
        """Whether it is about training."""
        return self.mixed is None and trains({**self.fixed, **dict.fromkeys(self.space.names)})

    @property
    def text(self) -> str:
        """The study as JSON: what it is read from again, and what a store keeps."""
        return msgspec.json.encode(self.table).decode()

    def sampler(self) -> Sampler:
        """The sampler of its points.

        Raises:
            InputError: no points, too many, or a sample that cannot be taken.
        """
        self.space.check()
        return sampler_of(self.sample.kind, self.space, self.sample.n, self.sample.seed, "sample")


def read_study(path: Path) -> Study:
    """The study in a TOML file; paths in it begin in its folder.

    Raises:
        InputError: a broken file, unknown keys or values, axes without values.
    """
    return study_of(read_toml(path), path.name, path.parent)


def study_from_text(text: str) -> Study:
    """The study that ``Study.text`` says."""
    return study_of(msgspec.json.decode(text), "study", Path())


def study_of(table: Mapping[str, Any], place: str, folder: Path) -> Study:
    """The study that tables say.

    Args:
        place: where they stand, for errors.
        folder: where their paths begin.

    Raises:
        InputError: as ``read_study``.
    """
    for key in table:
        _check_known(key, TABLES, place)
    mixed = mixed_of(table, place, folder) if "base" in table else None
    if mixed is None and "alternatives" in table:
        raise InputError(f"{place}: alternatives: need a [base], the mixture that they stand beside")
    fixed = {key: _fixed(key, value, f"{place}: scenario", folder) for key, value in _flat(table, "scenario", place)}
    axes = [_axis(key, given, f"{place}: axes.{key}", folder) for key, given in _flat(table, "axes", place)]
    axes += [_linked(row, f"{place}: linked[{number}]", folder) for number, row in enumerate(_rows(table, place))]
    if not axes:
        raise InputError(f'{place}: nothing varies; give at least one axis, for example batch = "1:64:*2"')
    axes[:0] = [mixed.axis] if mixed else []
    for axis in axes:
        for name in axis.names:
            if name in fixed:
                raise InputError(f"{place}: {name!r} is fixed in [scenario] and an axis; it must be one of them")
    conditions = tuple(parse_condition(text, f"{place}: conditions") for text in _texts(table, "conditions", place))
    space = Space(tuple(axes), conditions)
    names = {**fixed, **dict.fromkeys(space.names)}
    if mixed is None:
        for name in names:
            check_key(name, place)
        if not trains(names) and "batch" not in names:
            fixed["batch"] = names["batch"] = 1
    for key, values in _given(fixed, space):
        if key in (mixed.keys if mixed else NUMBERS) and not all(_is_number(value) for value in values):
            wrong = next(value for value in values if not _is_number(value))
            raise InputError(f"{place}: {key}: {wrong!r} is no number")
    metrics = _texts(table, "metrics", place) or (COMPARED if mixed else STEP if trains(names) else INFERENCE)
    if mixed is None:
        _check_belongs(names, place)
    else:
        _check_mixed(mixed, space, names, table, place)
    constraints = tuple(constraint_of(text, f"{place}: constraints") for text in _texts(table, "constraints", place))
    _check_together(constraints, f"{place}: constraints")
    objectives = _objectives(table, metrics, trains(names), place, mixed is not None)
    for name in (*metrics, *(each.metric for each in constraints), *(each.metric for each in objectives)):
        check_metric(name, trains(names), f"{place}: metrics", mixed is not None)
    return Study(
        title=str(table.get("title", "")) or place.removesuffix(".toml"),
        question=str(table.get("question", "")),
        fixed=fixed,
        space=space,
        metrics=tuple(metrics),
        sample=_sample(table, place),
        constraints=constraints,
        objectives=objectives,
        engine=_switch(table, "engine", place) or mixed is not None,
        intervals=_switch(table, "intervals", place),
        search=_search(table, place),
        mixed=mixed,
        table={**_anchored(table, folder), "scenario": fixed},
    )


def _check_mixed(mixed: Mixed, space: Space, names: Mapping[str, Any], table: Mapping[str, Any], place: str) -> None:
    """Refuse what a study of mixtures cannot be asked."""
    for name in names:
        if name != ALTERNATIVE:
            _check_known(name, mixed.keys, f"{place}: {mixed.mixture.work}")
    for key in ("search", "intervals"):
        if table.get(key):
            raise InputError(f"{place}: {key}: not of a study with a [base]")
    if len(space.names) < 2:
        raise InputError(
            f"{place}: axes: a mixture needs an axis along which it may pay (one of {', '.join(mixed.keys)})"
        )


def check_metric(name: str, training: bool, place: str, mixed: bool = False) -> None:
    """Refuse a metric that points of this kind do not have; a ``mixed`` study has those of both kinds.

    Raises:
        InputError: with the nearest and all that are allowed.
    """
    known = (
        (*(m for m in BY_NAME if m not in METRICS or m in ("tokens_per_s_per_device", "carbon_g")), *BESIDE)
        if training
        else METRICS
    )
    if mixed:
        known = (*BY_NAME, *MIXED)
    if name not in known:
        close = nearest(name, known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: {clipped(name)!r} is not allowed{hint} (allowed: {', '.join(known)})")


def better_of(metric: str) -> Literal["lower", "higher"]:
    """Which way of a metric is good: "lower" or "higher"."""
    way = MIXED.get(metric) or BY_NAME[metric].better
    return "higher" if way == "higher" else "lower"


def constraint_of(text: str, place: str) -> Constraint:
    """A constraint, with a unit where its metric has one that people write in several sizes ("tpot_s <= 30 ms").

    Raises:
        InputError: any other text, no unit, or one that is not the metric's.
        UnknownName: no such metric.
    """
    op = next((each for each in ("<=", ">=") if each in text), "")
    if not op:
        return parse_constraint(text)
    name, _, bound = (part.strip() for part in text.partition(op))
    if name not in (*BY_NAME, *MIXED):
        raise UnknownName("metric", name, (*BY_NAME, *MIXED), place=place)
    dimension = dimension_of(name)
    if dimension in _SIZED:
        bound = repr(parse_quantity(bound, dimension, f"{place}: {clipped(text)!r}"))
    return parse_constraint(f"{name} {op} {bound}")


def dimension_of(metric: str) -> str:
    """The dimension of a column."""
    return BY_NAME[metric].dimension if metric in BY_NAME else _DIMENSIONS.get(metric, "j")


def _given(fixed: Mapping[str, Value], space: Space) -> list[tuple[str, list[Value]]]:
    """Names with all their values, but those of continuous axes."""
    found: list[tuple[str, list[Value]]] = [(key, [value]) for key, value in fixed.items()]
    for axis in space.axes:
        if isinstance(axis, Axis):
            found += [(name, [choice[place] for choice in axis.values]) for place, name in enumerate(axis.names)]
    return found


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _switch(table: Mapping[str, Any], key: str, place: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"{place}: {key}: must be true or false, not {value!r}")
    return value


def _check_together(constraints: Iterable[Constraint], place: str) -> None:
    """Refuse bounds of one metric that no value keeps."""
    known = list(constraints)
    for least in (each for each in known if each.op == ">="):
        for most in (each for each in known if each.op == "<=" and each.metric == least.metric):
            if least.bound > most.bound:
                raise InputError(
                    f"{place}: {least.metric} >= {least.bound:g} and {most.metric} <= {most.bound:g} contradict each "
                    "other; drop one"
                )


def _objectives(
    table: Mapping[str, Any], metrics: Iterable[str], training: bool, place: str, mixed: bool = False
) -> tuple[Objective, ...]:
    given = table.get("objectives")
    if given is None and tuple(metrics) == INFERENCE:
        given = ["tpot_s", "usd_per_million_output_tokens"]
    if given is None:
        known = (*BY_NAME, *MIXED) if mixed else tuple(BY_NAME)
        return tuple(Objective(name, better_of(name)) for name in list(metrics)[:2] if name in known)
    if not isinstance(given, list) or not given:
        raise InputError(f'{place}: objectives: must be a list of metrics, for example ["tpot_s", "ttft_s"]')
    found = []
    for text in given:
        name, _, way = str(text).partition(":")
        check_metric(name.strip(), training, f"{place}: objectives", mixed)
        wanted = way.strip() or better_of(name.strip())
        if wanted not in ("lower", "higher"):
            raise InputError(f"{place}: objectives: {text!r}: must be METRIC, METRIC:lower or METRIC:higher")
        found.append(Objective(name.strip(), "higher" if wanted == "higher" else "lower"))
    return tuple(found)


def _sample(table: Mapping[str, Any], place: str) -> Sample:
    given = table.get("sample", {})
    if not isinstance(given, Mapping):
        raise InputError(f"{place}: sample: must be a table, not {given!r}")
    for key in given:
        _check_known(key, _SAMPLE, f"{place}: sample")
    try:
        return msgspec.convert(dict(given), Sample)
    except msgspec.ValidationError as error:
        raise InputError(f"{place}: sample: {error}") from None


def _search(table: Mapping[str, Any], place: str) -> Searching | None:
    given = table.get("search")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InputError(f"{place}: search: must be a table, not {given!r}")
    for key in given:
        _check_known(key, Searching.__struct_fields__, f"{place}: search")
    if "sample" in table:
        raise InputError(f"{place}: a study is searched or sampled, not both; drop [search] or [sample]")
    try:
        wanted = msgspec.convert(dict(given), Searching)
    except msgspec.ValidationError as error:
        raise InputError(f"{place}: search: {error}") from None
    if not 1 <= wanted.evaluations <= _MOST_EVALUATIONS:
        raise InputError(f"{place}: search: evaluations {wanted.evaluations}: must be from 1 to {_MOST_EVALUATIONS}")
    if wanted.method not in METHODS:
        raise UnknownName("search method", wanted.method, METHODS, f"allowed: {', '.join(METHODS)}", place)
    if wanted.growth < 0.0 or wanted.over < 1:
        raise InputError(f"{place}: search: growth and over must be above zero")
    return wanted


def _check_belongs(names: Mapping[str, Any], place: str) -> None:
    """Refuse a study that asks about training and inference at once, or leaves out what every question needs."""
    if trains(names):
        wrong = [name for name in names if name in ("batch", "isl", "osl", "kv_dtype")]
        if wrong:
            raise InputError(f"{place}: {wrong[0]!r} does not belong to training (global_batch, seq_len)")
    else:
        wrong = [name for name in names if name in TRAINING]
        if wrong:
            raise InputError(f"{place}: {wrong[0]!r} belongs to training, which needs global_batch and seq_len")
    for key in ("model", "device", *(("global_batch", "seq_len") if trains(names) else ("isl", "osl"))):
        if key not in names:
            raise InputError(f"{place}: {key!r} is missing: fix it in [scenario] or make it an axis")


def _axis(key: str, given: Any, place: str, folder: Path) -> Axis | Range:
    if isinstance(given, Mapping):
        for name in given:
            _check_known(name, ("low", "high", "log", "whole"), place)
        if not {"low", "high"} <= given.keys():
            raise InputError(f"{place}: a continuous axis needs low and high")
        whole = bool(given.get("whole", key in NUMBERS))
        return range_of(key, given["low"], given["high"], log=bool(given.get("log", False)), whole=whole, place=place)
    return Axis((key,), tuple((_placed(key, value, folder),) for value in values_of(given, place)))


def _linked(row: Any, place: str, folder: Path) -> Axis:
    columns = {key: values_of(given, f"{place}.{key}") for key, given in _flatten(row, place)}
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise InputError(f"{place}: linked axes need equally many values; they have {shown}")
    choices = zip(*([_placed(key, value, folder) for value in values] for key, values in columns.items()), strict=True)
    return Axis(tuple(columns), tuple(choices))


def _placed(key: str, value: Value, folder: Path) -> Value:
    """A value of an axis: numbers of words stay as they were written, paths begin in ``folder``."""
    if key in WORDS and not isinstance(value, str):
        value = repr(value)
    return beside(value, folder) if key in _PATHS and isinstance(value, str) else value


def _fixed(key: str, value: Any, place: str, folder: Path) -> Value:
    if not isinstance(value, (str, int, float, bool)):
        raise InputError(f"{place}.{key}: must be a text or a number, not {value!r}")
    return _placed(key, value, folder)


def _flat(table: Mapping[str, Any], key: str, place: str) -> list[tuple[str, Any]]:
    return _flatten(table.get(key, {}), f"{place}: {key}")


def _flatten(given: Any, place: str) -> list[tuple[str, Any]]:
    """Keys and values of a table; the keys of ``set`` and of tables in it (device.memory.bandwidth) as paths."""
    if not isinstance(given, Mapping):
        raise InputError(f"{place}: must be a table, not {given!r}")
    found: list[tuple[str, Any]] = []
    for key, value in given.items():
        deeper = isinstance(value, Mapping) and not {"low", "high"} & value.keys()
        if key == "set" and deeper:
            found += _flatten(value, f"{place}.set")
        elif deeper:
            found += [(f"{key}.{inner}", item) for inner, item in _flatten(value, f"{place}.{key}")]
        else:
            found.append((str(key), value))
    return found


def _rows(table: Mapping[str, Any], place: str) -> list[Any]:
    rows = table.get("linked", [])
    if not isinstance(rows, list):
        raise InputError(f"{place}: linked: must be [[linked]] tables")
    return rows


def _texts(table: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    given = table.get(key, [])
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",")] if key == "metrics" else [given]
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise InputError(f"{place}: {key}: must be a list of texts, not {given!r}")
    return tuple(given)


def _anchored(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The tables with paths that hold in any folder."""

    def moved(key: str, value: Any) -> Any:
        if key in _PATHS and isinstance(value, str):
            return ",".join(beside(part.strip(), folder) for part in value.split(","))
        if key in _PATHS and isinstance(value, list):
            return [beside(part, folder) if isinstance(part, str) else part for part in value]
        return value

    found = dict(table)
    if "base" in found:
        found["base"] = anchored_base(found["base"], folder)
    if "axes" in found:
        found["axes"] = {key: moved(key, value) for key, value in found["axes"].items()}
    if "linked" in found:
        found["linked"] = [{key: moved(key, value) for key, value in row.items()} for row in found["linked"]]
    return found


def _check_known(key: str, known: Iterable[str], place: str) -> None:
    names = tuple(known)
    if key not in names:
        close = nearest(key, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: {clipped(key)!r}: unknown key{hint} (allowed: {', '.join(names)})")


__all__ = ["Points", "Sample", "Study", "constraint_of", "read_study", "study_from_text", "study_of"]
