"""Tables of iterations are the prices of ``simulate``: exactly at grid points, closely between, and for whole batches.

Largest errors of seconds that were seen between grid points, over 4,000 steps of each case: 1.3% (GPU), 1.5% (TPU),
0.1% (CPU), 2.3% (ASIC, whose kernels pad the keys), 0.2% (FPGA); the median is below 0.02% everywhere. Energy is as
close, but for where a cache begins to hold what is read (5.5%). Where sequences that decode and prompts of one length
share an iteration the error is at most 1.7%; laws have no price of different lengths in one kernel to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from plain_scheduler import Sequence as Request
from plain_scheduler import Server, between

from silicost.scenarios import inference_scenario
from simulator.kernels import serving as kernel
from simulator.prepared import Prepared, prepare
from simulator.serving.cluster import Limits, serve
from simulator.serving.grids import MOST, grid, tabulated
from simulator.serving.requests import Asked
from simulator.serving.step_tables import StepTables, step_tables
from simulator.simulate import simulate
from simulator.steps.pricing import PricedGraph, price_graphs
from workloads.lowering.inference import Phase, lower_step

CASES: Final = {
    "gpu": ("llama-2-7b", "a100-sxm-80gb", {}), "gpu, grouped heads": ("llama-3.1-8b", "h100-sxm-80gb", {}),
    "gpu, tensor parallel": ("llama-3.1-70b", "a100-sxm-80gb", {"tp": 4}),
    "gpu, experts": ("mixtral-8x7b", "h200-sxm-141gb", {"tp": 2}),
    "gpu, expert parallel": ("mixtral-8x7b", "h200-sxm-141gb", {"tp": 2, "ep": 2}),
    "gpu, latents": ("deepseek-v2-lite", "h100-sxm-80gb", {}), "gpu, windows": ("gemma-2-9b", "l40s", {}),
    "gpu, states": ("mamba-2.8b", "a100-sxm-80gb", {}),
    "gpu, consumer": ("llama-3.1-8b", "rtx-4090", {"weight_dtype": "int8"}),
    "gpu, eager": ("llama-2-7b", "a100-sxm-80gb", {"runtime": "torch-eager-2.4"}),
    "cpu": ("qwen2.5-1.5b", "xeon-8480-plus", {}), "tpu": ("llama-3.1-8b", "tpu-v5p", {"tp": 4}),
    "fpga": ("gpt2", "alveo-u280", {"dtype": "int8"}), "asic": ("llama-3.1-8b", "gaudi-2", {}),
}  # fmt: skip
TOKENS, SEQUENCES, CONTEXT = 2048, 256, 8192
OF_SEQUENCES: Final = (
    "attention.scores", "attention.qk", "attention.softmax", "attention.pv", "attention.kv_b", "attention.absorb_k",
    "attention.absorb_v", "ssm.conv", "ssm.scan",
)  # fmt: skip
OF_ANSWERS: Final = ("head.logits", "head.sampling", "head.all_gather")
Step = tuple[Phase, int, int, int]


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest) -> tuple[Prepared, StepTables]:
    model, device, hardware = CASES[request.param]
    ready = prepare(inference_scenario(model, device, batch=1, isl=1, osl=1, **hardware))  # type: ignore[arg-type]
    return ready, step_tables(ready, ready.scenario.workload.model, TOKENS, SEQUENCES, CONTEXT)


def priced(ready: Prepared, steps: Sequence[Step]) -> list[PricedGraph]:
    arch = ready.scenario.workload.model
    graphs = [lower_step(arch, phase, float(b), float(q), float(kv), ready.how) for phase, b, q, kv in steps]
    return price_graphs(graphs, ready.model, ready.communicators)


def part(graph: PricedGraph, names: tuple[str, ...], without: bool = False) -> float:
    """Seconds of the operators that have one of these names, or none of them."""
    chosen = [(operator.name in names) != without for operator in graph.graph.operators]
    return float((graph.time_s * graph.graph.repeat)[chosen].sum())


def tabled(tables: StepTables, step: Step, joules: bool = False) -> float:
    """A step of sequences that decode, or of one prompt."""
    phase, batch, new, visible = step
    rows, head = (tables.rows_j, tables.head_j) if joules else (tables.rows_s, tables.head_s)
    decode, prefill = (tables.decode_j, tables.prefill_j) if joules else (tables.decode_s, tables.prefill_s)
    if phase == "decode":
        own = between(tables.sequences_at, tables.contexts_at, decode, batch, visible)
    else:
        own = between(tables.new_at, tables.visible_at, prefill[0], new, visible)
    return float(rows[batch * new] + head[batch] + own)


def random_steps(rng: np.random.Generator, count: int) -> list[Step]:
    """Sequences that decode, whole prompts, and chunks of prompts."""
    found: list[Step] = []
    for number in range(count):
        new = round(2.0 ** rng.uniform(1.0, np.log2(TOKENS)))
        if number % 2:
            found.append(("decode", int(rng.integers(1, SEQUENCES + 1)), 1, round(2.0 ** rng.uniform(0.0, 13.0))))
        else:
            found.append(("prefill", 1, new, new if number % 4 else int(rng.integers(new, CONTEXT + 1))))
    return found


def test_steps_at_grid_points_are_exactly_those_of_simulate(made: tuple[Prepared, StepTables]) -> None:
    """Seconds and joules; at single tokens too, and up to the end of every axis."""
    ready, tables = made
    whole = [[int(value) for value in at] for at in tables[4:6] + tables[8:10]]
    sequences, contexts, new, visible = (sorted({*at[:: max(1, len(at) // 9)], at[-1]}) for at in whole)
    steps: list[Step] = [("decode", b, 1, kv) for b in sequences for kv in contexts]
    steps += [("prefill", 1, q, kv) for q in new for kv in visible if 1 < q <= kv]
    for step, graph in zip(steps, priced(ready, steps), strict=True):
        assert tabled(tables, step) == pytest.approx(graph.total_s, rel=1e-9), step
        assert tabled(tables, step, joules=True) == pytest.approx(graph.total_j, rel=1e-9), step


def test_prompts_that_share_kernels_cost_what_a_batch_of_64_does(made: tuple[Prepared, StepTables]) -> None:
    """The first alone, each further one a 63rd of what 63 more take: exact at both ends, at grid points."""
    ready, tables = made
    places = [(i, j) for i in range(1, len(tables.new_at), 9) for j in range(0, len(tables.visible_at), 9)]
    places = [(i, j) for i, j in places if tables.visible_at[j] >= tables.new_at[i]]
    steps: list[Step] = [("prefill", 64, int(tables.new_at[i]), int(tables.visible_at[j])) for i, j in places]
    for (i, j), graph in zip(places, priced(ready, steps), strict=True):
        found = tables.prefill_s[0, i, j] + 63.0 * tables.prefill_s[1, i, j]
        assert found == pytest.approx(part(graph, OF_SEQUENCES), rel=1e-9)


def test_steps_between_grid_points_are_close(made: tuple[Prepared, StepTables]) -> None:
    ready, tables = made
    steps = random_steps(np.random.default_rng(1), 300)
    exact = priced(ready, steps)
    error = np.array([tabled(tables, s) / g.total_s - 1.0 for s, g in zip(steps, exact, strict=True)])
    of_energy = np.array([tabled(tables, s, True) / g.total_j - 1.0 for s, g in zip(steps, exact, strict=True)])
    assert np.median(np.abs(error)) < 5e-4 and np.abs(error).max() < 0.03
    assert np.quantile(np.abs(of_energy), 0.9) < 5e-3 and np.abs(of_energy).max() < 0.06


def test_iterations_of_prompts_and_sequences_that_decode_are_close(made: tuple[Prepared, StepTables]) -> None:
    """Products of all tokens at once, attention of each kind on its own, logits of those that get a token."""
    ready, tables = made
    rng, errors = np.random.default_rng(2), []
    server = Server(ready, tables, Limits(TOKENS, SEQUENCES, 16, 1, CONTEXT), 1)
    for _ in range(60):
        prompts, decoding = int(rng.integers(0, 9)), int(rng.integers(0, 200))
        if prompts + decoding == 0:
            continue
        new = int(rng.integers(2, (TOKENS - decoding) // max(prompts, 1)))
        visible = new if prompts > 1 else int(rng.integers(new, CONTEXT + 1))
        context = int(rng.integers(1, CONTEXT))
        tokens, seconds = decoding + prompts * new, 0.0
        by_rows, by_answers = priced(ready, [("decode", tokens, 1, 1), ("decode", decoding + prompts, 1, 1)])
        seconds += part(by_rows, OF_SEQUENCES + OF_ANSWERS, without=True) + part(by_answers, OF_ANSWERS)
        step = [(Request(0, 0.0, context, 9, context - 1, decodes=True), 1) for _ in range(decoding)]
        step += [(Request(0, 0.0, visible, 9, visible - new), new) for _ in range(prompts)]
        if decoding:
            seconds += part(priced(ready, [("decode", decoding, 1, context)])[0], OF_SEQUENCES)
        if prompts:
            seconds += part(priced(ready, [("prefill", prompts, new, visible)])[0], OF_SEQUENCES)
        errors.append(server.device(step)[0] / seconds - 1.0)
    assert np.median(np.abs(errors)) < 5e-3 and np.abs(errors).max() < 0.03


BATCHES: Final = {
    "gpu": ("llama-2-7b", "a100-sxm-80gb", {"runtime": "vllm-0.6"}, 15, 500, 100),
    "gpu, short prompts": ("llama-3.1-8b", "h100-sxm-80gb", {"runtime": "vllm-0.6"}, 100, 20, 300),
    "gpu, tensor parallel": ("llama-3.1-70b", "a100-sxm-80gb", {"tp": 4, "runtime": "vllm-0.6"}, 7, 1100, 64),
    "gpu, latents": ("deepseek-v2-lite", "h100-sxm-80gb", {"runtime": "vllm-0.6"}, 20, 380, 90),
    "gpu, states": ("mamba-2.8b", "a100-sxm-80gb", {"runtime": "vllm-0.6"}, 30, 200, 90),
    "gpu, consumer": ("qwen2.5-1.5b", "rtx-4090", {"runtime": "vllm-0.6"}, 32, 240, 130),
    "tpu": ("llama-3.1-8b", "tpu-v5p", {"tp": 4}, 13, 600, 100),
    "cpu": ("qwen2.5-1.5b", "xeon-8480-plus", {}, 7, 36, 70),
    "asic": ("llama-3.1-8b", "gaudi-2", {}, 16, 333, 77), "fpga": ("gpt2", "alveo-u280", {"dtype": "int8"}, 3, 120, 50),
}  # fmt: skip


@pytest.mark.parametrize("case", BATCHES)
def test_a_static_batch_that_is_served_takes_what_simulate_says(case: str) -> None:
    """All at once, prompts uncut: TTFT within 2%, TPOT within 1%, energy within 2%."""
    model, device, hardware, batch, isl, osl = BATCHES[case]
    scenario = inference_scenario(model, device, batch=batch, isl=isl, osl=osl, **hardware)  # type: ignore[arg-type]
    ready = prepare(scenario)
    limits = Limits(batch * isl, batch, 16, 1 << 20, isl + osl)
    asked = Asked(np.zeros(batch), np.full(batch, isl), np.full(batch, osl))
    assert not ready.pool.runtime.prefill_chunk or batch * isl <= ready.pool.runtime.prefill_chunk
    served = serve(ready, scenario.workload.model, asked, limits)
    result = simulate(scenario)
    assert served.replicas[0, kernel.ITERATIONS] == osl
    ttft_s = float(served.requests.first_s[0])
    tpot_s = float(served.requests.last_s[0] - ttft_s) / (osl - 1)
    assert ttft_s == pytest.approx(result.metrics["ttft_s"], rel=0.02)
    assert tpot_s == pytest.approx(result.metrics["tpot_s"], rel=0.01)
    assert float(served.replicas[0, kernel.ENERGY_J]) == pytest.approx(result.energy.device, rel=0.02)


def test_hosts_of_asynchronous_schedulers_are_hidden_unless_they_are_slower() -> None:
    scenario = inference_scenario("llama-2-7b", "a100-sxm-80gb", batch=8, isl=400, osl=50, runtime="vllm-0.19")
    ready = prepare(scenario)
    asked = Asked(np.zeros(8), np.full(8, 400), np.full(8, 50))
    served = serve(ready, scenario.workload.model, asked, Limits(3200, 8, 16, 1 << 20, 450))
    runtime = ready.pool.runtime
    assert runtime.async_scheduling and runtime.host_sequence is not None
    host_s = runtime.host_step.value + 8 * runtime.host_sequence.value
    result = simulate(scenario)
    tpot_s = float(served.requests.last_s[0] - served.requests.first_s[0]) / 49
    assert tpot_s == pytest.approx(result.metrics["tpot_s"] - host_s, rel=0.01)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 256, 131_072])
def test_a_grid_goes_from_one_to_the_most(most: int) -> None:
    at = grid(most)
    assert at[0] == 1.0 and at[-1] == max(most, 2) and (np.diff(at) > 0.0).all() and (at == np.round(at)).all()
    assert (at[1:] / at[:-1]).max() <= 2.0


def nothing(at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.zeros((1, len(at)))


def test_grids_find_where_prices_jump() -> None:
    """Steps of 128 along one axis, one of 300 along the other; what grows evenly gets no points."""

    def price(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack([np.ceil(one / 128.0) * (1.0 + (other > 300.0)), one])

    at, seen, values = tabulated(grid(1000), grid(1000), price, nothing)
    assert {128.0, 129.0, 512.0, 513.0, 640.0, 641.0} <= set(at.tolist()) and {300.0, 301.0} <= set(seen.tolist())
    assert np.array_equal(values, price(*np.meshgrid(at, seen, indexing="ij")))
    even, also, _ = tabulated(grid(1000), grid(1000), lambda one, other: np.stack([one + other]), nothing)
    assert np.array_equal(even, grid(1000)) and np.array_equal(also, grid(1000))


def test_grids_stay_small_where_prices_jump_everywhere() -> None:
    def price(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack([1.0 + (one * 7.0 + other * 3.0) % 11.0])

    at, seen, values = tabulated(grid(5000), grid(5000), price, nothing)
    assert values.shape == (1, len(at), len(seen)) and max(len(at), len(seen)) <= MOST
