"""Graphs: blocks, dependencies and their unrolling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import operators as op
from workloads.graph import Graph, GraphBuilder, columns_of


def chain(repeats: list[tuple[int, int]]) -> Graph:
    """A graph of blocks (operators, repeat), each operator after the one before."""
    b = GraphBuilder()
    for index, (count, repeat) in enumerate(repeats):
        with b.block(f"block{index}", repeat):
            for i in range(count):
                b.add(op.norm(f"{index}.{i}", 2.0, 3.0 + i))
    return b.build()


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    b, size = GraphBuilder(), 0
    for index in range(draw(st.integers(1, 4))):
        with b.block(f"block{index}", draw(st.integers(1, 4))):
            for i in range(draw(st.integers(1, 5))):
                after = draw(st.lists(st.integers(0, size - 1), max_size=3, unique=True)) if size else []
                b.add(op.norm(f"{index}.{i}", 1.0 + i, 4.0), after)
                size += 1
    return b.build()


def test_counts_and_sums_include_repeats() -> None:
    graph = chain([(2, 1), (3, 80)])
    assert list(graph.repeat) == [1, 1, 80, 80, 80]
    b = GraphBuilder()
    with b.block("layers", 80):
        b.add(op.gemm("x", 2, 3, 5))
    assert b.build().flops == 80 * 2 * 2 * 3 * 5
    assert b.build().moved_bytes == 80 * 2 * (2 * 5 + 3 * 5 + 2 * 3)


def test_default_dependency_is_the_previous_operator() -> None:
    assert chain([(2, 1), (2, 1)]).depends_on == ((), (0,), (1,), (2,))


def test_expanded_chain_is_a_chain() -> None:
    index, waits = chain([(1, 1), (2, 3)]).expand()
    assert index == [0, 1, 2, 1, 2, 1, 2]
    assert [set(w) for w in waits] == [set(), {0}, {1}, {2}, {3}, {4}, {5}]


def test_branches_stay_apart_and_iterations_follow_each_other() -> None:
    b = GraphBuilder()
    with b.block("fork", 2):
        left = b.add(op.norm("left", 1, 1), ())
        b.add(op.norm("right", 1, 1), ())
        b.add(op.norm("left.end", 1, 1), (left,))
    index, waits = b.build().expand()
    assert index == [0, 1, 2, 0, 1, 2]
    # Both entries of the second iteration wait for both exits of the first.
    assert [set(w) for w in waits] == [set(), set(), {0}, {1, 2}, {1, 2}, {3}]


@given(graphs())
def test_expansion_respects_dependencies_and_counts(graph: Graph) -> None:
    index, waits = graph.expand()
    assert np.array_equal(np.bincount(index, minlength=len(graph)), graph.repeat)
    reached: list[set[int]] = []
    for step, before in enumerate(waits):
        assert all(w < step for w in before)
        reached.append(set().union(*({w} | reached[w] for w in before)))
        seen_operators = {index[s] for s in reached[step]}
        assert set(graph.depends_on[index[step]]) <= seen_operators
    last: dict[int, int] = {}
    for step, i in enumerate(index):
        if i in last:
            assert last[i] in reached[step], "an iteration begins when the one before has ended"
        last[i] = step


@given(graphs())
def test_columns_hold_the_operators(graph: Graph) -> None:
    for name in ("m", "n", "vector_flops", "weight_bytes", "read_bytes", "write_bytes", "calls"):
        assert list(getattr(graph.columns, name)) == [getattr(o, name) for o in graph.operators]
    assert list(graph.columns.kind) == [int(o.kind) for o in graph.operators]


def test_columns_of_nothing_are_empty() -> None:
    assert all(len(column) == 0 for column in columns_of(()))


def test_block_with_repeat_zero_leaves_nothing() -> None:
    assert [o.name for o in chain([(1, 1), (2, 0), (1, 1)]).operators] == ["0.0", "2.0"]


def test_misuse_is_refused() -> None:
    b = GraphBuilder()
    b.add(op.norm("loose", 1, 1))
    with pytest.raises(ValueError, match="1 operators stand outside"):
        b.build()
    with pytest.raises(ValueError, match=r"'late' depends on \(7,\); allowed are 0 to 0"):
        b.add(op.norm("late", 1, 1), (7,))
    with b.block("outer"), pytest.raises(ValueError, match="'inner' stands inside block 'outer'"), b.block("inner"):
        pass
    with pytest.raises(ValueError, match="repeat -1"), b.block("negative", -1):
        pass
