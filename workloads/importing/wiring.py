"""Who makes and who reads each tensor of a program, which are constants, and what stands behind views of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from workloads.importing.program import VIEWS, Node, Program, Tensor


class Wiring:
    """Look-ups over one program; nodes go by their place in it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes = program.nodes
        self.maker = {name: i for i, node in enumerate(program.nodes) for name in node.outputs}
        self.readers: dict[str, list[int]] = {}
        for i, node in enumerate(program.nodes):
            for name in dict.fromkeys(node.inputs) if node.op not in ("none", "shape") else ():
                self.readers.setdefault(name, []).append(i)

    @cached_property
    def constant_nodes(self) -> frozenset[int]:
        """Nodes that no input of the model reaches: what a runtime computes once, before it runs."""
        fixed = {*self.program.weights, *self.program.buffers, ""}
        found: set[int] = set()
        for i, node in enumerate(self.nodes):
            if node.op in ("constant", "shape") or (
                node.op != "unknown" and all(name in fixed for name in node.inputs)
            ):
                found.add(i)
                fixed.update(node.outputs)
        return frozenset(found)

    @cached_property
    def constants(self) -> frozenset[str]:
        """Tensors that do not depend on the inputs: weights, buffers and what is made of them alone."""
        made = {name for i in self.constant_nodes for name in self.nodes[i].outputs}
        return frozenset({*self.program.weights, *self.program.buffers, *made})

    def tensor(self, name: str) -> Tensor:
        """The tensor called ``name``; without shape where the file does not know it."""
        return self.program.tensors.get(name) or Tensor(name, None, "fp32")

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape; () where it is not known."""
        return self.tensor(name).shape or ()

    def node_of(self, name: str) -> Node | None:
        """The node that makes a tensor; None for inputs and weights."""
        made = self.maker.get(name)
        return None if made is None else self.nodes[made]

    def chain(self, name: str, passing: Iterable[str] = VIEWS) -> Iterator[tuple[str, int]]:
        """The tensors behind ``name`` through nodes of the kinds ``passing``, and the nodes between, nearest first."""
        allowed = frozenset(passing)
        seen = 0
        while (made := self.maker.get(name)) is not None and self.nodes[made].op in allowed and seen < 100:
            node = self.nodes[made]
            if not node.inputs:
                return
            name, seen = node.inputs[0], seen + 1
            yield name, made

    def behind(self, name: str, passing: Iterable[str] = VIEWS) -> str:
        """The tensor that ``name`` is a view of."""
        for earlier, _ in self.chain(name, passing):
            name = earlier
        return name

    def weight_of(self, name: str) -> str:
        """The weight that ``name`` is a view of; "" where it is none."""
        origin = self.behind(name)
        return origin if origin in self._held else ""

    @cached_property
    def _held(self) -> frozenset[str]:
        return frozenset({*self.program.weights, *self.program.buffers})

    def is_constant(self, name: str) -> bool:
        """Whether no input of the model decides it."""
        return name == "" or name in self.constants

    def only_reader(self, name: str) -> int | None:
        """The node that alone reads ``name``; None where there are several, none, or it is a result of the model."""
        readers = self.readers.get(name, ())
        return readers[0] if len(readers) == 1 and name not in self.program.outputs else None

    def onward(self, name: str, passing: Iterable[str] = VIEWS) -> tuple[int | None, str, list[int]]:
        """The first node behind ``name`` that is no view, as long as each result has one reader; the tensor that it
        reads, and the nodes between."""
        allowed = frozenset(passing)
        between: list[int] = []
        while (reader := self.only_reader(name)) is not None:
            if self.nodes[reader].op not in allowed:
                return reader, name, between
            if len(self.nodes[reader].outputs) != 1:
                break
            between.append(reader)
            name = self.nodes[reader].outputs[0]
        return None, name, between
