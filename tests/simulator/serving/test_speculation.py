"""Iterations that check drafted tokens: priced as the steps that they are made of, and against published gains."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario
from simulator.kernels.speculation import expected_tokens
from simulator.prepared import Prepared, prepare
from simulator.serving.speculation import draft_bytes, eagle_head, speculative_tables
from simulator.serving.step_tables import StepTables, step_tables
from simulator.steps.pricing import PricedGraph, price_graphs
from workloads.lowering.inference import Phase, lower_step
from workloads.models.architecture import Architecture, Attention, FeedForward, LayerGroup
from workloads.models.catalogue import load_model

DEPTH, TOKENS, SEQUENCES, CONTEXT = 4, 1024, 64, 4096
OF_SEQUENCES: Final = (
    "attention.scores", "attention.qk", "attention.softmax", "attention.pv", "attention.kv_b", "attention.absorb_k",
    "attention.absorb_v",
)  # fmt: skip
HEAD: Final = ("head.logits", "head.sampling", "head.all_gather")
CASES: Final[dict[str, tuple[str, str, str, dict[str, Any], dict[str, Any]]]] = {
    "gpu": ("llama-3.1-8b", "llama-3.2-1b", "h100-sxm-80gb", {}, {}),
    "gpu, many": ("llama-3.1-70b", "llama-3.2-1b", "a100-sxm-80gb", {"tp": 4}, {"tp": 4}),
    "gpu, eager draft": ("llama-3.1-8b", "llama-3.2-1b", "a100-sxm-80gb", {}, {"runtime": "torch-eager-2.4"}),
    "gpu, latents": ("deepseek-v2-lite", "deepseek-v2-lite", "h100-sxm-80gb", {}, {}),
    "tpu": ("llama-3.1-8b", "llama-3.2-1b", "tpu-v5p", {}, {}),
}


def ready(model: str | Architecture, device: str, **hardware: Any) -> tuple[Prepared, Architecture]:
    found = prepare(inference_scenario(model, device, batch=1, isl=1, osl=1, **hardware))
    return found, model if isinstance(model, Architecture) else load_model(model)


def priced(pool: Prepared, arch: Architecture, phase: Phase, batch: float, q: float, kv: float) -> PricedGraph:
    return price_graphs([lower_step(arch, phase, batch, q, kv, pool.how)], pool.model, pool.communicators)[0]


def at(axis: Any, value: float) -> int:
    return int(np.argmin(np.abs(axis - value)))


def without(graph: PricedGraph, names: tuple[str, ...]) -> tuple[float, float]:
    """Seconds and joules of the operators that have none of these names."""
    chosen = np.array([operator.name not in names for operator in graph.graph.operators])
    repeat = graph.graph.repeat[chosen]
    return float(graph.time_s[chosen] @ repeat), float(graph.energy_j[chosen] @ repeat)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    target, draft, device, on, own = CASES[request.param]
    pool, arch = ready(target, device, **on)
    other, small = ready(draft, device, **own)
    size = (DEPTH, TOKENS, SEQUENCES, CONTEXT)
    alone = speculative_tables(pool, arch, None, None, *size)
    return pool, arch, other, small, alone, speculative_tables(pool, arch, other, small, *size)


def test_drafts_are_decode_steps_of_the_draft(case: tuple[Any, ...]) -> None:
    """What a draft adds to an iteration is what ``simulate`` says of its steps, one after another."""
    _, _, other, small, alone, tables = case
    for n in (1, 8, 64):
        for context in (64, 1024, 4096):
            i, j = at(tables.sequences_at, n), at(tables.contexts_at, context)
            count, seen = float(tables.sequences_at[i]), float(tables.contexts_at[j])
            a, b = at(alone.sequences_at, count), at(alone.contexts_at, seen)
            if alone.sequences_at[a] != count or alone.contexts_at[b] != seen:
                continue
            steps = [priced(other, small, "decode", count, 1.0, seen + k) for k in range(DEPTH)]
            assert tables.decode_s[i, j] - alone.decode_s[a, b] == pytest.approx(
                sum(step.total_s for step in steps), rel=1e-6
            )
            joules = sum(step.total_j for step in steps)
            own, of = other.pool.count, case[0].pool.count
            if own == of:
                assert tables.decode_j[i, j] - alone.decode_j[a, b] == pytest.approx(joules, rel=1e-6)


def test_prompts_are_read_by_the_draft_too(case: tuple[Any, ...]) -> None:
    """All of its step but for logits; of further prompts a 63rd of what 63 more take."""
    _, _, other, small, alone, tables = case
    checked = 0
    for i, new in enumerate(tables.new_at.tolist()):
        a = at(alone.new_at, new)
        j = at(tables.visible_at, max(new, 1024.0))
        seen = float(tables.visible_at[j])
        b = at(alone.visible_at, seen)
        if new < 2.0 or alone.new_at[a] != new or alone.visible_at[b] != seen or seen < new:
            continue
        checked += 1
        one = without(priced(other, small, "prefill", 1.0, new, seen), HEAD)
        many = without(priced(other, small, "prefill", 64.0, new, seen), HEAD)
        added = tables.prefill_s[:, i, j] - alone.prefill_s[:, a, b]
        assert added[0] == pytest.approx(one[0], rel=1e-6)
        assert added[1] == pytest.approx((many[0] - one[0]) / 63.0, rel=1e-6, abs=1e-9)
    assert checked > 10


def test_what_is_asked_by_tokens_reaches_all_that_are_checked(case: tuple[Any, ...]) -> None:
    """Rows and logits are those of plain iterations, of (k + 1) as many tokens."""
    pool, arch, _, _, alone, tables = case
    plain = step_tables(pool, arch, TOKENS, (DEPTH + 1) * SEQUENCES, CONTEXT)
    assert len(tables.rows_s) == TOKENS + 1 and len(tables.head_s) == (DEPTH + 1) * SEQUENCES + 1
    for name in ("rows_s", "rows_j", "head_s", "head_j"):
        assert np.array_equal(getattr(tables, name), getattr(plain, name))
    assert np.array_equal(alone.prefill_s, plain.prefill_s) and np.array_equal(alone.prefill_j, plain.prefill_j)
    few = speculative_tables(pool, arch, None, None, DEPTH, 16, SEQUENCES, CONTEXT)
    assert len(few.rows_s) == (DEPTH + 1) * SEQUENCES + 1


def test_checking_is_never_slower_than_a_prompt_of_as_many_tokens_nor_than_reading_the_cache(
    case: tuple[Any, ...],
) -> None:
    pool, arch, _, _, alone, _ = case
    for n in (1, 8, 64):
        for context in (1024, 4096):
            i, j = at(alone.sequences_at, n), at(alone.contexts_at, context)
            count, seen = float(alone.sequences_at[i]), float(alone.contexts_at[j])
            graph = priced(pool, arch, "prefill", count, DEPTH + 1.0, seen + DEPTH)
            tiles = sum(
                float(t * r)
                for o, t, r in zip(graph.graph.operators, graph.time_s, graph.graph.repeat, strict=True)
                if o.name in OF_SEQUENCES
            )
            assert alone.decode_s[i, j] <= tiles * (1.0 + 1e-9)
            cache = sum(
                o.read_bytes * r / pool.model.record["bandwidth"]
                for o, r in zip(graph.graph.operators, graph.graph.repeat, strict=True)
                if o.name == "attention.scores"
            )
            assert alone.decode_s[i, j] >= 0.99 * cache


def test_a_draft_on_two_devices_leaves_the_others_at_static_power() -> None:
    pool, arch = ready("llama-3.1-70b", "h100-sxm-80gb", tp=4)
    other, small = ready("llama-3.2-1b", "h100-sxm-80gb", tp=2)
    size = (DEPTH, 512, 2, 512)
    alone = speculative_tables(pool, arch, None, None, *size)
    tables = speculative_tables(pool, arch, other, small, *size)
    assert np.array_equal(alone.contexts_at, tables.contexts_at)
    steps = [priced(other, small, "decode", 1.0, 1.0, 512.0 + k) for k in range(DEPTH)]
    seconds, joules = sum(s.total_s for s in steps), sum(s.total_j for s in steps)
    static_w = float(pool.model.record["static_w"])
    added = float(tables.decode_j[0, -1] - alone.decode_j[0, -1])
    assert 4.0 * added == pytest.approx(2.0 * joules + 2.0 * static_w * seconds, rel=1e-6)


def test_launches_of_a_draft_count_where_it_runs_without_graphs() -> None:
    pool, arch = ready("llama-3.1-8b", "a100-sxm-80gb")
    found = []
    for runtime in ("vllm-0.6", "torch-eager-2.4"):
        other, small = ready("llama-3.2-1b", "a100-sxm-80gb", runtime=runtime)
        found.append(float(speculative_tables(pool, arch, other, small, 3, 64, 2, 256).decode_s[0, 0]))
    assert found[1] > 2.0 * found[0]


def test_bytes_of_a_draft() -> None:
    """1.236 billion parameters of 16 bit; 16 layers, 8 key heads of 64, keys and values."""
    other, small = ready("llama-3.2-1b", "h100-sxm-80gb")
    found = draft_bytes(other, small)
    assert found.weights == pytest.approx(2.0 * 1.2358e9, rel=1e-3)
    assert found.token == 16 * 8 * 64 * 2 * 2 and found.state == 0.0


def test_a_drafting_head_is_one_layer_and_a_product() -> None:
    """h (2 h) for the product; embedding and output head are the target's."""
    pool, arch = ready("llama-3.1-8b", "h100-sxm-80gb")
    head = eagle_head(arch)
    layer = 4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336
    found = draft_bytes(pool, head, shares_ends=True)
    assert found.weights == pytest.approx(2.0 * (layer + 2 * 4096**2), rel=1e-3)
    assert found.token == 2 * 8 * 128 * 2
    size = (DEPTH, 64, 8, 1024)
    with_head = speculative_tables(pool, arch, pool, head, *size)
    none = speculative_tables(pool, arch, None, None, *size)
    plain = step_tables(pool, arch, 64, 8, 1024)
    step_s = plain.rows_s[1] + plain.head_s[1] + plain.decode_s[0, 0]
    assert none.decode_s[0, 0] < with_head.decode_s[0, 0] < none.decode_s[0, 0] + DEPTH * 0.25 * step_s
    with pytest.raises(InputError, match=r"mamba-2\.8b has no attention layer"):
        eagle_head(load_model("mamba-2.8b"))


