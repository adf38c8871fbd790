"""Measured inference points: from a row of a points file to a scenario of the public API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from silicost.scenarios import inference_scenario
from simulator.scenario import Scenario
from workloads.formats import format_names, load_format
from workloads.runtimes.match import match_runtime

COLUMNS = (
    "source", "engine", "device", "device_class", "n_devices", "model", "weight_dtype", "kv_dtype",
    "weight_bytes_per_param", "tp", "pp", "ep", "dp", "batch", "batch_kind", "input_len", "output_len", "metric",
    "measured", "quality",
)  # fmt: skip
PLAIN = {"fp32": "fp32", "float32": "fp32", "fp16": "fp16", "f16": "fp16", "float16": "fp16", "bf16": "bf16"}
PROMPT_METRICS = ("ttft_s", "prefill_tokens_per_s")
DECODE_METRICS = ("tpot_s", "decode_tokens_per_s")
BATCH_KINDS = {"static": "exact"}
"""Words of some files for a kind of the schema."""

DEVICES = {"p4": "p4-pcie-8gb"}
"""Device names of some files that stand for a device of the catalogue."""

PUBLISHED = {
    "argonne_llm_inference_bench": "2024-10",  # arXiv:2411.00136, runs of 2024
    "openvino": "2025-04",
    "optimum_habana_gaudi": "2024-12",
    "gaudi_intel_page": "2024-10",
}
"""Month of the measurements of a source whose engine text has no version, for the choice of the runtime."""


WHAT_FITS = 0


class Point(NamedTuple):
    """One configuration as ``inference_scenario`` takes it; equal points have equal predictions.

    A ``batch`` of ``WHAT_FITS`` stands for the largest that the memory holds.
    """

    model: str
    device: str
    batch: int
    isl: int
    osl: int
    count: int
    tp: int
    pp: int
    dp: int
    ep: int
    runtime: str
    dtype: str
    weight_dtype: str
    kv_dtype: str

    def scenario(self) -> Scenario:
        """The scenario of this point.

        Raises:
            InputError: a model or device that is not known, or a plan that is impossible.
        """
        given = self._asdict()
        return inference_scenario(
            given.pop("model"), given.pop("device"), batch=given.pop("batch"), isl=given.pop("isl"),
            osl=given.pop("osl"), **given,
        )  # fmt: skip


class Unpredictable(Exception):
    """A row lacks what a prediction needs; the text says what."""


def read_points(place: Path) -> Iterator[dict[str, Any]]:
    """All rows of a points file, or of all points files of a directory; empty cells are ''."""
    files = sorted(place.glob("*.csv*")) if place.is_dir() else [place]
    for file in files:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        if not set(COLUMNS) <= set(table.columns):
            raise InputError(f"{file}: no inference points; it lacks {sorted(set(COLUMNS) - set(table.columns))}")
        table["source"] = file.name.split(".csv")[0]
        yield from table.to_dict("records")  # type: ignore[misc]


def point_of(row: dict[str, Any]) -> Point:
    """The configuration of a row.

    A first-token row needs no output length, a decode row without one is a single step. An input length of 0 is an
    empty context: the first token is there and all ``output_len`` tokens are decode steps. Devices beyond
    the stated ways hold layers one after another, as llama.cpp splits them over cards and sockets.

    Raises:
        Unpredictable: batch or length unpublished.
        InputError: an unknown device or format.
    """
    spec = load_device(DEVICES.get(row["device"], row["device"]))
    batch = _number(row["batch"])
    if batch is None:
        if row["batch_kind"] != "saturated":
            raise Unpredictable("batch unpublished")
        batch = WHAT_FITS
    isl, osl = _lengths(row)
    count = int(_number(row["n_devices"]) or 1)
    tp, pp, dp, ep = (int(_number(row[name]) or 1) for name in ("tp", "pp", "dp", "ep"))
    if not row["tp"]:
        tp = max(count // (pp * dp), 1)
    elif count % (tp * dp) == 0:
        pp = count // (tp * dp)
    if tp * pp * dp != count:
        tp, pp, dp = count, 1, 1
    dtype, weights = weight_format(row["weight_dtype"], _number(row["weight_bytes_per_param"]))
    kv = "" if row["kv_dtype"].lower() in ("", *PLAIN) else load_format(row["kv_dtype"]).id
    runtime = match_runtime(row["engine"], spec, PUBLISHED.get(row["source"], "")).runtime.id
    return Point(row["model"], spec.id, round(batch), isl, osl, count, tp, pp, dp, ep, runtime, dtype, weights, kv)


def _lengths(row: dict[str, Any]) -> tuple[int, int]:
    """Prompt and answer tokens of a row."""
    isl, osl = _number(row["input_len"]), _number(row["output_len"])
    if isl is None:
        raise Unpredictable("input length unpublished")
    if row["metric"] in PROMPT_METRICS and not osl:
        osl = 1.0
    if row["metric"] in DECODE_METRICS and (not osl or not isl):
        osl = (osl or 1.0) + 1.0
    if not osl:
        raise Unpredictable("output length unpublished")
    return max(round(isl), 1), max(round(osl), 1)


def weight_format(name: str, bytes_per_weight: float | None) -> tuple[str, str]:
    """Compute dtype and storage format of weights; a name that is not known is taken as the nearest width.

    Raises:
        Unpredictable: no name.
        UnknownName: neither the name nor the width is known.
    """
    key = name.lower().strip()
    if not key:
        raise Unpredictable("weight format unpublished")
    if key in PLAIN:
        return PLAIN[key], PLAIN[key]
    words = key.replace(" - small", "_s").replace(" - medium", "_m").split(" - ")[0]
    try:
        return "bf16", load_format(words).id
    except UnknownName:
        if bytes_per_weight is None:
            raise
    narrow = [f for f in map(load_format, format_names()) if f.weight_only]
    return "bf16", min(narrow, key=lambda f: abs(f.bytes_per_weight - bytes_per_weight)).id


def _number(text: str) -> float | None:
    return float(text) if text else None
