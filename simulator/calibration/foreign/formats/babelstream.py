"""What BabelStream prints, as text or with ``--csv`` (University of Bristol; CPUs and GPUs).

The time of a row is the mean, which stands for the median; the ends are the shortest and the longest time.
"""

from __future__ import annotations

import csv
import re
from typing import Final

from hardware_specs.units import parse_quantity
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import Format, register
from simulator.calibration.foreign.streams import KERNELS, stream_measurement
from simulator.calibration.foreign.text import Text
from simulator.calibration.samples import Measurement

_HEADER: Final = re.compile(r"^\s*Function\s+(?P<unit>M|Mi)Bytes/sec\s+Min \(sec\)\s+Max\s+Average\s*$")
_CSV: Final = "function,num_times,n_elements,sizeof,"
_UNITS: Final = {"M": 1e6, "Mi": 2.0**20}
_RATES: Final = {"max_mbytes_per_sec": 1e6, "max_mibytes_per_sec": 2.0**20}
_ABOUT: Final = {
    "Version": "version", "Implementation": "implementation", "Precision": "precision", "Driver": "driver",
}  # fmt: skip


def read(text: Text) -> Foreign:
    """See ``Format``."""
    about = {"interval": "shortest and longest time; the time is the mean"}
    for line in text.lines:
        name, _, value = line.strip().partition(":")
        if name in _ABOUT and value.strip():
            about[_ABOUT[name]] = value.strip()
        elif match := re.match(r"Using \w+ device:?\s+(.*)", line.strip()):
            about["devices"] = match[1]
    found = [*_table(text), *_csv(text)]
    return Foreign("babelstream", tuple(found), about)


def _table(text: Text) -> list[Measurement]:
    """Rows of the text form."""
    found: list[Measurement] = []
    unit, array_bytes, repeats = 0.0, 0.0, 1
    for number, line in enumerate(text.lines, start=1):
        words = line.split()
        if match := re.match(r"\s*Array size:\s*([\d.]{1,15} \w+)", line):
            array_bytes = parse_quantity(match[1], "bytes", f"{text.place}: line {number}")
        elif match := re.match(r"\s*Running \w+ (\d{1,9}) times", line):
            repeats = max(int(match[1]) - 1, 1)
        elif match := _HEADER.match(line):
            unit = _UNITS[match["unit"]]
        elif unit and words and words[0].lower() in KERNELS:
            if len(words) < 5:
                raise text.error(number, f"{len(words) - 1} values, not 4 (rate and three times): cut off?")
            rate, low, high, mean = (
                text.number(word, number, what, zero=False)
                for word, what in zip(words[1:], ("rate", "shortest", "longest", "mean"), strict=False)
            )
            moved = array_bytes * KERNELS[words[0].lower()].arrays or rate * unit * low
            found.append(_measurement(text, words[0], moved, (mean, moved / (rate * unit), high), repeats))
    return found


def _csv(text: Text) -> list[Measurement]:
    """Rows of the form with commas."""
    found: list[Measurement] = []
    columns: list[str] = []
    for number, line in enumerate(text.lines, start=1):
        if line.startswith(_CSV):
            columns = line.split(",")
            continue
        cells = next(csv.reader([line]), [])
        if not columns or not cells or cells[0].lower() not in KERNELS:
            continue
        if len(cells) < len(columns):
            raise text.error(number, f"{len(cells)} values under a header of {len(columns)} columns: cut off?")
        row = dict(zip(columns, cells, strict=False))
        value = {name: text.number(row[name], number, name, zero=False) for name in columns[1:] if name in row}
        moved = value["n_elements"] * value["sizeof"] * KERNELS[cells[0].lower()].arrays
        repeats = int(value["num_times"])
        if "runtime" in value:
            each = value["runtime"] / repeats
            found.append(_measurement(text, cells[0], moved, (each, each, each), repeats))
            continue
        rate = next((value[name] * unit for name, unit in _RATES.items() if name in value), 0.0)
        if not rate or "avg_runtime" not in value or "max_runtime" not in value:
            raise text.error(number, f"the header lacks a rate or a time: {', '.join(columns)}")
        seconds = (value["avg_runtime"], moved / rate, value["max_runtime"])
        found.append(_measurement(text, cells[0], moved, seconds, max(repeats - 1, 1)))
    return found


def _measurement(text: Text, name: str, moved: float, seconds: tuple[float, float, float], repeats: int) -> Measurement:
    kernel = name.lower()
    return stream_measurement(
        "babelstream", f"babelstream.{kernel}", KERNELS[kernel], moved, seconds, repeats=repeats, threads=0,
        source=text.name,
    )  # fmt: skip


def _recognises(text: Text) -> bool:
    return any(_HEADER.match(line) or line.startswith(_CSV) for line in text.lines)


FORMAT: Final = register(Format("babelstream", "what BabelStream prints, also with --csv", _recognises, read))
