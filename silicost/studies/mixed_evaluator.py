"""Points of a mixed study to a table: every alternative simulated at every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hardware_specs.errors import InputError
from silicost.studies.cells import Value, reason_of
from silicost.studies.evaluator import MEMORY, Reasons
from silicost.studies.mixed import ALTERNATIVE, Mixed
from silicost.studies.mixed_figures import figures_of
from simulator.explore.columns import Table
from simulator.explore.objectives import Constraint
from simulator.explore.points import Points


class MixedEvaluator:
    """Answers the points of one mixed study.

    Args:
        fixed: keys that all points share.
        metrics: columns of the table.
        constraints: what a feasible point must keep beside the memory.
    """

    def __init__(
        self, mixed: Mixed, fixed: Mapping[str, Value], metrics: Sequence[str],
        constraints: Sequence[Constraint] = (), fingerprint: str = "",
    ) -> None:  # fmt: skip
        self.mixed, self.fixed, self.metrics = mixed, dict(fixed), tuple(metrics)
        self.constraints, self.fingerprint = tuple(constraints), fingerprint

    def __call__(self, points: Points) -> Table:
        """Answer all ``points``."""
        count = len(points)
        wanted = tuple(dict.fromkeys((*self.metrics, *(each.metric for each in self.constraints))))
        values = {name: np.full(count, np.nan) for name in wanted}
        fits, reasons = np.zeros(count, np.bool_), Reasons(count)
        for row in range(count):
            question = {**self.fixed, **points.row(row)}
            alternative = self.mixed.of(question.pop(ALTERNATIVE))
            try:
                found = figures_of(alternative, question)
            except InputError as error:
                reasons.put(row, reason_of(error), str(error))
                continue
            for name in wanted:
                value = found.values.get(name)
                values[name][row] = np.nan if value is None else value
            fits[row] = found.fits
            if not found.fits:
                reasons.put(row, MEMORY, "does not fit the memory")
        feasible = fits & (reasons.codes == 0)
        for each in self.constraints:
            broken = feasible & ~(each.margins(values[each.metric]) <= 0.0)
            reasons.put(broken, each.metric, f"not {each.metric} {each.op} {each.bound:g}")
            feasible &= ~broken
        reason, detail = reasons.columns()
        kept = {name: values[name] for name in self.metrics}
        return {**kept, "fits": fits, "feasible": feasible, "reason": reason, "detail": detail}
