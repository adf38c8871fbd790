"""Models as rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from simulator.validation.architectures import architecture_of, read_models
from simulator.validation.one_pool import model_of
from workloads.models.architecture import Experts, FeedForward
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

LLAMA = {"id": "llama-like", "layers": "32", "hidden": "4096", "heads": "32", "kv_heads": "8", "head_dim": "128",
         "ffn": "14336", "vocab": "128256", "gated_mlp": "1", "attention": "gqa"}  # fmt: skip
DEEPSEEK = {"id": "deepseek-like", "layers": "61.0", "hidden": "7168", "heads": "128", "ffn": "18432",
            "vocab": "129280", "gated_mlp": "1.0", "experts": "256", "experts_per_token": "8", "moe_ffn": "2048",
            "shared_experts": "1", "dense_layers": "3", "attention": "mla", "mla_q_lora": "1536",
            "mla_kv_lora": "512", "mla_rope_dim": "64", "mla_nope_dim": "128", "mla_v_dim": "128"}  # fmt: skip


@pytest.mark.parametrize(("row", "name"), [(LLAMA, "llama-3.1-8b"), (DEEPSEEK, "deepseek-v3")])
def test_rows_count_the_parameters_of_the_models_they_describe(row: dict[str, str], name: str) -> None:
    mine, known = architecture_of(row, "x"), load_model(name)
    assert mine.layers == known.layers
    assert count_parameters(mine).total == pytest.approx(count_parameters(known).total, rel=1e-3)


def test_dense_and_expert_layers() -> None:
    first, rest = architecture_of(DEEPSEEK, "x").groups
    assert (first.count, rest.count) == (3, 58)
    assert isinstance(first.mlp, FeedForward)
    assert isinstance(rest.mlp, Experts)
    assert rest.mlp.shared_width == 2048


def test_a_file_of_models(csv_file: Callable[..., Path]) -> None:
    hybrid, unfilled = {**LLAMA, "id": "mamba", "attention": "ssm", "heads": "0"}, {"id": "secret", "attention": "gqa"}
    models = read_models(csv_file([LLAMA, hybrid, unfilled, {**LLAMA, "id": "llama-3.1-8b", "layers": "1"}]))
    assert set(models) == {"llama-like", "llama-3.1-8b"}
    assert model_of("llama-like", models).layers == 32
    assert model_of("llama-3.1-8b", models).layers == 32  # the catalogue says more


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "x", "hidden": "1"}], "lacks the column 'layers'"),
        ([LLAMA, {**LLAMA, "heads": "many"}], "line 3: heads 'many': must be a number"),
        ([{**LLAMA, "kv_heads": "5"}], "line 2: .*kv_heads is 5; it must divide heads"),
    ],
)
def test_files_that_hold_no_models_are_refused(csv_file: Callable[..., Path], rows: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_models(csv_file(rows))
