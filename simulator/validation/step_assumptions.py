"""What is assumed of a training row that does not state what its prediction needs, or that asks for what is not
modelled; see ``assumptions`` for what an assumption is.

- micro-batch: one sequence, which always fits best
- tensor and pipeline ways: as few as fit, tensor parallelism within eight devices first
- sequence parallelism beside tensor parallelism: what the runtime usually does
- rank of adapters: 16, between the defaults of PEFT (8) and NeMo (32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from simulator.result import Result
from simulator.validation.assumptions import Assumption
from simulator.validation.cells import MOST_DEVICES, Row, whole
from workloads.runtimes.record import Runtime

WAYS: Final = ((1, 1), (2, 1), (4, 1), (8, 1), (8, 2), (8, 4), (8, 8), (8, 16), (8, 32))
"""Tensor and pipeline ways, in the order in which people cut a model that does not fit."""

Try = Callable[[Row], Result]

_SAID: Final = {
    "1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False,
}  # fmt: skip


def complete_step(
    row: Row, spec: DeviceSpec, result_of: Try, runtime: Runtime | None = None
) -> tuple[dict[str, str], tuple[Assumption, ...]]:
    """``row`` with cells for all that its prediction needs, and what was assumed for that.

    Args:
        result_of: the result of a complete row, to see whether it fits.
        runtime: whose habits fill in what may be left out; None: those cells stay empty.

    Raises:
        InputError: a cell that is no number.
    """
    cells, found = dict(row), list[Assumption]()
    for step in (_micro_batch, _rank):
        found += step(cells, spec)
        for each in found:
            cells |= each.cells
    if not row.get("tp") and not row.get("pp"):
        found.append(_ways(cells, result_of))
        cells |= found[-1].cells
    if runtime is not None:
        found += _sequence(cells, runtime)
    return cells, tuple(found)


def stated_sequence(row: Row, runtime: Runtime) -> bool:
    """Whether a row says that tensor parallel ranks share tokens; if it says nothing, whether they usually do."""
    return _SAID.get(row.get("seq_parallel", "").lower(), runtime.sequence_parallel)


def _sequence(row: Row, runtime: Runtime) -> list[Assumption]:
    """Runtimes that have no such habit were not asked for it: nothing is assumed of them."""
    said = row.get("seq_parallel", "").lower() in _SAID
    if said or not runtime.sequence_parallel or row.get("tp") in ("", "1", "1.0"):
        return []
    return [Assumption("seq_parallel", "sequence parallelism", {"seq_parallel": "yes"}, ({"seq_parallel": "no"},))]


def _micro_batch(row: Row, spec: DeviceSpec) -> list[Assumption]:
    others = ({"micro_batch": "2"}, {"micro_batch": "4"})
    one = Assumption("micro_batch", "micro-batch 1", {"micro_batch": "1"}, others)
    return [] if row.get("micro_batch") else [one]


def _rank(row: Row, spec: DeviceSpec) -> list[Assumption]:
    if row.get("task") != "lora" or row.get("lora_rank"):
        return []
    return [
        Assumption("lora_rank", "adapters of rank 16", {"lora_rank": "16"}, ({"lora_rank": "8"}, {"lora_rank": "64"}))
    ]


def _ways(row: Row, result_of: Try) -> Assumption:
    """The fewest ways that fit; where none does, one replica."""
    count = whole(row, "n_devices", 1, MOST_DEVICES)
    usable = [(tp, pp) for tp, pp in WAYS if count % (tp * pp) == 0]
    tried = [{"tp": str(tp), "pp": str(pp)} for tp, pp in usable]
    taken = next((ways for ways in tried if _fits({**row, **ways}, result_of)), tried[0])
    place = tried.index(taken)
    others = tuple(tried[place + 1 : place + 2])
    return Assumption("tp", f"tp {taken['tp']} and pp {taken['pp']}, the fewest that fit", taken, others)


def _fits(row: Row, result_of: Try) -> bool:
    try:
        return result_of(row).fits
    except InputError:
        return False
