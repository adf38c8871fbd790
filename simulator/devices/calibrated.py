"""Which calibration holds for an operator on a device under a runtime.

An entry of the device itself goes before one of its class; among these one of the same runtime before one of another
version of the same stack, before any other; one of few kinds of operators before one of many. What was measured on too
few models to leave one out says nothing about kernels of another stack. What no entry covers is priced with the class
priors.

Attention differs most between stacks, for each has kernels of its own (products come from the same libraries). Devices
of one chip (H100 and H200: as many units, the same peaks) run the same ones, and parameters are shares of what their
memories and clocks give. So for attention an entry of another device of the chip and of the same stack goes before one
of the device itself of another stack.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.calibrations import Calibration, calibrations_digest, calibrations_of
from hardware_specs.devices import device_names, load_device
from hardware_specs.dtypes import BITS, COMPUTE_DTYPES
from hardware_specs.errors import InputError, nearest
from hardware_specs.records import DeviceSpec
from hardware_specs.twins import twins_of
from workloads.graph import OpColumns
from workloads.operators import OpKind
from workloads.runtimes.record import Runtime

Index = npt.NDArray[np.int64]

KINDS: Final = {kind.name.lower(): int(kind) for kind in OpKind}
WEIGHTS: Final = ("plain", "packed", "scaled")
PLAIN, PACKED, SCALED = range(3)
_OF_ONE_MODEL: Final = frozenset({"m", "rows", "batch", "q_len", "kv_len"})
"""Columns that rows are grouped by where too few models were measured to leave one out."""
_WEIGHT_OF_A_GROUP: Final = 1e-4
"""Of otherwise equal entries the one that rests on more groups holds."""
_BITS: Final = np.array([BITS[dtype] for dtype in COMPUTE_DTYPES], np.float64)


OTHER_VERSION: Final = 0.15
OTHER_STACK: Final = 0.35
OTHER_VENDOR: Final = 0.3
"""What a log error grows by (standard deviation, in quadrature) where an entry is borrowed from another version of the
stack, from another stack, or was fitted to devices of other vendors only. Assumed: on rows of operators whose own entry
was hidden, predictions by another stack's were off by half, and half of them lay outside its 80% interval."""


_ATTENTION: Final = frozenset({"attention_prefill", "attention_decode", "mla_prefill", "mla_decode"})
_OWN: Final = 10.0
_TWIN: Final = 8.9
"""What entries of the device itself, and of another one of its chip, go before others by: more than any runtime counts,
and so much less that an entry of the same stack on a twin stands between the device's own of this and of others."""


class Chosen(NamedTuple):
    """An entry that holds somewhere, whether it is of the device itself and of this very runtime, and the standard
    deviation that it is further off by for being borrowed."""

    entry: Calibration
    own_device: bool
    own_runtime: bool
    doubt: float


class Choice(NamedTuple):
    """The entries in use, and for [operator kind, compute dtype, weights] the number of one plus 1, or 0 for none."""

    entries: tuple[Chosen, ...]
    table: Index


UNCALIBRATED: Final = Choice((), np.zeros((len(KINDS), len(COMPUTE_DTYPES), len(WEIGHTS)), np.int64))
"""No entry for anything."""


def weights_of(columns: OpColumns) -> Index:
    """Which kind of weights each operator has, as in ``WEIGHTS``; shape [n].

    Blocks of weights with a scale take a little more than the bits of their dtype.
    """
    extra = columns.weight_bits - _BITS[columns.dtype]
    scaled = (columns.weight_bytes > 0.0) & (extra > 0.0) & (extra < 1.0)
    return np.where(columns.dequantize > 0, PACKED, np.where(scaled, SCALED, PLAIN))


def choice_of(spec: DeviceSpec, runtime: Runtime) -> Choice:
    """The entries that hold for ``spec`` under ``runtime``.

    Raises:
        InputError: a broken file, or an entry for something that does not exist.
    """
    twins = twins_of(spec)
    digests = tuple(map(calibrations_digest, (spec.id, spec.device_class, *twins)))
    return _choice(spec.id, spec.device_class, twins, runtime.id, digests)


