"""Design spaces whose true front is known, since all their points are simulated: ten to judge search, five to tune it.

The ten of ``JUDGED`` were written down before any search was run on them. Whatever is chosen about search (its method,
its constants) is chosen on ``TUNING`` alone, which has other models, mixes of devices and bounds.

A search is judged by the share of the true front's hypervolume that it has after 5% of the evaluations, infeasible
ones counted. The reference point is the worst of the true front in each objective and a tenth of the front's range
beyond that. The share is taken on the scale of the objectives (logarithms: equal ratios count the same) and again on
plain values; the smaller of the two counts, and the aim is 99%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardware_specs.errors import DoesNotFit, InputError
from silicost.scenarios import inference_scenario
from simulator.explore.objectives import Constraint, Objective
from simulator.explore.space import Axis, Range, Space
from simulator.simulate import simulate
from workloads.models.parameters import count_parameters

METRICS = (
    "ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "tokens_per_s_per_device", "j_per_output_token",
    "usd_per_million_output_tokens",
)  # fmt: skip
"""What is kept of every result; ``derived`` adds to it."""
DERIVED = ("memory_share", "power_w", "usd_per_h", "parameters", "prompt_tokens")
COLUMNS = (*METRICS, *DERIVED, "fits", "feasible")

TPOT = Objective("tpot_s", "lower")
TTFT = Objective("ttft_s", "lower")
USD = Objective("usd_per_million_output_tokens", "lower")
JOULES = Objective("j_per_output_token", "lower")
THROUGHPUT = Objective("output_tokens_per_s", "higher")
PER_DEVICE = Objective("tokens_per_s_per_device", "higher")
FITS = Constraint("memory_share", "<=", 1.0)


@dataclass(frozen=True)
class Case:
    """A space, what is sought in it, and what all its points have in common (the flags of a scenario)."""

    name: str
    about: str
    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    common: tuple[tuple[str, Any], ...] = ()


def powers(first: int, last: int) -> tuple[int, ...]:
    """Powers of two from ``first`` to ``last``, both included."""
    return tuple(first << place for place in range((last // first).bit_length()))


def halves(first: int, last: int) -> tuple[int, ...]:
    """As ``powers``, with a step of sqrt(2), rounded."""
    steps = range(2 * (last // first).bit_length() - 1)
    return tuple(dict.fromkeys(round(first * 2.0 ** (step / 2.0)) for step in steps))


def one(name: str, *values: Any) -> Axis:
    """An axis of one name."""
    return Axis((name,), tuple((value,) for value in values))


def formats(*choices: tuple[str, str]) -> Axis:
    """Compute dtype and storage format of the weights, which vary together."""
    return Axis(("dtype", "weight_dtype"), choices)


PRICED_GPUS = (
    "a100-pcie-80gb", "a100-sxm-40gb", "a100-sxm-80gb", "a10g", "b200-sxm", "gb200", "h100-nvl-94gb", "h100-pcie-80gb",
    "h100-sxm-80gb", "h200-sxm-141gb", "h800-sxm-80gb", "l4", "l40", "l40s", "mi300x", "rtx-3090", "rtx-4090",
    "rtx-5090", "rtx-6000-ada", "rtx-a6000", "rtx-pro-6000-server", "t4", "v100-pcie-16gb", "v100-sxm-32gb",
)  # fmt: skip
DATACENTRE = (
    "a100-sxm-40gb", "a100-sxm-80gb", "b200-sxm", "b300-sxm", "gb200", "h100-nvl-94gb", "h100-pcie-80gb",
    "h100-sxm-80gb", "h200-sxm-141gb", "h800-sxm-80gb", "l40s", "mi300x",
)  # fmt: skip
ALL_CLASSES = (
    "xeon-8488c", "xeon-6980p", "epyc-9755", "graviton4", "a100-sxm-80gb", "b200-sxm", "h100-sxm-80gb", "l4", "l40s",
    "mi300x", "rtx-4090", "rtx-5090", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "alveo-u55c", "alveo-v80",
    "vu47p-aws-f2", "gaudi-2", "gaudi-3", "inferentia2", "trainium1", "trainium2",
)  # fmt: skip
AT_HOME = (
    "rtx-3060", "rtx-3070", "rtx-3080", "rtx-3090", "rtx-4060-ti", "rtx-4070", "rtx-4070-ti-super", "rtx-4080",
    "rtx-4090", "rtx-5070", "rtx-5080", "rtx-5090", "apple-m1-max", "apple-m2-max", "apple-m2-ultra", "apple-m3-max",
    "apple-m3-ultra", "apple-m4", "apple-m4-max", "apple-m4-pro", "arc-b580", "arc-a770-16gb", "rx-7900-xtx",
    "rx-6800-xt", "ryzen-ai-max-395", "gb10-dgx-spark", "jetson-agx-orin-64gb", "jetson-agx-thor-128gb",
)  # fmt: skip
GGUF = ("q2_k", "q3_k_m", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "q8_0", "iq2_xs", "iq3_xs", "iq4_xs", "bf16")

JUDGED: tuple[Case, ...] = (
    Case(
        "gpus", "8B chat on rented GPUs: speed against price",
        Space((
            one("device", *PRICED_GPUS), one("tp", 1, 2, 4, 8),
            formats(("bf16", "bf16"), ("bf16", "int4"), ("bf16", "int8_wo"), ("fp8", "fp8")),
            one("kv_dtype", "bf16", "fp8"), one("batch", *powers(1, 512)),
        )),
        (TPOT, USD), (), (("model", "llama-3.1-8b"), ("isl", 1024), ("osl", 256)),
    ),
    Case(
        "dense-slo", "70B under a TPOT of 50 ms, in memory: first token against price",
        Space((
            one("device", *DATACENTRE), one("tp", 1, 2, 4, 8), one("pp", 1, 2),
            formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")), one("kv_dtype", "bf16", "fp8"),
            one("batch", *powers(1, 256)),
        )),
        (TTFT, USD), (Constraint("tpot_s", "<=", 0.05), FITS),
        (("model", "llama-3.3-70b"), ("isl", 2048), ("osl", 512)),
    ),
    Case(
        "classes", "8B on CPUs, GPUs, TPUs, FPGAs and ASICs: speed, price, energy",
        Space((
            one("device", *ALL_CLASSES), one("tp", 1, 2, 4, 8),
            formats(("bf16", "bf16"), ("bf16", "int8_wo"), ("bf16", "int4"), ("fp8", "fp8")),
            one("batch", *powers(1, 128)),
        )),
        (TPOT, USD, JOULES), (), (("model", "llama-3.1-8b"), ("isl", 512), ("osl", 256)),
    ),
    Case(
        "power", "32B within 4 kW, in memory: throughput against speed",
        Space((
            one("device", *DATACENTRE, "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"), one("tp", 1, 2, 4, 8),
            formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")), one("kv_dtype", "bf16", "fp8"),
            one("batch", *halves(1, 256)),
        )),
        (THROUGHPUT, TPOT), (Constraint("power_w", "<=", 4000.0), FITS),
        (("model", "qwen2.5-32b"), ("isl", 1024), ("osl", 512)),
    ),
    Case(
        "experts-budget", "a mixture of experts for at most 60 USD/h, in memory: throughput against speed",
        Space((
            one("device", "a100-sxm-80gb", "b200-sxm", "h100-sxm-80gb", "h200-sxm-141gb", "h800-sxm-80gb", "mi300x"),
            one("tp", 1, 2, 4, 8), one("pp", 1, 2, 4), one("dp", 1, 2), one("ep", 1, 2, 4, 8),
            formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")), one("batch", *powers(2, 512)),
        )),
        (THROUGHPUT, TPOT), (Constraint("usd_per_h", "<=", 60.0), FITS),
        (("model", "qwen3-235b-a22b"), ("isl", 1024), ("osl", 512)),
    ),
    Case(
        "accelerator", "an accelerator between 1 and 8 TB/s, 100 and 2000 TFLOP/s: latency against price",
        Space((
            Range("bandwidth_100gb_per_s", 10, 80, whole=True), Range("peak_10tflops", 10, 200, log=True, whole=True),
            one("batch", 16),
        )),
        (Objective("e2e_s", "lower"), USD), (),
        (("model", "llama-3.1-8b"), ("device", "h100-sxm-80gb"), ("isl", 2048), ("osl", 256)),
    ),
    Case(
        "prompts", "the longest prompts for the least money",
        Space((
            one("isl", *halves(1024, 131072)), one("device", *DATACENTRE), one("tp", 1, 2, 4, 8),
            one("kv_dtype", "bf16", "fp8"), one("batch", 1, 2, 4, 8, 16, 32),
        )),
        (Objective("prompt_tokens", "higher"), USD), (), (("model", "llama-3.1-70b"), ("osl", 256)),
    ),
    Case(
        "home", "7B at home: speed against energy",
        Space((
            one("device", *AT_HOME), one("count", 1, 2), one("weight_dtype", *GGUF), one("batch", 1, 2, 4, 8, 16),
        )),
        (TPOT, JOULES), (), (("model", "qwen2.5-7b"), ("isl", 512), ("osl", 256)),
    ),
    Case(
        "model-size", "the largest model, the fastest, the cheapest",
        Space((
            one("model", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b", "qwen2.5-14b", "qwen2.5-32b",
                "qwen2.5-72b"),
            one("device", *DATACENTRE), one("tp", 1, 2, 4, 8),
            formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")), one("batch", *powers(1, 256)),
        )),
        (Objective("parameters", "higher"), TPOT, USD), (), (("isl", 1024), ("osl", 256)),
    ),
    Case(
        "large", "405B cut in many ways: throughput per device against speed",
        Space((
            one("device", *DATACENTRE), one("tp", 1, 2, 4, 8), one("pp", 1, 2, 4, 8), one("dp", 1, 2),
            formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")), one("kv_dtype", "bf16", "fp8"),
            one("batch", *halves(2, 512)),
        )),
        (PER_DEVICE, TPOT), (), (("model", "llama-3.1-405b"), ("isl", 2048), ("osl", 512)),
    ),
)  # fmt: skip
"""Fixed before search was tuned: one over device classes, three with constraints, one of fine steps of hardware."""

TUNING: tuple[Case, ...] = (
    Case(
        "tune-gpus", "13B on GPUs: price against speed",
        Space((
            one("device", "a100-pcie-80gb", "a10g", "b200-sxm", "h100-pcie-80gb", "h200-sxm-141gb", "l4", "l40",
                "mi300x", "p100-pcie-16gb", "rtx-3090", "rtx-4090", "rtx-a6000", "t4", "v100-sxm-32gb"),
            one("tp", 1, 2, 4, 8), formats(("fp16", "fp16"), ("fp16", "int4"), ("int8", "int8"), ("fp8", "fp8")),
            one("batch", *halves(1, 256)),
        )),
        (TPOT, USD), (), (("model", "llama-2-13b"), ("isl", 512), ("osl", 128)),
    ),
    Case(
        "tune-classes", "7B on all classes: speed, price, energy",
        Space((
            one("device", "xeon-8592-plus", "epyc-9654", "graviton3", "a100-sxm-40gb", "h200-sxm-141gb", "a10g",
                "rtx-3090", "rx-7900-xtx", "tpu-v3", "tpu-v5e", "tpu-v6e", "alveo-u280", "alveo-v80", "gaudi-1",
                "gaudi-3", "trainium2", "wormhole-n300"),
            one("tp", 1, 2, 4, 8), formats(("bf16", "bf16"), ("bf16", "int8_wo"), ("bf16", "int4"), ("fp8", "fp8")),
            one("batch", *powers(1, 256)),
        )),
        (TPOT, USD, JOULES), (), (("model", "mistral-7b"), ("isl", 1024), ("osl", 128)),
    ),
    Case(
        "tune-experts", "a smaller mixture of experts within 3 kW and 20 ms, in memory: price against throughput",
        Space((
            one("device", "a100-sxm-40gb", "a100-sxm-80gb", "b200-sxm", "h100-nvl-94gb", "h200-sxm-141gb", "l40s",
                "mi300x", "rtx-5090"),
            one("tp", 1, 2, 4, 8), one("pp", 1, 2), one("ep", 1, 2, 4),
            formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")), one("batch", *powers(1, 256)),
        )),
        (USD, THROUGHPUT), (Constraint("power_w", "<=", 3000.0), Constraint("tpot_s", "<=", 0.02), FITS),
        (("model", "qwen3-30b-a3b"), ("isl", 2048), ("osl", 256)),
    ),
    Case(
        "tune-accelerator", "an accelerator in fine steps, with its batch: speed against price",
        Space((
            Range("bandwidth_100gb_per_s", 5, 60, whole=True), Range("peak_10tflops", 5, 100, whole=True),
            one("batch", 4, 32),
        )),
        (TTFT, USD), (), (("model", "mistral-7b"), ("device", "a100-sxm-80gb"), ("isl", 1024), ("osl", 256)),
    ),
    Case(
        "tune-models", "the largest model, the least energy, the fastest first token, in memory",
        Space((
            one("model", "gemma-2-2b", "gemma-2-9b", "gemma-2-27b", "gemma-3-1b", "gemma-3-4b", "gemma-3-12b",
                "gemma-3-27b"),
            one("device", "a100-sxm-40gb", "b200-sxm", "h100-pcie-80gb", "l4", "l40s", "mi300x", "tpu-v5e", "tpu-v6e"),
            one("tp", 1, 2, 4), formats(("bf16", "bf16"), ("fp8", "fp8"), ("bf16", "int4")),
            one("batch", *halves(1, 128)),
        )),
        (Objective("parameters", "higher"), JOULES, TTFT), (FITS,), (("isl", 512), ("osl", 256)),
    ),
)  # fmt: skip
"""Where search may be tuned."""


def evaluate(case: Case, row: Mapping[str, Any]) -> dict[str, float]:
    """What ``simulate`` says about one point, NaN where it has no answer; ``fits`` and ``feasible`` are 0 or 1.

    A point is feasible if its question makes sense (the device has the dtype, the plan divides the model). Where
    memory is a constraint of the case it judges that; elsewhere a point that does not fit is infeasible.
    """
    flags = {**dict(case.common), **row}
    nothing = dict.fromkeys((*METRICS, *DERIVED), float("nan"))
    bandwidth, peak = flags.pop("bandwidth_100gb_per_s", None), flags.pop("peak_10tflops", None)
    if bandwidth is not None:
        flags["changes"] = {
            "device.memory.bandwidth": f"{bandwidth / 10} TB/s", "device.compute.peaks.bf16": f"{peak * 10} TFLOP/s"
        }  # fmt: skip
        flags["price"] = f"{0.5 + 0.05 * bandwidth + 0.01 * peak} USD/h"
    model, device = flags.pop("model"), flags.pop("device")
    try:
        scenario = inference_scenario(model, device, **flags)
        result = simulate(scenario)
    except (InputError, DoesNotFit):
        return {**nothing, "fits": 0.0, "feasible": 0.0}
    found = {name: _number(result.metrics.get(name)) for name in METRICS}
    pool = scenario.pools[0]
    price = pool.usd_per_device_s
    found |= {
        "memory_share": result.memory.total / result.memory_capacity_bytes,
        "power_w": result.energy.node / found["e2e_s"],
        "usd_per_h": price.value * pool.count * 3600.0 if price else float("nan"),
        "parameters": float(count_parameters(scenario.workload.model).total),
        "prompt_tokens": float(flags["isl"]),
    }
    feasible = result.fits or FITS in case.constraints
    return {**found, "fits": float(result.fits), "feasible": float(feasible)}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
