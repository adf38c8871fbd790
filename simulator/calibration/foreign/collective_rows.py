"""Rows of nccl-tests and rccl-tests as collectives in our sizes.

The size that these tests print is max(send bytes, expected bytes) of a rank, which is our message for all five kinds:
all-reduce and send/recv the tensor, all-gather the gathered tensor, reduce-scatter the full input, all-to-all the send
buffer (``workloads.operator_record.Operator``). The count beside it is that of the call: all-gather, reduce-scatter
and all-to-all count what one rank contributes to or gets from one other, so that size = ranks x count x element there.
The bus bandwidth is the algorithm bandwidth size / time multiplied by 2 (n - 1) / n (all-reduce), (n - 1) / n
(all-gather, reduce-scatter, all-to-all) or 1 (the others); doc/PERFORMANCE.md of nccl-tests. So a table says how many
ranks took part even where the list of devices is missing, and mostly which collective it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from simulator.calibration.foreign.reasons import Reasons
from simulator.calibration.foreign.text import Text
from simulator.calibration.samples import Measurement
from simulator.calibration.timing import summary
from workloads.operators import OpKind, collective

KINDS: Final = {
    "all_reduce": OpKind.ALL_REDUCE, "all_gather": OpKind.ALL_GATHER, "reduce_scatter": OpKind.REDUCE_SCATTER,
    "alltoall": OpKind.ALL_TO_ALL, "sendrecv": OpKind.SEND_RECV,
}  # fmt: skip
"""Programs whose collective we have, without the ending ``_perf``."""
OTHERS: Final = ("broadcast", "reduce", "gather", "scatter", "hypercube", "alltoallv", "all_gather_v", "bisection")
"""Programs whose collective we do not have."""
_SHARED: Final = frozenset({"all_gather", "reduce_scatter", "alltoall", "gather", "scatter"})
"""Programs that count what one rank contributes, and whose bus bandwidth is (n - 1) / n of the algorithm bandwidth."""

_OUT_OF_PLACE: Final = frozenset({"alltoall", "sendrecv"})
"""Programs whose buffers must differ: what they time in place has no meaning, and they print N/A for its check."""

ELEMENT_BYTES: Final = {
    "int8": 1, "uint8": 1, "char": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "f8e4m3": 1, "f8e5m2": 1, "f8_e4m3": 1,
    "f8_e5m2": 1, "half": 2, "bfloat16": 2, "int32": 4, "uint32": 4, "int": 4, "float": 4, "int64": 8, "uint64": 8,
    "double": 8,
}  # fmt: skip
_DTYPES: Final = {"float": "fp32", "half": "fp16", "bfloat16": "bf16", "double": "fp64", "int8": "int8"}
"""Compute dtypes of the types that have one; bytes are what counts, and the others keep that of ``collective``."""
_PRECISE: Final = 10.0
"""Bandwidth [GB/s] from which on the printed digits tell ranks apart."""


@dataclass(frozen=True)
class Placement:
    """Times of one row in one of its two forms; ``seconds`` are of single calls where the file has them."""

    name: str
    time_s: float
    algbw: float
    busbw: float
    wrong: float | None
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a table, at a line of the file."""

    line: int
    size: float
    count: float
    type: str
    redop: str
    root: int
    placements: tuple[Placement, ...]


@dataclass
class Run:
    """One run of one program: what its header says, and its rows.

    ``ranks`` are (group, rank, host) of each device that is listed; ``count`` what the header says beside them, 0 for
    nothing.
    """

    program: str = ""
    ranks: list[tuple[int, int, str]] = field(default_factory=list)
    count: int = 0
    devices: list[str] = field(default_factory=list)
    iterations: int = 1
    words: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


class Group(NamedTuple):
    """How many ranks take part, on how many nodes."""

    ranks: int
    nodes: int


def measurements_of(run: Run, text: Text, probe: str, reasons: Reasons) -> list[Measurement]:
    """The rows of a run as measurements; what cannot be used goes to ``reasons``.

    Raises:
        InputError: nothing says which collective it was or among how many ranks, or bandwidths that no such group has.
    """
    rows = [row for row in run.rows if row.size > 0.0]
    if len(rows) < len(run.rows):
        reasons.add("message of 0 bytes", len(run.rows) - len(rows))
    if not rows:
        return []
    program = run.program or program_of(rows, text)
    if program not in KINDS:
        reasons.add(f"{program}: no operator for this collective", len(rows))
        return []
    group = group_of(run, program, rows, text)
    if group.ranks < 2:
        reasons.add(f"{program}: one rank alone communicates with nobody", len(rows))
        return []
    found: list[Measurement] = []
    for row in rows:
        _check(row, program, group.ranks, text)
        for placement in row.placements:
            if why := _unusable(row, placement, program):
                reasons.add(why)
            else:
                found.append(_measurement(row, placement, program, group, run, text, probe))
    return found


def _unusable(row: Row, placement: Placement, program: str) -> str:
    if placement.wrong:
        return f"{program}: the test found wrong results"
    if placement.time_s <= 0.0:
        return f"{program}: no time"
    if placement.name == "in-place" and program in _OUT_OF_PLACE:
        return f"{program}: cannot run in place"
    return ""


