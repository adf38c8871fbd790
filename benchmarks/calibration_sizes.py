"""Record in the shipped calibrations how large the calls were that they are fitted to, without a fit.

    python benchmarks/calibration_sizes.py POINTS... [--folder FOLDER]

POINTS are the files that ``fit_operators.py`` was given. The rows of an entry are those that this fit would see now;
they are taken for those that it saw if their hash, number, sources and devices and the digests of their groups are
those that the entry carries. An entry whose rows are others keeps what it has, and its name is printed. Parameters,
intervals and residuals stay as they are, to the byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from fit_operators import measured_rows, seen_by_fits

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.errors import InputError
from hardware_specs.files import write_text
from hardware_specs.reader import read_record
from simulator.calibration.entry import Measured, filled
from simulator.calibration.sizes import measured_sizes
from simulator.calibration.write import calibrations_text


def main() -> None:
    """Write the sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="+", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("hardware_specs/data/calibrations"))
    arguments = parser.parse_args()
    try:
        rows = dict(seen_by_fits(dict(measured_rows(arguments.points))))
        for path in sorted(arguments.folder.glob("*.toml")):
            record(path, rows)
    except InputError as error:
        sys.exit(f"error: {error}")


def record(path: Path, rows: Mapping[str, Sequence[Measured]]) -> tuple[str, ...]:
    """Write sizes into a file; returns the ids of the entries whose rows are not among ``rows``, and prints them.

    Raises:
        InputError: the file is not as ``fit_operators.py`` writes it, so that more than sizes would change.
    """
    found = read_record(path, Calibrations)
    before = path.read_text(encoding="utf-8")
    if calibrations_text(found.calibrations, found.notes) != before:
        raise InputError(f"{path}: is not as benchmarks/fit_operators.py writes it")
    sized = [entry for entry in found.calibrations if _is_of(entry, rows.get(entry.fit.id, ()))]
    others = tuple(entry.fit.id for entry in found.calibrations if entry not in sized)
    entries = [
        msgspec.structs.replace(entry, measured=measured_sizes(each.sample.columns for each in rows[entry.fit.id]))
        if entry in sized
        else entry
        for entry in found.calibrations
    ]
    write_text(path, calibrations_text(entries, found.notes))
    print(f"{path.name}: {len(sized)} of {len(entries)} entries")
    print("".join(f"  other rows: {each}\n" for each in others), end="")
    return others


def _is_of(entry: Calibration, rows: Sequence[Measured]) -> bool:
    """Whether these are the rows that the entry was fitted to."""
    return bool(rows) and filled(entry.fit, rows) == entry.fit


if __name__ == "__main__":
    main()