@lru_cache(maxsize=512)
def _choice(
    device: str, device_class: str, twins: tuple[str, ...], runtime: str, digests: tuple[str, ...]
) -> Choice:  # fmt: skip
    """As ``choice_of``; ``digests`` of the files with the entries: with other files the choice is another."""
    found = [(entry, _OWN) for entry in calibrations_of(device)]
    found += [(entry, 0.0) for entry in calibrations_of(device_class)]
    of_twins = [entry for twin in twins for entry in calibrations_of(twin)]
    found += [
        (entry, _TWIN)
        for entry in of_twins
        if _ATTENTION.issuperset(entry.operators)
        and _OF_ONE_MODEL.isdisjoint(entry.fit.split_by)
        and entry.runtimes
        and _nearness(entry.runtimes, runtime) > 0.0
    ]
    index = np.zeros(UNCALIBRATED.table.shape, np.int64)
    best = np.zeros(index.shape)
    for number, (entry, weight) in enumerate(found, start=1):
        place = f"calibration {entry.fit.id}"
        kinds = [_code(name, KINDS, f"{place}: operators") for name in entry.operators]
        codes = {name: code for code, name in enumerate(COMPUTE_DTYPES)}
        dtypes = [_code(name, codes, f"{place}: dtypes") for name in entry.dtypes or COMPUTE_DTYPES]
        where = np.ix_(kinds, dtypes, [WEIGHTS.index(entry.weights)])
        near = _nearness(entry.runtimes, runtime)
        if near == 0.0 and not _OF_ONE_MODEL.isdisjoint(entry.fit.split_by):
            continue
        score = 1.0 + weight + near + 0.5 / len(kinds) + _WEIGHT_OF_A_GROUP * min(len(entry.fit.digests), 1000)
        better = best[where] < score
        if weight == _TWIN:
            better &= best[where] > _OWN
        index[where] = np.where(better, number, index[where])
        best[where] = np.maximum(best[where], score)
    for other in (PACKED, SCALED):
        index[..., other] = np.where(index[..., other] > 0, index[..., other], index[..., PLAIN])
    used = np.unique(index[index > 0])
    renumber = np.zeros(len(found) + 1, np.int64)
    renumber[used] = np.arange(1, len(used) + 1)
    chosen = (_chosen(found[i - 1][0], found[i - 1][1] == _OWN, device, runtime) for i in used)
    return Choice(tuple(chosen), renumber[index])


def _chosen(entry: Calibration, own_device: bool, device: str, runtime: str) -> Chosen:
    own = runtime in entry.runtimes
    doubt = 0.0
    if entry.runtimes and not own:
        doubt = OTHER_VERSION if _nearness(entry.runtimes, runtime) > 0.0 else OTHER_STACK
    elif not entry.runtimes and device in device_names():
        known = {load_device(other).vendor for other in entry.fit.devices if other in device_names()}
        doubt = 0.0 if load_device(device).vendor in known else OTHER_VENDOR
    return Chosen(entry, own_device, own, doubt)


def _nearness(runtimes: tuple[str, ...], runtime: str) -> float:
    """3 for the runtime itself, 2 for another version of its stack, 1 for an entry of no runtime, 0 for others."""
    if runtime in runtimes:
        return 3.0
    if not runtimes:
        return 1.0
    return 2.0 * (stack_of(runtime) in {stack_of(other) for other in runtimes})


def stack_of(runtime: str) -> str:
    """The software of a runtime without its version: "vllm-0.6" -> "vllm"."""
    return runtime.rsplit("-", 1)[0]


def _code(name: str, known: dict[str, int], place: str) -> int:
    if name not in known:
        close = nearest(name, known)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: no such name {name!r}{hint} (allowed: {', '.join(known)})")
    return known[name]
