"""NVIDIA's management library (NVML), asked so that what a GPU, a driver or an old version cannot answer is None.

Reference: NVML API reference guide, https://docs.nvidia.com/deploy/nvml-api/ (groups nvmlDeviceQueries and
nvmlClocksEventReasons); read 2026-11. It is reached through the module ``pynvml`` of the package nvidia-ml-py.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

SM_CLOCK: Final = 1
MEMORY_CLOCK: Final = 2
_REASONS: Final = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock",
}
"""Bits of the reasons for which clocks are below their best; idling and clocks that were asked for are left out."""


class Nvml:
    """The library, or ``missing``: the reason why it cannot be asked.

    Args:
        module: what behaves as ``pynvml`` does; None: the module itself, if it is installed.
    """

    def __init__(self, module: Any = None) -> None:
        self.missing = ""
        if module is None:
            try:
                module = importlib.import_module("pynvml")
            except ImportError:
                self.missing = "nvidia-ml-py is not installed"
                return
        self._module = module
        try:
            module.nvmlInit()
        except module.NVMLError as error:
            self.missing = f"no NVIDIA driver that answers ({error})"
            return
        if not self.ask("nvmlDeviceGetCount"):
            self.missing = "no NVIDIA GPU"

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer of one function of NVML, text decoded; None where it has none."""
        function = getattr(self._module, name, None)
        if function is None:
            return None
        try:
            answer = function(*arguments)
        except self._module.NVMLError:
            return None
        return answer.decode() if isinstance(answer, bytes) else answer

    def devices(self, environ: Mapping[str, str]) -> list[Any]:
        """Handles of the GPUs that CUDA programs may use, in the order of CUDA_VISIBLE_DEVICES where it is set.

        Without it the order is that of the PCI bus. CUDA's own default puts faster GPUs first, which differs on a
        machine with several kinds of GPUs unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set.
        """
        if self.missing:
            return []
        found = [self.ask("nvmlDeviceGetHandleByIndex", index) for index in range(self.ask("nvmlDeviceGetCount"))]
        if "CUDA_VISIBLE_DEVICES" not in environ:
            return [handle for handle in found if handle is not None]
        ids = [self.ask("nvmlDeviceGetUUID", handle) or "" for handle in found]
        visible = []
        for word in filter(None, (each.strip() for each in environ["CUDA_VISIBLE_DEVICES"].split(","))):
            if word.isdecimal():
                matches = found[int(word) : int(word) + 1]
            elif word.startswith("MIG-"):
                matches = [self.ask("nvmlDeviceGetHandleByUUID", word)]
            else:
                matches = [handle for handle, uuid in zip(found, ids, strict=True) if uuid.startswith(word)]
            if len(matches) != 1 or matches[0] is None:
                break
            visible += matches
        return visible

    def throttled(self, device: Any) -> int | None:
        """Bits of the reasons for which the clocks of a GPU are held down now."""
        answer = self.ask("nvmlDeviceGetCurrentClocksEventReasons", device)
        answer = self.ask("nvmlDeviceGetCurrentClocksThrottleReasons", device) if answer is None else answer
        return None if answer is None else int(answer)


def reasons(bits: int) -> str:
    """What holds clocks down, in words."""
    return ", ".join(name for bit, name in _REASONS.items() if bits & bit)
