"""Corrections that publishers made to figures after tables of them were copied.

A row is corrected only where the publisher's own later text says so; what is said goes into its ``note``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd


class PerDevice(NamedTuple):
    """Rates that were printed as totals of a group of ``tp`` devices and are of one device each."""

    engine: str
    device: str
    note: str
    """What the rows say of themselves."""
    source: str


ERRATA: Final = (
    PerDevice(
        "TensorRT-LLM v0.7.1", "a100-sxm-80gb", "source total of the TP group",
        "NVIDIA/TensorRT-LLM docs/source/performance.md, A100 GPUs (FP16): its column is 'Throughput (out tok/s)' at "
        "commit 138f96d and, with the same numbers, '(out tok/s/GPU)' in its later revisions (with TRTLLM_ENABLE_XQA)",
    ),
)  # fmt: skip
_COLUMNS: Final = ("engine", "device", "note", "metric", "tp", "measured")


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` of text with what publishers corrected: ``measured`` as a total, and a word in ``note``."""
    if not set(_COLUMNS) <= set(table.columns):
        return table
    for erratum in ERRATA:
        rows = (
            table["engine"].str.startswith(erratum.engine)
            & (table["device"] == erratum.device)
            & (table["metric"] == "output_tokens_per_s")
            & table["note"].str.contains(erratum.note, regex=False)
        )
        if rows.any():
            table = table.copy()
            devices = pd.to_numeric(table.loc[rows, "tp"], errors="coerce").fillna(1.0)
            measured = pd.to_numeric(table.loc[rows, "measured"], errors="coerce") * devices
            table.loc[rows, "measured"] = [repr(value) for value in measured.tolist()]
            table.loc[rows, "note"] = [
                note.replace(erratum.note, f"per device by the publisher's correction, times tp ({erratum.source})")
                for note in table.loc[rows, "note"]
            ]
    return table
