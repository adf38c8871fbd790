"""How well inference is predicted on each class of hardware: the device known, and only its datasheet known.

    python benchmarks/inference_classes.py POINTS... [--only CLASS] [--view NAME]... [--groups] [--skipped] [--where ..]

Rows of quality A and B with an exact, static or mean batch count. The error of a (source, device) group is the mean
absolute percentage error of its rows, where a row that cannot be predicted counts as 100%; that of a class is the mean
over its groups. Joules per token are a class of their own, with the mean powers of tables that state no joules. Views:

- shipped: all rows, with the numbers that ship, whatever they saw.
- held-out: the same, of rows that no fit of the runtime or device saw. Groups may lack here.
- models: models are ordered by digest and dealt to ``FOLDS`` folds; calibrated numbers of runtimes are fitted anew to
  rows of the other folds, from the shipped values, to which they are weakly pulled.
- datasheet: calibrations of the device are hidden, those of its class that saw it too, and calibrated parameters of its
  spec; the runtime is as shipped, which may have seen the device.
- devices: as datasheet, and calibrated numbers of runtimes are fitted anew to rows of other devices, by ``FOLDS`` folds
  of devices.

With ``--law NAME`` views with folds also fit these parameters of the law of one class (``--only``) to the other folds.

A runtime that has rows in one fold only cannot be fitted without it: the column ``unrefitted`` counts its rows, which
are predicted with the shipped numbers. Classes: see ``inference_cases.CLASSES``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from inference_cases import (
    CLASSES,
    Case,
    Guess,
    Spared,
    Values,
    datasheet,
    error_of,
    guess_of,
    hidden,
    judged,
    under_law,
)
from inference_folds import law_values, refitted

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.files import write_text
from hardware_specs.records import DeviceSpec
from simulator.validation.outcome import is_fitted
from workloads.runtimes.record import Runtime

TARGETS: Final = {
    "gpu-servers": (0.15, 0.25), "gpu-others": (0.20, 0.30), "asic": (0.20, 0.40), "cpu": (0.20, 0.35),
    "tpu": (0.30, None), "fpga": (0.30, None), "joules": (0.18, 0.25),
}  # fmt: skip
"""Errors asked for with the device known and with its datasheet alone."""
VIEWS: Final = ("shipped", "held-out", "models", "datasheet", "devices")


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", type=Path)
    parser.add_argument("--only", choices=CLASSES, action="append", default=[])
    parser.add_argument("--view", choices=VIEWS, action="append", default=[])
    parser.add_argument("--law", action="append", default=[], help="law parameters that views with folds fit anew too")
    parser.add_argument("--groups", action="store_true", help="print each (source, device) group")
    parser.add_argument("--skipped", action="store_true", help="print why rows are skipped")
    parser.add_argument("--rows", type=Path, help="CSV file for all rows with their predictions")
    parser.add_argument("--where", default="", help="only rows whose columns have these values: device=t4|l40")
    arguments = parser.parse_args()
    try:
        cases = [case for case in judged(arguments.points, arguments.where) if not arguments.only or
                 case.kind in arguments.only]  # fmt: skip
    except InputError as error:
        sys.exit(f"error: {error}")
    views = arguments.view or ["shipped", "held-out", "datasheet"]
    print("class        view        groups   rows skipped unrefitted   mean  median row   asked")
    kept = []
    for view in views:
        guesses = predicted(cases, view, arguments.law)
        kept.append(frame_of(cases, guesses, view))
        for line in table(cases, guesses, view, arguments.groups, arguments.skipped):
            print(line, flush=True)
    if arguments.rows:
        write_text(arguments.rows, pd.concat(kept).to_csv(index=False))


def frame_of(cases: Sequence[Case], guesses: Sequence[Guess | None], view: str) -> pd.DataFrame:
    """The cells of the rows of a view, and beside them class, runtime, what was predicted and the error."""
    return pd.DataFrame(
        {**case.row, "source": case.source, "class": case.kind, "runtime": case.runtime, "view": view,
         "predicted": guess.predicted, "error": error_of(case, guess), "skip_reason": guess.reason}
        for case, guess in zip(cases, guesses, strict=True) if guess
    )  # fmt: skip


def predicted(cases: Sequence[Case], view: str, law: Sequence[str] = ()) -> list[Guess | None]:
    """A guess for each case; None for those that are no part of ``view``."""
    if view == "shipped":
        return list(_shared_out(cases, False, [{}] * len(cases)))
    if view == "held-out":
        seen = [case for case in cases if not _seen(case)]
        known = dict(zip(map(id, seen), _shared_out(seen, False, [{}] * len(seen)), strict=True))
        return [known.get(id(case)) for case in cases]
    if view == "datasheet":
        return list(_shared_out(cases, True, [{}] * len(cases)))
    spared = view == "devices"
    by = "device" if spared else "model"
    runtimes, honest = refitted(cases, by)
    guesses = _shared_out(cases, spared, runtimes, law_values(cases, by, law) if law else ())
    return [guess._replace(refitted=fair) for guess, fair in zip(guesses, honest, strict=True)]


def _seen(case: Case) -> bool:
    if case.reason:
        return False
    words = (case.source, case.table)
    return is_fitted(case.runtime, case.device, *words, model=case.model, tp=case.row.get("tp", ""))


def _shared_out(
    cases: Sequence[Case], spared: bool, runtimes: Sequence[Mapping[str, Runtime]], laws: Sequence[Values] = ()
) -> list[Guess]:
    """Guesses of all cases, device by device on all cores; ``laws`` are parameters for each case."""
    parts: dict[str, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        parts[case.device].append(number)
    found: list[Guess] = [Guess(np.nan)] * len(cases)
    laws = laws or [{}] * len(cases)
    jobs = [
        ([cases[i] for i in rows], spared, [runtimes[i] for i in rows], [laws[i] for i in rows])
        for rows in parts.values()
    ]
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        for rows, guesses in zip(parts.values(), pool.map(_of_device, *zip(*jobs, strict=True)), strict=True):
            for place, guess in zip(rows, guesses, strict=True):
                found[place] = guess
    return found


def _of_device(
    cases: Sequence[Case], spared: bool, runtimes: Sequence[Mapping[str, Runtime]], laws: Sequence[Values]
) -> list[Guess]:
    """Guesses of cases of one device; ``spared``: from its datasheet."""
    device = cases[0].device
    if not spared or cases[0].reason:
        return _guesses(cases, runtimes, laws, {})
    with hidden(device):
        return _guesses(cases, runtimes, laws, {device: datasheet(load_device(device))})


def _guesses(
    cases: Sequence[Case],
    runtimes: Sequence[Mapping[str, Runtime]],
    laws: Sequence[Values],
    specs: Mapping[str, DeviceSpec],
) -> list[Guess]:
    known: dict[tuple[int, int], Spared] = {}
    found = []
    for case, own, law in zip(cases, runtimes, laws, strict=True):
        key = id(own), id(law)
        if key not in known:
            spec = specs.get(case.device)
            if law and not case.reason:
                spec = under_law(spec or load_device(case.device), law)
            known[key] = Spared(own, {case.device: spec} if spec else {})
        found.append(guess_of(case, known[key]))
    return found


def table(
    cases: Sequence[Case], guesses: Sequence[Guess | None], view: str, by_group: bool, reasons: bool
) -> Iterator[str]:
    """Lines of a view: a class each, its groups below it, and why rows were skipped."""
    known = view in ("shipped", "held-out", "models")
    for kind in CLASSES:
        rows = [(case, guess) for case, guess in zip(cases, guesses, strict=True) if case.kind == kind and guess]
        if not rows:
            continue
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for case, guess in rows:
            groups[case.source, case.device].append(error_of(case, guess))
        means = {pair: float(np.mean(errors)) for pair, errors in groups.items()}
        skipped = sum(not np.isfinite(guess.predicted) for _, guess in rows)
        unfair = sum(not guess.refitted for _, guess in rows)
        asked = TARGETS.get(kind, (None, None))[0 if known else 1]
        median = np.median([error for errors in groups.values() for error in errors])
        yield (
            f"{kind:12} {view:10} {len(groups):7} {len(rows):6} {skipped:7} {unfair:10} "
            f"{np.mean(list(means.values())):6.1%} {median:11.1%} {f'{asked:.0%}' if asked else '-':>7}"
        )
        if by_group:
            for (source, device), mean in sorted(means.items(), key=lambda item: -item[1]):
                yield f"    {mean:7.1%} {len(groups[source, device]):5}  {source} {device}"
        if reasons:
            for reason, count in Counter(guess.reason for _, guess in rows if guess.reason).most_common():
                yield f"    skipped {count}: {reason}"


if __name__ == "__main__":
    main()
