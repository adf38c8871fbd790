"""Probes: each measures one thing the hardware does; a new one is a file that registers itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from workloads.operators import Operator

Target = Literal["cpu", "gpu"]
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Machine:
    """What probes must know of the machine that they run on.

    Args:
        target: what is measured.
        cores: CPU cores that this process may use, CPU quota included.
        cache_bytes: last-level cache [B]; 0 where unknown.
        memory_bytes: memory that probes may fill [B].
        dtypes: compute dtypes that are worth measuring.
        quick: few shapes, for a first impression.
    """

    target: Target
    cores: int
    cache_bytes: float
    memory_bytes: float
    dtypes: tuple[str, ...]
    quick: bool = False

    @property
    def torch_device(self) -> str:
        """Where torch runs."""
        return "cuda" if self.target == "gpu" else "cpu"


@dataclass(frozen=True, slots=True)
class Case:
    """One call to measure.

    Args:
        operator: what the call does.
        prepare: makes the inputs and returns the call; what it holds is freed when the call is dropped.
        bytes: memory that the inputs and results take [B].
        variant, threads: see ``Measurement``.
        graph: on a GPU, time it replayed from a captured graph, without launches.
    """

    operator: Operator
    prepare: Callable[[], Call]
    bytes: float
    variant: str = ""
    threads: int = 0
    graph: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """One kind of measurement.

    Args:
        name: what samples and progress call it.
        targets: what it can measure.
        runtime: id of the runtime whose kernels run, by target; none where no kernel of a runtime runs.
        missing: why it cannot run on a machine; "" where it can.
        cases: calls to measure, the most telling ones first.
        more: candidates that a design may pick from where predictions are unsure.
    """

    name: str
    targets: tuple[Target, ...]
    runtime: Mapping[Target, str]
    missing: Callable[[Machine], str]
    cases: Callable[[Machine], Iterable[Case]]
    more: Callable[[Machine], Iterable[Case]] = lambda machine: ()


PROBES: Final[dict[str, Probe]] = {}


def register(probe: Probe) -> Probe:
    """Add ``probe`` to ``PROBES``.

    Raises:
        ValueError: a probe of that name is there already.
    """
    if probe.name in PROBES:
        raise ValueError(f"two probes are called {probe.name!r}")
    PROBES[probe.name] = probe
    return probe
