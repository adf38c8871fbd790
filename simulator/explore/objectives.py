"""What is sought among evaluated points: objectives to improve, constraints to hold; from a table to numbers.

    >>> parse_constraint("tpot_s <= 0.03")
    Constraint(metric='tpot_s', op='<=', bound=0.03)

Inside, less is better: an objective becomes a *cost*, a constraint a *margin* that must not be positive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError, UnknownName, clipped
from simulator.explore.columns import Table
from simulator.explore.points import Column

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OPERATORS: Final = ("<=", ">=")
_CONSTRAINT: Final = re.compile(r"^\s*([^<>=!\s]+)\s*(<=|>=)\s*(\S+)\s*$")
_LEAST: Final = 1e-12
_VERDICTS: Final = ("feasible", "fits")
"""Columns that say whether a point has an answer at all; one that is absent says yes."""


@dataclass(frozen=True)
class Objective:
    """A metric to improve.

    Args:
        metric: name of a column.
        better: "lower" or "higher".
        scale: "log" where equal ratios matter equally (times, prices, rates: all positive), else "linear". It changes
            no front, but how much a hypervolume counts of what.

    Raises:
        InputError: another word.
    """

    metric: str
    better: Literal["lower", "higher"] = "lower"
    scale: Literal["log", "linear"] = "log"

    def __post_init__(self) -> None:
        if self.better not in ("lower", "higher"):
            raise InputError(f"objective {self.metric}: {self.better!r}; allowed: lower, higher")
        if self.scale not in ("log", "linear"):
            raise InputError(f"objective {self.metric}: scale {self.scale!r}; allowed: log, linear")

    def costs(self, values: Floats) -> Floats:
        """What is to be made small, of metric values [n]: NaN where there is no finite value.

        Raises:
            InputError: a value that is not positive on the scale "log".
        """
        known = np.where(np.isfinite(values), values, np.nan)
        if self.scale == "log":
            if (known <= 0.0).any():
                worst = float(np.nanmin(known))
                raise InputError(
                    f"objective {self.metric}: value {worst:g} has no logarithm; give this objective the scale linear"
                )
            known = np.log(known)
        return known if self.better == "lower" else -known


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric, in the metric's own SI unit.

    Raises:
        InputError: another operator than ``<=`` and ``>=``, or a bound that is not finite.
    """

    metric: str
    op: Literal["<=", ">="]
    bound: float

    def __post_init__(self) -> None:
        place = f"constraint {self.metric} {self.op} {self.bound}"
        if self.op not in OPERATORS:
            raise InputError(f"{place}: allowed are {' and '.join(OPERATORS)}")
        if not math.isfinite(self.bound):
            raise InputError(f"{place}: the bound must be finite")

    def margins(self, values: Floats) -> Floats:
        """By how much values [n] break the bound: positive where they do, NaN where there is no finite value.

        With a positive bound it is the logarithm of value / bound, so that half and double are equally far off (a value
        that is not positive counts as a very small one); else the difference as a share of the bound (of 1 if it is 0).
        """
        known = np.where(np.isfinite(values), values, np.nan)
        if self.bound > 0.0:
            over = np.log(np.maximum(known / self.bound, _LEAST))
        else:
            over = (known - self.bound) / (abs(self.bound) or 1.0)
        return over if self.op == "<=" else -over


@dataclass(frozen=True, eq=False)
class Scores:
    """n points as search sees them.

    Args:
        costs: [n, d], less is better; NaN where a metric has no value.
        margins: [n, k], positive where a constraint is broken; NaN where its metric has no value.
        answered: [n], false where the table says that a point is not feasible or does not fit, and no constraint that
            it is known to break explains that.
    """

    costs: Floats
    margins: Floats
    answered: Bools

    def take(self, rows: Bools) -> Scores:
        """The scores of some points, by a mask [n]."""
        return Scores(self.costs[rows], self.margins[rows], self.answered[rows])

    @property
    def complete(self) -> Bools:
        """Which points have a value of every metric that is asked for, [n]."""
        return np.asarray(np.isfinite(np.hstack([self.costs, self.margins])).all(axis=1))

    @property
    def violations(self) -> Floats:
        """How wrong each point is, [n]: 0 where it is feasible; the sum of its positive margins where constraints are
        broken; infinite without an answer, or where a metric that is asked for has no value."""
        summed = np.maximum(self.margins, 0.0).sum(axis=1)
        return np.where(self.answered & self.complete, summed, np.inf)

    @property
    def feasible(self) -> Bools:
        """Which points may be chosen, [n]."""
        return np.equal(self.violations, 0.0)

    @property
    def sought(self) -> Floats:
        """The costs [n, d] with NaN for all that is not feasible."""
        return np.where(self.feasible[:, None], self.costs, np.nan)


def score(table: Table, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()) -> Scores:
    """Costs and margins of the n rows of ``table``.

    Raises:
        InputError: no objective, a metric that the table does not have or that is no number.
    """
    if not objectives:
        raise InputError("nothing is sought: give at least one objective")
    costs = [objective.costs(_numbers(table, objective.metric)) for objective in objectives]
    rows = len(costs[0])
    margins = [constraint.margins(_numbers(table, constraint.metric)) for constraint in constraints]
    answered = np.ones(rows, dtype=np.bool_)
    for name in _VERDICTS:
        if name in table:
            answered &= _numbers(table, name) > 0.0
    over = np.stack(margins, axis=1) if margins else np.zeros((rows, 0))
    answered |= (over > 0.0).any(axis=1)
    return Scores(np.stack(costs, axis=1), over, answered)


def parse_constraint(text: str) -> Constraint:
    """A constraint from "metric <= number" or "metric >= number", the number in SI units.

    Raises:
        InputError: any other text.
    """
    found = _CONSTRAINT.match(text)
    if not found:
        raise InputError(f"constraint {clipped(text)!r}: must be 'METRIC <= NUMBER' or 'METRIC >= NUMBER'")
    metric, op, bound = found.groups()
    try:
        number = float(bound)
    except ValueError:
        raise InputError(f"constraint {clipped(text)!r}: {clipped(bound)!r} is no number") from None
    return Constraint(metric, "<=" if op == "<=" else ">=", number)


def _numbers(table: Table, name: str) -> Floats:
    """A column as floats [n]."""
    if name not in table:
        raise UnknownName("metric", name, table)
    column: NDArray[Any] | Column = table[name]
    if isinstance(column, Column):
        if column.numbers is None:
            values = np.array(column.values)
            column = values[column.codes] if len(values) else np.zeros(0)
        else:
            column = column.numbers
    if column.dtype.kind not in "biuf":
        raise InputError(f"metric {name!r}: its values are no numbers")
    return column.astype(np.float64)
