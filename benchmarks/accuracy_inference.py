"""Score predictions on measured inference points (schema: docs, file formats).

python benchmarks/accuracy_inference.py PATH --quality A --batch-kind exact --worst 30
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from inference_points import BATCH_KINDS, WHAT_FITS, Point, Unpredictable, point_of, read_points
from scoring import Scored, is_fitted, overall, reasons_of, record_of, rounded, table_of, worst

from hardware_specs.errors import InputError
from silicost.output import Format, csv_text, print_json, print_rows, write_text
from simulator.result import Result
from simulator.simulate import simulate

DESCRIBED = ("source", "engine", "device", "device_class", "n_devices", "model", "weight_dtype", "batch", "input_len",
             "output_len", "metric", "quality")  # fmt: skip


class Predictor:
    """Predictions of points, each distinct one simulated once."""

    def __init__(self) -> None:
        self.known: dict[Point, Result | InputError] = {}

    def result(self, point: Point) -> Result:
        """The result of ``point``.

        Raises:
            InputError: the point cannot be simulated.
        """
        if point not in self.known:
            try:
                self.known[point] = self.simulated(point)
            except InputError as error:
                self.known[point] = error
        answer = self.known[point]
        if isinstance(answer, InputError):
            raise answer
        return answer

    def simulated(self, point: Point) -> Result:
        """Simulate ``point``; a saturated engine runs as many sequences as fit."""
        if point.batch != WHAT_FITS:
            return simulate(point.scenario())
        most = self.result(point._replace(batch=point.dp)).metrics["max_batch"]
        if not most:
            raise InputError("not even one sequence fits")
        return self.result(point._replace(batch=int(most)))


def score(row: dict[str, Any], predictor: Predictor) -> Scored:
    """Predict one row; what cannot be predicted says why."""
    labels = {name: row[name] for name in DESCRIBED} | {"runtime": "", "dtype": "", "fits": "", "fitted": "no"}
    measured = float(row["measured"])
    try:
        point = point_of(row)
        labels |= {"runtime": point.runtime, "dtype": point.weight_dtype or point.dtype}
        labels["fitted"] = "yes" if is_fitted(point.runtime, point.device, row["source"]) else "no"
        result = predictor.result(point)
    except Unpredictable as error:
        return Scored(labels, measured, reason=str(error))
    except InputError as error:
        return Scored(labels, measured, reason=str(error).split(";")[0])
    labels["fits"] = "yes" if result.fits else "no"
    predicted = (
        energy_per_token(result, row) if row["metric"] == "j_per_output_token" else result.metrics[row["metric"]]
    )
    if predicted is None:
        return Scored(labels, measured, reason=result.reasons.get(row["metric"], "no value"))
    return Scored(labels, measured, predicted, result.intervals.get(row["metric"]))


def energy_per_token(result: Result, row: dict[str, Any]) -> float | None:
    """Joules per token inside the boundary that was measured: the wall is the node, all else the devices."""
    value = result.metrics["j_per_output_token"]
    if value is None or not row["energy_scope"].startswith("wall"):
        return value
    return value * result.energy.node / result.energy.device


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="points file, or a directory of them")
    parser.add_argument("--quality", default="A", help="qualities to score, for example A or AB")
    parser.add_argument("--batch-kind", default="exact", help="comma-separated kinds, or 'any'")
    parser.add_argument("--group-by", default="device_class,source,metric", help="comma-separated labels")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="also show the N rows furthest off")
    parser.add_argument("--format", type=Format, default=Format.TABLE, choices=[Format.TABLE, Format.JSON])
    parser.add_argument("--rows-out", type=Path, help="CSV of all rows with their predictions")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    keys, kinds = asked.group_by.split(","), asked.batch_kind.split(",")
    began = time.perf_counter()
    predictor = Predictor()
    rows = [
        score(row, predictor)
        for row in read_points(asked.path)
        if row["quality"] in asked.quality and row["measured"]
        and (kinds == ["any"] or BATCH_KINDS.get(row["batch_kind"], row["batch_kind"]) in kinds)
    ]  # fmt: skip
    spent = time.perf_counter() - began
    if not rows:
        sys.exit(f"{asked.path}: no row of quality {asked.quality!r} and batch kind {asked.batch_kind!r}")
    report = {
        "scenarios": len(predictor.known),
        "seconds": spent,
        **overall(rows),
        "groups": table_of(rows, keys),
        "not_predicted": reasons_of(rows),
        "worst": worst(rows, asked.worst),
    }
    if asked.rows_out:
        write_text(asked.rows_out, csv_text([record_of(row) for row in rows]))
    if asked.format is Format.JSON:
        print_json(report)
    else:
        print_report(report)


def print_report(report: dict[str, Any]) -> None:
    """The report as tables."""
    print_rows([rounded(row) for row in report["groups"]], Format.TABLE, "by group")
    for name in (name for name in report if name.startswith("overall")):
        print_rows([rounded(report[name])], Format.TABLE, name.replace("_", " "))
    if report["not_predicted"]:
        reasons = [{"rows": count, "reason": reason} for reason, count in report["not_predicted"].items()]
        print_rows(reasons, Format.TABLE, "not predicted")
    if report["worst"]:
        shown = ("ratio", *DESCRIBED[:1], *DESCRIBED[2:3], "n_devices", "runtime", "model", "dtype", *DESCRIBED[7:11])
        print_rows([rounded({key: row[key] for key in shown}) for row in report["worst"]], Format.TABLE, "furthest off")
    print("fitted: rows of a table and device that a fit of their runtime or device names; held out: all others")
    print(f"{report['scenarios']} scenarios in {report['seconds']:.1f} s")


if __name__ == "__main__":
    main()
