"""silicost: what a language-model workload costs on hardware, before the hardware is there.

    >>> import silicost
    >>> scenario = silicost.inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=8, isl=2048, osl=256)
    >>> result = silicost.simulate(scenario)
    >>> result.metrics["tpot_s"], result.intervals["tpot_s"]  # doctest: +SKIP

Names are loaded on first use, so that ``import silicost`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from silicost.notebooks import register

register()

_PUBLIC = {
    "simulate": "simulator.simulate",
    "inference_scenario": "silicost.scenarios",
    "training_scenario": "silicost.scenarios",
    "Scenario": "simulator.scenario",
    "Plan": "simulator.scenario",
    "Formats": "simulator.scenario",
    "Result": "simulator.result",
    "load_device": "hardware_specs.devices",
    "load_system": "hardware_specs.systems",
    "load_model": "workloads.models.catalogue",
    "load_runtime": "workloads.runtimes.catalogue",
    "use_calibration": "simulator.calibration.use",
    "InputError": "hardware_specs.errors",
    "DoesNotFit": "hardware_specs.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name == "__version__":
        from hardware_specs.version import package_version

        return package_version()
    raise AttributeError(f"module 'silicost' has no attribute {name!r}")