def test_drafts_that_cannot_serve_are_refused() -> None:
    pool, arch = ready("llama-3.1-8b", "h100-sxm-80gb")
    other, small = ready("llama-3.2-1b", "h100-sxm-80gb")
    far, _ = ready("llama-3.2-1b", "a100-sxm-80gb")
    many, _ = ready("llama-3.2-1b", "h100-sxm-80gb", tp=2)
    size = (64, 4, 256)
    for depth in (0, 65, 2.5):
        with pytest.raises(InputError, match="speculative depth"):
            speculative_tables(pool, arch, other, small, depth, *size)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="on a100-sxm-80gb: must be on the target's device, h100-sxm-80gb"):
        speculative_tables(pool, arch, far, small, 3, *size)
    with pytest.raises(InputError, match="on 2 devices: at most the target's 1"):
        speculative_tables(pool, arch, many, small, 3, *size)
    with pytest.raises(InputError, match="vocabulary of 32000"):
        speculative_tables(pool, arch, other, load_model("llama-2-7b"), 3, *size)
    with pytest.raises(InputError, match="both"):
        speculative_tables(pool, arch, other, None, 3, *size)
    encoder = msgspec.structs.replace(
        small, groups=tuple(
            msgspec.structs.replace(g, attention=msgspec.structs.replace(g.attention, causal=False))
            for g in small.groups if g.attention
        ),
    )  # fmt: skip
    with pytest.raises(InputError, match="encoder"):
        speculative_tables(pool, encoder, None, None, 3, *size)


