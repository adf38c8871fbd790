"""What is wrong with operator rows whatever the device: missing columns, cells that are no sizes, unknown ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import clipped, nearest
from simulator.validation.cells import LEAST_MEASURED, MOST_DEVICES, MOST_MEASURED
from simulator.validation.operators import MLA_ROPE_DIM, NEEDS
from simulator.validation.outcome import Floats, Words

LARGEST = 1e9
"""Upper bound of every size but those below."""
MOST = {"message_bytes": 1e15, "n_devices": MOST_DEVICES}
COUNTS = frozenset({"n_devices", "nodes", "heads", "kv_heads", "experts", "top_k"})
"""Sizes that cannot be means, and so no fractions."""

Truths = npt.NDArray[np.bool_]


def complete(sizes: Mapping[str, Floats]) -> None:
    """Fill cells that mean something when empty: ``q_len`` and ``nodes`` are 1."""
    for name in ("q_len", "nodes"):
        sizes[name][np.isnan(sizes[name])] = 1.0


def faults_of(words: Words, cells: Mapping[str, Sequence[str]], sizes: Mapping[str, Floats]) -> Words:
    """Why rows cannot be predicted whatever the device, "" where they can; shape [n].

    Args:
        words: what the ``op`` column says.
        cells: the text of every column of ``SIZES``, "device" and "measured_s".
        sizes: the numbers of these columns (not of "device"), NaN where there is none.
    """
    reasons: Words = np.full(len(words), "", object)

    def fault(bad: Truths, reason: Callable[[int], str]) -> None:
        for i in np.flatnonzero(bad & (reasons == "")).tolist():
            reasons[i] = reason(i)

    measured = cells["measured_s"]
    fault(~(sizes["measured_s"] > 0.0), lambda i: wrong("measured_s", measured[i], "a positive number"))
    possible = (sizes["measured_s"] >= LEAST_MEASURED) & (sizes["measured_s"] <= MOST_MEASURED)
    range_s = f"from {LEAST_MEASURED:.0e} to {MOST_MEASURED:.0e}"
    fault(~possible, lambda i: wrong("measured_s", measured[i], range_s))
    fault(np.array(cells["device"], object) == "", lambda i: "device missing")
    fault(~np.isin(words, list(NEEDS)), lambda i: _unknown(words[i]))
    for word, needs in NEEDS.items():
        here = words == word
        for name in needs if here.any() else ():
            most = MOST.get(name, LARGEST)
            allowed, usable = f"from 1 to {most:.0e}", (sizes[name] >= 1.0) & (sizes[name] <= most)
            fault(here & ~usable, partial(_wrong_cell, name, cells[name], allowed))
        for name in sorted(COUNTS & {*needs, "nodes"}):
            fraction = sizes[name] != np.round(sizes[name])
            fault(here & fraction, partial(_wrong_cell, name, cells[name], "a whole number"))
    context = np.isin(words, [word for word, needs in NEEDS.items() if "kv_len" in needs])
    fault(context & (sizes["kv_len"] < sizes["q_len"]), lambda i: "kv_len below q_len")
    latent = np.isin(words, ["mla_prefill", "mla_decode"])
    fault(latent & (sizes["head_dim"] <= MLA_ROPE_DIM), lambda i: f"head_dim of MLA: must be above {MLA_ROPE_DIM:.0f}")
    return reasons


def _wrong_cell(name: str, texts: Sequence[str], allowed: str, row: int) -> str:
    return wrong(name, texts[row], allowed)


def wrong(name: str, text: str, allowed: str) -> str:
    """What is wrong with a cell."""
    return f"{name} {clipped(text)!r}: must be {allowed}" if text else f"{name} missing"


def _unknown(word: str) -> str:
    if not word:
        return "op missing"
    close = nearest(word, NEEDS, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown op {clipped(word)!r}{hint}"
