"""Every metric that a result may carry, defined once: symbol, unit, meaning. Docs and pages read this table."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A documented metric. ``dimension`` names the SI unit as in ``hardware_specs.units``; ``better`` is
    "lower", "higher" or "" and says which way is good."""

    name: str
    title: str
    dimension: str
    better: str
    definition: str


METRICS: tuple[Metric, ...] = (
    Metric("ttft_s", "Time to first token", "s", "lower",
           "From the arrival of the whole batch to the first output token of its last sequence: all prefill steps "
           "(chunks), host time included."),
    Metric("tpot_s", "Time per output token", "s", "lower",
           "(E2E - TTFT) / (output_len - 1): mean decode step as one sequence sees it; null for one output token."),
    Metric("e2e_s", "End-to-end latency", "s", "lower", "From arrival to the last output token of the batch."),
    Metric("prefill_tokens_per_s", "Prefill throughput", "tokens/s", "higher",
           "Prompt tokens of all sequences divided by TTFT."),
    Metric("decode_tokens_per_s", "Decode throughput", "tokens/s", "higher",
           "Output tokens of all sequences per second while decoding: batch / TPOT."),
    Metric("output_tokens_per_s", "Output throughput", "tokens/s", "higher",
           "Output tokens of all sequences divided by E2E, prefill included."),
    Metric("total_tokens_per_s", "Total throughput", "tokens/s", "higher",
           "Input and output tokens of all sequences divided by E2E."),
    Metric("tokens_per_s_per_device", "Throughput per device", "tokens/s", "higher",
           "Inference: output_tokens_per_s divided by the number of devices. Training: trained tokens per second "
           "divided by the number of devices."),
    Metric("mfu_prefill", "MFU of the prefill", "fraction", "higher",
           "Model FLOPs (causal attention counted half) / (time x dense peak of the compute dtype x devices that take "
           "part in the phase)."),
    Metric("mfu_decode", "MFU of the decode", "fraction", "higher", "As MFU of the prefill, over the decode steps."),
    Metric("mbu_decode", "MBU of the decode", "fraction", "higher",
           "Bytes that must move (weights once, KV cache, activations) / (time x peak bandwidth x devices)."),
    Metric("max_batch", "Largest batch", "sequences", "higher",
           "Sequences of this length whose weights, KV cache and activations fit the memory the runtime may use."),
    Metric("j_per_output_token", "Energy per output token", "j", "lower", "Device energy divided by output tokens."),
    Metric("usd_per_million_output_tokens", "Cost per million output tokens", "usd", "lower",
           "Device-hours at the stated price (and the electricity of owned devices) divided by output tokens, times "
           "one million; null without a price."),
    Metric("model_quality", "Quality of the model", "number", "higher",
           "The user's own figure for what a compressed model is worth (--quality); carried along, never computed."),
    Metric("carbon_g", "Carbon", "g", "lower", "Facility energy times the carbon intensity of the site's grid."),
    Metric("step_time_s", "Training step time", "s", "lower",
           "Forward, backward, gradient reduction and optimizer update of one global batch."),
    Metric("model_tflops_per_device", "Model TFLOP/s per device", "TFLOP/s", "higher",
           "Model FLOPs of a step (causal attention counted half, no recompute) / (step time x devices) / 1e12."),
    Metric("mfu", "MFU", "fraction", "higher",
           "Model FLOPs (causal attention counted half, no recompute) / (time x dense peak x devices)."),
    Metric("hfu", "HFU", "fraction", "higher",
           "Hardware FLOPs, with recompute and full attention as Narayanan et al. 2021 count, over peak."),
    Metric("usd_per_step", "Cost per step", "usd", "lower", "Device-hours of one step at the stated price."),
    Metric("handover_s", "Handover", "s", "lower",
           "Moving the trained weights to where inference runs."),
    Metric("samples_per_s", "Samples per second", "samples/s", "higher", "Samples of all steps over the makespan."),
    Metric("makespan_s", "Makespan", "s", "lower", "From the start to the end of everything the scenario does."),
)  # fmt: skip
"""All metrics in the order in which tables show them."""

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
