"""What is assumed of a row that does not state what its prediction needs.

An assumption fills cells of the row, says so in words, and names other values that are as plausible. Pricing the row at
these shows how much hangs on it: the interval widens by that. What is assumed is common practice or documented of what
the row names, never what would make its prediction right:

- lengths: means of the set of prompts that the row names, see ``requests``; else usual ones by metric
- batch: of a rate or throughput what fits and the scheduler allows, of a latency one sequence
- loading: where watts of a whole process stand behind joules, the rate at which its weights were loaded
- format of weights: that of the checkpoint, or the engine's usual one
- layout, where entrants of a benchmark tune it: replicas as small as leave a third of their memory to the cache
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from hardware_specs.records import DeviceSpec
from simulator.devices.priors import is_sram_resident
from simulator.formats import precision_of
from simulator.memory import weight_bytes
from simulator.scenario import Formats
from simulator.uncertainty.intervals import Z80
from simulator.validation import logged_power
from simulator.validation.cells import Row, number, whole
from simulator.validation.inference_point import DECODE_METRICS, PROMPT_METRICS
from simulator.validation.one_pool import Models, experts_of, model_of
from simulator.validation.requests import (
    GENERATION,
    SHORT_CONTEXT,
    UNKNOWN,
    USUAL_PROMPT,
    Requests,
    arrivals_in,
    interval_limit_s,
    is_tuned,
    limit_in,
    requests_in,
    requests_named,
    threads_in,
)
from simulator.validation.weights import dtype_on, format_named
from workloads.lowering.plan import Sharding
from workloads.models.architecture import Architecture
from workloads.runtimes.record import Runtime

Cells = Mapping[str, str]


class Assumption(NamedTuple):
    """One thing that is assumed: the column that stands for it, in words what was taken, and the cells that say so.

    ``others`` are cells with values as plausible, ``batches`` factors on the batch that are. ``log_sd`` is the standard
    deviation of the log error where neither can say it.
    """

    column: str
    words: str
    cells: Cells
    others: tuple[Cells, ...] = ()
    batches: tuple[float, ...] = ()
    log_sd: float = 0.0


ENGINES: Final = {"llamacpp": "q4_0", "ik-llamacpp": "q4_0", "npu-edge": "int4_g32", "mlx": "int4_g64"}
"""Weights that people run under engines for personal devices: Q4_0 is the format of the boards of llama.cpp, 4 bits in
groups of 32 that of FastFlowLM (Q4NX) and other edge NPUs, groups of 64 the default of mlx_lm.convert."""

SCHEDULERS: Final = {"vllm": 256, "openvino": 256, "llamacpp": 1, "ik-llamacpp": 1, "mlx": 1}
"""Sequences that a scheduler runs at a time unless it is told otherwise: ``max_num_seqs`` of vLLM (engine arguments)
and of OpenVINO Model Server (parameters of LLM calculators), ``--parallel`` of the server of llama.cpp."""
LARGE_VLLM, LARGE_MEMORY_BYTES = 1024, 70 * 2**30
"""vLLM from 0.8.3 on takes 1024 on devices of at least so much memory (its default of usage contexts)."""
SMALL_VLLM: Final = ("vllm-2023", "vllm-0.6", "vllm-rocm-2024", "vllm-xpu")

ONE_BY_ONE: Final = ("tt-metal",)
"""Engines that prefill users one after the other and report the first token of one (tt_transformers, PERF.md)."""

ENERGY_METRIC: Final = "j_per_output_token"
GENERATING: Final = ("llamacpp", "ik-llamacpp", "t-mac")
"""Engines whose benchmark generates from an empty context, and whose watts are divided by that rate."""

PADS_PROMPTS: Final = ("optimum-neuron",)
COMPILED: Final = Requests("what its programs are compiled for", "", 4096, UNKNOWN.osl, 2.0, "usual sequence_length")
"""Programs of a fixed length take every prompt at it."""

SPATIAL_GROUP: Final = 8
"""Chips of a group that shares a layer where weights stay in SRAM (a node of LPUs); layers follow over the groups."""

CACHE_PART: Final = 1.0 / 3.0
"""Part of a replica's memory that a tuned layout leaves to the cache at the least."""
CAPPED: Final = ("max", "max_concurrency", "max_num_seqs")
"""Kinds of a batch that is the most at a time: it is taken, and half of it is as plausible."""
A_USER: Final = "per-user stream"


