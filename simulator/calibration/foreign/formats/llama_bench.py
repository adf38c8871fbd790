"""What llama-bench of llama.cpp (and its forks) prints: the Markdown table, CSV, JSON or JSONL (``-o``).

Rows are runs of whole models. Times of tokenisation and sampling are not in them (tools/llama-bench/README.md).
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from hardware_specs.units import parse_quantity
from simulator.calibration.foreign.reasons import Reasons
from simulator.calibration.foreign.record import Foreign, ModelRow, Phase
from simulator.calibration.foreign.registry import Format, register
from simulator.calibration.foreign.text import Text

_TYPE: Final = re.compile(r"^(?P<model>\S+ \S+)\s+(?P<quant>.+)$")
_TEST: Final = re.compile(
    r"^(?:pp\s?(?P<prompt>\d{1,9}))?\+?(?:tg\s?(?P<generated>\d{1,9}))?(?:\s*@\s*d\s?(?P<depth>\d{1,9}))?$"
)
_RATE: Final = re.compile(r"^(?P<mean>[\d.]+)(?:\s*[^\d\s.]{1,3}\s*(?P<sd>[\d.]+))?$")
_RULE: Final = re.compile(r"^\s*\|[\s:|-]+\|?\s*$")
"""The line below the header of a table."""
_PARAMS: Final = re.compile(r"^(?P<number>[\d.]+)\s*(?P<unit>[KMBT]?)$")
_SCALES: Final = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_NEEDED: Final = ("model_type", "model_size", "model_n_params", "n_prompt", "n_gen", "avg_ts")
_FLAGS: Final = {
    "cuda": "CUDA", "vulkan": "Vulkan", "kompute": "Kompute", "metal": "Metal", "sycl": "SYCL", "opencl": "OpenCL",
    "rpc": "RPC", "blas": "BLAS",
}  # fmt: skip
"""Columns of 2023 and 2024 that say which backend there was."""


class _Test(NamedTuple):
    """Prompt and generated tokens of a run, and tokens in the cache before."""

    prompt: int
    generated: int
    depth: int

    @property
    def phase(self) -> Phase:
        return "both" if self.prompt and self.generated else "prompt" if self.prompt else "generation"


def read(text: Text) -> Foreign:
    """See ``Format``."""
    about: dict[str, str] = {}
    reasons = Reasons()
    if text.has("| model ") or text.has("| model|"):
        rows = list(_markdown(text, about))
    else:
        rows = [_from_fields(fields, number, text, about) for number, fields in _records(text)]
    kept = []
    for row in rows:
        if row is None:
            reasons.add("a run of no tokens")
        else:
            kept.append(row)
    return Foreign("llama-bench", (), about, tuple(kept), reasons.texts)


def _records(text: Text) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The records of a CSV, JSON or JSONL file with the line of each (JSON: 0)."""
    begin = next((line.lstrip() for line in text.lines if line.strip()), "")
    if begin.startswith("["):
        document = text.parsed_json()
        for record in document:
            if not isinstance(record, dict):
                raise text.error(0, f"a list of objects is wanted, not {record!r:.60}")
            yield 0, record
    elif any(line.startswith("{") for line in text.lines):
        for number, line in enumerate(text.lines, start=1):
            if line.startswith("{"):
                yield number, _object(line, number, text)
    else:
        yield from _csv(text)


def _object(line: str, number: int, text: Text) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise text.error(number, "not a JSON object, or cut off") from None
    if not isinstance(found, dict):
        raise text.error(number, "not a JSON object")
    return found


def _csv(text: Text) -> Iterator[tuple[int, Mapping[str, Any]]]:
    columns: list[str] = []
    for number, line in enumerate(text.lines, start=1):
        if line.startswith("build_commit,"):
            columns = line.split(",")
        elif columns and line.strip():
            cells = next(csv.reader([line]))
            if len(cells) < len(columns) // 2:
                continue
            if len(cells) != len(columns):
                raise text.error(number, f"{len(cells)} values under a header of {len(columns)} columns: cut off?")
            yield number, dict(zip(columns, cells, strict=True))


