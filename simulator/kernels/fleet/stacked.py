"""Prices of the pools of a fleet in arrays of one shape, from which those of one pool are cut."""

from __future__ import annotations

from typing import Any, NamedTuple

from simulator.kernels.jit import law_part


class Cut(NamedTuple):
    """Prices of one pool, by the names of ``serving.step_tables.StepTables``."""

    rows_s: Any
    rows_j: Any
    head_s: Any
    head_j: Any
    sequences_at: Any
    contexts_at: Any
    decode_s: Any
    decode_j: Any
    new_at: Any
    visible_at: Any
    prefill_s: Any
    prefill_j: Any


class Stacked(NamedTuple):
    """Prices of all pools, the first axis; ``sizes`` [p, 6]: rows, heads, sequences, contexts, new, visible."""

    sizes: Any
    rows_s: Any
    rows_j: Any
    head_s: Any
    head_j: Any
    sequences_at: Any
    contexts_at: Any
    decode_s: Any
    decode_j: Any
    new_at: Any
    visible_at: Any
    prefill_s: Any
    prefill_j: Any


@law_part
def cut(tables: Any, pool: int) -> Cut:
    """The prices of one pool."""
    rows, heads, many, seen, new, visible = (
        tables.sizes[pool, 0], tables.sizes[pool, 1], tables.sizes[pool, 2], tables.sizes[pool, 3],
        tables.sizes[pool, 4], tables.sizes[pool, 5],
    )  # fmt: skip
    return Cut(
        tables.rows_s[pool, :rows], tables.rows_j[pool, :rows], tables.head_s[pool, :heads],
        tables.head_j[pool, :heads], tables.sequences_at[pool, :many], tables.contexts_at[pool, :seen],
        tables.decode_s[pool, :many, :seen], tables.decode_j[pool, :many, :seen], tables.new_at[pool, :new],
        tables.visible_at[pool, :visible], tables.prefill_s[pool, :, :new, :visible],
        tables.prefill_j[pool, :, :new, :visible],
    )  # fmt: skip