def complete(
    row: Row, spec: DeviceSpec, runtime: Runtime, models: Models
) -> tuple[dict[str, str], tuple[Assumption, ...]]:
    """``row`` with cells for all that its prediction needs, and what was assumed for that; each may rest on those
    before.

    Raises:
        InputError: an unknown model or format, or a cell that is no number.
    """
    model = model_of(row.get("model", ""), models)
    cells = in_words(row)
    if spec.device_class == "cpu":
        cells["threads"] = row.get("threads") or threads_in(text_of(row))
    found: tuple[Assumption, ...] = ()
    for step in (_attention, _weights, _cache, _lengths, _batch, _layout, _experts, _loading):
        new = step(cells, spec, runtime, model)
        found += tuple(new)
        for each in new:
            cells |= each.cells
    return cells, found


def added_sd(found: Iterable[Assumption], predicted: float, others: Callable[[Assumption], Iterable[float]]) -> float:
    """Standard deviation of the log error by assumptions, which are independent of each other.

    The spread of ``predicted`` and of the predictions that are as plausible counts as an 80% range.

    Args:
        others: predictions at the other values of an assumption.
    """
    variance = 0.0
    for each in found:
        values = [predicted, *others(each)]
        sd = math.log(max(values) / min(values)) / (2.0 * Z80) if len(values) > 1 else each.log_sd
        variance += sd * sd
    return math.sqrt(variance)


def in_words(row: Row) -> dict[str, str]:
    """``row`` with what its words state in cells of their own: arrivals and their number, the scheduler's limit, and
    the limit on the time per token of a benchmark."""
    text, cells = text_of(row), dict(row)
    if not row.get("batch"):
        rate, most, limit = arrivals_in(text), limit_in(text), interval_limit_s(text)
        if rate == "inf":
            cells["batch_kind"] = "saturated"
        elif rate:
            cells["request_rate"] = row.get("request_rate") or rate
        requests = requests_in(text, number(row, "input_len"), number(row, "output_len"))
        if requests:
            cells["requests"] = row.get("requests") or requests
        if most:
            cells["max_batch"] = row.get("max_batch") or most
        if limit:
            cells["max_tpot_s"] = row.get("max_tpot_s") or f"{limit:g}"
    return cells


def text_of(row: Row) -> str:
    """What a row says in words."""
    return " ".join(filter(None, (row.get("note"), row.get("engine"), row.get("source"))))


