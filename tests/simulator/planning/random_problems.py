"""Small random additive problems, and the aims of each kind."""

from __future__ import annotations

import numpy as np

from simulator.planning.additive import Aim, Edge, Floats, Group, Loop, Problem, Shared, plain_aim

MOST = 1500
"""Placements of one problem that an exhaustive search goes through."""


def link(rng: np.random.Generator, pools: int) -> Floats:
    """Seconds between pools that no detour shortens."""
    found = rng.uniform(0.0, 2.0, (pools, pools)) * rng.choice([0.02, 0.3, 1.0])
    np.fill_diagonal(found, 0.0)
    for k in range(pools):
        found = np.minimum(found, found[:, k : k + 1] + found[k : k + 1, :])
    return found


def group(rng: np.random.Generator, label: str, count: int, parts: int, phases: int, pools: int) -> Group:
    """Layers of random parts; sometimes a pool must not run one of them."""
    seconds = rng.uniform(0.2, 3.0, (phases, parts, pools))
    if rng.random() < 0.2:
        seconds[tuple(int(rng.integers(0, size)) for size in seconds.shape)] = np.inf
    inner = [
        Edge((phase, part - 1), (phase, part), link(rng, pools)) for phase in range(phases) for part in range(1, parts)
    ]
    if phases == 2:
        inner.append(Edge((0, 0), (1, 0), link(rng, pools)))
    return Group(
        label, count, tuple(f"part{i}" for i in range(parts)), seconds, rng.uniform(0.5, 3.0, seconds.shape),
        rng.uniform(0.0, 0.2, (phases, pools)), rng.uniform(1.0, 3.0, (parts, pools)),
        np.stack([link(rng, pools) for _ in range(phases)]), tuple(inner), parts - 1,
    )  # fmt: skip


def problem(seed: int) -> Problem:
    """An embedding, some equal layers and a head on two or three pools."""
    rng = np.random.default_rng(seed)
    pools, phases = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    states = pools**phases
    middle = max(1, int(np.log(MOST / states**2) / np.log(states)))
    layers = int(rng.integers(1, min(middle, 4) + 1))
    parts = 2 if rng.random() < 0.5 and states ** (2 * layers + 2) <= MOST else 1
    groups = (
        group(rng, "embedding", 1, 1, phases, pools), group(rng, "layers", layers, parts, phases, pools),
        group(rng, "head", 1, 1, phases, pools),
    )  # fmt: skip
    shared = (Shared((0, 2), rng.uniform(0.0, 2.0, pools)),) if rng.random() < 0.5 else ()
    return Problem(
        tuple(f"pool{i}" for i in range(pools)), ("prefill", "decode")[:phases], groups, rng.uniform(3.0, 9.0, pools),
        (Loop((2, phases - 1), (0, phases - 1), link(rng, pools)),), shared,
    )  # fmt: skip


def aims(seed: int, pools: int, flying: float = float("inf")) -> list[Aim]:
    """Latency, the slowest stage (with so many requests on their way), energy and dollars."""
    rng = np.random.default_rng(seed)
    static, none = rng.uniform(0.1, 1.0, pools), np.zeros(pools)
    idle = static * rng.uniform(0.2, 0.9, pools)
    energy = Aim("energy", 0.0, -0.4 * static, np.ones(pools), static - idle, idle)
    usd = Aim("usd", 0.0, none, none, none, rng.uniform(0.1, 2.0, pools))
    return [plain_aim(pools), plain_aim(pools, "throughput", flying), energy, usd]