def _from_fields(fields: Mapping[str, Any], number: int, text: Text, about: dict[str, str]) -> ModelRow | None:
    """A row of the structured outputs.

    Raises:
        InputError: a field is missing, or is no number.
    """
    if missing := [name for name in _NEEDED if name not in fields]:
        raise text.error(number, f"no field {', '.join(missing)}, which llama-bench writes")

    def value(name: str, default: float = 0.0) -> float:
        return text.number(str(fields[name]), number, name) if fields.get(name) not in (None, "") else default

    for key, name in (("build", "build_commit"), ("cpu", "cpu_info"), ("gpu", "gpu_info")):
        if fields.get(name):
            about[key] = str(fields[name]).strip()
    samples = fields.get("samples_ts")
    sd = value("stddev_ts", math.nan)
    flash = str(fields.get("flash_attn", "")).lower()
    layers = fields.get("n_gpu_layers")
    return _model_row(
        str(fields["model_type"]), value("model_n_params"), value("model_size"),
        _Test(int(value("n_prompt")), int(value("n_gen")), int(value("n_depth"))), value("avg_ts"), sd, number, text,
        backend=str(fields.get("backends") or _backend(fields)), threads=int(value("n_threads")),
        repeats=len(samples) if isinstance(samples, list) else 0, gpu_layers=_integer(layers),
        flash={"1": True, "true": True, "0": False, "false": False}.get(flash), chunk=int(value("n_ubatch")),
    )  # fmt: skip


def _backend(fields: Mapping[str, Any]) -> str:
    """The backend in files of before 2024-11, which have a flag for each."""
    on = [name for flag, name in _FLAGS.items() if str(fields.get(flag, "0")).lower() in ("1", "true")]
    return ",".join(on) or "CPU"


def _integer(value: Any) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _markdown(text: Text, about: dict[str, str]) -> Iterator[ModelRow | None]:
    """Rows of the Markdown tables of a file."""
    columns: list[str] = []
    for number, line in enumerate(text.lines, start=1):
        if match := re.match(r"^build:\s*(\S+)", line):
            about["build"] = match[1]
        if not line.lstrip().startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "model" in cells and "t/s" in cells:
            if missing := [name for name in ("size", "params", "backend", "test") if name not in cells]:
                raise text.error(number, f"the table lacks the column {', '.join(missing)}")
            columns = cells
        elif number < len(text.lines) and _RULE.match(text.lines[number]):
            columns = []
        elif columns and not _RULE.match(line):
            if len(cells) != len(columns):
                raise text.error(number, f"{len(cells)} cells under a header of {len(columns)}: cut off?")
            yield _from_cells(dict(zip(columns, cells, strict=True)), number, text)


def _from_cells(cells: Mapping[str, str], number: int, text: Text) -> ModelRow | None:
    place = f"{text.place}: line {number}"
    params, rate, test = _PARAMS.match(cells["params"]), _RATE.match(cells["t/s"]), _TEST.match(cells["test"])
    if not params:
        raise text.error(number, f"params {cells['params']!r} must be such as '6.74 B'")
    if not rate:
        raise text.error(number, f"t/s {cells['t/s']!r} must be such as '131.42 ± 0.59'")
    if not test or not cells["test"]:
        raise text.error(number, f"test {cells['test']!r} must be such as 'pp512', 'tg128 @ d4096' or 'pp512+tg128'")
    flash = cells.get("fa", "")
    return _model_row(
        cells["model"], float(params["number"]) * _SCALES[params["unit"]],
        parse_quantity(cells["size"], "bytes", place),
        _Test(int(test["prompt"] or 0), int(test["generated"] or 0), int(test["depth"] or 0)),
        text.number(rate["mean"], number, "t/s"),
        text.number(rate["sd"], number, "t/s") if rate["sd"] else math.nan, number, text,
        backend=cells["backend"], threads=_integer(cells.get("threads")) or 0, repeats=0,
        gpu_layers=_integer(cells.get("ngl")), flash={"1": True, "0": False}.get(flash),
        chunk=_integer(cells.get("n_ubatch")) or 0,
    )  # fmt: skip


def _model_row(
    kind: str, params: float, size_bytes: float, test: _Test, rate: float, sd: float, number: int, text: Text, *,
    backend: str, threads: int, repeats: int, gpu_layers: int | None, flash: bool | None, chunk: int,
) -> ModelRow | None:  # fmt: skip
    match = _TYPE.match(kind.replace(" mostly ", " "))
    if not match:
        raise text.error(number, f"model {kind!r} must be such as 'llama 7B Q4_0'")
    tokens = test.prompt + test.generated
    if tokens == 0:
        return None
    for name, value in (("t/s", rate), ("params", params), ("size", size_bytes)):
        if value <= 0.0:
            raise text.error(number, f"{name} {value:g} must be above zero")
    quant = match["quant"].replace("(guessed)", "").removeprefix("all ").strip()
    return ModelRow(
        match["model"], params, size_bytes, quant, backend, threads, test.phase, tokens, test.depth, rate, sd,
        repeats, gpu_layers, flash, chunk, text.name,
    )  # fmt: skip


def _recognises(text: Text) -> bool:
    if text.has('"model_n_params"') or any(line.startswith("build_commit,build_number,") for line in text.lines):
        return True
    return any("t/s" in line and "| model" in line for line in text.lines)


FORMAT: Final = register(
    Format("llama-bench", "what llama-bench prints with -o md, csv, json or jsonl", _recognises, read)
)