def _t5(name: str, layers: int, hidden: int, heads: int, width: int) -> Architecture:
    """The decoder of T5 v1.1; attention to the source has the weights of queries and outputs alone, as in a step."""
    own = Attention(kind="mha", heads=heads, kv_heads=heads, head_dim=64, rotary=False)
    source = Attention(kind="mqa", heads=heads, kv_heads=1, head_dim=64, rotary=False)
    mlp = FeedForward(width=width, activation="gelu")
    groups = (LayerGroup(layers, own, mlp), LayerGroup(layers, source, norms=1))
    return Architecture(id=f"t5-{name}", hidden=hidden, vocab=32128, groups=groups, max_positions=2048)


T5: Final = {
    "small": _t5("small", 8, 512, 6, 1024), "base": _t5("base", 12, 768, 12, 2048),
    "large": _t5("large", 24, 1024, 16, 2816), "xxl": _t5("xxl", 24, 4096, 64, 10240),
}  # fmt: skip
LEVIATHAN: Final = (
    ("small", 7, 0.75, 3.4), ("base", 7, 0.80, 2.8), ("large", 7, 0.82, 1.7),
    ("small", 7, 0.62, 2.6), ("base", 5, 0.68, 2.4), ("large", 3, 0.71, 1.4),
    ("small", 5, 0.65, 3.1), ("base", 5, 0.73, 3.0), ("large", 3, 0.74, 2.2),
    ("small", 5, 0.53, 2.3), ("base", 3, 0.55, 2.2), ("large", 3, 0.56, 1.7),
)  # fmt: skip
"""Draft, k, a, and how much faster T5-XXL (11B, batch 1, one TPU v4) was: Leviathan et al. 2023, table 2."""


def _step_s(tables: StepTables, checked: int) -> float:
    place = at(tables.contexts_at, 64.0)
    return float(tables.rows_s[checked] + tables.head_s[checked] + tables.decode_s[0, place])


def test_published_gains() -> None:
    """Median error 20%, at most 29%. Four of the twelve gains exceed the mean number of tokens of an iteration, so no
    draft, not even one that takes no time, would explain them: acceptances of that table are not independent."""
    pools = {name: ready(arch, "tpu-v4")[0] for name, arch in T5.items()}
    target, arch = pools["xxl"], T5["xxl"]
    plain_s = _step_s(step_tables(target, arch, 64, 2, 512), 1)
    errors = []
    for draft, depth, acceptance, measured in LEVIATHAN:
        tables = speculative_tables(target, arch, pools[draft], T5[draft], depth, 64, 2, 512)
        gain = plain_s * expected_tokens(depth, acceptance) / _step_s(tables, depth + 1)
        errors.append(abs(gain / measured - 1.0))
    assert np.median(errors) < 0.22 and max(errors) < 0.30
    beyond = [row for row in LEVIATHAN if row[3] > expected_tokens(row[1], row[2])]
    assert len(beyond) == 4
