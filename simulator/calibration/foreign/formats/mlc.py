"""What Intel's Memory Latency Checker prints: all of ``mlc``, or single modes of it.

MLC gives rates and latencies, not calls. A bandwidth becomes the copy of ``NOMINAL_BYTES`` at that rate, split into
reads and writes as the traffic was; latencies of single loads are no operator of ours and stay texts in ``about``, as
do the bandwidths of throttled traffic beside the loaded latencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import Format, register
from simulator.calibration.foreign.streams import Kernel, stream_measurement
from simulator.calibration.foreign.text import Text
from simulator.calibration.samples import Measurement

NOMINAL_BYTES: Final = 1e9
"""Bytes of the copy that a rate is turned into [B]: far above any cache, as the buffers of MLC are."""
_MB: Final = 1e6

_TRAFFIC: Final = (
    (re.compile(r"ALL Reads\s*:"), "reads", Kernel(1, 0)),
    (re.compile(r"\b(\d{1,2}):(\d{1,2}) Reads-Writes\s*:"), "{}:{}", Kernel(0, 0)),
    (re.compile(r"Stream-triad like\s*:"), "triad", Kernel(2, 1)),
    (re.compile(r"All NT writes\s*:"), "nt-writes", Kernel(0, 1)),
    (re.compile(r"1:1 Read-NT write\s*:"), "1:1-nt", Kernel(1, 1)),
)
_SECTIONS: Final = {
    "Measuring idle latencies": "idle",
    "Measuring Peak Injection Memory Bandwidths": "peak",
    "Measuring Maximum Memory Bandwidths": "maximum",
    "Measuring Memory Bandwidths between nodes": "nodes",
    "Measuring Loaded Latencies": "loaded",
    "Measuring cache-to-cache transfer latency": "caches",
}
_LOADED: Final = re.compile(r"^\s*(\d{5})\s+([\d.]+)\s+([\d.]+)\s*$")
_LATENCY: Final = re.compile(r"^\s*((?:Local|Remote) Socket .*?latency)\s+([\d.]+)\s*$")
_SINGLE: Final = re.compile(r"Each iteration took\s+[\d.]+\s+\w.*clocks\s*\(\s*([\d.]+)\s*ns\)")


class _Cell(NamedTuple):
    """One value of a matrix between NUMA nodes."""

    line: int
    row: int
    column: int
    value: float


def read(text: Text) -> Foreign:
    """See ``Format``."""
    about = {"interval": "none in the file: MLC gives one rate each"}
    if match := re.search(r"Memory Latency Checker.*? - (v\S+)", text.whole):
        about["version"] = match[1]
    found: list[Measurement] = []
    latencies: list[str] = []
    for section, lines in _sections(text):
        if section in ("peak", "maximum"):
            found += _peaks(section, lines, text)
        elif section == "nodes":
            for cell in _matrix(lines, text):
                name = f"mlc.reads nodes {cell.row} to {cell.column}"
                found.append(_measurement(text, cell.line, name, Kernel(1, 0), cell.value))
        elif section == "idle":
            latencies += [f"node {c.row} to {c.column}: {c.value:g} ns idle" for c in _matrix(lines, text)]
        elif section == "loaded":
            latencies += [
                f"{float(m[2]):g} ns at {float(m[3]) / 1e3:.4g} GB/s" for _, line in lines if (m := _LOADED.match(line))
            ]
        elif section == "caches":
            latencies += [
                f"{' '.join(m[1].split())}: {float(m[2]):g} ns" for _, line in lines if (m := _LATENCY.match(line))
            ]
        else:
            latencies += [f"idle: {float(m[1]):g} ns" for _, line in lines if (m := _SINGLE.search(line))]
    if latencies:
        about["latencies"] = "; ".join(latencies)
    if len(found) == 0 and not latencies:
        raise text.error(0, "no bandwidth and no latency in it; give all that mlc printed")
    return Foreign("mlc", tuple(found), about)


def _sections(text: Text) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Parts of the output by name, with the numbers of their lines; "" before the first."""
    name, lines = "", list[tuple[int, str]]()
    for number, line in enumerate(text.lines, start=1):
        starts = [section for head, section in _SECTIONS.items() if head in line]
        if starts or line.startswith("Intel(R) Memory Latency Checker"):
            yield name, lines
            name, lines = (starts[0] if starts else ""), []
        lines.append((number, line))
    yield name, lines


def _peaks(section: str, lines: list[tuple[int, str]], text: Text) -> Iterator[Measurement]:
    prefix = "mlc.max-" if section == "maximum" else "mlc."
    for number, line in lines:
        for pattern, name, kernel in _TRAFFIC:
            match = pattern.search(line)
            if not match:
                continue
            rate = text.number(next(iter(line[match.end() :].split()), ""), number, "bandwidth", zero=False)
            if match.groups():
                name, kernel = name.format(*match.groups()), Kernel(float(match[1]), float(match[2]))
            if kernel.arrays <= 0.0:
                raise text.error(number, f"traffic {match[0]!r} moves nothing")
            yield _measurement(text, number, prefix + name, kernel, rate)


def _matrix(lines: list[tuple[int, str]], text: Text) -> Iterator[_Cell]:
    """The values of a table with NUMA nodes as rows and columns; "-" where two nodes cannot be paired."""
    columns: list[int] = []
    for number, line in lines:
        if match := re.match(r"^\s*Numa node\s+([\d\s]+)$", line):
            columns = [int(word) for word in match[1].split()]
            continue
        words = line.split()
        if not columns or not words or not words[0].isdigit():
            continue
        if len(words) - 1 != len(columns):
            raise text.error(number, f"{len(words) - 1} values for {len(columns)} NUMA nodes: cut off?")
        for column, word in zip(columns, words[1:], strict=True):
            if word != "-":
                yield _Cell(number, int(words[0]), column, text.number(word, number, "value", zero=False))


def _measurement(text: Text, line: int, name: str, kernel: Kernel, rate_mb: float) -> Measurement:
    if rate_mb <= 0.0:
        raise text.error(line, f"a bandwidth of {rate_mb:g} MB/s")
    seconds = NOMINAL_BYTES / (rate_mb * _MB)
    return stream_measurement(
        "mlc", name, kernel, NOMINAL_BYTES, (seconds, seconds, seconds), repeats=1, threads=0, source=text.name
    )


def _recognises(text: Text) -> bool:
    heads = [head for head, section in _SECTIONS.items() if section in ("peak", "maximum", "nodes", "loaded")]
    return text.has("Memory Latency Checker", *heads)


FORMAT: Final = register(Format("mlc", "what Intel's mlc prints", _recognises, read))