def _measurement(
    row: Row, placement: Placement, program: str, group: Group, run: Run, text: Text, probe: str
) -> Measurement:
    operator = collective(f"{program} {row.type}", KINDS[program], row.size, group.ranks, "")
    if row.type in _DTYPES:
        operator = dataclasses.replace(operator, dtype=_DTYPES[row.type])
    time_s = low_s = high_s = placement.time_s
    repeats = run.iterations
    if placement.seconds:
        timing = summary(np.array(placement.seconds))
        time_s, low_s, high_s, repeats = timing.median_s, timing.low_s, timing.high_s, timing.rounds
    words = [placement.name, *run.words]
    if group.nodes > 1:
        words.append(f"nodes={group.nodes}")
    return Measurement(probe, operator, time_s, low_s, high_s, repeats, variant=" ".join(words), source=text.name)


def root_of(word: str) -> int:
    """The root that a table gives; -1 for none."""
    return int(word) if word.isdecimal() and len(word) < 10 else -1


def nodes_of(measurement: Measurement) -> int:
    """Over how many nodes a collective ran that was read from a file."""
    found = [word for word in measurement.variant.split() if word.startswith("nodes=")]
    return int(found[0].removeprefix("nodes=")) if found else 1


def group_of(run: Run, program: str, rows: Sequence[Row], text: Text) -> Group:
    """Ranks and nodes of a run: by its list of devices, else by the counts or bandwidths of its rows.

    Raises:
        InputError: none of them says.
    """
    groups = {group for group, _, _ in run.ranks}
    first = [each for each in run.ranks if each[0] == min(groups)] if groups else []
    nodes = max(1, len({host for _, _, host in first}))
    listed = run.count or len({rank for _, rank, _ in first})
    seen = _ranks_by_rows(program, rows)
    ranks = (seen or listed) if program in _SHARED or seen == 1 else (listed or seen)
    if not ranks:
        raise text.error(
            rows[0].line,
            f"{program} among how many ranks? The lines '# Rank 0 ... device 0' are missing; give the whole output",
        )
    return Group(ranks, nodes if ranks % nodes == 0 else 1)


def _ranks_by_rows(program: str, rows: Sequence[Row]) -> int:
    """Ranks by the counts or bandwidths of rows; 0 where these do not say."""
    if program in _SHARED:
        found = {
            round(row.size / (row.count * ELEMENT_BYTES[row.type]))
            for row in rows
            if row.type in ELEMENT_BYTES and row.count > 0.0
        }
        return found.pop() if len(found) == 1 else 0
    if all(p.busbw == 0.0 and p.algbw >= _PRECISE / 100.0 for row in rows[-1:] for p in row.placements):
        return 1
    if program != "all_reduce":
        return 0
    _, algbw, busbw = max(((row.size, p.algbw, p.busbw) for row in rows for p in row.placements), default=(0, 0, 0))
    if algbw < _PRECISE or busbw >= 2.0 * algbw:
        return 0
    ranks = 2.0 / (2.0 - busbw / algbw)
    # With the four digits that are printed, bandwidths tell 15 from 16 ranks, not 255 from 256.
    return round(ranks) if ranks < 24.5 else 0


def _factor(program: str, ranks: int) -> float:
    share = (ranks - 1.0) / ranks
    return 2.0 * share if program == "all_reduce" else share if program in _SHARED else 1.0


def _check(row: Row, program: str, ranks: int, text: Text) -> None:
    """Refuse a row whose bandwidths cannot be of this collective among so many ranks."""
    expected = _factor(program, ranks)
    for placement in row.placements:
        if placement.algbw < _PRECISE or placement.busbw <= 0.0:
            continue
        ratio = placement.busbw / placement.algbw
        if abs(ratio / expected - 1.0) > 0.02:
            raise text.error(
                row.line,
                f"busbw / algbw = {ratio:.4g}, but {program} among {ranks} ranks has {expected:.4g}; "
                "this is another collective, or the list of devices is not of this table",
            )


def program_of(rows: Sequence[Row], text: Text) -> str:
    """Which program printed ``rows``, by its columns, and by the name of the file where these leave a choice.

    Raises:
        InputError: several programs print such rows.
    """
    candidates = sorted(_candidates(rows))
    if len(candidates) == 1:
        return candidates[0]
    spelt = text.name.lower().replace("_", "").replace("-", "")
    named = [each for each in candidates if each.replace("_", "") in spelt]
    if len(named) == 1:
        return named[0]
    raise text.error(
        rows[0].line,
        f"which collective is this? Its columns fit {', '.join(candidates) or 'none that is known'}; leave the command "
        "in the file (for example './all_gather_perf -b 8 -e 1G'), or call the file so",
    )


def _candidates(rows: Sequence[Row]) -> set[str]:
    """Programs that print rows with such a reduction, root, count and check of the results in place."""
    last = max(rows, key=lambda row: row.size)
    reduces = last.redop not in ("", "none")
    element = ELEMENT_BYTES.get(last.type, 0)
    shared = element > 0 and round(last.size / max(last.count * element, 1.0)) > 1
    if last.root >= 0:
        return {"reduce"} if reduces else {"gather", "scatter"} if shared else {"broadcast"}
    by_place = {placement.name: placement.wrong for placement in last.placements}
    checked = by_place.get("out-of-place") is not None
    in_place = by_place.get("in-place") is not None
    if shared:
        found = {"reduce_scatter"} if reduces else {"all_gather", "alltoall"}
    else:
        found = {"all_reduce", "sendrecv"} if reduces else {"sendrecv"}
        ratios = [p.busbw / p.algbw for p in last.placements if p.algbw >= _PRECISE]
        if ratios and max(ratios) > 1.02:
            found = {"all_reduce"}
    if checked and len(found) > 1:
        # Neither all-to-all nor send/recv can run in place, which their check says.
        found = found - _OUT_OF_PLACE if in_place else found & _OUT_OF_PLACE
    return found
