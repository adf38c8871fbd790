"""Figures that are groups of facts in words: what was asked, and what an answer rests on. Each page has a row here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from reports.calibration import Group, MachineCard
from reports.capacity import CapacityCard
from reports.figure import Figure
from reports.recommendation import Recommendation
from reports.serving import ServedCard
from reports.study import StudyCard
from reports.templating import render

Subject = TypeVar("Subject")


def _facts(
    name: str, title: str, order: int, reading: str, groups_of: Callable[[Subject], Sequence[Group]]
) -> Figure[Subject]:
    """A table for each group of facts that ``groups_of`` finds in a subject; left out where it finds none."""

    def known(subject: Subject) -> list[Group]:
        return [group for group in groups_of(subject) if group.rows]

    return Figure(
        name, title, order, reading, lambda subject: bool(known(subject)),
        lambda subject: render("environment.html", groups=known(subject)),
    )  # fmt: skip


CAPACITY: Final[Figure[CapacityCard]] = _facts(
    "asked", "What was asked, and what the answer rests on", 60,
    "The traffic, the machines and their software with the marks of what is known of them, and what intervals mean.",
    lambda card: card.facts,
)  # fmt: skip
RECOMMENDED: Final[Figure[Recommendation]] = _facts(
    "asked", "What was asked", 60,
    "The workload, bounds, budgets and formats, how many designs were priced, and what the chances rest on.",
    lambda card: [group for each in card.answers for group in each.facts],
)  # fmt: skip
SERVED: Final[Figure[ServedCard]] = _facts(
    "prediction", "How this was predicted", 70,
    "Everything that was asked, and what stands for what was not: the limits of each scheduler, prices and links with "
    "whether they are sourced, assumed or calibrated.",
    lambda card: card.prediction,
)  # fmt: skip
STUDY_ASKED: Final[Figure[StudyCard]] = _facts(
    "asked", "What was asked", 80,
    "What all points share, the axes with their values, the conditions, constraints and sample that say which points "
    "there are, and what an hour of each device costs.",
    lambda card: card.asked,
)  # fmt: skip
STUDY_PROVENANCE: Final[Figure[StudyCard]] = _facts(
    "provenance", "Provenance", 90,
    "The command that gave this page, and what its numbers were made with. The same command under the same versions, "
    "laws and specs gives the same numbers.",
    lambda card: card.provenance,
)  # fmt: skip
ENVIRONMENT: Final[Figure[MachineCard]] = _facts(
    "environment", "Environment", 100,
    "A calibration holds for this machine, under this software and these settings; silicost says where they differ.",
    lambda card: card.environment,
)  # fmt: skip
