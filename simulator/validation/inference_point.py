"""From the cells of an inference row to the configuration that is simulated.

A first-token row needs no output length; a decode row without one, or of one token, is a single step. An input length
of 0 is an empty context: the first token is there and all ``output_len`` tokens are decode steps. A saturated engine
runs as many sequences as fit. Devices beyond the stated ways hold layers one after another, as llama.cpp splits them
over cards and sockets.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from hardware_specs.designs import design_for
from hardware_specs.devices import load_device
from simulator.scenario import Formats, Plan
from simulator.validation.cells import MOST_DEVICES, Row, Unpredictable, mean, measured_value, number, whole
from simulator.validation.weights import PLAIN, dtype_on, weight_format
from workloads.formats import load_format

METRICS: Final = (
    "ttft_s", "tpot_s", "e2e_s", "decode_tokens_per_s", "prefill_tokens_per_s", "output_tokens_per_s",
    "total_tokens_per_s", "j_per_output_token",
)  # fmt: skip
PROMPT_METRICS: Final = ("ttft_s", "prefill_tokens_per_s")
DECODE_METRICS: Final = ("tpot_s", "decode_tokens_per_s")

WHAT_FITS: Final = 0
NO_LIMIT: Final = math.inf


class Limits(NamedTuple):
    """What bounds the batch of a server beside its memory: the most sequences of a replica that its scheduler runs, the
    longest time between two tokens of a sequence [s], and the requests that arrive [1/s]; ``requests`` is how many
    there are in all (0: without end)."""

    batch: float = NO_LIMIT
    token_s: float = NO_LIMIT
    requests_per_s: float = NO_LIMIT
    requests: int = 0

    @property
    def serves(self) -> bool:
        """Whether requests come and go, so that prompts of some delay the tokens of others."""
        return self.token_s < NO_LIMIT or self.requests_per_s < NO_LIMIT


class Point(NamedTuple):
    """One configuration; equal points have equal predictions. A ``batch`` of ``WHAT_FITS`` stands for the largest that
    the memory holds and ``limits`` allow."""

    model: str
    device: str
    batch: int
    isl: int
    osl: int
    plan: Plan
    runtime: str
    formats: Formats
    limits: Limits = Limits()
    threads: int = 0
    """Cores of each CPU that the software uses; 0: all."""


def point_of(row: Row, device: str, runtime: str) -> Point:
    """The configuration of a row; an FPGA runs the design that the row's engine names.

    Raises:
        Unpredictable: batch or length unpublished, or no number.
        UnknownName: an unknown number format.
    """
    if row.get("batch"):
        batch, limits = mean(row, "batch", 1), Limits()
    elif row.get("batch_kind") == "saturated" or row.get("request_rate") or row.get("max_tpot_s"):
        batch, limits = WHAT_FITS, limits_of(row)
    else:
        raise Unpredictable("batch unpublished")
    isl, osl = _lengths(row)
    device = design_for(device, row.get("engine", ""))
    dtype, weights = weight_format(row.get("weight_dtype", ""), number(row, "weight_bytes_per_param"))
    dtype = dtype_on(load_device(device), dtype, weights)
    kv = row.get("kv_dtype", "")
    kv = "" if kv.lower() in ("", *PLAIN) else load_format(kv).id
    plan = plan_of(row)
    threads = whole(row, "threads", 0) // plan.devices if row.get("threads") else 0
    return Point(row["model"], device, batch, isl, osl, plan, runtime, Formats(dtype, weights, kv), limits, threads)


def limits_of(row: Row) -> Limits:
    """What bounds the batch of a row that states none.

    Raises:
        Unpredictable: a cell that is no positive number.
    """
    most = float(whole(row, "max_batch", 0)) if row.get("max_batch") else NO_LIMIT
    interval, rate = (
        measured_value(row, name) if row.get(name) else NO_LIMIT for name in ("max_tpot_s", "request_rate")
    )
    return Limits(most, interval, rate, whole(row, "requests", 0) if row.get("requests") else 0)


def plan_of(row: Row) -> Plan:
    """How the devices share the work: as stated; the first of tp, pp, dp that is not takes the rest of the devices.

    Raises:
        Unpredictable: the stated ways do not multiply to the devices, or do not divide them.
    """
    count = whole(row, "n_devices", 1, MOST_DEVICES)
    ways = {name: whole(row, name, 1, MOST_DEVICES) for name in ("tp", "pp", "dp")}
    open_ways = [name for name in ways if not row.get(name)]
    if open_ways:
        stated = math.prod(ways[name] for name in ways if name not in open_ways)
        ways[open_ways[0]] = max(count // stated, 1)
    if math.prod(ways.values()) != count:
        words = " x ".join(f"{name} {value}" for name, value in ways.items())
        raise Unpredictable(f"{words} are not the {count} devices")
    return Plan(ways["tp"], ways["pp"], ways["dp"], whole(row, "ep", 1, MOST_DEVICES))


def _lengths(row: Row) -> tuple[int, int]:
    """Prompt and answer tokens of a row."""
    isl, osl = number(row, "input_len"), number(row, "output_len")
    if isl is None:
        raise Unpredictable("input length unpublished")
    if row["metric"] in PROMPT_METRICS and not osl:
        osl = 1.0
    if row["metric"] in DECODE_METRICS and (not osl or osl == 1.0 or not isl):
        osl = (osl or 1.0) + 1.0
    if not osl:
        raise Unpredictable("output length unpublished")
    return max(round(isl), 1), max(round(osl), 1)
