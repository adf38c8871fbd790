"""Results of a static batch: definitions of the metrics, breakdown, energy, memory and its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.prepared import prepare
from simulator.scenario import Scenario, StaticBatch
from simulator.simulate import simulate
from simulator.steps.batch_metrics import MOST_BATCH, largest_batch
from simulator.steps.inference_result import memory_use
from workloads.models.catalogue import load_model

DEVICES = ["xeon-8480-plus", "h100-sxm-80gb", "tpu-v5e", "alveo-u280", "gaudi-2"]
WORK = StaticBatch(load_model("llama-3.2-1b"), 4, 512, 64)


@pytest.mark.parametrize("device", DEVICES)
def test_metrics_mean_what_they_say(one_pool: Callable[..., Scenario], device: str) -> None:
    result = simulate(one_pool(WORK, device))
    m = {name: value for name, value in result.metrics.items() if value is not None}
    assert m["e2e_s"] == pytest.approx(m["ttft_s"] + 63 * m["tpot_s"])
    assert m["prefill_tokens_per_s"] == pytest.approx(4 * 512 / m["ttft_s"])
    assert m["decode_tokens_per_s"] == pytest.approx(4 / m["tpot_s"])
    assert m["output_tokens_per_s"] == m["tokens_per_s_per_device"] == pytest.approx(4 * 64 / m["e2e_s"])
    assert m["total_tokens_per_s"] == pytest.approx(4 * 576 / m["e2e_s"])
    assert m["j_per_output_token"] == pytest.approx(result.energy.device / 256)
    for share in ("mfu_prefill", "mfu_decode", "mbu_decode"):
        assert 0.0 < m[share] <= 1.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pp", [1, 2])
def test_breakdown_and_phases_sum_to_the_whole(one_pool: Callable[..., Scenario], device: str, pp: int) -> None:
    result = simulate(one_pool(WORK, device, pp=pp))
    assert sum(result.breakdown.values()) == pytest.approx(result.metrics["e2e_s"])
    if pp == 1:
        prefill, decode = result.phases
        assert prefill.time_s == pytest.approx(result.metrics["ttft_s"])
        # Decode is shown at its middle context.
        assert decode.time_s == pytest.approx(63 * (result.metrics["tpot_s"] or 0.0), rel=0.02)


def test_mfu_counts_the_matrix_work_of_the_model(one_pool: Callable[..., Scenario]) -> None:
    """2 FLOPs per weight that multiplies and token, and the causal half of attention."""
    result = simulate(one_pool(WORK, "h100-sxm-80gb"))
    arch = WORK.model
    matrices = 16 * (2048 * 2048 * 2 + 2048 * 512 * 2 + 3 * 2048 * 8192)
    pairs = 512 * 513 / 2
    flops = 4 * (512 * 2 * matrices + 16 * 32 * pairs * 4 * 64) + 4 * 2 * 2048 * arch.vocab
    mfu, ttft = result.metrics["mfu_prefill"], result.metrics["ttft_s"]
    assert mfu is not None and ttft is not None
    assert mfu * ttft * 989.4e12 == pytest.approx(flops, rel=2e-3)


def test_weights_and_cache_of_known_models(one_pool: Callable[..., Scenario]) -> None:
    llama = StaticBatch(load_model("llama-3.1-8b"), 1, 1000, 24)
    use = memory_use(prepare(one_pool(llama, "h100-sxm-80gb")), llama)
    assert use.weights == pytest.approx(16.06e9, rel=1e-3)
    assert use.kv == 131_072 * 1024
    deepseek = StaticBatch(load_model("deepseek-v3"), 1, 1000, 24)
    latent = memory_use(prepare(one_pool(deepseek, "h100-sxm-80gb", tp=8, ep=8)), deepseek)
    # Latents are not cut over tp: 61 layers x 576 values x 2 bytes.
    assert latent.kv == 70_272 * 1024


def test_memory_grows_with_the_batch_and_shrinks_with_tp(one_pool: Callable[..., Scenario]) -> None:
    totals = [
        memory_use(prepare(one_pool(work, "h100-sxm-80gb")), work).total
        for work in (StaticBatch(WORK.model, batch, 512, 64) for batch in (1, 2, 3, 7, 64))
    ]
    assert totals == sorted(totals)
    cut = memory_use(prepare(one_pool(WORK, "h100-sxm-80gb", tp=4)), WORK)
    whole = memory_use(prepare(one_pool(WORK, "h100-sxm-80gb")), WORK)
    assert cut.kv == whole.kv / 4
    assert cut.weights == pytest.approx(whole.weights / 4, rel=1e-2)


def test_the_largest_batch_just_fits(one_pool: Callable[..., Scenario]) -> None:
    scenario = one_pool(WORK, "tpu-v5e", dp=2)
    prepared = prepare(scenario)
    most = simulate(scenario).metrics["max_batch"]
    assert most is not None and most > 4
    for batch, fits in ((int(most), True), (int(most) + 2, False)):
        use = memory_use(prepared, StaticBatch(WORK.model, batch, 512, 64))
        assert (use.total <= prepared.usable_bytes) is fits


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 1000, 4095, 4096])
def test_largest_batch_finds_the_limit(limit: int) -> None:
    assert largest_batch(lambda batch: 3.0 * batch + 7.0, 3.0 * limit + 8.0) == limit


@given(
    st.floats(0.0, 1e9), st.floats(1.0, 1e7), st.floats(0.0, 1e8), st.integers(1, 5000), st.floats(1.0, 1e12),
)  # fmt: skip
def test_largest_batch_finds_it_past_a_bend(base: float, slope: float, extra: float, bend: int, limit: float) -> None:
    """Activations grow until the chunk is full; few evaluations find the batch at which memory is full."""
    asked = []

    def used(batch: int) -> float:
        asked.append(batch)
        return base + slope * batch + extra * min(batch, bend)

    most = largest_batch(used, limit)
    assert len(asked) < 75
    assert most == 0 or used(most) <= limit
    assert most == MOST_BATCH or used(most + 1) > limit


def test_one_token_has_no_decode(one_pool: Callable[..., Scenario]) -> None:
    result = simulate(one_pool(StaticBatch(WORK.model, 2, 128, 1), "h100-sxm-80gb"))
    for name in ("tpot_s", "decode_tokens_per_s", "mfu_decode", "mbu_decode"):
        assert result.metrics[name] is None
        assert "decode" in result.reasons[name]
    assert set(result.bound) == {"prefill"}


def test_waiting_devices_draw_power(one_pool: Callable[..., Scenario]) -> None:
    """With pipeline stages, a single sequence keeps one of four busy; the others still cost."""
    work = StaticBatch(WORK.model, 1, 512, 8)
    one, four = (simulate(one_pool(work, "h100-sxm-80gb", pp=pp)) for pp in (1, 4))
    assert four.energy.device > one.energy.device
    static = prepare(one_pool(work, "h100-sxm-80gb")).model.record["static_w"]
    assert four.energy.device >= static * 4 * (four.metrics["e2e_s"] or 0.0)


def test_node_and_facility_add_the_host_and_the_cooling(one_pool: Callable[..., Scenario]) -> None:
    scenario = one_pool(WORK, "h100-sxm-80gb")
    result = simulate(scenario)
    assert scenario.system.host_power is not None
    share = scenario.system.host_power.value / scenario.system.groups[0].count
    assert result.energy.node - result.energy.device == pytest.approx(share * (result.metrics["e2e_s"] or 0.0))
    assert result.energy.facility == pytest.approx(result.energy.node * scenario.site.pue.value)


def test_each_phase_has_its_own_interval(one_pool: Callable[..., Scenario]) -> None:
    result = simulate(one_pool(WORK, "h100-sxm-80gb"))
    widths = {name: result.intervals[name].p90 / result.intervals[name].p10 for name in ("ttft_s", "tpot_s", "e2e_s")}
    assert widths["ttft_s"] != pytest.approx(widths["tpot_s"])
    assert min(widths["ttft_s"], widths["tpot_s"]) <= widths["e2e_s"] * 1.001


def test_host_bound_work_says_overhead(one_pool: Callable[..., Scenario]) -> None:
    small = StaticBatch(load_model("smollm-135m"), 1, 8, 8)
    assert simulate(one_pool(small, "b200-sxm", runtime="vllm-0.6")).bound == {
        "prefill": "overhead", "decode": "overhead",
    }  # fmt: skip
