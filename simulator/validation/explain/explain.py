"""Explanations of measured rows: attribution of the predicted time, smallest changes, alternatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from hardware_specs.errors import InputError
from simulator.validation.cells import Row, reason_of
from simulator.validation.explain.alternatives import Alternative, alternatives_of
from simulator.validation.explain.candidates import candidates_of
from simulator.validation.explain.cases import Case
from simulator.validation.explain.closing import Closing, closing_of
from simulator.validation.explain.joint import Joint, Measured, joint_of
from simulator.validation.explain.parts import Seconds
from simulator.validation.explain.rows import subject_of
from simulator.validation.one_pool import Models
from simulator.validation.outcome import Outcome
from simulator.validation.outliers import dimension_of, what_of
from simulator.validation.points import Points
from simulator.validation.reasons import reasons_of_row
from simulator.validation.validate import Scored

MOST_ROWS: Final = 100
NO_GAP: Final = 2e-3
"""|ln(predicted / measured)| below which there is no gap to close."""

Progress = Callable[[str, int, int], None]


class Explanation(msgspec.Struct, frozen=True):
    """One row.

    Args:
        row: its number among all rows that were taken, from 1; ``file`` the name of its table.
        what: the run in words; ``dimension`` that of what was measured.
        measured, predicted, low_80, high_80: in the SI unit of the dimension; None where nothing was predicted.
        reason: why there is no explanation; "" where there is one.
        measured_s, predicted_s: the times behind them; of a rate, that of the run as it was predicted.
        parts: seconds of the predicted time by family and part; they add up to ``predicted_s``.
        circumstances: what the prediction lacks to rest on.
        closings: what each number does about the gap, the smallest change first.
    """

    row: int
    file: str
    kind: str
    source: str
    device: str
    runtime: str
    what: str
    dimension: str
    reason: str = ""
    measured: float | None = None
    predicted: float | None = None
    low_80: float | None = None
    high_80: float | None = None
    regime: str = ""
    measured_s: float = math.nan
    predicted_s: float = math.nan
    parts: Seconds = {}
    circumstances: tuple[str, ...] = ()
    closings: tuple[Closing, ...] = ()
    alternatives: tuple[Alternative, ...] = ()

    @property
    def gap(self) -> float:
        """ln(predicted / measured) of the time."""
        return math.log(self.predicted_s / self.measured_s)

    @property
    def inside_80(self) -> bool | None:
        """Whether the measurement lies inside the 80% interval; None where there is none."""
        if self.measured is None or self.low_80 is None or self.high_80 is None:
            return None
        return self.low_80 <= self.measured <= self.high_80


class Explained(msgspec.Struct, frozen=True):
    """All rows, and the numbers that best explain them together."""

    rows: tuple[Explanation, ...]
    joint: tuple[Joint, ...]


def explain(found: Sequence[Scored], models: Models, progress: Progress = lambda name, done, rows: None) -> Explained:
    """Explain rows of points files that were predicted.

    Args:
        models: architectures by name, for models that the catalogue lacks.
        progress: is told a file's name, how many of its rows are done, and how many there are.

    Raises:
        InputError: more than ``MOST_ROWS`` rows.
    """
    count = sum(len(scored.points.table) for scored in found)
    if count > MOST_ROWS:
        raise InputError(f"{count:,} rows: explain takes at most {MOST_ROWS} (choose some with --where)")
    rows: list[Explanation] = []
    measured: list[Measured] = []
    for scored in found:
        points = scored.points
        for i, (record, source) in enumerate(zip(points.records(), points.sources(), strict=True)):
            blank = Explanation(
                len(rows) + 1, points.name, points.kind, source, record.get("device", ""), "",
                what_of(points.kind, record) if points.kind != "serving" else "request",
                dimension_of(points.kind, record) if points.kind != "serving" else "",
            )  # fmt: skip
            case, one = _explained(blank, points, i, record, scored.outcome.take([i]), models)
            rows.append(one)
            if case is not None:
                measured.append(Measured(case, one.measured_s, one.gap, one.closings))
            progress(points.name, i + 1, len(points.table))
    return Explained(tuple(rows), tuple(joint_of(measured)))


def _explained(
    blank: Explanation, points: Points, i: int, record: Row, out: Outcome, models: Models
) -> tuple[Case | None, Explanation]:
    """Row ``i`` of ``points``, which was predicted as ``out`` (one row) says; no case where it cannot be explained."""
    said: dict[str, Any] = {name: getattr(out, name).tolist()[0] for name in ("runtime", "regime", "left_out")}
    numbers = {
        ours: _number(getattr(out, theirs))
        for ours, theirs in (
            ("measured", "observed"), ("predicted", "predicted"), ("low_80", "low_80"), ("high_80", "high_80"),
        )
    }  # fmt: skip
    known = msgspec.structs.replace(blank, runtime=said["runtime"], regime=said["regime"], **numbers)
    reason = said["left_out"] or out.skip_reason.tolist()[0]
    if reason or known.predicted is None or known.measured is None:
        return None, msgspec.structs.replace(known, reason=reason or "no value")
    try:
        subject = subject_of(points, i, record, known.runtime, known.predicted, models)
    except InputError as error:
        return None, msgspec.structs.replace(known, reason=reason_of(error))
    case = subject.case
    predicted_s = case.seconds(case.setup)
    measured_s = predicted_s * (known.measured / known.predicted) ** subject.power
    known = msgspec.structs.replace(
        known, predicted_s=predicted_s, measured_s=measured_s, parts=case.parts(),
        circumstances=tuple(
            reasons_of_row(
                points.kind, record, known.runtime, known.regime, out.provenance.tolist()[0], bool(out.fitted[0])
            )
        ),
    )  # fmt: skip
    if abs(known.gap) < NO_GAP:
        return case, known
    return case, msgspec.structs.replace(
        known,
        closings=tuple(_closings(case, measured_s)),
        alternatives=tuple(alternatives_of(subject, record, measured_s)),
    )


def _number(column: Any) -> float | None:
    value = float(column[0])
    return value if math.isfinite(value) else None


def _closings(case: Case, measured_s: float) -> Iterator[Closing]:
    """What each candidate does, the smallest change first; those without effect left out."""
    found = (closing_of(case, candidate, measured_s) for candidate in candidates_of(case))
    yield from sorted((each for each in found if each is not None), key=lambda each: each.rank)
