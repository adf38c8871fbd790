"""The JSON that nccl-tests writes with ``-J FILE`` (since 2.17): one object with config, devices and results.

Each process lists one device only, so that ranks are counted as processes x threads x GPUs where rows do not say.
With per-iteration timing the times of single calls are there, and so a median and its interval.
"""

from __future__ import annotations

import re
from typing import Any, Final

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


def read(text: Text) -> Foreign:
    """See ``Format``."""
    document = text.parsed_json()
    if not isinstance(document, dict) or not isinstance(document.get("results"), list):
        raise text.error(0, "no list of results, as nccl-tests -J writes one")
    config = _table(document.get("config"))
    reasons = Reasons()
    run = Run(_program(document), iterations=_whole(config.get("iterations"), 1))
    devices = [each for each in config.get("devices", []) if isinstance(each, dict)]
    for place, device in enumerate(devices):
        run.ranks.append((_whole(device.get("group"), 0), _whole(device.get("rank"), place), _word(device, "hostname")))
        run.devices.append(_word(device, "device_info"))
    run.count = len(devices) * _whole(config.get("nthreads"), 1) * _whole(config.get("ngpus"), 1)
    if _whole(config.get("graph"), 0):
        run.words.append("graph")
    if _whole(config.get("aggregated_iterations"), 1) > 1:
        run.words.append("aggregated")
    for number, result in enumerate(document["results"], start=1):
        row = _row(_table(result), number, text, reasons)
        if row is not None:
            run.rows.append(row)
    found = measurements_of(run, text, "nccl-tests", reasons)
    single = any(placement.seconds for row in run.rows for placement in row.placements)
    about = {
        "library": str(document.get("nccl_version", "")),
        "devices": ", ".join(dict.fromkeys(filter(None, run.devices))),
        "hosts": ", ".join(dict.fromkeys(host for _, _, host in run.ranks if host)),
        "start_time": _word(document, "start_time"),
        "interval": "95% of the median of single calls" if single else "none in the file: means over the iterations",
    }
    return Foreign(
        "nccl-tests-json", tuple(found), {name: value for name, value in about.items() if value},
        skipped=reasons.texts,
    )  # fmt: skip


def _row(result: dict[str, Any], number: int, text: Text, reasons: Reasons) -> Row | None:
    places = []
    for name, key in (("out-of-place", "out_of_place"), ("in-place", "in_place")):
        body = result.get(key)
        if not isinstance(body, dict):
            continue
        if "cpu_time" in body:
            reasons.add("time of the host, not of the collective (-C)")
            continue
        values = [_number(body.get(each), f"results[{number}].{key}.{each}", text) for each in _BODY]
        verdict = body.get("nwrong")
        wrong = None if verdict is None else _number(verdict, f"results[{number}].{key}.nwrong", text)
        times = _table(result.get(f"{key}_per_iter")).get("times_us")
        calls = times if isinstance(times, list) else []
        seconds = tuple(1e-6 * _number(each, f"results[{number}].{key}_per_iter", text, zero=False) for each in calls)
        places.append(Placement(name, values[0] * 1e-6, values[1], values[2], wrong, seconds))
    if not places:
        return None
    root = str(result.get("root", -1)).strip()
    return Row(
        0,
        _number(result.get("size"), f"results[{number}].size", text),
        _number(result.get("count"), f"results[{number}].count", text),
        _word(result, "type"),
        _word(result, "redop"),
        root_of(root),
        tuple(places),
    )


_BODY: Final = ("time", "alg_bw", "bus_bw")


def _program(document: dict[str, Any]) -> str:
    """The program: by the command, else by what results call it."""
    args = document.get("args")
    command = " ".join(map(str, args)) if isinstance(args, list) else ""
    match = re.search(r"([a-z_]+)_perf(?:_mpi)?\b", command)
    name = match[1].strip("_") if match else ""
    if name in KINDS or name in OTHERS:
        return name
    spelt = {each.replace("_", ""): each for each in (*KINDS, *OTHERS)}
    names = {_word(_table(result), "experiment_name").lower() for result in document["results"]}
    return spelt.get(re.sub("[^a-z]", "", names.pop()), "") if len(names) == 1 else ""


def _number(value: Any, place: str, text: Text, *, zero: bool = True) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise text.error(0, f"{place}: must be a number, not {value!r}")
    return text.number(repr(value), 0, place, zero=zero)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    return value.strip() if isinstance(value, str) else ""


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _recognises(text: Text) -> bool:
    if not text.whole.lstrip().startswith("{"):
        return False
    return text.has('"nccl_version"', '"average_bus_bandwidth"') or (text.has('"alg_bw"') and text.has('"bus_bw"'))


FORMAT: Final = register(Format("nccl-tests-json", "the file that nccl-tests write with -J FILE", _recognises, read))
