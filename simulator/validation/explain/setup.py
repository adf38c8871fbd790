"""What a prediction is made from, and one number of it changed as ``--set`` changes it."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from hardware_specs.overrides import apply_overrides
from hardware_specs.records import DeviceSpec, LinkSpec, SystemSpec
from hardware_specs.units import format_quantity
from workloads.runtimes.record import Runtime

_DIGITS = 16
"""Digits of a changed value: as many as a float holds."""


class Setup(msgspec.Struct, frozen=True):
    """The records that a change can change."""

    device: DeviceSpec
    runtime: Runtime
    system: SystemSpec
    links: dict[str, LinkSpec]


class Candidate(NamedTuple):
    """A number that may be another one in truth.

    Args:
        path: how ``--set`` calls it ("runtime.host_step").
        owner: the record that it is of ("trtllm-0.9"); equal paths of equal owners are one number.
        what: its meaning.
        dimension: as ``hardware_specs.units`` has it.
        now: its value; ``low`` and ``high`` are its physical range (infinite: none) [SI unit of the dimension].
        sd: standard deviation of its logarithm, by which changes of different numbers are compared.
    """

    path: str
    owner: str
    what: str
    dimension: str
    now: float
    low: float
    high: float
    sd: float

    def size(self, value: float) -> float:
        """How far ``value`` is from what it is now, in standard deviations."""
        return abs(self.place(value) - self.place(self.now)) / self.sd

    def place(self, value: float) -> float:
        """``value`` on a logarithmic scale; where zero is allowed the scale ends a little below what it is now."""
        return math.log(value + least(self.now, self.low, self.high, self.dimension))

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies in the physical range, up to the last digits."""
        return self.low * (1.0 - 1e-9) <= value <= self.high * (1.0 + 1e-9)


_SHARE_LEFT = 0.05
"""A time that vanishes counts like one that falls to this share."""
_SHORT_S = 1e-6
"""What counts as no time where there is none now [s]."""


def least(now: float, low: float, high: float, dimension: str) -> float:
    """What is added before logarithms are taken, so that zero has one: 0 where zero is not allowed."""
    if low > 0.0:
        return 0.0
    if now > 0.0:
        return _SHARE_LEFT * now
    return _SHORT_S if dimension == "s" else 0.01 * high


def changed(setup: Setup, candidate: Candidate, value: float) -> Setup:
    """``setup`` with the number at the path of ``candidate`` set to ``value``.

    Raises:
        InputError: a value that no such number can have.
    """
    kind, _, rest = candidate.path.partition(".")
    text = format_quantity(value, candidate.dimension, _DIGITS)
    if kind == "link":
        name, _, field = rest.partition(".")
        link = apply_overrides(setup.links[name], {field: text}, f"link.{name}.")
        return msgspec.structs.replace(setup, links={**setup.links, name: link})
    record = apply_overrides(getattr(setup, kind), {rest: text}, f"{kind}.")
    return msgspec.structs.replace(setup, **{kind: record})
