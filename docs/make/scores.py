"""The page of scores, and the tables of measured errors on the page of laws: both from the two records of accuracy."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PUBLISHED, TABLES = "accuracy.json", "law_errors.json"
"""Records of ``benchmarks/accuracy.py``, of figures that ship, and of ``law_errors.py``, of tables that do not."""
KINDS = {"ops": "single operators", "inference": "inference", "training": "training steps", "serving": "served runs"}

HEAD = """# Scores

Made by `python docs/make/write.py` from two records, each of which a command renews. An error is
|predicted / measured - 1|; *bias* is the median of predicted over measured, *in 80%* the share of measurements inside
the 80% interval ([all figures](validation.md#report)). [Accuracy](accuracy.md) tells what they mean and what is far
off, [laws](laws.md) has them beside the equations.

## The published figures that ship

`python benchmarks/accuracy.py --write` records them, `--check` (which the tests run) fails where a group got worse, and

    silicost validate --group-by device_class,op

prints them anew. Rows that a fit has seen are among them (`--exclude-fitted` leaves these out).
"""
MORE = """
## Measured tables that do not ship

`python benchmarks/law_errors.py FOLDER --write` records them. FOLDER has measured tables in folders `ops`,
`inference`, `training` and `serving`. The tables are other people's and no part of the package: only who has them can
renew this. Rows of which something had to be assumed are left out. *Held out* are rows that no fit of the device or
the runtime has seen.
"""


def page() -> str:
    """The page."""
    return "".join([HEAD, *_published(), MORE, *_measured()])


def record(name: str) -> list[dict[str, Any]]:
    """The groups of a record."""
    found: list[dict[str, Any]] = json.loads((BENCHMARKS / name).read_text(encoding="utf-8"))
    return found


def _published() -> Iterator[str]:
    groups = record(PUBLISHED)
    for kind in dict.fromkeys(group["kind"] for group in groups):
        yield f"\n### {KINDS[kind].capitalize()}\n\n"
        yield "| class | what | rows | skipped | mean error | median error | bias | in 80% |\n"
        yield "|---|---|---|---|---|---|---|---|\n"
        for group in groups:
            if group["kind"] == kind:
                yield f"| {group['device_class']} | `{group['what']}` | {group['n']} | {group['skipped'] or ''} | "
                yield f"{percent(group['mape'])} | {percent(group['median_ape'])} | {group['bias']:.2f} | "
                yield f"{percent(group['coverage_80'])} |\n"


def _measured() -> Iterator[str]:
    groups = [group for group in record(TABLES) if group["kind"] in KINDS]
    for kind in dict.fromkeys(group["kind"] for group in groups):
        dates = sorted({group["date"] for group in groups if group["kind"] == kind})
        yield f"\n### {KINDS[kind].capitalize()}, measured {' and '.join(dates)}\n\n"
        yield "| class | what | rows | held out | mean error | median error | in 80% |\n|---|---|---|---|---|---|---|\n"
        for group in groups:
            if group["kind"] == kind:
                what = f"`{group['what']}`" + (f", {group['part']}" if group["part"] else "")
                yield f"| {group['device_class']} | {what} | {group['n']:,} | {'' if group['fitted'] else 'yes'} | "
                yield f"{percent(group['mape'])} | {percent(group['median_ape'])} | {percent(group['coverage_80'])} |\n"


def errors(
    kinds: Collection[str], classes: Collection[str], what: Collection[str] = (), part: str = ""
) -> Iterator[str]:
    """A table of what both records have of these groups, and nothing where they have none.

    Args:
        what: operators or metrics; all of them where there are none.
        part: choice of rows of the record of tables; the published figures know no parts.
    """

    def is_asked(group: dict[str, Any]) -> bool:
        named = not what or group["what"] in what
        return group["kind"] in kinds and group["device_class"] in classes and named and group.get("part", "") == part

    rows = [(group, _rows_of(group)) for group in record(TABLES) if is_asked(group)]
    rows += [(group, "published") for group in record(PUBLISHED) if is_asked(group) and group["n"]]
    if rows:
        yield "| what | rows | of which | mean error | median error | in 80% |\n|---|---|---|---|---|---|\n"
    several = len({group["device_class"] for group, _ in rows}) > 1
    for group, which in rows:
        named = f"{group['device_class']}: `{group['what']}`" if several else f"`{group['what']}`"
        yield f"| {named} | {group['n']:,} | {which} | {percent(group['mape'])} | {percent(group['median_ape'])} | "
        yield f"{percent(group.get('coverage_80'))} |\n"


def _rows_of(group: dict[str, Any]) -> str:
    return "seen by a fit" if group["fitted"] else "held out"


def percent(share: float | None) -> str:
    """A share in percent, "" where it is not known."""
    return "" if share is None else f"{100.0 * share:.1f}%"
