"""What part of the RTL cycles of a systolic accelerator the law explains.

    python benchmarks/systolic_rtl.py DATASET.csv

Rows are layers on Gemmini, a weight-stationary array of 16 x 16, with the cycles of its RTL under the row's mapping.
Shapes are ordered by digest, every fourth is held out. Laws:

- peak: multiply-adds over cells.
- plain: the closed form of an array without anything ahead, by shape.
- ahead: weights are loaded beside the tile before, as the TPU law counts.
- mapped: as ahead, with as many rows past each weight tile as the mapping keeps there.
- mapped + memory: and 16 bytes a cycle of what each outer iteration moves, none of it hidden.

Then the same with overheads, fitted to the shapes that are not held out: a factor a column, cycles an outer iteration
and cycles a call, least squares of relative errors.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from simulator.calibration.split import HELD_OUT, folds_of
from simulator.devices.systolic_cycles import array_cycles, streamed_cycles

Floats = npt.NDArray[np.float64]

SIDE: Final = 16
BUS_BYTES: Final = 16.0
"""Bytes a cycle between the memory and the scratchpad: a bus of 128 bits."""
MEASURED: Final = "target.gemmini_cycle"
SHAPE: Final = ("C", "K", "P", "Q", "R", "S", "N", "Wstride")
PIXELS: Final = "PQN"
LAWS: Final[dict[str, tuple[str, ...]]] = {
    "peak": ("peak",),
    "plain": ("plain",),
    "ahead": ("ahead",),
    "mapped": ("mapped",),
    "mapped + memory": ("mapped", "inputs", "outputs"),
}
OVERHEADS: Final = ("iterations", "calls")


class Loop(NamedTuple):
    """One loop of a mapping: its dimension, trips and whether it lies across the array."""

    dimension: str
    trips: int
    spatial: bool


def main() -> None:
    """Score all laws on held-out shapes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    try:
        rows = list(csv.DictReader(parser.parse_args().dataset.read_text(encoding="utf-8").splitlines()))
        held, table, measured = table_of(rows)
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{len(rows)} rows, {int(held.sum())} of shapes held out")
    print("law              overheads  mean error  median error   bias  R2 of logs     R2   factors")
    for name, parts in LAWS.items():
        for words, used in (("none", parts), ("fitted", (*parts, *OVERHEADS))):
            matrix = np.column_stack([table[part] for part in used])
            factors = np.ones(len(parts)) if words == "none" else fitted(matrix[~held], measured[~held])
            print(f"{name:16} {words:9} {scored(matrix[held] @ factors, measured[held])}   {listed(used, factors)}")


def table_of(rows: Sequence[Mapping[str, str]]) -> tuple[npt.NDArray[np.bool_], dict[str, Floats], Floats]:
    """Which rows are held out, cycles by part of a law, and measured cycles; shapes [n].

    Raises:
        KeyError: a column is missing.
        ValueError: a cell is no number.
    """
    columns = [counted(row) for row in rows]
    table = {name: np.array([column[name] for column in columns]) for name in columns[0]}
    measured = np.array([float(row[MEASURED]) for row in rows])
    held = folds_of([" ".join(row[f"prob.{name}"] for name in SHAPE) for row in rows]) == HELD_OUT
    return held, table, measured


def counted(row: Mapping[str, str]) -> dict[str, float]:
    """Cycles of a row by each law, and what its mapping repeats."""
    size = {name: int(row[f"prob.{name}"]) for name in SHAPE}
    levels = [loops_of(text) for text in row["mapping.mapping"].split(" - ")]
    outer, inner = levels[0], [loop for level in levels[1:] for loop in level]
    m, n, k = size["P"] * size["Q"] * size["N"], size["K"], size["C"] * size["R"] * size["S"]
    products = float(m * n * k)
    kept = trips(inner, PIXELS)
    used = math.prod(loop.trips for loop in inner if loop.spatial)
    part = {name: trips(inner, name) for name in SHAPE[:-1]}
    stride = size["Wstride"]
    rows, columns = ((part[p] - 1) * stride + part[r] for p, r in (("P", "R"), ("Q", "S")))
    weights = part["C"] * part["K"] * part["R"] * part["S"]
    iterations = float(trips(outer, "CKPQRSN"))
    return {
        "peak": products / SIDE**2,
        "plain": float(array_cycles("weight-stationary", m, n, k, SIDE, SIDE)),
        "ahead": float(streamed_cycles(m, n, k, SIDE, SIDE)),
        "mapped": products / (kept * used) * max(kept, SIDE) + 2 * SIDE - 2,
        "inputs": iterations * (weights + part["C"] * part["N"] * rows * columns) / BUS_BYTES,
        "outputs": m * n / BUS_BYTES,
        "iterations": iterations,
        "calls": 1.0,
    }


def loops_of(text: str) -> list[Loop]:
    """Loops of one level, "L1[O] C48 P16 C16X": from the outside in, X where they lie across the array."""
    found = re.findall(r"([A-Z])(\d+)(X?)", text.partition("]")[2])
    return [Loop(name, int(count), bool(across)) for name, count, across in found]


def trips(loops: list[Loop], dimensions: str) -> int:
    """Trips of all loops over ``dimensions`` together."""
    return math.prod(loop.trips for loop in loops if loop.dimension in dimensions)


def fitted(matrix: Floats, measured: Floats) -> Floats:
    """Factors of the columns, none below zero, by least squares of relative errors; shape [columns]."""
    found: Floats = nnls(matrix / measured[:, None], np.ones(len(measured)))[0]
    return found


def scored(predicted: Floats, measured: Floats) -> str:
    """Errors and explained variance, of cycles and of their logarithms."""
    errors, logs = np.abs(predicted / measured - 1.0), np.log(predicted / measured)
    of_logs, of_cycles = explained(logs, np.log(measured)), explained(predicted - measured, measured)
    return (
        f"{errors.mean():11.1%} {np.median(errors):13.1%} {np.exp(logs.mean()):6.2f} {of_logs:11.3f} {of_cycles:6.3f}"
    )


def explained(residuals: Floats, values: Floats) -> Any:
    """1 - residual over total sum of squares."""
    return 1.0 - (residuals**2).sum() / ((values - values.mean()) ** 2).sum()


def listed(names: tuple[str, ...], factors: Floats) -> str:
    """Factors by name."""
    return ", ".join(f"{name} {factor:.3g}" for name, factor in zip(names, factors, strict=True))


if __name__ == "__main__":
    main()
