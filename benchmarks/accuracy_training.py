"""Score predicted step times on measured training steps (schema: docs, file formats).

python benchmarks/accuracy_training.py PATH --worst 20
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from scoring import Scored, is_fitted, overall, reasons_of, record_of, rounded, table_of, worst
from training_points import Unpredictable, read_steps, scenario_of

from hardware_specs.errors import InputError
from silicost.output import Format, csv_text, print_json, print_rows, write_text
from simulator.simulate import simulate

DESCRIBED = ("source", "framework", "device", "n_devices", "model", "seq_len", "global_batch", "micro_batch", "tp",
             "pp", "recompute", "precision", "quality")  # fmt: skip


def score(row: dict[str, Any]) -> Scored:
    """Predict the step time of one row; what cannot be predicted says why."""
    labels = {name: row[name] for name in DESCRIBED} | {"runtime": "", "fits": "", "fitted": "no"}
    measured = float(row["step_time_s_derived"])
    try:
        scenario = scenario_of(row)
        result = simulate(scenario)
    except (Unpredictable, InputError) as error:
        return Scored(labels, measured, reason=str(error).split(";")[0])
    runtime = scenario.pools[0].runtime.id
    seen = is_fitted(runtime, row["device"], row["source"])
    labels |= {"runtime": runtime, "fits": "yes" if result.fits else "no", "fitted": "yes" if seen else "no"}
    return Scored(labels, measured, result.metrics["step_time_s"], result.intervals["step_time_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="points file, or a directory of them")
    parser.add_argument("--group-by", default="source,device", help="comma-separated labels")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="also show the N rows furthest off")
    parser.add_argument("--format", type=Format, default=Format.TABLE, choices=[Format.TABLE, Format.JSON])
    parser.add_argument("--rows-out", type=Path, help="CSV of all rows with their predictions")
    asked = parser.parse_args()
    rows = [score(row) for row in read_steps(asked.path)]
    if not rows:
        sys.exit(f"{asked.path}: no primary row with a step time")
    groups = table_of(rows, asked.group_by.split(","))
    figures = overall(rows)
    if asked.rows_out:
        write_text(asked.rows_out, csv_text([record_of(row) for row in rows]))
    if asked.format is Format.JSON:
        print_json({"groups": groups, **figures, "not_predicted": reasons_of(rows), "worst": worst(rows, asked.worst)})
        return
    print_rows([rounded(group) for group in groups], Format.TABLE, "by group")
    for name, figure in figures.items():
        print_rows([rounded(figure)], Format.TABLE, name.replace("_", " "))
    if reasons := reasons_of(rows):
        print_rows([{"rows": n, "reason": reason} for reason, n in reasons.items()], Format.TABLE, "not predicted")
    if asked.worst:
        print_rows([rounded(row) for row in worst(rows, asked.worst)], Format.TABLE, "furthest off")


if __name__ == "__main__":
    main()
