"""Runs of a real server as points: figures of the whole run, from the stamps of its requests.

A run is a folder with ``requests.csv`` and ``meta.json``. What it is scored on are tokens per second, and means and
99th percentiles of latencies. Requests arrive when the server queued them, so that what clients take before that is in
neither side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from hardware_specs.errors import InputError

Floats = npt.NDArray[np.float64]
Figures = dict[str, float]
META: Final = "meta.json"
COLUMNS: Final = ("queued_s", "first_token_s", "last_token_s", "input_len", "output_len")
"""Columns of ``requests.csv`` that figures are made of."""
RUN: Final = "run"
"""The column of the points that names the folder."""


class Meta(msgspec.Struct):
    """What ``meta.json`` says that a prediction needs; what it leaves out is None."""

    device: str
    model: str
    engine: str = ""
    engine_version: str | None = None
    tp: int | None = None
    dp: int | None = None
    dtype: str | None = None
    kv_dtype: str | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    kv_blocks: int | None = None
    block_size: int | None = None


class Stamps(NamedTuple):
    """Requests of a run, [n] each: times [s] and tokens."""

    queued_s: Floats
    first_s: Floats
    last_s: Floats
    input: npt.NDArray[np.int64]
    output: npt.NDArray[np.int64]


def figures_of_run(stamps: Stamps) -> Figures:
    """What a run is scored on."""
    gap = (stamps.last_s - stamps.first_s)[stamps.output > 1] / (stamps.output[stamps.output > 1] - 1)
    ttft, e2e = stamps.first_s - stamps.queued_s, stamps.last_s - stamps.queued_s
    duration = float(stamps.last_s.max() - stamps.queued_s.min())
    found = {"output_tokens_per_s": float(stamps.output.sum()) / duration}
    for name, values in (("ttft_s", ttft), ("tpot_s", gap), ("e2e_s", e2e)):
        if len(values):
            found |= {name: float(values.mean()), f"{name}.p99": float(np.quantile(values, 0.99))}
    return found


def table_of_run(folder: Path, requests: pd.DataFrame) -> pd.DataFrame:
    """The points of a run, a row for each figure; ``requests`` are the cells of its ``requests.csv``.

    Raises:
        InputError: no requests, a cell that is no number.
    """
    stamps, meta = stamps_of(folder, requests), read_meta(folder)
    engine = f"{meta.engine} {meta.engine_version or ''}".strip()
    rows = [
        {
            "source": folder.resolve().name, "device": meta.device, "model": meta.model, "engine": engine,
            "tp": str(meta.tp or 1), "metric": metric, "measured": repr(value), RUN: str(folder),
        }
        for metric, value in figures_of_run(stamps).items()
    ]  # fmt: skip
    return pd.DataFrame(rows, dtype=str)


def read_meta(folder: Path) -> Meta:
    """What is known of a run.

    Raises:
        InputError: no such file, or one that says something else.
    """
    file = folder / META
    try:
        return msgspec.json.decode(file.read_bytes(), type=Meta)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from None


def stamps_of(folder: Path, table: pd.DataFrame) -> Stamps:
    """The requests of a run in the order of their arrival; ``table`` are the cells of its ``requests.csv``.

    Raises:
        InputError: a column that is missing, no requests, a cell that is no number.
    """
    place = folder / "requests.csv"
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError(f"{place}: lacks {', '.join(missing)}")
    if not len(table):
        raise InputError(f"{place}: no requests")
    found: dict[str, Floats] = {}
    for name in COLUMNS:
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        bad = ~np.isfinite(values) | (values < (1.0 if name.endswith("_len") else 0.0))
        if bad.any():
            line = int(bad.argmax())
            raise InputError(f"{place}: row {line + 1}: {name} {table[name].iloc[line]!r}: must be a number from 0 on")
        found[name] = values
    order = np.argsort(found["queued_s"], kind="stable")
    queued, first, last, prompt, answer = (found[name][order] for name in COLUMNS)
    return Stamps(queued, first, last, prompt.astype(np.int64), answer.astype(np.int64))
