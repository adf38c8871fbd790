"""Groups of measured operators that a fit leaves out together: rows alike in some columns.

The word ``model`` stands for what a note says before " tp": the model whose layers were measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from simulator.validation.operators import SIZES
from simulator.validation.outcome import Floats, Words

MODEL: Final = "model"
_NOTE = re.compile(r"(.+?) tp\d")


def group_keys(sizes: Floats, notes: Words, split_by: Sequence[str]) -> list[str]:
    """The key of each row's group, from its sizes (shape [n, columns of ``SIZES``]) and note (shape [n])."""
    parts = []
    for name in split_by:
        if name == MODEL:
            parts.append([f"model={model_in(note)}" for note in notes.tolist()])
        elif name not in SIZES:  # of a machine's own samples: no points file has this column
            parts.append([""] * len(sizes))
        else:
            parts.append([f"{name}={value:g}" for value in sizes[:, SIZES.index(name)].tolist()])
    return [" ".join(key) for key in zip(*parts, strict=True)] if parts else [""] * len(sizes)


def model_in(note: str) -> str:
    """The model that a note names, "" for none."""
    match = _NOTE.match(note)
    return match[1] if match else ""


SPLITS: Final = {
    "gemm": (((MODEL,), 4), (("n", "k"), 12), (("m", "n", "k"), 1)),
    "moe": ((("n", "k", "experts", "top_k"), 4), (("m", "n", "k", "experts", "top_k"), 1)),
    "attention_prefill": ((("heads", "kv_heads", "head_dim"), 4), (("batch", "q_len", "kv_len"), 1)),
    "attention_decode": ((("heads", "kv_heads", "head_dim"), 4), (("batch", "kv_len"), 1)),
    "vector": (((MODEL,), 4), (("cols",), 4), (("rows", "cols"), 1)),
}
"""Ways to group the rows of a family, the strictest first, and the fewest groups with which a way is taken."""


def split_of(family: str, sizes: Floats, notes: Words) -> tuple[str, ...]:
    """The strictest way to group rows of ``family`` that leaves enough groups, else the last one."""
    for split_by, fewest in SPLITS[family]:
        keys = group_keys(sizes, notes, split_by)
        named = MODEL not in split_by or all(model_in(note) for note in notes.tolist())
        if named and len(np.unique(keys)) >= fewest:
            return split_by
    return SPLITS[family][-1][0]
