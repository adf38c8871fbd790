"""Cells of a study: all points that ask about the same model, hardware, software and plan, and differ by traffic.

What can be asked is what ``silicost simulate`` and ``silicost train`` take: their flags, and any number of a spec by
its path ("device.memory.bandwidth"), as ``--set`` changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hardware_specs.errors import InputError, nearest
from silicost.scenarios import OVERRIDABLE, inference_scenario, training_scenario
from simulator.prepared import Prepared, prepare
from simulator.scenario import Scenario

TRAFFIC: Final = ("batch", "isl", "osl")
"""What points of one cell differ by."""
TRAINING: Final = ("global_batch", "seq_len", "lora_rank", "micro_batch", "recompute")
"""Keys of training alone."""
WORDS: Final = (
    "model", "device", "runtime", "dtype", "weight_dtype", "kv_dtype", "activation_dtype", "prune", "system", "site",
    "price", "recompute",
)  # fmt: skip
NUMBERS: Final = ("count", "tp", "pp", "dp", "ep", *TRAFFIC, "global_batch", "seq_len", "lora_rank", "micro_batch")
SHARES: Final = ("low_rank", "sparsity", "quality")
"""Keys that are numbers and need not be whole, or have a name for some values."""
KEYS: Final = (*WORDS, *NUMBERS, *SHARES)

Value = str | int | float | bool


@dataclass(frozen=True)
class Cell:
    """A cell made ready, or why it cannot be: a short code and the message."""

    prepared: Prepared | None
    reason: str = ""
    detail: str = ""


def check_key(key: str, place: str) -> None:
    """Refuse what is neither a key nor a path of a spec.

    Raises:
        InputError: with the nearest key.
    """
    if key in KEYS or (key.partition(".")[0] in OVERRIDABLE and "." in key):
        return
    kind, dot, rest = key.partition(".")
    close = [f"{near}.{rest}" for near in nearest(kind, OVERRIDABLE, 1)] if dot else nearest(key, KEYS, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise InputError(
        f"{place}: {key!r}: unknown axis{hint} (allowed: {', '.join(KEYS)}, and paths that begin with "
        f"{', '.join(f'{kind}.' for kind in OVERRIDABLE)})"
    )


def trains(names: Mapping[str, Any]) -> bool:
    """Whether questions with these keys are about training."""
    return "global_batch" in names or "seq_len" in names


def scenario_of(question: Mapping[str, Value]) -> Scenario:
    """The scenario that ``silicost simulate`` or ``silicost train`` would make of these flags.

    Raises:
        InputError: an unknown name, a missing key, or numbers that contradict each other.
    """
    given: dict[str, Any] = {key: value for key, value in question.items() if key in KEYS}
    changes = {key: _text(value) for key, value in question.items() if key not in KEYS}
    needed = ("model", "device", "global_batch", "seq_len") if trains(question) else ("model", "device", *TRAFFIC)
    for key in needed:
        if key not in given:
            raise InputError(f"study: {key!r} is missing: it must be fixed or an axis (needed: {', '.join(needed)})")
    wrong = [key for key in given if (key in TRAFFIC if trains(question) else key in TRAINING)]
    if wrong:
        kind = "training" if trains(question) else "inference"
        raise InputError(f"study: {wrong[0]!r} does not belong to {kind} (needed: {', '.join(needed)})")
    for key in NUMBERS:
        if key in given and isinstance(given[key], float) and given[key].is_integer():
            given[key] = int(given[key])
    make = training_scenario if trains(question) else inference_scenario
    return make(given.pop("model"), given.pop("device"), changes=changes, **given)


def cell_of(question: Mapping[str, Value]) -> Cell:
    """The cell of a question without traffic, or why there is none."""
    try:
        return Cell(prepare(scenario_of({**question, **dict.fromkeys(TRAFFIC, 1)})))
    except InputError as error:
        return Cell(None, reason_of(error), str(error))


def reason_of(error: InputError) -> str:
    """A short code for why a question has no answer."""
    return getattr(error, "code", "") or "input"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else repr(value)
