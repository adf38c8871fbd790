"""Placement: time of the exact solvers on an 80-layer model and 16 mixed devices, and regret on small random systems.

    python benchmarks/placement.py            # both
    python benchmarks/placement.py --time
    python benchmarks/placement.py --regret 50

Regret is that of the chosen placement against every placement of whole layers (each phase by itself) on the engine.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product

import msgspec
import numpy as np

from hardware_specs.devices import load_device
from hardware_specs.errors import DoesNotFit, InputError
from hardware_specs.overrides import apply_overrides
from hardware_specs.sites import DEFAULT_SITE, load_site
from hardware_specs.systems import links_of, load_system
from simulator.planning.additive import Aim, Problem, totals_of
from simulator.planning.blocks import OBJECTIVES, aim_of, flying_of, problem_of
from simulator.planning.chain import chain
from simulator.planning.place import Candidate, place, simulated
from simulator.planning.profiles import Shapes
from simulator.planning.rules_of import placed
from simulator.planning.solve import free_of_transfers, solve
from simulator.prepared import prepare_pool
from simulator.scenario import Formats, Plan, Pool, Scenario, StaticBatch
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import default_runtime

SYSTEMS = (
    ("gpu-tpu-lab", ("h100-sxm-80gb", "tpu-v5e")), ("cpu-gpu-workstation", ("rtx-4090", "xeon-8480-plus")),
    ("five-classes", ("l40s", "gaudi-2")), ("five-classes", ("xeon-8480-plus", "tpu-v5e")),
    ("five-classes", ("gaudi-2", "tpu-v5e")),
)  # fmt: skip
MODELS = ("llama-3.1-8b", "mixtral-8x7b", "llama-3.2-1b")


def pools_of(devices: tuple[str, ...], counts: tuple[int, ...] = ()) -> tuple[Pool, ...]:
    """Pools of one device each; several of a device where ``counts`` says so."""
    found = []
    for device, count in zip(devices, counts or (1,) * len(devices), strict=True):
        spec = load_device(device)
        for i in range(count):
            found.append(Pool(f"{device}-{i}", spec, 1, default_runtime(spec), Formats("bf16", "int8"), Plan()))
    return tuple(found)


def short(name: str, layers: int) -> Architecture:
    whole = load_model(name)
    return msgspec.structs.replace(
        whole, id=f"{name}-{layers}", groups=(msgspec.structs.replace(whole.groups[-1], count=layers),)
    )


def random_system(seed: int) -> Scenario:
    """Two layers of a model on two devices of a mixed system, links up to 30 times slower or faster, memory scarce."""
    rng = np.random.default_rng(seed)
    name, devices = SYSTEMS[int(rng.integers(len(SYSTEMS)))]
    system = load_system(name)
    work = StaticBatch(
        short(MODELS[int(rng.integers(len(MODELS)))], 2), int(rng.choice([1, 4, 16])),
        int(rng.choice([128, 512, 2048])), int(rng.choice([2, 16, 128])),
    )  # fmt: skip
    factor = float(10.0 ** rng.uniform(-1.5, 1.5))
    links = {
        key: apply_overrides(link, {"bandwidth": f"{factor:.6g}x"}, "link.") for key, link in links_of(system).items()
    }
    pools = []
    for pool in pools_of(devices):
        spec = pool.device
        if rng.random() < 0.5:
            room = f"{rng.uniform(2.0, 8.0):.3g} GB"
            spec = apply_overrides(spec, {"memory.capacity": room}, "device.")
        price = f"{rng.uniform(0.3, 6.0):.3g} USD/h"
        pools.append(priced(msgspec.structs.replace(pool, device=spec), price))
    return Scenario(work, system, links, tuple(pools), load_site(DEFAULT_SITE))


def priced(pool: Pool, price: str) -> Pool:
    from hardware_specs.facts import Fact, Mark
    from hardware_specs.units import parse_quantity

    value = parse_quantity(price, "usd_per_s", "price")
    return msgspec.structs.replace(pool, usd_per_device_s=Fact(value, "usd_per_s", price, Mark.ASSUMED, "drawn"))


def best_of_all(scenario: Scenario, work: StaticBatch, objective: str) -> float:
    """The least value of every placement of whole layers, phase by phase, that fits; inf where none does."""
    prepared = [prepare_pool(scenario, pool) for pool in scenario.pools]
    flying = flying_of(objective, len(prepared))
    problem = problem_of(work, prepared, scenario.privacy, flying=flying)
    best = float("inf")
    for row in product((0, 1), repeat=2 * problem.layers):
        placement = tuple(np.array(row[2 * i : 2 * i + 2]).reshape(2, 1) for i in range(problem.layers))
        if not totals_of(problem, placement).fits:
            continue
        own = placed(scenario, problem, placement)
        ran = simulated(Candidate(problem, placement, own, 0.0), work, objective)
        if ran.result is not None and ran.result.fits:
            best = min(best, ran.value)
    return best


def regrets(systems: int, seed: int) -> None:
    found, skipped = [], 0
    began = time.perf_counter()
    while len(found) < systems:
        scenario, objective = random_system(seed), OBJECTIVES[seed % len(OBJECTIVES)]
        seed += 1
        work = scenario.workload
        assert isinstance(work, StaticBatch)
        try:
            best = best_of_all(scenario, work, objective)
            chosen = place(scenario, work, objective).value
        except (DoesNotFit, InputError) as error:
            skipped += 1
            sys.stderr.write(f"seed {seed - 1}: {error}\n")
            continue
        found.append(chosen / best - 1.0)
        sys.stderr.write(f"seed {seed - 1} {objective}: {best:.4g}, chosen {chosen:.4g}, regret {found[-1]:+.2%}\n")
    worst = max(found)
    print(
        f"regret on {len(found)} random systems ({skipped} without a placement): worst {worst:+.2%}, mean "
        f"{float(np.mean(np.maximum(found, 0.0))):.2%}; {time.perf_counter() - began:.0f} s"
    )


def sixteen(layers: int = 80, kinds: int = 4) -> tuple[Problem, list[Aim]]:
    """An 80-layer model on 16 devices of four classes, as prices of the laws say."""
    system = load_system("five-classes")
    groups = tuple(msgspec.structs.replace(group, count=4) for group in system.groups)
    wide = msgspec.structs.replace(system, groups=groups)
    devices = ("xeon-8480-plus", "l40s", "gaudi-2", "tpu-v5e")[:kinds]
    pools = tuple(priced(p, "2 USD/h") for p in pools_of(devices, (16 // kinds,) * kinds))
    work = StaticBatch(load_model("llama-3.1-70b"), 8, 1024, 128)
    scenario = Scenario(work, wide, links_of(wide), pools, load_site(DEFAULT_SITE))
    prepared = [prepare_pool(scenario, pool) for pool in scenario.pools]
    assert work.model.layers == layers
    return problem_of(work, prepared, scenario.privacy), [aim_of(name, prepared) for name in OBJECTIVES]


def times() -> None:
    problem, aims = sixteen()
    for aim in aims:
        began = time.perf_counter()
        found = chain(problem, aim)
        spent = time.perf_counter() - began
        print(
            f"80 layers, 16 devices of 4 kinds, {aim.name}: {found.value:.5g} in {spent:.2f} s (contiguous runs, exact)"
        )
    for name, aim in zip(OBJECTIVES, aims, strict=True):
        began = time.perf_counter()
        bound = solve(free_of_transfers(problem), aim, Shapes(), seconds=1.0, within=1e-3).bound
        print(f"  bound of {name}, any order, phases apart: {bound:.5g} in {time.perf_counter() - began:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--regret", type=int, default=0, metavar="SYSTEMS")
    parser.add_argument("--seed", type=int, default=0, help="of the first system; each has the next one")
    asked = parser.parse_args()
    if asked.time or not asked.regret:
        times()
    if asked.regret or not asked.time:
        regrets(asked.regret or 50, asked.seed)


if __name__ == "__main__":
    main()
