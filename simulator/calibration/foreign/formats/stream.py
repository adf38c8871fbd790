"""What STREAM prints (J. McCalpin's C and Fortran programs, version 4 and later), one run or several in a file.

The time of a row is the mean, which stands for the median; the ends are the shortest and the longest time. The rate
that STREAM prints is that of the shortest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.calibration.foreign.reasons import Reasons
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import Format, register
from simulator.calibration.foreign.streams import KERNELS, stream_measurement
from simulator.calibration.foreign.text import Text
from simulator.calibration.samples import Measurement

_HEADER: Final = re.compile(r"^\s*Function\s+(?:Best )?Rate\s+\(?MB/s\)?\s+(?P<times>.*)$")
_ROW: Final = re.compile(r"^\s*(?P<kernel>Copy|Scale|Add|Triad):\s*(?P<values>.*)$")
_ELEMENT: Final = re.compile(r"This system uses\s+(\d{1,2})\s+bytes per")
_ARRAY: Final = re.compile(r"Array size\s*=\s*(\d{1,15})")
_THREADS: Final = re.compile(r"Number of Threads (?:requested|counted)\s*=\s*(\d{1,9})", re.IGNORECASE)
_TIMES: Final = re.compile(r"Each (?:kernel|test) (?:will be executed|is run)\s+(\d{1,9})\s+times", re.IGNORECASE)
_LARGEST_GAP: Final = 0.2
"""Most by which rate x shortest time may differ from the bytes of the arrays: times have a few digits only."""


@dataclass
class _Run:
    """What the lines before the table say."""

    element_bytes: int = 8
    elements: int = 0
    threads: int = 0
    repeats: int = 1


def read(text: Text) -> Foreign:
    """See ``Format``."""
    run, found, reasons = _Run(), list[Measurement](), Reasons()
    about = {"interval": "shortest and longest time; the time is the mean"}
    columns: list[str] = []
    start = 0
    for number, line in enumerate(text.lines, start=1):
        if match := re.search(r"STREAM version\s+(.*)", line):
            run, columns, start = _Run(), [], len(found)
            about["version"] = match[1].strip(" $")
        _read_settings(line, run)
        if match := _HEADER.match(line):
            columns = [word.lower() for word in re.findall(r"(Avg|Min|Max) time", match["times"])]
            if columns != ["avg", "min", "max"]:
                raise text.error(number, f"the columns after the rate are {match['times']!r}, not Avg, Min, Max time")
        elif columns and (match := _ROW.match(line)):
            found.append(_row(match["kernel"].lower(), match["values"].split(), run, number, text))
        elif "Failed Validation" in line and len(found) > start:
            reasons.add("STREAM: the results failed their validation", len(found) - start)
            del found[start:]
    return Foreign("stream", tuple(found), about, skipped=reasons.texts)


def _read_settings(line: str, run: _Run) -> None:
    if match := _ELEMENT.search(line):
        run.element_bytes = int(match[1])
    elif match := _ARRAY.search(line):
        run.elements = int(match[1])
    elif match := _THREADS.search(line):
        run.threads = int(match[1])
    elif match := _TIMES.search(line):
        # The first execution does not count.
        run.repeats = max(int(match[1]) - 1, 1)


def _row(name: str, values: list[str], run: _Run, number: int, text: Text) -> Measurement:
    if len(values) < 4:
        raise text.error(number, f"{len(values)} values, not 4 (rate and three times): cut off?")
    rate, mean, low, high = (
        text.number(value, number, what, zero=False)
        for value, what in zip(values, ("rate", "mean time", "shortest time", "longest time"), strict=False)
    )
    kernel = KERNELS[name]
    measured = rate * 1e6 * low
    moved = kernel.arrays * run.elements * run.element_bytes or measured
    if abs(measured / moved - 1.0) > _LARGEST_GAP:
        raise text.error(
            number,
            f"{rate:g} MB/s in {low:g} s are {measured:.4g} bytes, but {name} of arrays of {run.elements} x "
            f"{run.element_bytes} bytes moves {moved:.4g}",
        )
    return stream_measurement(
        "stream", f"stream.{name}", kernel, moved, (mean, moved / (rate * 1e6), high), repeats=run.repeats,
        threads=run.threads, source=text.name,
    )  # fmt: skip


FORMAT: Final = register(Format("stream", "what STREAM prints", lambda text: any(map(_HEADER.match, text.lines)), read))
