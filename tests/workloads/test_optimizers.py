"""Optimizers: bytes of a parameter, and the products that make an update orthogonal."""

from __future__ import annotations

import pytest

from hardware_specs.errors import UnknownName
from workloads.lowering.plan import Lowering
from workloads.lowering.training import lower_micro_batch
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.optimizers import NEWTON_SCHULZ, OPTIMIZERS, optimizer_of, orthogonalised, state_bytes_per_parameter


@pytest.mark.parametrize(
    ("name", "mixed", "full"),
    [
        ("adamw", 12.0, 8.0), ("lion", 8.0, 4.0), ("momentum", 8.0, 4.0), ("sgd", 4.0, 0.0), ("adafactor", 4.0, 0.0),
        ("adamw-8bit", 4.0 + 2.0 + 8.0 / 2048.0, 2.0 + 8.0 / 2048.0), ("muon", 8.0, 4.0),
    ],
)  # fmt: skip
def test_states_of_a_parameter(name: str, mixed: float, full: float) -> None:
    assert state_bytes_per_parameter("bf16", optimizer=name) == pytest.approx((2.0, 4.0, mixed))
    assert state_bytes_per_parameter("fp32", optimizer=name) == pytest.approx((4.0, 4.0, full))


def test_ends_are_left_to_adam() -> None:
    whole, none = (state_bytes_per_parameter("bf16", optimizer="muon", ends=share).states for share in (1.0, 0.0))
    assert (whole, none) == (12.0, 8.0)
    assert state_bytes_per_parameter("bf16", optimizer="muon", ends=0.25).states == pytest.approx(9.0)
    for name in set(OPTIMIZERS) - {"muon"}:
        assert state_bytes_per_parameter("bf16", optimizer=name, ends=1.0) == state_bytes_per_parameter(
            "bf16", optimizer=name
        )


def test_an_unknown_optimizer_has_neighbours() -> None:
    with pytest.raises(UnknownName, match="adamw"):
        optimizer_of("adam")


@pytest.mark.parametrize("name", ["llama-3.2-1b", "mixtral-8x7b"])
def test_orthogonal_updates_take_the_flops_of_newton_and_schulz(name: str) -> None:
    arch = load_model(name)
    graph = lower_micro_batch(arch, 1, 512, Lowering())
    made = [
        (o, float(r))
        for o, r in zip(graph.operators, graph.repeat, strict=True)
        if o.name.endswith(".wgrad") and not o.name.startswith("head.")
    ]
    products = orthogonalised(made, 4.0, 1.0)
    numbers = sum(o.write_bytes / 4.0 * r for o, r in made)
    count = count_parameters(arch)
    assert numbers == pytest.approx(count.total - count.embedding - count.head - count.norms, rel=0.01)
    expected = 0.0
    for o, r in made:
        m, n = sorted((o.m / o.batch if o.family == "moe" else o.m, o.n))
        expected += NEWTON_SCHULZ * r * o.write_bytes / 4.0 / (m * n) * (4.0 * m * m * n + 2.0 * m**3)
    assert sum(p.flops for p in products) == pytest.approx(expected)
    assert sum(p.flops for p in orthogonalised(made, 4.0, 0.25)) == pytest.approx(expected / 4.0)
