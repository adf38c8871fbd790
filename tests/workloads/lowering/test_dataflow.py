"""Explicit dataflows: shapes, gradients, real dependencies, and errors that name the place."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from workloads.graph import Graph
from workloads.lowering.dataflow import (
    FORWARD,
    TRAINING,
    Dataflow,
    DataflowInput,
    DataflowOperator,
    check_dataflow,
    lower_dataflow,
    parameters_of,
    shapes_of,
)
from workloads.operators import Operator, OpKind

X = DataflowInput("x", cols=100)
BRANCHES = (
    DataflowOperator("xg", "gemm", ("x",), n=100),
    DataflowOperator("xt", "gemm", ("x",), n=100),
    DataflowOperator("y", "add", ("xg", "xt")),
)
"""y = x g + x t: g and t may lie on two devices."""

DIGITS = (DataflowInput("pixels", cols=784), DataflowInput("label", cols=1))
CLASSIFIER = (
    DataflowOperator("hidden", "gemm", ("pixels",), n=128, bias=True),
    DataflowOperator("relu", "relu", ("hidden",)),
    DataflowOperator("scores", "gemm", ("relu",), n=10, bias=True),
    DataflowOperator("loss", "loss", ("scores", "label")),
)


def named(graph: Graph, name: str) -> Operator:
    return graph.operators[index(graph, name)]


def index(graph: Graph, name: str) -> int:
    return [o.name for o in graph.operators].index(name)


def before(graph: Graph, name: str) -> set[str]:
    """Names of the operators that ``name`` waits for."""
    return {graph.operators[i].name for i in graph.depends_on[index(graph, name)]}


def ancestors(graph: Graph) -> list[set[int]]:
    reached: list[set[int]] = []
    for waits in graph.depends_on:
        reached.append(set().union(*({w} | reached[w] for w in waits)))
    return reached


def test_two_branches_forward() -> None:
    graph = lower_dataflow(BRANCHES, (X,), 10)
    assert [o.name for o in graph.operators] == ["xg", "xt", "y"]
    assert graph.depends_on == ((), (), (0, 1))
    g = named(graph, "xg")
    assert (g.m, g.n, g.k, g.dtype) == (10, 100, 100, "fp32")
    assert (g.flops, g.weight_bytes, g.write_bytes) == (2e5, 4e4, 4e3)
    assert (named(graph, "y").vector_flops, named(graph, "y").read_bytes) == (1e3, 8e3)


def test_two_branches_training() -> None:
    graph = lower_dataflow(BRANCHES, (X,), 10, TRAINING)
    assert {o.name for o in graph.operators} == {"xg", "xt", "y", "xg.wgrad", "xt.wgrad", "xg.update", "xt.update"}
    assert before(graph, "xg.wgrad") == {"y", "xg"}, "an addition hands its gradient on"
    assert before(graph, "xg.update") == {"xg.wgrad"}
    w = named(graph, "xg.wgrad")
    assert (w.m, w.n, w.k, w.flops) == (100, 100, 10, 2e5)
    assert (w.read_bytes, w.write_bytes) == (2 * 4e3, 4e4)
    update = named(graph, "xt.update")
    assert (update.vector_flops, update.read_bytes, update.write_bytes) == (2e4, 8e4, 4e4), "w -= rate * g"
    assert [b.label for b in graph.blocks] == ["forward", "backward", "update"]


def test_branches_do_not_wait_for_each_other() -> None:
    graph = lower_dataflow(BRANCHES, (X,), 10, TRAINING)
    reached = ancestors(graph)
    for mine, other in (("xg", "xt"), ("xt", "xg")):
        for end in ("", ".wgrad", ".update"):
            i = index(graph, mine + end)
            assert index(graph, f"{other}.wgrad") not in reached[i]
            assert index(graph, f"{other}.update") not in reached[i]
    assert index(graph, "xt") not in reached[index(graph, "xg")]


def test_classifier_step() -> None:
    flow = Dataflow(CLASSIFIER, DIGITS, batch=32, train=True)
    check_dataflow(flow)
    assert parameters_of(flow) == 101_770, "784 x 128 + 128 + 128 x 10 + 10"
    graph = lower_dataflow(CLASSIFIER, DIGITS, 32, flow.phases)
    assert [o.name for o in graph.operators] == [
        "hidden", "relu", "scores", "loss", "loss.dgrad", "scores.dgrad", "scores.wgrad", "relu.dgrad",
        "hidden.wgrad", "hidden.update", "scores.update",
    ]  # fmt: skip
    assert graph.flops == 2 * 32 * (2 * 784 * 128 + 3 * 128 * 10), "no gradient of the pixels"
    assert before(graph, "loss.dgrad") == {"loss"}
    assert before(graph, "scores.wgrad") == {"loss.dgrad", "scores"}
    assert before(graph, "hidden.wgrad") == {"relu.dgrad", "hidden"}
    assert before(graph, "scores.update") == {"scores.wgrad", "scores.dgrad"}, "weights are still read by dgrad"


def test_data_parallel_replicas_share_the_batch_and_reduce_gradients() -> None:
    whole = lower_dataflow(CLASSIFIER, DIGITS, 32, TRAINING)
    part = lower_dataflow(CLASSIFIER, DIGITS, 32, TRAINING, dp=8)
    assert part.flops * 8 == whole.flops
    reduce = named(part, "hidden.all_reduce")
    assert (reduce.kind, reduce.axis, reduce.group) == (OpKind.ALL_REDUCE, "dp", 8)
    assert reduce.message_bytes == (784 * 128 + 128) * 4
    assert before(part, "hidden.all_reduce") == {"hidden.wgrad"}
    assert before(part, "hidden.update") == {"hidden.all_reduce"}
    assert not any(o.family == "collective" for o in whole.operators)
    assert not any(o.family == "collective" for o in lower_dataflow(CLASSIFIER, DIGITS, 32, FORWARD, dp=8).operators)


def test_gradients_of_several_consumers_are_added() -> None:
    operators = (
        DataflowOperator("a", "gemm", ("x",), n=8),
        DataflowOperator("b", "gemm", ("a",), n=4),
        DataflowOperator("c", "gelu", ("a",)),
        DataflowOperator("d", "gemm", ("c",), n=4),
        DataflowOperator("e", "mul", ("b", "d")),
    )
    graph = lower_dataflow(operators, (X,), 10, TRAINING)
    assert before(graph, "a.gradient") == {"b.dgrad", "c.dgrad"}
    assert before(graph, "a.wgrad") == {"a.gradient", "a"}
    assert before(graph, "b.dgrad") == {"e.dgrad", "b"}
    assert named(graph, "a.gradient").read_bytes == 2 * 10 * 8 * 4
    assert named(graph, "e.dgrad").moved_bytes == (3 + 2) * 10 * 4 * 4, "reads dy, b and d, writes both gradients"


def test_frozen_weights_get_no_gradient_but_pass_one_on() -> None:
    operators = (
        DataflowOperator("first", "gemm", ("x",), n=8, parameter=False),
        DataflowOperator("adapter", "gemm", ("first",), n=8),
        DataflowOperator("last", "gemm", ("adapter",), n=4, parameter=False),
    )
    names = {o.name for o in lower_dataflow(operators, (X,), 10, TRAINING).operators}
    assert names == {"first", "adapter", "last", "last.dgrad", "adapter.wgrad", "adapter.update"}


def test_a_loss_alone_starts_the_backward() -> None:
    side = DataflowOperator("probabilities", "softmax", ("scores",))
    graph = lower_dataflow((*CLASSIFIER, side), DIGITS, 32, TRAINING)
    assert "probabilities.dgrad" not in {o.name for o in graph.operators}
    assert before(graph, "scores.wgrad") == {"loss.dgrad", "scores"}


def test_the_order_of_writing_does_not_matter() -> None:
    graph = lower_dataflow(tuple(reversed(CLASSIFIER)), DIGITS, 32, TRAINING)
    same = lower_dataflow(CLASSIFIER, DIGITS, 32, TRAINING)
    assert set(graph.operators) == set(same.operators)
    assert all(d < i for i, waits in enumerate(graph.depends_on) for d in waits)


def test_adam_keeps_moments_and_narrow_weights_a_master_copy() -> None:
    narrow = tuple(msgspec.structs.replace(o, dtype="bf16") for o in BRANCHES)
    updates = {
        (dtype, rule): named(lower_dataflow(ops, (X,), 10, TRAINING, optimizer=rule), "xg.update")  # type: ignore[arg-type]
        for dtype, ops in (("fp32", BRANCHES), ("bf16", narrow))
        for rule in ("sgd", "adam")
    }
    each = {key: (u.read_bytes / 1e4, u.write_bytes / 1e4) for key, u in updates.items()}
    assert each == {
        ("fp32", "sgd"): (4 + 4, 4), ("fp32", "adam"): (4 + 4 + 8, 4 + 8),
        ("bf16", "sgd"): (4 + 4, 4 + 2), ("bf16", "adam"): (4 + 12, 12 + 2),
    }  # fmt: skip


@st.composite
def dataflows(draw: st.DrawFn) -> tuple[DataflowOperator, ...]:
    """Random networks over x [10, 100] in which all tensors are 100 wide."""
    operators: list[DataflowOperator] = []
    for i in range(draw(st.integers(1, 8))):
        names = ["x", *(o.name for o in operators)]
        kind = draw(st.sampled_from(["gemm", "add", "mul", "relu", "gelu", "softmax"]))
        count = draw(st.integers(2, 3)) if kind in ("add", "mul") else 1
        inputs = tuple(draw(st.sampled_from(names)) for _ in range(count))
        n = 100 if kind == "gemm" else 0
        operators.append(DataflowOperator(f"o{i}", kind, inputs, n=n, parameter=draw(st.booleans())))  # type: ignore[arg-type]
    return tuple(operators)


@given(dataflows(), st.sampled_from([1, 2, 5]))
def test_every_reached_parameter_is_updated_once_after_its_gradient(
    operators: tuple[DataflowOperator, ...], dp: int
) -> None:
    graph = lower_dataflow(operators, (X,), 10, TRAINING, dp=dp)
    names = [o.name for o in graph.operators]
    assert len(names) == len(set(names))
    reached = ancestors(graph)
    # Without a loss every result starts a gradient, so every trained weight is reached.
    trained = {o.name for o in operators if o.trained}
    assert {n.removesuffix(".update") for n in names if n.endswith(".update")} == trained
    for name in trained:
        update = reached[index(graph, f"{name}.update")]
        assert {index(graph, name), index(graph, f"{name}.wgrad")} <= update
        assert (f"{name}.all_reduce" in names) == (dp > 1)
    for o in graph.operators:
        assert min(o.flops, o.vector_flops, o.weight_bytes, o.read_bytes, o.write_bytes, o.message_bytes) >= 0.0
    # Nothing that no trained weight lies behind has a gradient.
    behind: set[str] = set()
    for written in operators:
        if written.trained or behind.intersection(written.inputs):
            behind.add(written.name)
    assert {n.removesuffix(".dgrad") for n in names if n.endswith(".dgrad")} <= behind


Change = Callable[[tuple[DataflowOperator, ...]], tuple[DataflowOperator, ...]]


def change(operator: str, **values: object) -> Change:
    return lambda ops: tuple(msgspec.structs.replace(o, **values) if o.name == operator else o for o in ops)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (change("y", inputs=("xg", "xtt")), r"'y': unknown input 'xtt'; did you mean 'xt'\? \(known: x, xg, xt, y\)"),
        (change("xg", inputs=("y",)), r"operators 'xg', 'y' wait for each other"),
        (change("xg", inputs=("xg",)), r"operators 'xg', 'y' wait"),
        (change("xt", name="xg"), r"operator 'xg' is named twice"),
        (change("xt", name="x"), r"operator 'x' is named twice"),
        (change("xt", n=50), r"'y': 'xg' is 10 x 100, but 'xt' is 10 x 50; shapes must be equal"),
        (change("xt", n=0), r"'xt': n = 0: output columns must be at least 1"),
        (change("y", n=7), r"'y': n = 7: only a gemm has it"),
        (change("y", inputs=("xg",)), r"'y': add takes 2 or more inputs, not 1"),
        (change("xg", inputs=("x", "x")), r"'xg': gemm takes 1 inputs, not 2"),
        (change("y", kind="ad"), r"'y': unknown kind 'ad'; did you mean 'add'\?"),
        (change("y", dtype="fp31"), r"'y': unknown dtype 'fp31' \(allowed: fp64, fp32"),
        (lambda ops: (), r"has no operators"),
    ],
)  # fmt: skip
def test_errors_name_the_operator(wrong: Change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_dataflow(Dataflow(wrong(BRANCHES), (X,), batch=10))


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (Dataflow(BRANCHES, (X,), batch=0), r"batch = 0: must be at least 1"),
        (Dataflow(BRANCHES, (X,), batch=1, steps=-1), r"steps = -1"),
        (Dataflow(BRANCHES, (X,), batch=1, input_bytes_per_sample=-1.0), r"input_bytes_per_sample = -1.0"),
        (Dataflow(BRANCHES, (X,), batch=1, input_bytes_per_sample=float("nan")), r"input_bytes_per_sample = nan"),
        (Dataflow(BRANCHES, (X, X), batch=1), r"input 'x' is named twice"),
        (Dataflow(BRANCHES, (DataflowInput("x", 0),), batch=1), r"input 'x': 1 x 0 must be at least 1 x 1"),
        (Dataflow((BRANCHES[2],), (DataflowInput("xg", 3), DataflowInput("xt", 3)), 1, train=True), "no operator has"),
    ],
)
def test_errors_of_the_whole(flow: Dataflow, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_dataflow(flow)


def test_labels_need_as_many_rows_as_scores() -> None:
    wrong = (DIGITS[0], DataflowInput("label", cols=1, rows=2))
    with pytest.raises(InputError, match=r"'loss': 'scores' is 32 x 10, but 'label' is 64 x 1; rows must be equal"):
        shapes_of(CLASSIFIER, wrong, 32)


def test_phases_and_replicas_must_make_sense() -> None:
    with pytest.raises(InputError, match=r"--dp 3: must divide the batch of 10"):
        lower_dataflow(BRANCHES, (X,), 10, TRAINING, dp=3)
    with pytest.raises(InputError, match=r"phases backward: allowed are forward alone"):
        lower_dataflow(BRANCHES, (X,), 10, ("backward",))


SIZED = DataflowOperator(
    "scores", "attention", ("x",), dtype="bf16",
    sizes={"q_len": 16.0, "kv_len": 16.0, "heads": 8.0, "kv_heads": 2.0, "head_dim": 64.0, "causal": 1.0},
)  # fmt: skip


def test_sizes_are_of_one_sample() -> None:
    flow = (SIZED, DataflowOperator("out", "gemm", ("scores",), n=32))
    attention, product = lower_dataflow(flow, (DataflowInput("x", cols=8),), 6).operators
    assert (attention.m, attention.n, attention.k, attention.batch) == (16, 16, 64, 6)
    assert attention.flops == 4.0 * 6 * 8 * 64 * (16 * 17 / 2)
    # What follows reads the rows and columns of the result.
    assert (product.m, product.k) == (6 * 16, 8 * 64)


def test_sizes_of_a_step_do_not_grow() -> None:
    (attention,) = lower_dataflow(
        (msgspec.structs.replace(SIZED, per_step=True),), (DataflowInput("x", cols=8),), 6
    ).operators
    assert attention.batch == 1


@pytest.mark.parametrize(
    ("kind", "sizes", "words"),
    [
        ("attention", {"q_len": 1.0}, "missing 'kv_len'"), ("norm", {}, "missing 'rows'"),
        ("norm", {"rows": 1.0, "cols": 1.0, "bas": 1.0}, "did you mean 'bias'"),
        ("norm", {"rows": 0.0, "cols": 1.0}, "must be from 1"), ("add", {"rows": 1.0}, "takes no sizes"),
        ("attention", {**SIZED.sizes, "kv_heads": 3.0}, "must divide heads"),
    ],
)  # fmt: skip
def test_wrong_sizes_are_refused(kind: str, sizes: dict[str, float], words: str) -> None:
    operator = DataflowOperator("o", kind, ("x",), sizes=sizes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        lower_dataflow((operator,), (DataflowInput("x", cols=8),), 1)


def test_sized_operators_do_not_train() -> None:
    flow = Dataflow((SIZED, DataflowOperator("out", "gemm", ("scores",), n=8)), (DataflowInput("x", cols=8),), 1, True)
    with pytest.raises(InputError, match="has sizes of its own and no backward"):
        check_dataflow(flow)
