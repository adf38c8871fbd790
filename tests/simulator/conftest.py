"""Scenarios in one line, from the shipped catalogues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from hardware_specs.devices import load_device
from hardware_specs.sites import DEFAULT_SITE, load_site
from hardware_specs.systems import links_of, load_system, system_for
from simulator.scenario import Formats, Plan, Pool, Rule, Scenario, Workload, trains
from workloads.runtimes.catalogue import default_runtime, load_runtime

MakeScenario = Callable[..., Scenario]


def make_pool(device: str, plan: Plan, name: str, runtime: str, formats: Formats | None) -> Pool:
    """A pool that computes in bf16, in int8 where the device has nothing else."""
    spec = load_device(device)
    formats = formats or Formats("int8" if set(spec.compute.peaks) == {"int8"} else "bf16")
    software = load_runtime(runtime) if runtime else default_runtime(spec)
    return Pool(name or device, spec, plan.devices, software, formats, plan)


TRAINERS = {"gpu": "megatron-core-2025", "tpu": "maxtext-2024"}


def usual_trainer(work: Workload, device: str) -> str:
    """What trains on a device; "" (its usual runtime) for what trains nothing."""
    return TRAINERS.get(load_device(device).device_class, "ideal") if trains(work) else ""


@pytest.fixture(scope="session")
def one_pool() -> MakeScenario:
    """``one_pool(workload, device, tp=.., pp=.., dp=.., ep=.., runtime=.., system=.., dtype=..)``."""

    def make(
        work: Workload, device: str, *, tp: int = 1, pp: int = 1, dp: int = 1, ep: int = 1, runtime: str = "",
        system: str = "", seed: int = 0, formats: Formats | None = None, micro_batch: int = 1, recompute: str = "none",
    ) -> Scenario:  # fmt: skip
        pool = make_pool(
            device, Plan(tp, pp, dp, ep, micro_batch, recompute), "", runtime or usual_trainer(work, device), formats
        )
        whole = load_system(system) if system else system_for(pool.device, pool.count)
        return Scenario(work, whole, links_of(whole), (pool,), load_site(DEFAULT_SITE), seed=seed)

    return make


@pytest.fixture(scope="session")
def pools() -> MakeScenario:
    """``pools(workload, system, [(device, tp), ...], rules)``: several pools in a shipped system."""

    def make(
        work: Workload, system: str, devices: Sequence[tuple[str, int]], rules: Sequence[Rule] = (), *,
        runtime: str = "", formats: Formats | None = None, micro_batch: int = 1, recompute: str = "none",
    ) -> Scenario:  # fmt: skip
        whole = load_system(system)
        made = tuple(
            make_pool(
                device,
                Plan(tp=tp, micro_batch=micro_batch, recompute=recompute),
                "",
                runtime or usual_trainer(work, device),
                formats,
            )
            for device, tp in devices
        )
        return Scenario(work, whole, links_of(whole), made, load_site(DEFAULT_SITE), tuple(rules))

    return make
