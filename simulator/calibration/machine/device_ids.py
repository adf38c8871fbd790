"""Ids for devices that are calibrated where nobody gave them one."""

from __future__ import annotations

import re
from typing import Final

from hardware_specs.errors import InputError
from simulator.calibration.machine.environment import Environment
from simulator.calibration.probes.registry import Target

_IN_NAMES: Final = (
    (r"\((r|tm|c)\)", ""), (r"@.*", ""), (r"\b(with|w/) radeon.*", ""), (r"\b\d+(st|nd|rd|th) gen\b", ""),
    (r"\b\d+-core\b", ""), (r"\b(cpu|processor)\b", ""), (r"(?<=\S)\+", "-plus"), (r"[^a-z0-9]+", "-"),
)  # fmt: skip
"""What names say besides the model, and what takes its place in an id."""
_MAKERS: Final = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "hygon"}


def device_id_of(environment: Environment, target: Target = "cpu", index: int = 0) -> str:
    """An id for what is calibrated: its model, of a CPU also the sockets (if several) and cores that can be used.

    "amd-epyc-9654-96c", "intel-xeon-platinum-8480-plus-2s-112c", "amd-epyc-1p5c" (a quota of 1.5 cores),
    "nvidia-h100-80gb-hbm3".

    Args:
        index: which GPU.

    Raises:
        InputError: there is no such GPU.
    """
    if target == "gpu":
        gpus = environment.accelerators
        if not 0 <= index < len(gpus):
            seen = f"allowed: 0 to {len(gpus) - 1}" if gpus else environment.accelerators_missing or "none is listed"
            raise InputError(f"there is no GPU {index} ({seen})")
        return _slug(gpus[index].name) or "gpu"
    cpu = environment.processor
    maker = _MAKERS.get(cpu.vendor, _slug(cpu.vendor))
    model = _slug(cpu.model) or _slug(cpu.microarchitecture) or _slug(cpu.architecture) or "cpu"
    sockets = environment.allowance.sockets or 1
    words = ["" if model.startswith(maker) else maker, model, f"{sockets}s" if sockets > 1 else ""]
    return "-".join(filter(None, [*words, f"{environment.cores:.3g}c".replace(".", "p")]))


def _slug(name: str) -> str:
    text = name.lower()
    for pattern, replacement in _IN_NAMES:
        text = re.sub(pattern, replacement, text)
    return text.strip("-")
