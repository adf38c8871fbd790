"""Calibrate this CPU twice, each time in a fresh process, and compare: parameters, and the times that they predict.

    python benchmarks/calibrate_twice.py [--budget 105s] [--quick] [--keep FOLDER] [--format table|json]
    python benchmarks/calibrate_twice.py --files ONE.toml TWO.toml

What is printed: the seconds that each took, how many parameters agree within their stated 95% intervals (all, and those
that the samples determine), by how many standard deviations the median and the farthest differ, and the ratio of the
predicted times. On a quiet machine 95% of the parameters should agree.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silicost.commands.compare_calibrations import report_of, verdict
from silicost.output import Format, print_json, print_rows

DEVICE = "calibrated-twice"


def command_for(place: Path, budget: str, quick: bool) -> list[str]:
    """The command that calibrates this CPU into ``place``."""
    where = ["--out", str(place), "--samples", str(place.with_suffix(".parquet")), "--name", DEVICE, "--fresh"]
    asked = [*(["--budget", budget] if budget else []), *(["--quick"] if quick else [])]
    return [sys.executable, "-m", "silicost", "calibrate", "cpu", *where, *asked, "--format", "json"]


def calibrated(place: Path, budget: str, quick: bool) -> float:
    """Calibrate into ``place``; the seconds it took."""
    began = time.perf_counter()
    ran = subprocess.run(command_for(place, budget, quick), capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"silicost calibrate cpu: status {ran.returncode}\n{ran.stderr[-2000:]}")
    return time.perf_counter() - began


def figures(report: dict[str, Any], seconds: Sequence[float] = ()) -> list[dict[str, Any]]:
    """The figures of a comparison by name."""
    agreement, spread = report["agreement"], report["spread"]
    rows = [(f"seconds of calibration {number}", each) for number, each in enumerate(seconds, start=1)]
    rows += [
        ("samples of calibration 1", report["files"][0]["samples"]),
        ("samples of calibration 2", report["files"][1]["samples"]),
        ("parameters with intervals in both", agreement["compared"]),
        ("of these agree within 95%", agreement["agree"]),
        ("parameters that samples determine", agreement["narrow"]),
        ("of these agree within 95%, too", agreement["narrow_agree"]),
        ("median difference [sd]", agreement["median"]),
        ("largest difference [sd]", agreement["farthest"]),
        ("ratio of predicted times, geometric mean", spread["mean"]),
        ("distance of that ratio from 1, typical", spread["typical"] - 1.0),
        ("distance of that ratio from 1, largest", spread["largest"] - 1.0),
        ("facts of the environment that differ", len(report["environment"])),
    ]
    return [{"figure": name, "value": value} for name, value in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="", help="as silicost calibrate cpu takes it")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", default="", help="folder for the two calibrations; default none is kept")
    parser.add_argument("--files", nargs=2, default=(), help="compare these instead of calibrating")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = Path(asked.keep or own)
        folder.mkdir(parents=True, exist_ok=True)
        places = [Path(each) for each in asked.files] or [folder / "first.toml", folder / "second.toml"]
        seconds = [] if asked.files else [calibrated(place, asked.budget, asked.quick) for place in places]
        report = report_of(places)
    rows = figures(report, seconds)
    if asked.format == "json":
        print_json({"figures": {row["figure"]: row["value"] for row in rows}, "predictions": report["predictions"]})
        return
    print_rows(rows, Format.TABLE, "calibrated twice")
    ratios = [{"what": row["what"], "ratio": row["ratio"][1]} for row in report["predictions"]]
    print_rows(ratios, Format.TABLE, "predicted times: second over first")
    sys.stdout.write(f"{verdict(report)}\n")


if __name__ == "__main__":
    main()
