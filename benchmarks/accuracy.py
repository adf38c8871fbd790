"""How well silicost predicts the published figures that ship with it, and a check that this does not get worse.

    python benchmarks/accuracy.py --write    # renew benchmarks/accuracy.json
    python benchmarks/accuracy.py --check    # exit status 1 if a group of rows got worse

A group is a kind of measurement, a device class and an operator or metric. It is worse when its mean error (``mape``)
grows by more than ``MAPE_POINTS``, or by more than ``MAPE_PART`` of itself and at least ``MAPE_LEAST``; when its
coverage of 80% falls by more than ``COVERAGE_POINTS`` and by more than one row; when more of its rows are skipped, when
it has fewer rows, or is gone. Another processor's last bits are far below all of this.

What is compared, in this order: predictions with the file as it lies here; and, where git knows the checkout, the file
with that of the last commit, and that of the last commit with its parent's. A file that got worse is in order if the
same change adds a line to CHANGELOG.md that has the word "accuracy" and so says why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
RECORD: Final = "benchmarks/accuracy.json"
CHANGELOG: Final = "CHANGELOG.md"
WORD: Final = "accuracy"

MAPE_POINTS: Final = 0.02
MAPE_PART: Final = 0.1
MAPE_LEAST: Final = 0.005
COVERAGE_POINTS: Final = 0.05

KEPT: Final = ("n", "skipped", "mape", "median_ape", "bias", "coverage_80", "interval_score")
"""Figures of a group that are recorded."""

Groups = dict[tuple[str, str, str], dict[str, Any]]
"""Figures by (kind, device class, operator or metric)."""


def predicted_now() -> Groups:
    """The groups of the published figures as they are predicted here."""
    from simulator.validation.points import read_published
    from simulator.validation.validate import predict, report_of

    report = report_of(predict(read_published(), {}), ["device_class", "op"])
    return {
        (group["kind"], group["device_class"], group.get("op", group.get("metric"))): {
            name: _rounded(group[name]) for name in KEPT
        }
        for group in report["groups"]
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def text_of(groups: Groups) -> str:
    """Groups as JSON, one a line."""
    lines = (
        json.dumps({"kind": kind, "device_class": device_class, "what": what, **groups[kind, device_class, what]})
        for kind, device_class, what in sorted(groups)
    )
    return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n"


def groups_in(text: str) -> Groups:
    """The groups of such a text."""
    return {
        (row["kind"], row["device_class"], row["what"]): {name: row[name] for name in KEPT} for row in json.loads(text)
    }


def worse(before: Groups, after: Groups) -> list[str]:
    """What got worse from one to the other, a line each."""
    found = []
    for key, old in sorted(before.items()):
        changes = _changes(old, after[key]) if key in after else ["is gone"]
        found += [f"{' '.join(key)}: {change}" for change in changes]
    return found


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    if new["n"] + new["skipped"] < old["n"] + old["skipped"]:
        found.append(f"has {new['n'] + new['skipped']} rows, had {old['n'] + old['skipped']}")
    if new["skipped"] > old["skipped"]:
        found.append(f"{new['skipped']} rows are skipped, were {old['skipped']}")
    if old["mape"] is None or new["mape"] is None:
        return found
    grown = new["mape"] - old["mape"]
    if grown > MAPE_POINTS or grown > max(MAPE_PART * old["mape"], MAPE_LEAST):
        found.append(f"mean error {new['mape']:.1%}, was {old['mape']:.1%}")
    fallen = old["coverage_80"] - new["coverage_80"]
    if fallen > COVERAGE_POINTS and fallen * new["n"] > 1.5:
        found.append(f"80% intervals hold {new['coverage_80']:.1%}, held {old['coverage_80']:.1%}")
    return found


def failures(root: Path, now: Groups) -> list[str]:
    """Everything that is wrong with the record below ``root``, given what is predicted now."""
    record = root / RECORD
    if not record.is_file():
        return [f"{RECORD} is not there"]
    text = record.read_text()
    recorded = groups_in(text)
    found = [f"{line} (predicted now, against {RECORD})" for line in worse(recorded, now)]
    found += [f"{' '.join(key)}: not recorded in {RECORD}" for key in sorted(set(now) - set(recorded))]
    return found + unexplained(root, text)


def unexplained(root: Path, text: str) -> list[str]:
    """What got worse in the record by a change, uncommitted or last committed, that does not say why; nothing without
    git."""
    head, parent = (git(root, "show", f"{revision}:{RECORD}") for revision in ("HEAD", "HEAD^"))
    steps: list[tuple[str | None, str | None, Sequence[str], str]] = [
        (head, text, ("HEAD",), "not committed yet"),
        (parent, head, ("HEAD^", "HEAD"), "the last commit"),
    ]
    found = []
    for before, after, revisions, name in steps:
        if before is not None and after is not None and not says_why(git(root, "diff", *revisions, "--", CHANGELOG)):
            lines = worse(groups_in(before), groups_in(after))
            found += [f"{line} (in {RECORD}, {name}, and {CHANGELOG} does not say why)" for line in lines]
    return found


def says_why(diff: str | None) -> bool:
    """Whether a diff adds a line that has the word."""
    added = (line for line in (diff or "").splitlines() if line.startswith("+") and not line.startswith("+++"))
    return any(WORD in line.lower() for line in added)


def git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, no checkout or no such revision."""
    if not (root / ".git").exists():
        return None
    # Inside a hook, git's variables name the repository of the hook.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, env=plain)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


ADVICE: Final = (
    "If this was not meant, mend it. If it was: python benchmarks/accuracy.py --write, and in the same commit add a "
    f"line to {CHANGELOG} that has the word '{WORD}' and says why."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--write", action="store_true", help=f"renew {RECORD}")
    asked.add_argument("--check", action="store_true", help="exit status 1 if a group got worse")
    now, record = predicted_now(), ROOT / RECORD
    if parser.parse_args().write:
        lines = worse(groups_in(record.read_text()), now) if record.is_file() else []
        record.write_text(text_of(now))
        print(f"{RECORD}: {len(now)} groups", *lines, sep="\n  ")
        return 0
    found = failures(ROOT, now)
    print("\n".join([*found, ADVICE] if found else [f"{RECORD}: {len(now)} groups, none got worse"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
