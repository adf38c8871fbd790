"""Models as rows of a table: the architecture columns of training points, and files of models (``--models``).

Columns: ``id`` (training rows: ``model``), ``layers, hidden, heads, vocab`` and, where they apply, ``kv_heads,
head_dim, ffn, gated_mlp, experts, experts_per_token, moe_ffn, shared_expert_ffn`` (summed width) or ``shared_experts``
(experts of ``moe_ffn``), ``first_dense_layers`` or ``dense_layers``, ``attention`` (mha, gqa, mqa, mla), ``mla_q_lora,
mla_kv_lora, mla_rope_dim, mla_nope_dim, mla_v_dim, sliding_window, tied_embeddings, max_positions``. What they do not
say follows GPT without ``gated_mlp`` (layer norm, no rotary positions) and Llama with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hardware_specs.errors import InputError
from simulator.validation.cells import Row, Unpredictable, number, reason_of, whole
from simulator.validation.points import read_table, rows_of
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup
from workloads.models.checks import check_architecture

ATTENTION: Final = ("", "mha", "gqa", "mqa", "mla")
"""Attention that the columns can describe; they cannot hybrid and state space models."""


def read_models(file: Path) -> dict[str, Architecture]:
    """The models of a file by name, but for rows without sizes and those of other attention than ``ATTENTION``.

    Raises:
        InputError: the file cannot be read, lacks ``id`` or ``layers``, or a row is no model.
    """
    table = read_table(file)
    for name in ("id", "layers"):
        if name not in table:
            raise InputError(f"{file}: no models: it lacks the column {name!r}")
    models = {}
    for place, row in enumerate(rows_of(table), start=2):
        if row["id"] and row["layers"] and row.get("attention", "") in ATTENTION:
            try:
                models[row["id"]] = check_architecture(architecture_of(row, row["id"]), f"model {row['id']}")
            except InputError as error:
                raise InputError(f"{file}, line {place}: {reason_of(error)}") from None
    return models


def architecture_of(row: Row, name: str) -> Architecture:
    """The model called ``name`` from its columns.

    Raises:
        Unpredictable: a dimension is unpublished, or no number.
    """
    for column in ("layers", "hidden", "heads", "vocab"):
        if not row.get(column):
            raise Unpredictable(f"{column} of the model unpublished")
    hidden, layers = whole(row, "hidden", 0), whole(row, "layers", 0)
    gated = bool(number(row, "gated_mlp"))
    experts, attention = _count(row, "experts"), _attention(row, hidden, gated)
    first = _count(row, "first_dense_layers") or _count(row, "dense_layers")
    dense = min(first, layers) if experts else layers
    groups = []
    if dense:
        groups.append(LayerGroup(dense, attention, FeedForward(whole(row, "ffn", 4 * hidden), gated)))
    if layers > dense:
        width = whole(row, "moe_ffn", whole(row, "ffn", 4 * hidden))
        shared = _count(row, "shared_expert_ffn") or _count(row, "shared_experts") * width
        routed = Experts(experts, whole(row, "experts_per_token", 1), width, gated, shared)
        groups.append(LayerGroup(layers - dense, attention, routed))
    return Architecture(
        name, hidden, whole(row, "vocab", 0), tuple(groups), tied=bool(number(row, "tied_embeddings")),
        norm="rmsnorm" if gated else "layernorm", max_positions=_count(row, "max_positions"),
        source=row.get("source", ""),
    )  # fmt: skip


def _attention(row: Row, hidden: int, gated: bool) -> Attention:
    heads = whole(row, "heads", 0)
    if row.get("attention") == "mla":
        rope = whole(row, "mla_rope_dim", 64)
        nope = whole(row, "mla_nope_dim", whole(row, "head_dim", 128))
        return Attention(
            "mla", heads, heads, nope + rope, whole(row, "mla_v_dim", nope), _count(row, "mla_q_lora"),
            whole(row, "mla_kv_lora", 512), rope, rotary=gated,
        )  # fmt: skip
    kv_heads = whole(row, "kv_heads", heads)
    width = whole(row, "head_dim", max(hidden // heads, 1))
    window = _count(row, "sliding_window")
    return Attention("mha" if kv_heads == heads else "gqa", heads, kv_heads, width, window=window, rotary=gated)


def _count(row: Row, name: str) -> int:
    """A count that may be 0, which is what an empty cell means.

    Raises:
        Unpredictable: no number, or a negative one.
    """
    value = number(row, name) or 0.0
    if not 0 <= value <= 1e9:
        raise Unpredictable(f"{name} {row[name]!r}: must be from 0 to 1000000000")
    return round(value)
