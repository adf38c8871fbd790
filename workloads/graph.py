"""A graph of operators as a structure of arrays, with dependencies and repeated blocks.

A *block* is a run of consecutive operators that is executed ``repeat`` times in a row (80 equal layers are one
block counted 80 times). Within a block an operator depends on earlier operators of the same block or of
earlier blocks; iteration i + 1 of a block begins when iteration i has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.dtypes import CODE
from workloads.operators import Operator

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class OpColumns(NamedTuple):
    """Operators as columns, one entry each: what the kernels read. Fields as in ``Operator``."""

    kind: Ints
    dtype: Ints
    group: Ints
    dequantize: Ints
    m: Floats
    n: Floats
    k: Floats
    batch: Floats
    heads: Floats
    kv_heads: Floats
    value_dim: Floats
    flops: Floats
    vector_flops: Floats
    weight_bytes: Floats
    read_bytes: Floats
    write_bytes: Floats
    message_bytes: Floats
    weight_bits: Floats
    calls: Floats
    experts: Floats
    imbalance: Floats

    @property
    def moved_bytes(self) -> Floats:
        """Bytes of each operator that must cross the memory interface at least once [B], shape [n]."""
        moved: Floats = self.weight_bytes + self.read_bytes + self.write_bytes
        return moved

    def take(self, rows: Ints) -> OpColumns:
        """The operators with these indices."""
        return OpColumns(**{name: column[rows] for name, column in self._asdict().items()})


_INTEGERS = ("kind", "group", "dequantize")
_FIELDS = tuple(name for name in OpColumns._fields if name != "dtype")
_FIELDS_OF = attrgetter(*_FIELDS)


def columns_of(operators: Sequence[Operator]) -> OpColumns:
    """The columns of ``operators``, shape [len(operators)] each."""
    rows = np.array([_FIELDS_OF(o) for o in operators], np.float64).reshape(len(operators), len(_FIELDS))
    columns = dict(zip(_FIELDS, np.ascontiguousarray(rows.T), strict=True))
    integers = {name: columns[name].astype(np.int64) for name in _INTEGERS}
    dtype = np.array([CODE[o.dtype] for o in operators], np.int64)
    return OpColumns(**{**columns, **integers, "dtype": dtype})


@dataclass(frozen=True)
class Block:
    """Operators ``start`` to ``stop`` (exclusive), executed ``repeat`` times."""

    label: str
    start: int
    stop: int
    repeat: int


@dataclass(frozen=True)
class Graph:
    """Operators in topological order, their dependencies, and the blocks that tile them.

    ``depends_on[i]`` holds the indices (all < i) whose results operator i needs.
    """

    operators: tuple[Operator, ...]
    depends_on: tuple[tuple[int, ...], ...]
    blocks: tuple[Block, ...]

    @cached_property
    def columns(self) -> OpColumns:
        """The operators as a structure of arrays, shape [n]."""
        return columns_of(self.operators)

    @cached_property
    def repeat(self) -> Floats:
        """How often each operator runs, shape [n]."""
        counts = np.ones(len(self.operators))
        for block in self.blocks:
            counts[block.start : block.stop] = block.repeat
        return counts

    @property
    def flops(self) -> float:
        """All matrix FLOPs, repeats included."""
        return float(sum(o.flops * n for o, n in zip(self.operators, self.repeat.tolist(), strict=True)))

    @property
    def moved_bytes(self) -> float:
        """All bytes that cross the memory interface at least once, repeats included [B]."""
        return float(sum(o.moved_bytes * n for o, n in zip(self.operators, self.repeat.tolist(), strict=True)))

    def __len__(self) -> int:
        return len(self.operators)

    def expand(self) -> tuple[list[int], list[tuple[int, ...]]]:
        """Unroll the repeats for execution one by one.

        Returns:
            ``(index, depends_on)``: for each executed step the operator index, and the earlier steps it waits
            for. The entries of iteration i + 1 (operators with no dependency inside the block) wait for the
            exits of iteration i (operators that nothing inside the block depends on).
        """
        index: list[int] = []
        waits: list[tuple[int, ...]] = []
        last: dict[int, int] = {}
        for block in self.blocks:
            inside = range(block.start, block.stop)
            needed = {d for i in inside for d in self.depends_on[i] if d >= block.start}
            exits = [i for i in inside if i not in needed]
            entries = {i for i in inside if not any(d >= block.start for d in self.depends_on[i])}
            for iteration in range(block.repeat):
                previous = tuple(last[e] for e in exits) if iteration else ()
                for i in inside:
                    own = tuple(last[d] for d in self.depends_on[i] if iteration == 0 or d >= block.start)
                    step = len(index)
                    index.append(i)
                    waits.append(own + (previous if i in entries else ()))
                    last[i] = step
        return index, waits


class GraphBuilder:
    """Collects operators into a ``Graph``; by default each operator depends on the one before it."""

    def __init__(self) -> None:
        self._operators: list[Operator] = []
        self._depends_on: list[tuple[int, ...]] = []
        self._blocks: list[Block] = []
        self._open = ""

    def add(self, operator: Operator, after: Iterable[int] | None = None) -> int:
        """Append ``operator``; ``after`` names the operators it waits for (None: the previous one).

        Returns:
            Its index.
        """
        here = len(self._operators)
        chosen = ((here - 1,) if here else ()) if after is None else tuple(after)
        if any(not 0 <= d < here for d in chosen):
            raise ValueError(f"operator {operator.name!r} depends on {chosen}; allowed are 0 to {here - 1}")
        self._operators.append(operator)
        self._depends_on.append(chosen)
        return here

    @contextmanager
    def block(self, label: str, repeat: int = 1) -> Iterator[None]:
        """Everything added inside runs ``repeat`` times in a row; nothing is kept of a block with repeat 0.

        Raises:
            ValueError: a block inside a block, or a negative repeat.
        """
        if self._open:
            raise ValueError(f"block {label!r} stands inside block {self._open!r}; blocks do not nest")
        if repeat < 0:
            raise ValueError(f"block {label!r} has repeat {repeat}; allowed are 0 and more")
        start, self._open = len(self._operators), label
        yield
        self._open = ""
        if repeat == 0:
            del self._operators[start:], self._depends_on[start:]
        elif len(self._operators) > start:
            self._blocks.append(Block(label, start, len(self._operators), repeat))

    def build(self) -> Graph:
        """The finished graph. Every operator must have been added inside a block."""
        covered = sum(b.stop - b.start for b in self._blocks)
        if covered != len(self._operators):
            raise ValueError(f"{len(self._operators) - covered} operators stand outside any block")
        return Graph(tuple(self._operators), tuple(self._depends_on), tuple(self._blocks))
