"""Steps at several contexts: equal to lowering each anew, with everything else shared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workloads.lowering.inference import lower_contexts, lower_step
from workloads.lowering.plan import Lowering, Precision, Sharding
from workloads.models.catalogue import load_model
from workloads.runtimes.record import FUSIONS

CONTEXTS = (1.0, 17.0, 511.0, 4096.0, 100_000.0)


@pytest.mark.parametrize(
    "name",
    [
        "llama-3.1-8b", "gemma-2-2b", "deepseek-v2-lite", "mamba2-2.7b", "nemotron-nano-9b-v2", "qwen3.5-35b-a3b",
        "lfm2-350m",
    ],
)  # fmt: skip
@pytest.mark.parametrize("fusions", [(), FUSIONS])
@pytest.mark.parametrize("tp", [1, 2])
@pytest.mark.parametrize("q_len", [1, 64])
def test_equal_to_lowering_anew(name: str, fusions: tuple[str, ...], tp: int, q_len: int) -> None:
    how = Lowering(Precision(kv_bits=8.0), Sharding(tp=tp, pp=2), frozenset(fusions))
    contexts = tuple(max(context, q_len) for context in CONTEXTS)
    graphs = lower_contexts(load_model(name), "prefill" if q_len > 1 else "decode", 3.0, q_len, contexts, how)
    for graph, context in zip(graphs, contexts, strict=True):
        anew = lower_step(load_model(name), "prefill" if q_len > 1 else "decode", 3.0, q_len, context, how)
        assert graph == anew


def test_only_attention_sees_the_context() -> None:
    how = replace(Lowering(), fusions=frozenset(FUSIONS))
    first, second = lower_contexts(load_model("llama-3.1-8b"), "decode", 1, 1, (10, 20), how)
    apart = [a.name for a, b in zip(first.operators, second.operators, strict=True) if a is not b]
    assert apart == ["attention.scores"]
