"""How far off each law is on measured tables, which do not ship: figures that docs/laws.md shows under each law.

    python benchmarks/law_errors.py FOLDER            # prints them
    python benchmarks/law_errors.py FOLDER --write    # and renews benchmarks/law_errors.json; then: docs/make/write.py

FOLDER has folders ``ops``, ``inference``, ``training`` and ``serving`` of points files (docs: points files, validation)
and ``systolic_rtl/dataset.csv`` (see ``systolic_rtl.py``). Those that it lacks are passed over, and what the record
has of them stays; ``--only`` takes some. Rows of which something had to be assumed are left out (not runs of servers,
which hardly ever say how many blocks their cache had).

A group is a kind of measurement, a device class, an operator or metric, and whether a fit has seen the rows. Some rows
make a group once more, by the law that they say most about (``PARTS``). Renew the record when a law or a fit changes.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import systolic_rtl

from hardware_specs.files import write_text
from simulator.validation.points import Points, read_points
from simulator.validation.scoring import figures_of
from simulator.validation.validate import Scored, groups_of, narrowed, predict

RECORD: Final = Path(__file__).with_suffix(".json")
KINDS: Final = ("ops", "inference", "training", "serving")
RTL: Final = "systolic_rtl"
BY: Final = ("device_class", "op", "fitted")
KEPT: Final = ("n", "mape", "median_ape", "coverage_80", "coverage_95")
"""Figures of a group that are recorded."""

Row = dict[str, Any]
Truths = npt.NDArray[np.bool_]


def _has_stages(points: Points) -> Truths:
    return np.array([cell not in ("", "1") for cell in points.text("pp")], bool)


def _is_energy(points: Points) -> Truths:
    return np.array([cell == "j_per_output_token" for cell in points.text("metric")], bool)


def _is_saturated(points: Points) -> Truths:
    return np.array([cell == "saturated" for cell in points.text("batch_kind")], bool)


class Part(NamedTuple):
    """Rows of a kind that say most about one law; ``assumed``: rows that rest on assumptions too, as hardly any
    energy was published with its batch."""

    name: str
    holds: Callable[[Points], Truths]
    assumed: bool = False


PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "training": (Part("pipelines", _has_stages),),
    "inference": (Part("saturated servers", _is_saturated), Part("energy", _is_energy, True)),
}


def main() -> None:
    """Score the tables of a folder, print the groups and, if asked for, renew the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=(*KINDS, RTL), nargs="+", default=[*KINDS, RTL])
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    places = {name: asked.folder / name for name in asked.only if (asked.folder / name).is_dir()}
    if not places:
        sys.exit(f"error: {asked.folder} has none of the folders {', '.join(asked.only)}")
    today = datetime.now(UTC).date().isoformat()
    for name, place in places.items():
        found = [{**row, "date": today} for row in (rtl_rows(place) if name == RTL else scores(place, name))]
        print(text_of(found), end="")
        if asked.write:
            write_text(RECORD, text_of([*(row for row in recorded() if row["kind"] != name), *found]))


def recorded() -> list[Row]:
    """The groups of the record."""
    found: list[Row] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else []
    return found


def scores(place: Path, kind: str) -> Iterator[Row]:
    """The groups of one kind of tables, then those of its parts."""
    whole = predict(read_points([place], kind), {})
    scored = whole if kind == "serving" else narrowed(whole, "assumed=")
    yield from _groups(scored, kind)
    for part in PARTS.get(kind, ()):
        rows = whole if part.assumed else scored
        yield from _groups([_taken(each, part.holds(each.points)) for each in rows], kind, part.name)


def _groups(scored: Sequence[Scored], kind: str, part: str = "") -> Iterator[Row]:
    for group in groups_of(scored, BY):
        figures = figures_of(group.rows, group.origins)
        if figures["n"]:
            labels = {"device_class": group.labels["device_class"], "what": _what(group.labels)}
            rounded = {name: _rounded(figures[name]) for name in KEPT}
            yield {"kind": kind, "part": part, **labels, "fitted": group.labels["fitted"] == "True", **rounded}


def _what(labels: dict[str, str]) -> str:
    return labels.get("op") or labels["metric"]


def _taken(scored: Scored, rows: Truths) -> Scored:
    return Scored(scored.points.taken(rows), scored.outcome.take(rows))


def rtl_rows(place: Path) -> Iterator[Row]:
    """Cycles of RTL on shapes that no fit saw, by each closed form without overheads."""
    rows = list(csv.DictReader((place / "dataset.csv").read_text(encoding="utf-8").splitlines()))
    held, table, measured = systolic_rtl.table_of(rows)
    for name, parts in systolic_rtl.LAWS.items():
        errors = np.abs(np.sum([table[part] for part in parts], axis=0)[held] / measured[held] - 1.0)
        figures = {"n": int(held.sum()), "mape": _rounded(errors.mean()), "median_ape": _rounded(np.median(errors))}
        yield {"kind": RTL, "part": "", "device_class": "asic", "what": name, "fitted": False, **figures}


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def text_of(rows: Sequence[Row]) -> str:
    """Groups as JSON, one a line."""
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"


if __name__ == "__main__":
    main()
