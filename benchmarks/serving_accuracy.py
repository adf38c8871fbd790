"""How well runs of servers are predicted: three tables of measured inference, and two facts that must come out.

    python benchmarks/serving_accuracy.py [FOLDER] [--format table|json]
    python benchmarks/serving_accuracy.py [FOLDER] --fit 4

FOLDER has the measured tables (default ../shared/ground_truth/inference). *splitwise-sim* is scored on the tensor
parallel ways that the fit of its runtime did not see, power beside times; the batch of *rocm_vllm_mi300x* and
*trtllm_perf_overview* is what fits (their rows of known batch are scored apart). A table is what a document prints as
one: of TensorRT-LLM a model in a format under a version, of ROCm both models; by model they are scored besides.
Kendall's tau is the rank correlation (tau-b) of a table's rows.

``--fit TP`` fits the numbers of the runtime of splitwise-sim to its rows of TP ways, from values before any fit, and
prints them with the errors of all ways; nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from silicost.output import Format, print_json, print_rows
from simulator.calibration.runtimes import Number, fit_numbers, numbers_of, values_of, with_values
from simulator.validation.assumptions import complete
from simulator.validation.cells import measured_value
from simulator.validation.inference import predict_inference
from simulator.validation.inference_point import Point, point_of
from simulator.validation.one_pool import device_of
from simulator.validation.points import Points, read_points
from simulator.validation.predictor import Predictor
from simulator.validation.scoring import kendall_tau
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

Floats = npt.NDArray[np.float64]

FOLDER: Final = Path("../shared/ground_truth/inference")
SPLITWISE, ROCM, TRTLLM = "splitwise-sim", "rocm_vllm_mi300x", "trtllm_perf_overview_v0.14_v1.0"
BY_MODEL: Final = ("engine", "model", "weight_dtype")
TABLES: Final = {ROCM: ("engine",), TRTLLM: BY_MODEL}
SMALLEST: Final = 4
"""Rows of a table at least for its rank correlation to say anything."""
AIM_SPLITWISE, AIM_SATURATED, AIM_TAU = 0.10, 0.25, 0.85
PCIE: Final = ("l40s", "a100-pcie-80gb")
START: Final = {
    "gemm": 0.9, "gemv": 0.85, "vector": 0.8, "collective": 0.8, "launch": 26e-6, "graph_launch": 1.5e-6,
    "host_step": 6e-3, "host_sequence": 80e-6, "attention_prefill": 0.6, "attention_decode": 0.5,
}  # fmt: skip
"""What vLLM of 2023 was assumed to be before any fit (SI units)."""
LEFT_OUT: Final = ("moe",)


def read(folder: Path, name: str) -> Points:
    """One measured table."""
    (points,) = read_points([folder / f"{name}.csv.gz"])
    return points


def predicted(points: Points) -> pd.DataFrame:
    """Rows with their predictions, numbers as numbers."""
    outcome = predict_inference(points, {}).frame()
    rows = pd.concat([points.table.astype(str).reset_index(drop=True), outcome], axis=1)
    for name in ("tp", "input_len", "output_len", "n_devices"):
        rows[name] = pd.to_numeric(rows[name])
    rows["ape"] = (rows["predicted"] / rows["observed"] - 1.0).abs()
    return rows


def errors(rows: pd.DataFrame) -> dict[str, Any]:
    """Errors of some rows; a skipped row is counted and no part of them."""
    ape = rows["ape"].dropna()
    if not len(ape):
        return {"rows": 0, "skipped": len(rows)}
    return {
        "rows": len(ape), "skipped": len(rows) - len(ape), "median": float(ape.median()), "mean": float(ape.mean()),
        "p90": float(ape.quantile(0.9)), "bias": float((rows["predicted"] / rows["observed"]).median()),
        "fitted": int(rows["fitted"].sum()),
    }  # fmt: skip


def taus(rows: pd.DataFrame, table_of: Sequence[str] = BY_MODEL) -> list[tuple[float, str]]:
    """Rank correlation of each table of at least ``SMALLEST`` rows, worst first.

    Args:
        table_of: columns that tell tables apart.
    """
    found = []
    for names, table in rows.dropna(subset=["predicted"]).groupby(list(table_of)):
        tau = kendall_tau(table["observed"].to_numpy(), table["predicted"].to_numpy())
        if tau is not None and len(table) >= SMALLEST:
            found.append((tau, " ".join(map(str, names))))
    return sorted(found)


def saturated(name: str, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Lines of a table of servers whose queue never empties, and of its rows of known batch."""
    full = rows[rows["batch_kind"] == "saturated"]
    ranks = taus(full, TABLES[name])
    lines = [{"what": f"{name}: saturated", **errors(full), "aim": f"median {AIM_SATURATED:.0%}, tau {AIM_TAU}"}]
    lines[0] |= {"tau_median": float(np.median([tau for tau, _ in ranks])), "tau_worst": ranks[0][0]}
    lines[0] |= {"tables": len(ranks), "tau_worst_model": taus(full)[0][0]}
    other = rows[rows["batch_kind"] != "saturated"]
    return lines + ([{"what": f"{name}: known batch", **errors(other), "aim": ""}] if len(other) else [])