def _attention(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    """Ways of a model with experts whose row says that attention is data parallel ("attention DP for MoE"): each device
    holds all of attention and its own sequences, and as many experts as the others. Nothing is assumed by that."""
    tp, experts = whole(row, "tp", 1), experts_of(model)
    if tp > 1 and experts and "attention dp" in text_of(row).lower() and not row.get("ep") and not row.get("dp"):
        cells = {"tp": "1", "dp": str(tp), "ep": str(tp)}
        words = f"attention of {tp} data parallel ways, experts over them"
        return [Assumption("tp", words, cells, (dict.fromkeys(("dp", "ep"), "1") | {"tp": str(tp)},))]
    return []


def _weights(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    stated = row.get("weight_dtype", "")
    if stated == "w2" and runtime.id.startswith("llamacpp"):
        words = "q2_k for 'w2', the one of llama.cpp's formats of 2 bits that has no codebook"
        return [Assumption("weight_dtype", words, {"weight_dtype": "q2_k"})]
    if stated:
        named = format_named(stated, number(row, "weight_bytes_per_param"))
        found = []
        if named.guessed:
            others = tuple({"weight_dtype": name} for name in named.others)
            cells = {"weight_dtype": named.weights}
            found.append(Assumption("weight_dtype", f"{named.weights} for {stated!r}", cells, others, log_sd=0.1))
        native = dtype_on(spec, named.dtype, named.weights)
        if native != named.dtype:
            found.append(Assumption("dtype", f"math in {native}: {spec.id} has no 16-bit units", {}, log_sd=0.1))
        return found
    taken, why, other = _usual_weights(row, spec, runtime, model)
    return [
        Assumption("weight_dtype", f"weights in {taken} ({why})", {"weight_dtype": taken}, ({"weight_dtype": other},))
    ]


def _usual_weights(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> tuple[str, str, str]:
    """The format of unstated weights, why it is taken, and the one that is nearly as plausible."""
    if is_tuned(text_of(row)):
        narrow = [name for name in ("fp4", "fp8", "int8") if name in spec.compute.peaks]
        if narrow:
            return narrow[0], "the narrowest that the device multiplies", narrow[min(1, len(narrow) - 1)]
    if model.quantization:
        return model.quantization, "as the checkpoint", "bf16"
    engine = next((name for name in ENGINES if runtime.id.startswith(name)), "")
    if engine:
        return ENGINES[engine], "the engine's usual", "q8_0"
    return "bf16", "as the checkpoint", "int8_wo"


def _cache(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    """Entrants of a tuned benchmark keep the cache in fp8 where weights are as narrow or narrower."""
    narrow = row.get("weight_dtype", "") in ("fp8", "fp4", "mxfp4")
    if row.get("kv_dtype") or not narrow or not is_tuned(text_of(row)) or "fp8" not in spec.compute.peaks:
        return []
    return [Assumption("kv_dtype", "cache in fp8", {"kv_dtype": "fp8"}, ({"kv_dtype": "bf16"},))]


def _lengths(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    metric = row.get("metric", "")
    named = requests_named(text_of(row), model.id) or _unnamed(metric, runtime)
    if runtime.id.startswith(PADS_PROMPTS) and not row.get("input_len"):
        named = COMPILED
    found = []
    if not row.get("input_len"):
        found.append(_length("input_len", named.isl, named, row))
    serves = not row.get("batch") and (row.get("request_rate") or row.get("max_tpot_s"))
    if not number(row, "output_len") and (serves or metric not in (*PROMPT_METRICS, *DECODE_METRICS)):
        found.append(_length("output_len", named.osl, named, row))
    return found


def _unnamed(metric: str, runtime: Runtime) -> Requests:
    if metric == ENERGY_METRIC and runtime.id.startswith(GENERATING):
        return GENERATION
    return USUAL_PROMPT if metric in PROMPT_METRICS else SHORT_CONTEXT if metric in DECODE_METRICS else UNKNOWN


def _length(column: str, tokens: int, named: Requests, row: Row) -> Assumption:
    others = tuple({column: f"{max(tokens * factor, 1.0):.0f}"} for factor in (1.0 / named.spread, named.spread))
    words = f"{column} {tokens} ({named.name})"
    return Assumption(column, words, {column: str(tokens)}, others)


def _loading(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    """How fast weights were loaded while the watts behind a row's joules were logged."""
    if row.get("metric") != ENERGY_METRIC or not logged_power.is_logged_whole(row):
        return []
    rate, *others = (
        {logged_power.RATE: f"{each:g}"} for each in (logged_power.LOADED_BYTES_PER_S, *logged_power.LOADING_RATES)
    )
    words = f"weights loaded at {logged_power.LOADED_BYTES_PER_S / 1e9:g} GB/s within what was logged"
    return [Assumption("energy_scope", words, rate, tuple(others))]


def _batch(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    kind = row.get("batch_kind", "")
    if row.get("batch"):
        alone = "per user" in text_of(row) or runtime.id.startswith(ONE_BY_ONE)
        if row.get("metric") == "ttft_s" and alone and row["batch"] not in ("1", "1.0"):
            return [Assumption("batch", "batch 1, prompts one after another", {"batch": "1"})]
        if kind in CAPPED:
            return [Assumption("batch", f"batch {row['batch']}, the {kind}", {}, batches=(0.5,))]
        return [Assumption("batch", "batch 1, one user alone", {}, batches=(16.0,))] if kind == A_USER else []
    if row.get("max_tpot_s"):
        words = f"batch the largest of {float(row['max_tpot_s']) * 1e3:g} ms a token"
        return [Assumption("batch", words, {}, batches=(0.5, 2.0))]
    most = "" if row.get("max_batch") or is_tuned(text_of(row)) else _usual_most(spec, runtime)
    limit = {"max_batch": most} if most else {}
    upto = f", at most {most} (the scheduler's usual)" if most else ""
    if row.get("request_rate"):
        words = f"batch what {row['request_rate']} requests/s keep in flight{upto}"
        return [Assumption("batch", words, limit)] if most else []
    if kind == "saturated":
        return [Assumption("batch", f"batch what fits{upto}", limit, batches=(0.5, 2.0))] if most else []
    if row.get("metric") in ("ttft_s", "tpot_s", "e2e_s"):
        return [Assumption("batch", "batch 1", {"batch": "1"}, batches=(16.0,))]
    cells = {"batch_kind": "saturated", **limit}
    return [Assumption("batch", f"batch what fits{upto}", cells, batches=(0.5, 2.0))]


def _usual_most(spec: DeviceSpec, runtime: Runtime) -> str:
    """The most sequences that the scheduler runs unless it is told otherwise; "" for no limit."""
    if runtime.id.startswith("vllm") and not runtime.id.startswith(SMALL_VLLM):
        return str(LARGE_VLLM if spec.usable_bytes >= LARGE_MEMORY_BYTES else SCHEDULERS["vllm"])
    return next((str(most) for name, most in SCHEDULERS.items() if runtime.id.startswith(name)), "")


def _layout(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    """The number of devices and how they share the work, where that is not stated or not stated of devices."""
    count, tp, dp = (whole(row, name, 1) for name in ("n_devices", "tp", "dp"))
    chips = int(spec.compute.units.value) if spec.compute.unit_name == "chips" and spec.compute.units else 1
    if chips > 1 and tp * dp == count * chips:
        share = math.gcd(tp, chips)
        cells = {"tp": str(tp // share), "dp": str(dp * share // chips)}
        return [Assumption("tp", f"ways of whole cards of {chips} chips", cells, log_sd=0.1)]
    if not row.get("n_devices") and tp * dp == 1:
        need = _least_devices(row, spec, runtime, model, 0.0)
        heads = max((group.attention.heads for group in model.groups if group.attention), default=1)
        cut = math.gcd(need, heads)
        if is_sram_resident(spec):
            least = -(-need // model.layers)
            cut = math.gcd(cut, max(SPATIAL_GROUP, 1 << (least - 1).bit_length()))
        cells = {"n_devices": str(need), "tp": str(cut), "pp": str(need // cut), "dp": "1"}
        words = f"{need} devices, the fewest that hold it"
        return [Assumption("n_devices", words, cells, log_sd=0.3)] if need > 1 else []
    stated = any(row.get(name) for name in ("tp", "pp", "dp"))
    if count > 1 and not stated and is_sram_resident(spec):
        cells = {"tp": "1", "pp": str(count), "dp": "1"}
        return [Assumption("tp", f"layers over {count} chips", cells, ({"tp": str(count), "pp": "1"},))]
    group = count if stated or not is_tuned(text_of(row)) else _least_devices(row, spec, runtime, model, CACHE_PART)
    if group < count and count % group == 0:
        cells, one = {"tp": str(group), "pp": "1", "dp": str(count // group)}, {"tp": str(count), "dp": "1"}
        return [Assumption("tp", f"replicas of {group}", cells, (one,))]
    return []


def _experts(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture) -> list[Assumption]:
    """Servers with more devices than experts divide over keep some experts twice (DeepSeek-V3, arXiv:2412.19437,
    section 3.4.1)."""
    ep, held = whole(row, "ep", 1), experts_of(model)
    if held % ep == 0:
        return []
    return [Assumption("ep", f"{-(-held // ep) * ep} experts held for {held}", {}, log_sd=0.1)]


def _least_devices(row: Row, spec: DeviceSpec, runtime: Runtime, model: Architecture, spare: float) -> int:
    """Devices of the smallest replica, a power of two, whose weights leave the part ``spare`` of the memory."""
    named = format_named(row["weight_dtype"], number(row, "weight_bytes_per_param"))
    precision = precision_of(Formats(dtype_on(spec, named.dtype, named.weights), named.weights), spec)
    usable = spec.usable_bytes * runtime.memory_utilisation.value * (1.0 - spare)
    return 1 << max(math.ceil(math.log2(weight_bytes(model, precision, Sharding()) / usable)), 0)
