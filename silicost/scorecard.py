"""From scored points files to the scorecard that their page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from reports.score_figures.scatter import MOST_HINTS
from reports.scorecard import KINDS, ClassScores, Cloud, KindScores, Miss, Score, Scorecard, Table
from silicost import __version__
from simulator.identity import laws_hash
from simulator.validation.outcome import Outcome, Words, joined
from simulator.validation.outliers import dimension_of, outliers_of, predicted_rows, what_of
from simulator.validation.scoring import figures_of, reasons_of
from simulator.validation.validate import Scored, groups_of, kinds_of

MOST_MISSES: Final = 20


def scorecard_of(scored: Sequence[Scored], title: str) -> Scorecard:
    """The scorecard of all rows of ``scored``."""
    left_out = np.concatenate([each.outcome.left_out for each in scored])
    return Scorecard(
        title=title,
        tables=tuple(Table(each.points.name, each.points.kind, len(each.outcome)) for each in scored),
        kinds=tuple(_kind(kind, parts) for kind, parts in sorted(kinds_of(scored), key=_rank)),
        misses=tuple(Miss(**outlier._asdict()) for outlier in outliers_of(scored, MOST_MISSES)),
        left_out=reasons_of(left_out[left_out != ""]),
        laws_hash=laws_hash(),
        silicost_version=__version__,
    )


def _rank(part: tuple[str, object]) -> int:
    """The place of a kind on the page."""
    return list(KINDS).index(part[0])


def _kind(kind: str, scored: Sequence[Scored]) -> KindScores:
    whole, origins = joined([each.outcome for each in scored]), np.concatenate([each.origins() for each in scored])
    kept = whole.left_out == ""
    classes = groups_of(scored, ["device_class"])
    return KindScores(
        kind=kind,
        scores=_scores(whole.take(kept), origins[kept]),
        classes=tuple(ClassScores(each.labels["device_class"], _scores(each.rows, each.origins)) for each in classes),
        clouds=_clouds(kind, scored),
        skip_reasons=reasons_of(whole.skip_reason[kept & (whole.skip_reason != "")]),
    )


def _scores(rows: Outcome, origins: Words) -> tuple[Score, ...]:
    """Figures of all rows, of those that a fit has seen, and of those held out."""
    parts = {"all rows": np.ones(len(rows), bool), "seen by a fit": rows.fitted, "held out": ~rows.fitted}
    return tuple(
        Score(name, {key: value for key, value in figures_of(rows.take(here), origins[here]).items() if key != _WORDS})
        for name, here in parts.items()
    )


_WORDS: Final = "skip_reasons"
"""The figure that is no number."""


def _clouds(kind: str, scored: Sequence[Scored]) -> tuple[Cloud, ...]:
    """The predicted rows of a kind, one cloud for each dimension that they were scored in."""
    parts: dict[str, list[tuple[Scored, list[int]]]] = {}
    for each in scored:
        rows: dict[str, list[int]] = {}
        metrics = each.points.text("metric")
        for i in predicted_rows(each.outcome).tolist():
            rows.setdefault(dimension_of(kind, {"metric": metrics[i]}), []).append(i)
        for dimension, here in rows.items():
            parts.setdefault(dimension, []).append((each, here))
    return tuple(_cloud(kind, dimension, part) for dimension, part in parts.items())


def _cloud(kind: str, dimension: str, parts: Sequence[tuple[Scored, list[int]]]) -> Cloud:
    rows = joined([each.outcome.take(here) for each, here in parts])
    hints: tuple[str, ...] = ()
    if len(rows) <= MOST_HINTS:
        records = [record for each, here in parts for record in each.points.chosen(here)]
        hints = tuple(f"{row['device']}: {what_of(kind, row)}" for row in records)
    return Cloud(
        dimension, rows.device_class, rows.observed, rows.predicted, rows.low_95, rows.low_80, rows.high_80,
        rows.high_95, hints,
    )  # fmt: skip
