"""Laws by device class: one file per class registers itself here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hardware_specs.facts import Fit
from hardware_specs.records import DeviceSpec


class Parameter(NamedTuple):
    """A law parameter: its prior is a function of the datasheet, replaced by a fitted value where one exists.

    ``low`` and ``high`` are the physical range in which a fit may move it; equal ones say that fits leave it alone.
    ``families`` are the operator families whose fits move it.
    """

    name: str
    dimension: str
    prior: Callable[[DeviceSpec], float]
    meaning: str
    low: float = 0.0
    high: float = 0.0
    families: tuple[str, ...] = ()

    @property
    def free(self) -> bool:
        """Whether fits may move it."""
        return self.low < self.high


class Law(NamedTuple):
    """The physics of one device class.

    ``cost(ops, which, records, out)`` prices every operator of ``ops`` (OpColumns of n) on d devices into ``out``
    [d, 5, n]; ``records`` (shape [r], dtype LAW_DTYPE) holds the records of all devices, ``which`` [d, n] says which
    of them holds for an operator on a device. ``parameters`` are the class priors, ``fits`` say from which
    measured rows numbers of them were set: such rows test nothing.
    """

    device_class: str
    parameters: tuple[Parameter, ...]
    cost: Callable[[Any, Any, Any, Any], None]
    reference: str
    fits: tuple[Fit, ...] = ()


_LAWS: dict[str, Law] = {}


def register(law: Law) -> Law:
    """Make ``law`` the law of its device class."""
    _LAWS[law.device_class] = law
    return law


def law_of(device_class: str) -> Law:
    """The law of a device class; the file of the class is imported on first use."""
    if device_class not in _LAWS:
        from importlib import import_module

        import_module(f"simulator.devices.{device_class}")
    return _LAWS[device_class]
