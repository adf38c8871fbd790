"""Powers that were logged from the start of a process to its end: weights are loaded first, then runs follow.

A logger that is started before llama-bench averages over both: of ``runs`` equal runs of t seconds behind L seconds of
loading, in which the device rests, it says::

    P = (L rest + runs t P_run) / (L + runs t)

Source: llm-bench/llama-cpp-bencher.py of lhl/strix-halo-testing (class SensorWatcher, read every 0.2 s); llama-bench
runs five times by default, and a prompt once more before. Weights of GLM-4.5-Air, 73 GB, take 28 s to load there (19 to
45): the seconds of a process less those of its runs (results.jsonl of that model).
"""

from __future__ import annotations

from typing import Final

from simulator.validation.cells import Row

SCOPE: Final = "(as logged)"
"""How the scope of such a power ends."""
PROMPT_RUNS, GENERATION_RUNS = 6.0, 5.0
LOADED_BYTES_PER_S: Final = 2.6e9
LOADING_RATES: Final = (1.3e9, 5.2e9)
"""Rates as plausible [B/s]: from a disk, and from the page cache that a run before has filled."""
RATE: Final = "loading_rate"
"""The cell of a row that holds the rate."""


def is_logged_whole(row: Row) -> bool:
    """Whether the power or joules of a row are of such a log."""
    return row.get("energy_scope", "").endswith(SCOPE)


def loading_share(weight_bytes: float, run_s: float, runs: float, bytes_per_s: float = LOADED_BYTES_PER_S) -> float:
    """Share of a log in which weights are loaded, in [0, 1]; 0 of a log without time."""
    loading_s = weight_bytes / bytes_per_s
    return loading_s / (loading_s + runs * run_s) if loading_s > 0.0 else 0.0


def logged_w(run_w: float, rest_w: float, share: float) -> float:
    """What a log says that is loading, at rest, for ``share`` of its time [W]."""
    return share * rest_w + (1.0 - share) * run_w
