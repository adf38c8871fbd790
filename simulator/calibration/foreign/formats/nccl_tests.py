"""What nccl-tests and rccl-tests print: ``all_reduce_perf -b 8 -e 8G -f 2 -g 8``.

Headers of versions 2.0 and later, with ``error`` or ``#wrong``, with or without ``root``, with columns of single
iterations or time stamps; several runs in one file; one or many nodes. Times are means over the iterations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from simulator.calibration.foreign.collective_rows import (
    KINDS,
    OTHERS,
    Placement,
    Row,
    Run,
    measurements_of,
    root_of,
)
from simulator.calibration.foreign.reasons import Reasons
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import Format, register
from simulator.calibration.foreign.text import Text

_RANK: Final = re.compile(
    r"^#\s+Rank\s+(?P<rank>\d{1,9})\s+(?:Group\s+(?P<group>\d{1,9})\s+)?Pid\s+\d+\s+on\s+(?P<host>\S+)\s+"
    r"device\s+\d+\s+\[[^\]]*\]\s*(?P<device>.*)$"
)
_PROGRAM: Final = re.compile(r"\b(?P<name>[a-z_]+)_perf(?:_mpi)?\b")
_SETTINGS: Final = re.compile(r"(?P<name>nThread|nGpus|agg iters|iters|graph):?\s+(?P<value>\d{1,12})")
_VERSION: Final = re.compile(r"nccl-tests version (?P<tests>\S+).*nccl-library=(?P<library>\d+)")
_LIBRARY: Final = re.compile(r"\b(?P<name>NCCL|RCCL) version\s*:?\s*(?P<version>\d\S*)")
_NOISE: Final = re.compile(r"NCCL (?:INFO|WARN|TRACE|ERROR)|Collective test concluded")


def read(text: Text) -> Foreign:
    """See ``Format``."""
    about: dict[str, str] = {}
    reasons = Reasons()
    probe = "rccl-tests" if re.search("rccl|amd instinct", text.whole, re.IGNORECASE) else "nccl-tests"
    found, devices, hosts = [], dict[str, None](), dict[str, None]()
    for run in _runs(text, about, reasons):
        found += measurements_of(run, text, probe, reasons)
        devices |= dict.fromkeys(run.devices)
        hosts |= dict.fromkeys(host for _, _, host in run.ranks)
    about |= {"devices": ", ".join(devices), "hosts": ", ".join(hosts)}
    if not hosts:
        about["nodes"] = "not in the file (no list of devices): taken as one"
    about["interval"] = "none in the file: times are means over the iterations"
    return Foreign(
        "nccl-tests", tuple(found), {name: value for name, value in about.items() if value}, skipped=reasons.texts
    )


def _runs(text: Text, about: dict[str, str], reasons: Reasons) -> Iterator[Run]:
    """The runs of a file, in order."""
    run, columns, scale = Run(), [""][:0], 1e-6
    for number, line in enumerate(text.lines, start=1):
        if _NOISE.search(line):
            continue
        if run.rows and _begins(line):
            yield run
            run, columns = Run(), []
        _read_about(line, about)
        _read_header(line, run)
        if line.lstrip().startswith("#"):
            words = line.lstrip(" #").split()
            if {"time", "algbw", "busbw"} <= set(words) or {"cputime", "algbw"} <= set(words):
                columns, scale = _columns(words, number, text), 1e-6
            elif columns and "(us)" not in words and "(ms)" in words:
                scale = 1e-3
        elif columns and (words := line.split()) and words[0].isdigit():
            if "cputime" in columns:
                reasons.add("time of the host, not of the collective (-C)")
            else:
                run.rows.append(_row(words, columns, scale, number, text))
    if run.rows:
        yield run


def _begins(line: str) -> bool:
    """Whether a line after a table belongs to the next run."""
    heads = ("# nThread", "# nccl-tests version", "# Collective test starting", "# Using devices", "rccl-tests:")
    return line.lstrip().startswith(heads) or (not line.lstrip().startswith("#") and bool(_PROGRAM.search(line)))


def _read_about(line: str, about: dict[str, str]) -> None:
    if match := _VERSION.search(line):
        about |= {"nccl-tests": match["tests"], "library": match["library"]}
    elif match := _LIBRARY.search(line):
        about["library"] = f"{match['name']} {match['version']}"
    elif line.lstrip().startswith("rccl-tests:"):
        about["rccl-tests"] = line.split(":", 1)[1].strip()


def _read_header(line: str, run: Run) -> None:
    if match := _RANK.match(line.lstrip()):
        run.ranks.append((int(match["group"] or 0), int(match["rank"]), match["host"]))
        run.devices.append(match["device"].strip())
        return
    if match := _PROGRAM.search(line):
        name = match["name"].strip("_")
        if name in KINDS or name in OTHERS:
            run.program = name
    if "nThread" in line:
        settings = {match["name"]: int(match["value"]) for match in _SETTINGS.finditer(line)}
        run.iterations = settings.get("iters", 1)
        run.words = [word for name, word in (("graph", "graph"), ("agg iters", "aggregated")) if _on(settings, name)]


def _on(settings: dict[str, int], name: str) -> bool:
    return settings.get(name, 0) > (1 if name == "agg iters" else 0)


def _columns(words: list[str], number: int, text: Text) -> list[str]:
    """Names of the columns; the second form of a row has its names with "in-place" before them.

    Raises:
        InputError: a header of before 2.0, or one that lacks columns.
    """
    if words[0] != "size":
        raise text.error(number, f"a table that begins with {words[0]!r}, not 'size': before version 2.0, not read")
    columns, seen = [], set[str]()
    for word in words:
        columns.append(f"in-place {word}" if word in seen else word)
        seen.add(word)
    wanted = [f"{prefix}{name}" for prefix in ("", "in-place ") for name in ("time", "algbw", "busbw")]
    wanted = [] if "cputime" in seen else wanted if "in-place time" in columns else wanted[:3]
    if missing := [name for name in ("count", "type", *wanted) if name not in columns]:
        raise text.error(number, f"the header lacks the column {', '.join(missing)}")
    return columns


def _row(words: list[str], columns: list[str], scale: float, number: int, text: Text) -> Row:
    """One row of a table.

    Raises:
        InputError: too few values, or one that is no number.
    """
    wanted = [name for name in columns if name != "timestamp"]
    if len(words) < len(wanted):
        raise text.error(number, f"{len(words)} values under a header of {len(wanted)} columns: cut off?")
    cells = dict(zip(wanted, words, strict=False))
    places = []
    for name, prefix in (("out-of-place", ""), ("in-place", "in-place ")):
        if f"{prefix}time" not in cells or cells[f"{prefix}time"] == "N/A":
            continue
        time_s, algbw, busbw = (
            text.number(cells[prefix + column], number, column) for column in ("time", "algbw", "busbw")
        )
        verdict = cells.get(f"{prefix}#wrong", cells.get(f"{prefix}error", "N/A"))
        # Before 2.13 the last column was the largest error of a sum, which is not 0 where results are right.
        wrong = None if verdict == "N/A" else text.number(verdict, number, "#wrong")
        if f"{prefix}error" in cells and wrong is not None and wrong < _LARGEST_ERROR:
            wrong = 0.0
        places.append(Placement(name, time_s * scale, algbw, busbw, wrong))
    return Row(
        number,
        text.number(cells["size"], number, "size"),
        text.number(cells["count"], number, "count"),
        cells["type"],
        cells.get("redop", ""),
        root_of(cells.get("root", "")),
        tuple(places),
    )


_LARGEST_ERROR: Final = 1e-2
"""Largest difference that a sum in 16 bits may show."""


def _recognises(text: Text) -> bool:
    return any(
        line.lstrip().startswith("#") and "algbw" in line and "busbw" in line and "time" in line for line in text.lines
    )


FORMAT: Final = register(
    Format("nccl-tests", "what all_reduce_perf and the other nccl-tests or rccl-tests print", _recognises, read)
)