class Cell(NamedTuple):
    """A row of splitwise-sim: its configuration, what was measured, and what of it."""

    point: Point
    metric: str
    observed: float
    tp: int
    power_w: float


def cells(points: Points) -> list[Cell]:
    """The rows of splitwise-sim."""
    found = []
    for row in points.records():
        spec = device_of(row["device"])
        runtime, _ = match_runtime(row["engine"], spec)
        whole, _ = complete(row, spec, runtime, {})
        power = float(row["power_w"]) if row.get("power_w") else np.nan
        point = point_of(whole, spec.id, runtime.id)
        found.append(Cell(point, row["metric"], measured_value(row, "measured"), point.plan.tp, power))
    return found


def power_rows(found: list[Cell]) -> pd.DataFrame:
    """Mean power of all devices of each run, predicted and measured [W]; the fit moved times alone."""
    predictor, rows = Predictor({}), []
    for cell in {(cell.point, cell.power_w): cell for cell in found if cell.power_w > 0.0}.values():
        result = predictor.result(cell.point)
        watts = result.energy.device / (result.metrics["e2e_s"] or np.nan)
        rows.append((cell.tp, cell.power_w, watts, abs(watts / cell.power_w - 1.0), False))
    return pd.DataFrame(rows, columns=["tp", "observed", "predicted", "ape", "fitted"])


def splitwise(points: Points) -> list[dict[str, Any]]:
    """Lines of splitwise-sim: held-out ways together, each metric of them, and each number of ways."""
    rows, aim = predicted(points), f"median {AIM_SPLITWISE:.0%}"
    held = rows[~rows["fitted"].astype(bool)]
    lines = [{"what": f"{SPLITWISE}: held-out ways", **errors(held), "aim": aim}]
    lines += [
        {"what": f"{SPLITWISE}: held-out ways, {metric}", **errors(each), "aim": aim}
        for metric, each in held.groupby("metric")
    ]
    lines += [{"what": f"{SPLITWISE}: tp {tp:g}", **errors(each), "aim": ""} for tp, each in rows.groupby("tp")]
    ways = set(held["tp"])
    power = power_rows([cell for cell in cells(points) if cell.tp in ways])
    return [*lines, {"what": f"{SPLITWISE}: held-out ways, power", **errors(power), "aim": aim}]


