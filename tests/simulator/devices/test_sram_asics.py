"""Published speeds of one user on SRAM and tiered ASICs: within 1.5 times, or above what their memory delivers."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from hardware_specs.devices import load_device
from simulator.scenario import Formats, Plan, StaticBatch
from simulator.simulate import simulate
from simulator.validation.one_pool import one_pool
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.runtimes.catalogue import load_runtime

WITHIN = 1.5


class Claim(NamedTuple):
    """A published rate of one user [tokens/s]; chips, ways and weights where the source does not say are assumed."""

    device: str
    model: str
    plan: Plan
    weights: str
    tokens_per_s: float
    citation: str


CLAIMS = (
    Claim("wse-3", "llama-3.1-8b", Plan(1, 1), "bf16", 1800.0, "Cerebras Inference, press release, 2024-08-27"),
    Claim("wse-3", "llama-3.1-70b", Plan(1, 4), "bf16", 450.0, "Cerebras Inference, press release, 2024-08-27"),
    Claim("groq-lpu-v1", "llama-3-8b", Plan(8, 16), "int8_wo", 877.0, "Artificial Analysis, Groq, 2024-04"),
    Claim("groq-lpu-v1", "llama-3-70b", Plan(8, 80), "int8_wo", 284.0, "Artificial Analysis, Groq, 2024-04"),
    Claim("groq-lpu-v1", "llama-3.1-70b", Plan(8, 80), "int8_wo", 250.0, "SambaNova blog, Table 1, 2024-09-10"),
    Claim("sn40l", "llama-3.1-8b", Plan(16), "bf16", 1042.0, "SambaNova blog, Table 1, 2024-09-10"),
)
ABOVE_THEIR_MEMORY = (
    Claim("sn40l", "llama-3.1-70b", Plan(16), "bf16", 457.0, "SambaNova blog, Table 1, 2024-09-10"),
    Claim("sn40l", "llama-3.1-405b", Plan(16), "bf16", 129.0, "SambaNova blog, Table 1, 2024-09-10"),
)
"""Faster than the 16 sockets can read their weights once a token: only several tokens a step give that."""


def predicted(claim: Claim) -> float:
    """Tokens per second of one user after a prompt of 512 tokens."""
    spec = load_device(claim.device)
    dtype = "bf16" if "bf16" in spec.compute.peaks else "fp16"
    formats = Formats(dtype, "" if claim.weights == "bf16" else claim.weights)
    work = StaticBatch(load_model(claim.model), 1, 512, 128)
    made = one_pool(work, spec, load_runtime(spec.default_runtime), claim.plan, formats, claim.plan.devices)
    rate = simulate(made).metrics["decode_tokens_per_s"]
    assert rate is not None
    return rate


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.device}-{claim.model}-{claim.tokens_per_s:.0f}")
def test_speeds_of_sram_asics_are_within_half(claim: Claim) -> None:
    ratio = predicted(claim) / claim.tokens_per_s
    assert 1.0 / WITHIN < ratio < WITHIN, f"{ratio:.2f} of {claim.citation}"


@pytest.mark.parametrize("claim", ABOVE_THEIR_MEMORY, ids=lambda claim: f"{claim.device}-{claim.model}")
def test_what_is_faster_than_its_memory_is_not_met(claim: Claim) -> None:
    spec = load_device(claim.device)
    roof = claim.plan.devices * spec.memory.bandwidth.value / (2.0 * count_parameters(load_model(claim.model)).total)
    assert predicted(claim) < roof < claim.tokens_per_s / 2.0


def test_a_wafer_runs_an_8b_model_at_a_thousandth_of_its_bandwidth() -> None:
    spec, model = load_device("wse-3"), load_model("llama-3.1-8b")
    rate = predicted(CLAIMS[0])
    assert rate * 2.0 * count_parameters(model).total / spec.memory.bandwidth.value == pytest.approx(1.1e-3, rel=0.3)
