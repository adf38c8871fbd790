"""Measured training steps: from a row of a points file to a scenario of the public API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hardware_specs.devices import load_device
from silicost.scenarios import training_scenario
from simulator.scenario import Scenario
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup
from workloads.runtimes.match import match_runtime


class Unpredictable(Exception):
    """A row lacks what a prediction needs; the text says what."""


def read_steps(place: Path) -> list[dict[str, Any]]:
    """Rows to be scored, of a points file or of all points files of a directory: one per configuration, with a time."""
    rows: list[dict[str, Any]] = []
    for file in sorted(place.glob("*.csv*")) if place.is_dir() else [place]:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table["source"] = file.name.split(".csv")[0]
        rows += table.to_dict("records")  # type: ignore[arg-type]
    return [row for row in rows if row["primary"] in ("1", "1.0") and row["step_time_s_derived"]]


def scenario_of(row: dict[str, Any]) -> Scenario:
    """The scenario of a row. An unstated recomputation is none; a stated layout decides, data parallelism is the rest.

    Raises:
        Unpredictable: something that the prediction needs is unpublished or not modelled.
        InputError: an unknown device, or a plan that is impossible.
    """
    for name in ("micro_batch", "global_batch", "seq_len", "tp", "pp"):
        if not row[name]:
            raise Unpredictable(f"{name} unpublished")
    if _whole(row, "cp", 1) > 1:
        raise Unpredictable("context parallelism is not modelled")
    if row["task"] == "lora":
        raise Unpredictable("rank of the adapters unpublished")
    spec = load_device(row["device"])
    count, tp, pp = _whole(row, "n_devices", 1), _whole(row, "tp", 1), _whole(row, "pp", 1)
    return training_scenario(
        architecture_of(row), spec.id, global_batch=_whole(row, "global_batch", 0),
        micro_batch=_whole(row, "micro_batch", 0), seq_len=_whole(row, "seq_len", 0),
        recompute=row["recompute"] if row["recompute"] in ("selective", "full") else "none",
        count=count, tp=tp, pp=pp, dp=count // (tp * pp), ep=_whole(row, "ep", 1),
        runtime=match_runtime(row["framework"], spec).runtime.id,
        dtype="bf16" if row["precision"] == "fp8" else row["precision"],
        weight_dtype="fp8" if row["precision"] == "fp8" else "",
    )  # fmt: skip


def architecture_of(row: dict[str, Any]) -> Architecture:
    """The model of a row from its columns; norms and biases, which the columns lack, as GPT or Llama have them.

    Raises:
        Unpredictable: a dimension is unpublished.
    """
    for name in ("layers", "hidden", "heads", "vocab"):
        if not row[name]:
            raise Unpredictable(f"{name} of the model unpublished")
    hidden, heads = _whole(row, "hidden", 0), _whole(row, "heads", 0)
    kv_heads, gated = _whole(row, "kv_heads", heads), row["gated_mlp"] in ("1", "1.0")
    attention = Attention(
        "mha" if kv_heads == heads else "gqa", heads, kv_heads, _whole(row, "head_dim", hidden // heads), rotary=gated
    )
    experts, layers = _whole(row, "experts", 0), _whole(row, "layers", 0)
    dense = min(_whole(row, "first_dense_layers", 0), layers) if experts else layers
    groups = []
    if dense:
        wide = FeedForward(_whole(row, "ffn", 4 * hidden), gated)
        groups.append(LayerGroup(dense, attention, wide))
    if layers > dense:
        routed = Experts(
            experts, _whole(row, "experts_per_token", 1), _whole(row, "moe_ffn", _whole(row, "ffn", 4 * hidden)), gated,
            _whole(row, "shared_expert_ffn", 0),
        )  # fmt: skip
        groups.append(LayerGroup(layers - dense, attention, routed))
    norm = "rmsnorm" if gated else "layernorm"
    return Architecture(row["model"], hidden, _whole(row, "vocab", 0), tuple(groups), norm=norm)  # type: ignore[arg-type]


def _whole(row: dict[str, Any], name: str, default: int) -> int:
    text = row.get(name, "")
    return int(float(text)) if text else default