def facts(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What must come out: a model that nearly fills one device gains more than twice from two, and eight devices
    without fast links gain nothing over four; ratios of rates, measured and predicted, medians over lengths."""
    fp8 = rows[(rows["model"] == "llama-3-70b") & (rows["weight_dtype"] == "fp8")]
    yield _ratio("70B FP8, two H100-80 over one", fp8[fp8["device"] == "h100-sxm-80gb"], (1, 2))
    for device in PCIE:
        yield _ratio(f"70B, TP 8 over TP 4, {device}", rows[rows["device"] == device], (4, 8))
    for device in ("h100-sxm-80gb", "a100-sxm-80gb"):
        yield _ratio(f"70B, TP 8 over TP 4, {device} (NVLink, for comparison)", rows[rows["device"] == device], (4, 8))


def _ratio(what: str, rows: pd.DataFrame, ways: tuple[int, int]) -> dict[str, Any]:
    rows = rows[rows["model"].isin(["llama-3-70b", "llama-3.1-70b"])]
    wide = rows.pivot_table(
        index=["model", "weight_dtype", "input_len", "output_len"], columns="tp", values=["observed", "predicted"]
    ).dropna()
    pairs = {name: wide[name, ways[1]] / wide[name, ways[0]] for name in ("observed", "predicted")}
    line = {"fact": what, "pairs": len(wide)}
    for name, ratio in pairs.items():
        line |= {name: float(ratio.median()), f"{name}_range": f"{ratio.min():.2f} to {ratio.max():.2f}"}
    return line


def fit(points: Points, ways: int) -> list[dict[str, Any]]:
    """The fit to one number of tensor parallel ways: values, and errors of all of them."""
    found = cells(points)
    runtime = with_values(load_runtime(found[0].point.runtime), START)
    numbers = tuple(number for number in numbers_of(runtime) if number.name not in LEFT_OUT)
    numbers += (Number("collective", 0.05, 1.2),)
    seen = [cell for cell in found if cell.tp == ways]
    groups = len({cell.point.device for cell in seen})

    def ratios(values: Mapping[str, float]) -> Floats:
        return log_ratios(with_values(runtime, values), seen)

    fitted = fit_numbers(ratios, values_of(runtime, numbers), numbers, groups)
    print(", ".join(f"{name} {value:.3g}" for name, value in fitted.values.items()))
    ape = np.abs(np.expm1(log_ratios(with_values(runtime, fitted.values), found)))
    tp = np.array([cell.tp for cell in found])
    lines = [{"tp": str(each), "rows": int((tp == each).sum()), "median": float(np.median(ape[tp == each])),
              "mean": float(ape[tp == each].mean()), "fitted": each == ways} for each in np.unique(tp)]  # fmt: skip
    held = ape[tp != ways]
    total = {"tp": "held out", "rows": len(held), "median": float(np.median(held)), "mean": float(held.mean())}
    return [*lines, {**total, "fitted": False}]


def log_ratios(runtime: Runtime, found: list[Cell]) -> Floats:
    """Log of predicted over measured under ``runtime``, shape [rows]."""
    predictor = Predictor({}, [runtime])
    values = [predictor.result(cell.point).metrics[cell.metric] or np.nan for cell in found]
    return np.log(np.array(values) / [cell.observed for cell in found])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--fit", type=int, default=0, metavar="TP")
    parser.add_argument("--format", choices=[form.value for form in Format], default="table")
    arguments = parser.parse_args()
    if arguments.fit:
        print_rows(_even(fit(read(arguments.folder, SPLITWISE), arguments.fit)), Format(arguments.format))
        return
    trtllm = predicted(read(arguments.folder, TRTLLM))
    lines = splitwise(read(arguments.folder, SPLITWISE))
    lines += saturated(ROCM, predicted(read(arguments.folder, ROCM))) + saturated(TRTLLM, trtllm)
    came_out = list(facts(trtllm))
    tables = [{"tau": tau, "table": name} for tau, name in taus(trtllm[trtllm["batch_kind"] == "saturated"])]
    if arguments.format == Format.JSON:
        print_json({"errors": lines, "facts": came_out, "tables": tables})
        return
    for part in (lines, came_out, tables):
        print_rows(_even(part), Format(arguments.format))


def _even(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines with the same keys, numbers rounded."""
    keys = list(dict.fromkeys(key for line in lines for key in line))
    return [{key: _rounded(line.get(key, "")) for key in keys} for line in lines]


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
