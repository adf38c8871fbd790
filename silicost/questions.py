"""The scenario that a what-if is about, and another one to set beside it: from a file, or from flags and changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from hardware_specs.errors import InputError, clipped, nearest
from silicost.answer import noted, tell, warn, why_not
from silicost.scenario_file import load_scenario, shipped_scenarios
from silicost.studies.cells import NUMBERS, TRAINING, Value, check_key, scenario_of, trains
from simulator.decisions.knobs import Knob, knob_of, value_of
from simulator.metrics import BY_NAME, METRICS
from simulator.result import Result
from simulator.scenario import Scenario
from simulator.simulate import simulate

_NEEDED: Final = ("model", "device", "isl", "osl")
_NEEDED_TO_TRAIN: Final = ("model", "device", "global_batch", "seq_len")
Question = Mapping[str, Value]
"""Flags of ``silicost simulate`` or ``train`` by key, and changes by the path of ``--set``."""
_USUAL: Final = (
    "tpot_s", "ttft_s", "step_time_s", "makespan_s", "usd_per_million_output_tokens", "usd_per_step",
    "j_per_output_token",
)  # fmt: skip
"""Metrics that are shown where none is asked for, in this order, where they have a value."""
_QUIET_S: Final = 2.0
"""Work that takes less goes without a word."""


@dataclass(frozen=True)
class Asked:
    """A scenario, what it is called, and the question behind it where flags asked it."""

    name: str
    scenario: Scenario
    question: Question | None = None


class Span(NamedTuple):
    """A knob turned from ``low`` to ``high`` [SI]; ``side`` "a", "b" or "" (both) of two scenarios."""

    side: str
    knob: Knob
    low: float
    high: float

    @property
    def label(self) -> str:
        """The path, with the side in front where it is of one."""
        return labelled(self.side, self.knob)


def labelled(side: str, knob: Knob) -> str:
    """What a knob of one of two scenarios, or of both, is called."""
    return f"{side}.{knob.path}" if side else knob.path


def asked_of(file: str, flags: Mapping[str, Any], given: Sequence[str]) -> Asked:
    """The scenario in ``file``, or the one that ``flags`` describe.

    Args:
        flags: flags of ``silicost simulate`` and ``train`` that are not left out, and changes by path.
        given: names of the flags that the user wrote.

    Raises:
        InputError: both, neither, or a scenario that contradicts itself.
    """
    if file:
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise InputError(f"{flag}: {clipped(file)} says what is asked; write it there, or ask by flags alone")
        scenario = load_scenario(file)[0]
        return Asked(scenario.title or Path(file).stem, scenario)
    for name in _NEEDED_TO_TRAIN if trains(flags) else _NEEDED:
        if name not in flags:
            flag, shipped = f"--{name.replace('_', '-')}", ", ".join(shipped_scenarios())
            raise InputError(f"{flag}: is missing; ask by flags as silicost simulate, or name a scenario ({shipped})")
    for name in given:
        if name in (("batch", "isl", "osl") if trains(flags) else TRAINING):
            kind = "training" if trains(flags) else "inference"
            raise InputError(f"--{name.replace('_', '-')}: does not belong to {kind}")
    scenario = scenario_of(flags)
    pool = scenario.pools[0]
    model = Path(str(flags["model"])).stem if "/" in str(flags["model"]) else flags["model"]
    return Asked(f"{model} on {pool.count} x {pool.device.id}", scenario, flags)


def beside(asked: Asked, texts: Sequence[str], place: str = "--against") -> tuple[Asked, Asked]:
    """``asked`` and the scenario beside it, both under names that tell them apart.

    Args:
        texts: a scenario file (or a shipped one's name), or changes "KEY=VALUE" of what flags asked: a key of
            ``silicost simulate`` or ``train`` ("device", "weight_dtype"), or a path of ``--set``.

    Raises:
        InputError: nothing, an unknown key, changes of a file, or a scenario that contradicts itself.
    """
    if len(texts) == 1 and "=" not in texts[0]:
        scenario = load_scenario(texts[0])[0]
        other = Asked(scenario.title or Path(texts[0]).stem, scenario)
        if other.name == asked.name:
            return Asked(f"{asked.name} (a)", asked.scenario, asked.question), Asked(f"{other.name} (b)", scenario)
        return asked, other
    if not texts:
        raise InputError(f"{place}: is missing; write for example {place} device=mi300x, or a scenario file")
    if asked.question is None:
        raise InputError(f"{place} {clipped(texts[0])}: a scenario file stands beside another file, not beside changes")
    changes = dict(_pair(text, place) for text in texts)
    question = {**asked.question, **changes}
    names = [", ".join(_words(each, key) for key in changes) for each in (asked.question, question)]
    if len(changes) > 1 and not any(key in asked.question for key in changes):
        names[0] = "unchanged"
    if names[0] == names[1]:
        names = [f"{names[0]} (a)", f"{names[1]} (b)"]
    return Asked(names[0], asked.scenario, asked.question), Asked(names[1], scenario_of(question), question)


def _pair(text: str, place: str) -> tuple[str, Value]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or not value:
        raise InputError(f"{place} {clipped(text)!r}: must be KEY=VALUE, for example device=mi300x, or a scenario file")
    key = key if "." in key else key.replace("-", "_")
    check_key(key, place)
    return key, whole(value, f"{place} {key}") if key in NUMBERS else value


def whole(text: str, place: str) -> int:
    """A whole number.

    Raises:
        InputError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{place}={clipped(text)}: must be a whole number") from None


def _words(question: Question, key: str) -> str:
    """A value of a question: names speak for themselves, numbers do not."""
    if key not in question:
        return f"{key} unchanged" if "." in key else f"{key} default"
    value = question[key]
    if "." in key:
        return f"{key}={value}"
    return value if isinstance(value, str) else f"{key} {value}"


def metrics_of(text: str, result: Result) -> tuple[str, ...]:
    """The metrics that a flag lists, all of which ``result`` has; without any the usual ones.

    Raises:
        InputError: an unknown metric with the nearest, one of another kind of result, or one without a value.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        return tuple(name for name in _USUAL if result.metrics.get(name))
    for name in names:
        if name not in BY_NAME:
            close = nearest(name, BY_NAME, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"--metric {clipped(name)}: unknown{hint} (allowed: {', '.join(m.name for m in METRICS)})")
        if name not in result.metrics:
            raise InputError(f"--metric {name}: {result.title} has none (it has {', '.join(result.metrics)})")
        if not result.metrics[name]:
            raise InputError(f"--metric {name}: {result.reasons.get(name, 'it is 0')}")
    return names


def metric_of(text: str, result: Result) -> str:
    """As ``metrics_of``, for one metric that has a good direction.

    Raises:
        InputError: as ``metrics_of``; several; or one of which neither less nor more is better.
    """
    names = metrics_of(text, result)
    if text and len(names) > 1:
        raise InputError(f"--metric {clipped(text)}: must be one metric")
    if not BY_NAME[names[0]].better:
        raise InputError(f"--metric {names[0]}: neither less nor more of it is better")
    return names[0]


def span_of(text: str, scenarios: Mapping[str, Scenario], place: str) -> Span:
    """The knob and the range that ``text`` names: "batch=1:512", "b.price=1 USD/h:8 USD/h", "isl=0.5x:2x".

    Args:
        scenarios: by side, "a" and "b", or "" alone.

    Raises:
        InputError: no such text, an unknown knob, or a range that does not go up.
    """
    side, path, value = side_and_path(text, tuple(scenarios), place)
    low, colon, high = value.partition(":")
    if not colon or ":" in high:
        raise InputError(f"{place} {clipped(text)!r}: must be KNOB=LOW:HIGH, for example batch=1:512")
    knob = knob_of(scenarios[side or next(iter(scenarios))], path, place)
    ends = [value_of(knob, end.strip(), place) for end in (low, high)]
    if not ends[0] < ends[1]:
        raise InputError(f"{place} {clipped(text)!r}: goes down; write the smaller number first")
    return Span(side, knob, ends[0], ends[1])


def side_and_path(text: str, sides: Sequence[str], place: str) -> tuple[str, str, str]:
    """Side, path and value of "b.price=...".

    Raises:
        InputError: no "=".
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or not value:
        raise InputError(f"{place} {clipped(text)!r}: must be KNOB=VALUES, for example batch=1:512")
    side, dot, path = key.partition(".")
    if dot and side in sides and side:
        return side, path, value
    return "", key, value


def base_of(asked: Asked) -> Result:
    """What the scenario does as it stands; what is to be known of it goes to stderr."""
    result, remarks = noted(simulate(asked.scenario), asked.scenario)
    warn(result)
    if not result.fits:
        tell([f"warning: {asked.name} as it stands {why_not(result)}; times are what it would take"])
    tell(remarks)
    return result


def progress(what: str) -> Callable[[int, int], None]:
    """Says on stderr how many of how many ``what`` are done, where that takes long."""
    told = time.monotonic()

    def say(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _QUIET_S:
            told = time.monotonic()
            sys.stderr.write(f"silicost: {done:,} of {of:,} {what}\n")

    return say
