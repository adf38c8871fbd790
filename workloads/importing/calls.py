"""What nodes become: calls of operators with written-out sizes, and what happened to every node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hardware_specs.dtypes import BITS
from workloads.importing.program import Node
from workloads.importing.wiring import Wiring

MAPPED: Final = "mapped"
FUSED: Final = "fused"
FREE: Final = "free"
LOST: Final = "not mapped"


@dataclass(frozen=True, slots=True)
class Call:
    """One operator: kind and sizes as in ``workloads.lowering.sized``, of the whole batch that the program is bound to.

    ``result`` is the tensor that it makes, ``inputs`` those that it reads, ``weights`` those that the file holds,
    ``nodes`` the places of all nodes that it stands for.
    """

    name: str
    kind: str
    sizes: dict[str, float]
    dtype: str
    inputs: tuple[str, ...]
    result: str
    nodes: tuple[int, ...]
    weights: tuple[str, ...] = ()
    place: str = ""


@dataclass
class Mapping:
    """Calls by the place of their last node, and by node what became of it: a state and why."""

    wiring: Wiring
    calls: dict[int, Call] = field(default_factory=dict)
    states: dict[int, tuple[str, str]] = field(default_factory=dict)

    def add(self, last: int, call: Call) -> None:
        """Take ``call``, which stands for its nodes; ``last`` makes its result, whose shape must be known."""
        if self.wiring.tensor(call.result).shape is None:
            for i in call.nodes:
                self.lose(i, "the shape of its result is not known")
            return
        self.calls[last] = call
        for i in call.nodes:
            self.states[i] = (MAPPED, call.name) if i == last else (FUSED, call.name)

    def free(self, i: int, why: str) -> None:
        """Node ``i`` costs nothing."""
        self.states.setdefault(i, (FREE, why))

    def lose(self, i: int, why: str) -> None:
        """Node ``i`` could not be mapped."""
        self.states[i] = (LOST, why)

    def is_open(self, *places: int) -> bool:
        """Whether none of these nodes is part of a call yet."""
        return all(self.states.get(i, (FREE, ""))[0] == FREE for i in places)

    def label(self, node: Node) -> str:
        """What a call of one node is called: its module and the last word of its name."""
        word = node.name.rpartition("/")[2]
        return f"{node.place}.{word}" if node.place else word


def compute_dtype(dtype: str) -> str:
    """The compute dtype for math on tensors of ``dtype``: itself, fp32 for whole numbers and truth values."""
    return dtype if dtype in BITS and dtype not in ("int8", "int4", "fp4") else "fp32"
