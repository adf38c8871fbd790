"""Tables of encoders are the prices of ``simulate``: exactly at grid points, closely between, whole prompts only."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from plain_scheduler import between

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario
from simulator.prepared import Prepared, prepare
from simulator.scenario import StaticBatch
from simulator.serving.step_tables import StepTables, step_tables
from simulator.simulate import simulate
from simulator.steps.pricing import price_graphs
from workloads.lowering.inference import lower_step
from workloads.models.architecture import Architecture

CASES: Final = {
    "gpu": ("bge-base-en-v1.5", "a100-sxm-80gb", {}), "gpu, eager": (
        "bge-large-en-v1.5", "a100-sxm-80gb", {"runtime": "torch-eager-2.4"}
    ),
    "gpu, tensor parallel": ("bge-m3", "h100-sxm-80gb", {"tp": 2}),
    "gpu, windows": ("modernbert-base", "l4", {}), "gpu, reranker": ("bge-reranker-v2-m3", "l40s", {}),
    "cpu": ("all-minilm-l6-v2", "xeon-8480-plus", {}), "tpu": ("bge-small-en-v1.5", "tpu-v5e", {}),
    "fpga": ("distilbert-base-uncased", "alveo-u55c", {}), "asic": ("e5-base-v2", "gaudi-2", {}),
}  # fmt: skip
SEQUENCES, CONTEXT = 128, 512


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest) -> tuple[Prepared, StepTables]:
    model, device, hardware = CASES[request.param]
    ready = prepare(inference_scenario(model, device, batch=1, isl=1, osl=1, **hardware))  # type: ignore[arg-type]
    return ready, step_tables(ready, arch_of(ready), 64 * CONTEXT, SEQUENCES, CONTEXT)


def arch_of(ready: Prepared) -> Architecture:
    work = ready.scenario.workload
    assert isinstance(work, StaticBatch)
    return work.model


def priced(ready: Prepared, prompts: int, tokens: int) -> tuple[float, float]:
    graph = lower_step(arch_of(ready), "encode", float(prompts), float(tokens), float(tokens), ready.how)
    found = price_graphs([graph], ready.model, ready.communicators)[0]
    return found.total_s, found.total_j


def tabled(tables: StepTables, prompts: int, tokens: int) -> tuple[float, float]:
    found = []
    for rows, head, prefill in (
        (tables.rows_s, tables.head_s, tables.prefill_s), (tables.rows_j, tables.head_j, tables.prefill_j),
    ):  # fmt: skip
        alone, further = (between(tables.new_at, tables.visible_at, table, tokens, tokens) for table in prefill)
        found.append(float(rows[prompts * tokens] + head[prompts] + alone + (prompts - 1) * further))
    return found[0], found[1]


def test_steps_at_grid_points_are_exactly_those_of_simulate(made: tuple[Prepared, StepTables]) -> None:
    ready, tables = made
    for tokens in (int(at) for at in tables.new_at):
        for prompts in (1, 64):
            assert tabled(tables, prompts, tokens) == pytest.approx(priced(ready, prompts, tokens), rel=1e-9)


def test_steps_between_grid_points_are_close(made: tuple[Prepared, StepTables]) -> None:
    """A prompt alone closely; batches as far as a line between one prompt and 64 follows waves of tiles: most of them
    to 0.4%, the worst to 4%, on TPUs to 17%."""
    ready, tables = made
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, CONTEXT + 1, 60).tolist()
    alone = [tabled(tables, 1, at)[0] / priced(ready, 1, at)[0] - 1.0 for at in lengths]
    assert np.abs(alone).max() < 3e-3
    counts = rng.integers(2, 65, 60).tolist()
    many = [tabled(tables, n, at)[0] / priced(ready, n, at)[0] - 1.0 for n, at in zip(counts, lengths, strict=True)]
    worst = 0.20 if ready.pool.device.device_class == "tpu" else 0.04
    assert np.median(np.abs(many)) < 6e-3 and np.abs(many).max() < worst


def test_nothing_is_decoded_and_all_visible_tokens_are_the_prompt(made: tuple[Prepared, StepTables]) -> None:
    _, tables = made
    assert not tables.decode_s.any() and not tables.decode_j.any()
    assert np.array_equal(tables.prefill_s[:, :, 0], tables.prefill_s[:, :, -1])
    assert tables.rows_s[0] == tables.head_s[0] == 0.0 and (tables.rows_s[1:] > 0.0).all()


def test_a_batch_takes_what_simulate_says() -> None:
    """Of one step, the host's part left out."""
    scenario = inference_scenario("bge-base-en-v1.5", "a100-sxm-80gb", batch=1, isl=256, osl=1)
    ready, result = prepare(scenario), simulate(scenario)
    tables = step_tables(ready, arch_of(ready), 4096, 16, 512)
    runtime = ready.pool.runtime
    host_s = runtime.host_step.value + (runtime.host_sequence.value if runtime.host_sequence else 0.0)
    assert tabled(tables, 1, 256)[0] + host_s == pytest.approx(result.metrics["ttft_s"], rel=5e-3)


def test_poolers_are_paid_once_for_each_prompt() -> None:
    ready = prepare(inference_scenario("bert-large", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    tables = step_tables(ready, arch_of(ready), 512, 8, 512)
    assert tables.head_s.shape == (9,) and (tables.head_s[1:] > 0.0).all()
    bare = prepare(inference_scenario("distilbert-base-uncased", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    assert not step_tables(bare, arch_of(bare), 512, 8, 512).head_s.any()


def test_prompts_of_encoders_are_not_cut() -> None:
    ready = prepare(inference_scenario("bert-large", "a100-sxm-80gb", batch=1, isl=1, osl=1))
    with pytest.raises(InputError, match=r"bert-large is an encoder and takes whole prompts: 64 tokens .* prompt, 512"):
        step_tables(ready, arch_of(ready), 64, 8, 512)
